//! Trees become tars and tars become trees: nothing is lost, the bytes repeat, and other tars agree.

use crate::trees::{CAPABILITY, feed, hex, listing, owns_all_ids, pack, rich, unpack};
use cooper_image::RelPath;
use cooper_layerfs::root::Root;
use cooper_layerfs::stat::Time;
use cooper_layerfs::whiteout;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

#[test]
fn a_tree_survives_and_its_bytes_repeat() {
    let tree = rich();
    let first = pack(tree.path());
    assert!(first == pack(tree.path()), "packed twice");
    let copy = unpack(&first);
    assert!(first == pack(copy.path()), "packed after a round trip");
    let su = fs::metadata(copy.path().join("bin/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.nlink(), su.len()), (0o4755, 3, 100_000));
    let root = Root::open(copy.path()).unwrap();
    let xattrs = root.xattrs(&RelPath::from("attributes")).unwrap();
    assert_eq!(xattrs.len(), 2);
    assert_eq!(xattrs[b"user.one".as_slice()], b"1\n2=\0\xff");
    assert!(whiteout::is_whiteout(&root.stat(&RelPath::from("bin/gone")).unwrap().unwrap()));
    assert!(whiteout::is_opaque(&root.dir(&RelPath::from("bin/deep/er")).unwrap()).unwrap());
    assert_eq!(root.stat(&RelPath::from("socket")).unwrap(), None);
    let attributes = root.stat(&RelPath::from("attributes")).unwrap().unwrap();
    assert_eq!(attributes.mtime, Time { secs: -5, nanos: 0 });
    if owns_all_ids() {
        let empty = root.stat(&RelPath::from("empty")).unwrap().unwrap();
        assert_eq!((empty.uid, empty.gid, empty.mtime.secs), (70_000, 3_000_000, 1_600_000_000));
        assert_eq!(root.xattrs(&RelPath::from("bin/su")).unwrap()[b"security.capability".as_slice()], CAPABILITY);
    }
}

#[test]
fn other_readers_agree() {
    let tree = rich();
    let bytes = pack(tree.path());
    let lines = listing(&bytes);
    let line = |name: &[u8]| {
        let start = format!("{} ", hex(name));
        let mut found = lines.iter().filter(|line| line.starts_with(&start));
        let first = found.next().unwrap_or_else(|| panic!("no entry {}", String::from_utf8_lossy(name)));
        assert_eq!(found.next(), None);
        first.strip_prefix(&start).unwrap().to_owned()
    };
    for name in [b"caf\xc3\xa9".as_slice(), b"\xff\xfe", b"new\nline", b"\x1b[31m"] {
        assert!(line(name).contains(&format!(" {} ", name.len())));
    }
    assert!(line(&[b'n'; 255]).starts_with("0 "));
    assert!(line(&[b'd'; 255]).starts_with("5 "));
    assert!(line(b"raw-target").contains(" fffe"));
    assert!(line(b"attributes").ends_with("SCHILY.xattr.user.empty SCHILY.xattr.user.one"));
    assert!(line(b"attributes").contains(" -5 "));
    assert!(line(b"bin/.wh.gone").starts_with("0 0o0 0 0 0 0 "));
    assert!(line(b"a-link").starts_with("0 0o4755"));
    assert!(line(b"bin/su").contains(&hex(b"a-link")));
    let gnu = feed(Command::new("tar").args(["-t", "--quoting-style=literal", "-f", "-"]), &bytes);
    assert_eq!(gnu.lines().count(), lines.len() + 1, "GNU tar counts the name with a newline twice");
}

#[test]
fn other_unpackers_make_the_same_tree() {
    let tree = rich();
    // bsdtar warns of names that are no UTF-8, and then it does not end well.
    fs::remove_file(tree.path().join(OsStr::from_bytes(b"\xff\xfe"))).unwrap();
    fs::remove_file(tree.path().join("raw-target")).unwrap();
    let bytes = pack(tree.path());
    let ours = unpack(&bytes);
    let gnu = ["-x", "-p", "--xattrs", "--xattrs-include=*"].as_slice();
    for (program, flags) in [("tar", gnu), ("bsdtar", &["-x", "-P", "-p", "--xattrs"])] {
        let theirs = tempfile::tempdir().unwrap();
        let mut unpacking = Command::new(program);
        unpacking.env("LC_ALL", "C.UTF-8").args(flags).args(["-f", "-", "-C"]).arg(theirs.path());
        feed(&mut unpacking, &bytes);
        for name in ["bin/su", "empty", "fifo", "absolute", "bin/deep", "block", "z-link", "attributes"] {
            let look = |base: &Path| {
                let path = base.join(name);
                let meta = fs::symlink_metadata(&path).unwrap();
                let xattrs = Root::open(base).unwrap().xattrs(&RelPath::from(name)).unwrap();
                (meta.mode(), meta.uid(), meta.gid(), meta.size(), meta.mtime(), meta.nlink(), xattrs)
            };
            assert_eq!(look(ours.path()), look(theirs.path()), "{name} by {program}");
        }
    }
}

#[test]
fn tars_of_gnu_tar_are_understood() {
    let tree = rich();
    fs::remove_file(tree.path().join("bin/gone")).unwrap();
    for format in ["gnu", "pax", "ustar", "v7", "oldgnu"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), b"content").unwrap();
        fs::hard_link(dir.path().join("d/f"), dir.path().join("d/g")).unwrap();
        symlink("f", dir.path().join("d/l")).unwrap();
        let source = if matches!(format, "gnu" | "pax" | "oldgnu") { tree.path() } else { dir.path() };
        let output = Command::new("tar")
            .args([&format!("--format={format}"), "-c", "-f", "-", "-C"])
            .arg(source)
            .arg(".")
            .output()
            .unwrap();
        let copy = unpack(&output.stdout);
        let names = |base: &Path| {
            let names = fs::read_dir(base).unwrap().map(|e| e.unwrap().file_name());
            let mut names: Vec<_> = names.filter(|name| name != "socket").collect();
            names.sort();
            names
        };
        assert_eq!(names(source), names(copy.path()), "{format}");
    }
}
