//! What happens on an overlay, and the layer made of its upper directory: laid over the tree from before by a map of
//! paths that follows the words of the image specification, it gives the tree that a full walk finds afterwards.
//!
//! The work is done by this program itself, started again in a mount namespace of its own: as root with overlayfs's
//! `trusted` marks, otherwise in a user namespace with its `user` marks. `COOPER_TEST_CHANGES=100000` tries more.

use crate::forge::owner;
use crate::random::{Random, cases};
use crate::readers::{PYTHON, framed, read_by};
use crate::trees::{hex, pack};
use rustix::fs::{AtFlags, CWD, XattrFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything about a file but its path, as [`PYTHON`] says it.
pub type Tree = BTreeMap<String, String>;

pub const ROLE: &str = "COOPER_TEST_IN_NAMESPACE";

fn walk(top: &Path, dir: &Path, found: &mut Tree) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        let (kind, rest) = match () {
            () if meta.is_dir() => ('5', String::new()),
            () if meta.is_symlink() => ('2', hex(fs::read_link(&path).unwrap().as_os_str().as_bytes())),
            () => ('0', hex(&fs::read(&path).unwrap())),
        };
        let mut value = [0; 64];
        let attribute = rustix::fs::lgetxattr(&path, "user.a", &mut value[..])
            .map_or(String::new(), |len| format!(" {}={}", hex(b"user.a"), hex(&value[..len])));
        let (mode, uid, gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
        let name = hex(path.strip_prefix(top).unwrap().as_os_str().as_bytes());
        found.insert(name, format!("{kind} {mode:o} {uid}:{gid} {} {rest}{attribute}", meta.mtime()));
        if meta.is_dir() {
            walk(top, &path, found);
        }
    }
}

pub fn all(top: &Path) -> Tree {
    let mut found = Tree::new();
    walk(top, top, &mut found);
    found
}

fn is_below(name: &str, dir: &str) -> bool {
    dir.is_empty() && !name.is_empty() || name.starts_with(&format!("{dir}{}", hex(b"/")))
}

/// Lays a layer, as Python lists it, over a tree; deletions count first, for they are about what was before.
pub fn lay(before: &Tree, entries: &[&str]) -> Tree {
    let mut tree = before.clone();
    let (mark, opaque) = (hex(b".wh."), hex(b".wh..wh..opq"));
    let parted = |line: &str| {
        let (name, about) = line.split_once(' ').unwrap();
        let slash = (0..name.len()).step_by(2).rev().find(|at| name[*at..].starts_with("2f"));
        let (dir, last) = slash.map_or(("", name), |at| (&name[..at], &name[at + 2..]));
        (name.to_owned(), dir.to_owned(), last.to_owned(), about.to_owned())
    };
    for (_, dir, last, _) in entries.iter().map(|line| parted(line)) {
        if last == opaque {
            tree.retain(|name, _| !is_below(name, &dir));
        } else if let Some(gone) = last.strip_prefix(&mark) {
            let gone = if dir.is_empty() { gone.to_owned() } else { format!("{dir}2f{gone}") };
            tree.retain(|name, _| *name != gone && !is_below(name, &gone));
        }
    }
    for (name, _, last, about) in entries.iter().map(|line| parted(line)) {
        if last.starts_with(&mark) {
            continue;
        }
        let about = if about.starts_with("1 ") {
            let target = about.split(' ').nth(4).unwrap();
            tree[target].clone()
        } else {
            about
        };
        if !about.starts_with("5 ") {
            tree.retain(|other, _| !is_below(other, &name));
        }
        tree.insert(name, about);
    }
    tree
}

/// All paths below, directories in `dirs` as well.
fn paths(top: &Path, dirs: &mut Vec<PathBuf>, others: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(top).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            dirs.push(entry.path());
            paths(&entry.path(), dirs, others);
        } else {
            others.push(entry.path());
        }
    }
}

fn remove(path: &Path) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
}

