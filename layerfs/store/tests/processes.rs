//! Several processes on one store: the same blob at once, a writer that is killed, another user.
//!
//! The children are this test's own executable, which runs one ignored test.
#![allow(clippy::unwrap_used)]

use cooper_image::{Descriptor, DiffId, Digest, MediaType};
use cooper_store::Store;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// Bytes of the blob that every child writes.
const BLOB: usize = 3 << 20;
/// An ordinary user without a name.
const NOBODY: u32 = 65534;

fn start(exe: &Path, root: &Path, role: &str) -> Command {
    let mut command = Command::new(exe);
    command
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env("CHILD_ROOT", root)
        .env("CHILD_ROLE", role)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped());
    command
}

/// The child ran its one test, and that passed. A program that finds no test of that name ends well, too.
#[track_caller]
fn assert_passed(out: &Output) {
    let said = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("test result: ok. 1 passed"), "{}: {said}{errors}", out.status);
}

/// Waits for a line and gives the pipe back: the child fails when nobody holds its other end.
fn wait_for_line(child: &mut Child, line: &str) -> BufReader<ChildStdout> {
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let found = out.by_ref().lines().map_while(Result::ok).any(|l| l.ends_with(line));
    assert!(found, "the child ended without {line:?}");
    out
}

fn files_in_flight(root: &Path) -> usize {
    let dirs = std::fs::read_dir(root.join("ingest")).unwrap();
    dirs.map(|d| std::fs::read_dir(d.unwrap().path()).unwrap().count()).sum()
}

#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    let root = std::env::var_os("CHILD_ROOT").expect("a parent sets it");
    let store = Store::open(Path::new(&root)).unwrap();
    match std::env::var("CHILD_ROLE").as_deref() {
        Ok("write") => write(&store),
        Ok("hang") => hang(&store),
        Ok("read") => read_without_permission_to_write(&store),
        Ok("fill") => fill_the_disk(&store),
        Ok("closed") => write_what_is_closed(&store),
        other => panic!("no such role: {other:?}"),
    }
}

fn write(store: &Store) {
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(&vec![5; BLOB]).unwrap();
    let (digest, _) = writer.commit(None).unwrap();
    let ingest = store.ingest().unwrap();
    let tree = ingest.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), "same").unwrap();
    store.publish_tree(&tree, &DiffId(digest)).unwrap();
}

fn hang(store: &Store) {
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(&vec![5; BLOB]).unwrap();
    let ingest = store.ingest().unwrap();
    std::fs::create_dir_all(ingest.path().join("tree/usr")).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "writing").and_then(|()| out.flush()).unwrap();
    std::io::stdin().lines().for_each(drop);
}

fn read_without_permission_to_write(store: &Store) {
    let blob = Descriptor::of(MediaType::OciConfig, b"{}");
    assert_eq!(store.read_blob(&blob, 2).unwrap().get(), b"{}");
    assert_eq!(store.refs().unwrap().len(), 1);
    assert!(store.fsck().unwrap().problems.is_empty());
    let refused = store.put_blob(b"new").unwrap_err();
    assert!(refused.hint().is_some_and(|h| h.contains("--root")), "{refused}");
}

/// A blob and a tree have their names, and this user may open neither.
fn write_what_is_closed(store: &Store) {
    use std::os::unix::fs::PermissionsExt as _;
    let (blob, diff) = (store.put_blob(b"closed").unwrap(), DiffId(Digest::sha256("tree")));
    let publish = || {
        let ingest = store.ingest().unwrap();
        let tree = ingest.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        store.publish_tree(&tree, &diff)
    };
    for path in [store.root().join("blobs/sha256").join(blob.hex()), publish().unwrap()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o0)).unwrap();
    }
    assert_eq!(store.holding().blob_size(&blob).unwrap(), None);
    for refused in [store.holding().put_blob(b"closed").map(drop), publish().map(drop)] {
        let error = refused.unwrap_err();
        assert!(error.hint().is_some_and(|h| h.contains("another user")), "{error}");
    }
}

/// On a disk of a few MiB.
fn fill_the_disk(store: &Store) {
    let first = store.put_blob(b"first").unwrap();
    for _ in 0..2 {
        let mut writer = store.blob_writer().unwrap();
        let written = (0..64).try_for_each(|n| writer.write_all(&vec![n; 1 << 20]));
        let error = written.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        drop(writer);
        assert_eq!(files_in_flight(store.root()), 0);
    }
    // The space came back, nothing is half there, and what was there is whole.
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(&vec![5; BLOB]).unwrap();
    writer.commit(None).unwrap();
    assert_eq!(store.blob_size(&first).unwrap(), Some(5));
    let report = store.fsck().unwrap();
    assert_eq!((report.blobs, report.problems.len()), (2, 0));
}

