//! The merged root as a directory and as a tar, and a destination that tries to lead elsewhere.

#![allow(missing_docs, clippy::unwrap_used)]

mod trees;

use cooper_layerfs::LayerfsError;
use cooper_layerfs::export::{export_dir, export_tar};
use cooper_layerfs::view::View;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use trees::{Attribute, Dir, Fifo, File, Hard, Link, Whiteout, listing, root, tree};

#[test]
fn a_tar_of_the_merged_root() {
    let lower = tree(&[
        File("d/a", "1", 0o4755),
        Hard("d/b", "d/a"),
        File("gone", "", 0o644),
        Link("l", "/d/../x"),
        File("d-e", "", 0o600),
    ]);
    let upper = tree(&[Whiteout("gone"), Fifo("p"), File("d/c", "2", 0o644), Attribute("d/c", "user.a", "b")]);
    let view = View::stack(vec![root(&lower), root(&upper)]);
    let mut out = Vec::new();
    export_tar(&view, &mut out).unwrap();
    let me = fs::metadata(lower.path()).map(|m| format!("{}:{}", m.uid(), m.gid())).unwrap();
    let expected = [
        "d 755 ME d/",
        "f 4755 ME d/a = 1",
        "h 4755 ME d/b -> d/a",
        "f 644 ME d/c = 2 user.a=b",
        "f 600 ME d-e = ",
        "l 777 ME l -> /d/../x",
        "p 644 ME p",
    ];
    assert_eq!(listing(&out), expected.map(|line| line.replace("ME", &me)));
    let mut again = Vec::new();
    export_tar(&View::stack(vec![root(&lower), root(&upper)]), &mut again).unwrap();
    assert_eq!(out, again);
}

#[test]
fn a_directory_of_the_merged_root() {
    let lower = tree(&[
        Dir("locked", 0o555),
        File("d/a", "1", 0o6751),
        Hard("d/b", "d/a"),
        Link("l", "/d/../x"),
        File("gone", "", 0o644),
        Fifo("p"),
    ]);
    let upper = tree(&[Whiteout("gone"), Dir("tmp", 0o1777), File("locked/x", "2", 0o400), Dir("locked", 0o555)]);
    let out = tree(&[]);
    let dest = out.path().join("new/dest");
    export_dir(&View::stack(vec![root(&lower), root(&upper)]), &dest).unwrap();
    let meta = |p: &str| fs::symlink_metadata(dest.join(p)).unwrap();
    let mode = |p: &str| meta(p).mode() & 0o7777;
    assert_eq!((mode("locked"), mode("locked/x"), mode("tmp")), (0o555, 0o400, 0o1777));
    assert_eq!(mode("d/a"), 0o751, "set-id bits stay behind");
    assert_eq!(meta("d/a").ino(), meta("d/b").ino());
    assert_eq!(meta("d/a").mtime(), fs::metadata(lower.path().join("d/a")).unwrap().mtime());
    assert_eq!(meta("tmp").mtime(), fs::metadata(upper.path().join("tmp")).unwrap().mtime());
    assert_eq!(fs::read_link(dest.join("l")).unwrap().to_str(), Some("/d/../x"));
    assert_eq!(fs::read_to_string(dest.join("d/b")).unwrap(), "1");
    assert!(!dest.join("gone").exists());
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&meta("p").file_type()));
}

#[test]
fn links_in_the_destination_lead_nowhere() {
    let layer = tree(&[File("d/f", "new", 0o644), File("f", "new", 0o644), Link("l", "x")]);
    let outside = tree(&[File("canary", "old", 0o600), File("dir/f", "old", 0o600)]);
    let dest = tree(&[File("kept", "kept", 0o644), File("l", "old", 0o644)]);
    symlink(outside.path().join("dir"), dest.path().join("d")).unwrap();
    symlink(outside.path().join("canary"), dest.path().join("f")).unwrap();
    let view = View::stack(vec![root(&layer)]);
    for _ in 0..2 {
        // The second time, everything is there already.
        export_dir(&view, dest.path()).unwrap();
        for canary in ["canary", "dir/f"] {
            assert_eq!(fs::read_to_string(outside.path().join(canary)).unwrap(), "old", "{canary}");
            assert_eq!(fs::metadata(outside.path().join(canary)).unwrap().mode() & 0o777, 0o600, "{canary}");
        }
        for (path, content) in [("d/f", "new"), ("f", "new"), ("kept", "kept")] {
            assert_eq!(fs::read_to_string(dest.path().join(path)).unwrap(), content);
        }
        assert!(fs::symlink_metadata(dest.path().join("l")).unwrap().is_symlink());
    }
}

#[test]
fn a_directory_is_never_removed_for_a_file() {
    let layer = tree(&[File("x", "new", 0o644)]);
    let dest = tree(&[File("x/precious", "kept", 0o644)]);
    let error = export_dir(&View::stack(vec![root(&layer)]), dest.path()).unwrap_err();
    assert!(matches!(error, LayerfsError::IsADirectory { .. }), "{error}");
    assert_eq!(fs::read_to_string(dest.path().join("x/precious")).unwrap(), "kept");
}