/// One operation on a tree. What the kernel refuses is no change.
pub fn operate(random: &mut Random, top: &Path) {
    let (mut dirs, mut others) = (vec![top.to_owned()], Vec::new());
    paths(top, &mut dirs, &mut others);
    others.sort();
    dirs[1..].sort();
    let fresh = random.pick(&dirs).join(random.pick(&["a", "b", "c", "d", "e f", "\u{e9}"]));
    let any = if others.is_empty() || random.once_in(3) { random.pick(&dirs) } else { random.pick(&others) }.clone();
    let is_link = any.is_symlink();
    let text = random.bits().to_string();
    match random.below(13) {
        0 | 1 if !fresh.is_dir() && !fresh.is_symlink() => fs::write(&fresh, text).unwrap(),
        2 if any.is_file() && !is_link => fs::write(&any, text).unwrap(),
        3 if any != top && !is_link => {
            let mode = *random.pick(&[0o700, 0o755, 0o1777, 0o4755, 0o600]) | 0o700;
            fs::set_permissions(&any, fs::Permissions::from_mode(mode)).unwrap();
        }
        4 if any != top => {
            let id = u32::try_from(random.below(5)).unwrap();
            let (uid, gid) = (rustix::fs::Uid::from_raw(id), rustix::fs::Gid::from_raw(id));
            // A user namespace with one identity refuses all but that.
            let _refused = rustix::fs::chownat(CWD, &any, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        }
        // Directories of the layers below are refused (EXDEV), as mv finds, which copies then.
        5 | 6 if any != top && !fresh.starts_with(&any) => {
            let refused = fs::rename(&any, &fresh).is_err();
            let copied = || Command::new("mv").arg("-T").arg(&any).arg(&fresh).status().unwrap().success();
            assert!(!refused || fs::symlink_metadata(&fresh).is_ok() || copied());
        }
        7 if !any.is_dir() || is_link => {
            let _refused = fs::hard_link(&any, &fresh);
        }
        8 if any != top => remove(&any),
        9 if any.is_dir() && !is_link && any != top => {
            remove(&any);
            fs::create_dir(&any).unwrap();
            fs::write(any.join("new"), text).unwrap();
        }
        10 => {
            remove(&fresh);
            symlink(&text, &fresh).unwrap();
        }
        11 if any != top && !is_link => {
            rustix::fs::setxattr(&any, "user.a", text.as_bytes(), XattrFlags::empty()).unwrap();
        }
        12 if !fresh.exists() && !fresh.is_symlink() => fs::create_dir(&fresh).unwrap(),
        _ => {}
    }
}

/// One tree, one overlay, some operations: what was, what is, and the layer.
fn story(random: &mut Random, top: &Path) -> (Tree, Tree, Vec<u8>) {
    let at = |name: &str| top.join(name);
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    for _ in 0..random.below(25) {
        operate(random, &at("lower"));
    }
    let before = all(&at("lower"));
    let marks = if std::env::var(ROLE).unwrap() == "trusted" { "" } else { ",userxattr" };
    let dirs = ["lower", "upper", "work"].map(|name| format!("{name}dir={}", at(name).display()));
    let options = CString::new(format!(
        "{},{},{},redirect_dir=nofollow,index=off,metacopy=off{marks}",
        dirs[0], dirs[1], dirs[2]
    ))
    .unwrap();
    mount("overlay", at("merged"), "overlay", MountFlags::empty(), Some(options.as_c_str())).unwrap();
    for _ in 0..=random.below(12) {
        operate(random, &at("merged"));
    }
    let after = all(&at("merged"));
    unmount(at("merged"), UnmountFlags::empty()).unwrap();
    (before, after, pack(&at("upper")))
}

#[test]
#[ignore = "runs as a child of the test below"]
fn in_a_namespace() {
    assert!(std::env::var_os(ROLE).is_some(), "it mounts, and so needs a namespace of its own");
    let top = tempfile::tempdir().unwrap();
    mount("tmpfs", top.path(), "tmpfs", MountFlags::empty(), None).unwrap();
    let mut random = Random::new(11);
    let stories: Vec<_> = (0..cases("COOPER_TEST_CHANGES", 1_000))
        .map(|case| {
            let dir = top.path().join(case.to_string());
            let story = story(&mut random, &dir);
            fs::remove_dir_all(dir).unwrap();
            story
        })
        .collect();
    // A line that is no entry parts the archives.
    let said = read_by(Command::new("python3").args(["-c", PYTHON]), framed(stories.iter().map(|s| s.2.as_slice())));
    let said = String::from_utf8(said).unwrap();
    let mut lists = said.split("--\n");
    let mut marks = 0;
    for (case, (before, after, _)) in stories.iter().enumerate() {
        let entries: Vec<&str> = lists.next().unwrap().lines().collect();
        marks += entries.iter().filter(|line| line.contains(&hex(b".wh."))).count();
        assert_eq!(lay(before, &entries), *after, "case {case}: {entries:#?}\nover {before:#?}");
    }
    assert!(marks > stories.len() / 4, "only {marks} deletions");
    unmount(top.path(), UnmountFlags::DETACH).unwrap();
}

#[test]
fn the_layer_of_an_overlay_is_the_difference() {
    again_in_a_namespace("changes::in_a_namespace");
}

/// Runs an ignored test in a mount namespace of its own.
pub fn again_in_a_namespace(test: &str) {
    let root = owner().0 == 0;
    let mut again = Command::new("unshare");
    again.arg(if root { "-m" } else { "-Urm" }).arg(std::env::current_exe().unwrap());
    again.args(["--ignored", "--exact", test]).env(ROLE, if root { "trusted" } else { "user" });
    let output = again.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