#[test]
fn many_writers_of_one_blob_all_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let exe = std::env::current_exe().unwrap();
    // No store yet: they also make it at once.
    let children: Vec<Child> = (0..8).map(|_| start(&exe, &root, "write").spawn().unwrap()).collect();
    for c in children {
        assert_passed(&c.wait_with_output().unwrap());
    }
    let store = Store::open(&root).unwrap();
    let digest = Digest::sha256(vec![5; BLOB]);
    let forms = store.layer(&DiffId(digest)).unwrap();
    assert_eq!(forms.tar, Some(BLOB as u64));
    assert!(forms.tree.is_some());
    assert!(store.fsck().unwrap().problems.is_empty());
    assert_eq!(files_in_flight(&root), 0);
}

#[test]
fn what_a_killed_writer_left_is_deleted_and_a_living_one_is_spared() {
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    let mut killed = start(&exe, dir.path(), "hang").spawn().unwrap();
    drop(wait_for_line(&mut killed, "writing"));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(files_in_flight(dir.path()) > 0);

    let mut living = start(&exe, dir.path(), "hang").spawn().unwrap();
    let _out = wait_for_line(&mut living, "writing");
    let of_the_living = files_in_flight(dir.path());
    assert_eq!(of_the_living, 2, "a blob and a tree; the dead one's are gone");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(files_in_flight(dir.path()), of_the_living);
    assert!(store.fsck().unwrap().problems.is_empty());
    drop(living.stdin.take());
    assert!(living.wait().unwrap().success());
    assert_eq!(files_in_flight(dir.path()), 0);
}

#[test]
fn threads_that_write_one_blob_all_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digest = Digest::sha256(vec![7; BLOB]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut writer = store.blob_writer().unwrap();
                writer.write_all(&vec![7; BLOB]).unwrap();
                writer.commit(Some((&digest, BLOB as u64))).unwrap();
            });
        }
    });
    assert_eq!(store.blob_size(&digest).unwrap(), Some(BLOB as u64));
    assert_eq!(files_in_flight(dir.path()), 0);
}

/// A copy that another user may reach, made by another process: were it written by this one, a child that another
/// test forks at that moment would hold it open for writing, and starting it would fail with ETXTBSY.
fn copy_of_this_program(dir: &Path) -> std::path::PathBuf {
    let exe = dir.join("child");
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&exe).status().unwrap().success());
    exe
}

#[test]
fn an_ordinary_user_has_a_store_and_is_kept_out_of_others() {
    let dir = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    let exe = copy_of_this_program(dir.path());
    let root = dir.path().join("store");
    let mut command = start(&exe, &root, "write");
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&exe).unwrap()) == 0;
    if is_root {
        std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    assert_passed(&command.output().unwrap());
    if is_root {
        let foreign = dir.path().join("foreign");
        Store::open(&foreign).unwrap();
        let mut command = start(&exe, &foreign, "write");
        let out = command.uid(NOBODY).gid(NOBODY).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(!out.status.success() && said.contains("0 passed; 1 failed"), "{}: {said}", out.status);
    }
}

#[test]
fn a_name_that_may_not_be_opened_is_an_error_for_writers() {
    let dir = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    let exe = copy_of_this_program(dir.path());
    let mut command = start(Path::new("timeout"), &dir.path().join("store"), "closed");
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut bounded = Command::new(command.get_program());
    bounded.arg("60").arg(&exe).args(arguments).envs(command.get_envs().filter_map(|(n, v)| Some((n, v?))));
    command = bounded;
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&exe).unwrap()) == 0 {
        std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    assert_passed(&command.output().unwrap());
}

#[test]
fn a_store_that_cannot_be_written_can_be_read() {
    let dir = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    let exe = copy_of_this_program(dir.path());
    let root = dir.path().join("store");
    let store = Store::open(&root).unwrap();
    store.put_blob(b"{}").unwrap();
    store.set_ref(&"app".parse().unwrap(), &Descriptor::of(MediaType::OciConfig, b"{}")).unwrap();
    drop(store);
    let chmod = |mode: &str| Command::new("chmod").args(["-R", mode]).arg(dir.path()).status().unwrap().success();
    assert!(chmod("a+rX,a-w"));
    let mut command = start(&exe, &root, "read");
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&exe).unwrap()) == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let out = command.output().unwrap();
    assert!(chmod("u+w"));
    assert_passed(&out);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    // A mount namespace of its own: the small disk is gone when the child ends.
    let script = r#"mount -t tmpfs -o size=6m small "$CHILD_ROOT" && exec "$@""#;
    let mut command = start(Path::new("unshare"), dir.path(), "fill");
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut wrapped = Command::new(command.get_program());
    wrapped.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(exe).args(arguments);
    wrapped.envs(command.get_envs().filter_map(|(n, v)| Some((n, v?))));
    command = wrapped;
    assert_passed(&command.output().unwrap());
}
