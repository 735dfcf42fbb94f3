//! The merged root as a directory and as a tar, and a destination that tries to lead elsewhere.

use crate::trees::{Attribute, Dir, Fifo, File, Hard, Link, Whiteout, listing, root, tree};
use cooper_image::RelPath;
use cooper_layerfs::LayerfsError;
use cooper_layerfs::export::{Others, Part, collision, export_dir, export_tar};
use cooper_layerfs::view::View;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

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
    let part = |into: &str| Part { into: RelPath::from(into), view: View::stack(vec![root(&lower), root(&upper)]) };
    let mut out = Vec::new();
    export_tar(&[part("")], None, &mut out).unwrap();
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
    export_tar(&[part("")], None, &mut again).unwrap();
    assert_eq!(out, again);
    let mut several = Vec::new();
    export_tar(&[part("one"), part("two")], Some(7), &mut several).unwrap();
    let lines = listing(&several);
    assert_eq!(lines.len(), 2 * (expected.len() + 1));
    for (folder, lines) in ["one", "two"].iter().zip(lines.chunks(expected.len() + 1)) {
        assert_eq!(lines[0], format!("d 755 0:0 {folder}/"));
        let hard = format!("h 4755 {me} {folder}/d/b -> {folder}/d/a");
        assert_eq!(lines[3], hard, "links lead to the names of the same root");
    }
    let mut archive = tar::Archive::new(several.as_slice());
    let times: Vec<u64> = archive.entries().unwrap().map(|e| e.unwrap().header().mtime().unwrap()).collect();
    assert!(times.iter().all(|t| *t == 7), "{times:?}");
}

fn alone(view: View) -> Part {
    Part { into: RelPath::root(), view }
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
    export_dir(&alone(View::stack(vec![root(&lower), root(&upper)])), &dest, Others::Keep, None).unwrap();
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
    let whole = alone(View::stack(vec![root(&layer)]));
    for _ in 0..2 {
        // The second time, everything is there already.
        export_dir(&whole, dest.path(), Others::Keep, None).unwrap();
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
fn a_link_in_the_place_of_a_folder_gives_way() {
    let layer = tree(&[File("f", "new", 0o644)]);
    let outside = tree(&[File("canary", "old", 0o600)]);
    let dest = tree(&[]);
    symlink(outside.path(), dest.path().join("linux_amd64")).unwrap();
    let part = Part { into: RelPath::from("linux_amd64"), view: View::stack(vec![root(&layer)]) };
    export_dir(&part, dest.path(), Others::Keep, None).unwrap();
    assert_eq!(fs::read_to_string(dest.path().join("linux_amd64/f")).unwrap(), "new");
    assert!(!fs::symlink_metadata(dest.path().join("linux_amd64")).unwrap().is_symlink());
    assert!(!outside.path().join("f").exists());
}

#[test]
fn a_directory_is_never_removed_for_a_file() {
    let layer = tree(&[File("x", "new", 0o644)]);
    let dest = tree(&[File("x/precious", "kept", 0o644)]);
    let error = export_dir(&alone(View::stack(vec![root(&layer)])), dest.path(), Others::Keep, None).unwrap_err();
    assert!(matches!(error, LayerfsError::IsADirectory { .. }), "{error}");
    assert_eq!(fs::read_to_string(dest.path().join("x/precious")).unwrap(), "kept");
}

#[test]
fn what_the_view_does_not_have_is_deleted_when_that_is_asked_for() {
    let layer = tree(&[File("x", "new", 0o644), File("d/f", "new", 0o644), Link("l", "x")]);
    let outside = tree(&[File("canary/f", "old", 0o600)]);
    let dest = tree(&[
        File("x/was/a/deep/dir", "old", 0o644),
        File("gone", "old", 0o644),
        File("d/gone/deep/er/f", "old", 0o644),
        Dir("locked/in", 0o555),
        Dir("locked", 0o555),
        File("l", "old", 0o644),
    ]);
    symlink(outside.path().join("canary"), dest.path().join("link")).unwrap();
    symlink(outside.path().join("canary"), dest.path().join("d/gone/link")).unwrap();
    let view = View::stack(vec![root(&layer)]);
    export_dir(&alone(view), dest.path(), Others::Delete, Some(7)).unwrap();
    let names = |dir: &str| {
        let all = fs::read_dir(dest.path().join(dir)).unwrap();
        let mut names: Vec<String> = all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["d", "l", "x"]);
    assert_eq!(names("d"), ["f"]);
    assert_eq!(fs::metadata(dest.path().join("d")).unwrap().mtime(), 7);
    assert_eq!(fs::read_to_string(outside.path().join("canary/f")).unwrap(), "old");
}

#[test]
fn files_of_two_roots_collide_and_directories_do_not() {
    let view = |t: &tempfile::TempDir| View::stack(vec![root(t)]);
    let one = tree(&[File("d/a", "", 0o644), Dir("e", 0o755)]);
    let two = tree(&[File("d/b", "", 0o644), Dir("e", 0o755)]);
    assert_eq!(collision(&[&view(&one), &view(&two)]).unwrap(), None);
    for other in [tree(&[File("d/a", "", 0o644)]), tree(&[Dir("d/a", 0o755)]), tree(&[Link("e", "x")])] {
        assert!(collision(&[&view(&one), &view(&two), &view(&other)]).unwrap().is_some());
    }
}

#[test]
fn what_a_directory_does_not_get_is_told() {
    let lower = tree(&[Dir("d", 0o755), File("d/a", "1", 0o644)]);
    let _held = ["d/s", "d/t"].map(|name| std::os::unix::net::UnixListener::bind(lower.path().join(name)).unwrap());
    let out = tree(&[]);
    let left_out = export_dir(&alone(View::dir(root(&lower))), out.path(), Others::Keep, None).unwrap();
    assert_eq!((left_out.count, left_out.first.unwrap().display()), (2, "d/s".to_owned()));
    assert!(out.path().join("d/a").exists() && !out.path().join("d/s").exists());
}
