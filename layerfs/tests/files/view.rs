//! The merged view against trees as overlayfs leaves them, and links that try to get out.

use crate::trees::{Attribute, Dir, File, Link, Make, Opaque, Whiteout, root, tree};
use cooper_image::RelPath;
use cooper_layerfs::LayerfsError;
use cooper_layerfs::stat::Kind;
use cooper_layerfs::view::{Follow, View};
use std::io::Read as _;

/// All paths of a view with their kinds and the content of files.
fn dump(view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![RelPath::root()];
    while let Some(dir) = pending.pop() {
        for entry in view.read_dir(&dir).unwrap() {
            let path = dir.join(&entry.name);
            let name = path.display();
            assert_eq!(view.lstat(&path).unwrap().map(|m| m.kind), entry.kind, "{name}");
            lines.push(match entry.kind.unwrap() {
                Kind::Dir => {
                    pending.push(path);
                    format!("{name}/")
                }
                Kind::File => {
                    let mut text = String::new();
                    view.open_file(&path).unwrap().read_to_string(&mut text).unwrap();
                    format!("{name}={text}")
                }
                Kind::Symlink => format!("{name}->{}", String::from_utf8(view.read_link(&path).unwrap()).unwrap()),
                kind => format!("{name} {kind:?}"),
            });
        }
    }
    lines.sort();
    lines
}

#[test]
fn layers_merge_as_overlayfs_merges_them() {
    let f = |path, content| File(path, content, 0o644);
    type Case<'a> = (&'a str, &'a [&'a [Make<'a>]], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("no layers", &[], &[]),
        ("upper wins", &[&[f("a", "1"), f("b", "1")], &[f("a", "2")]], &["a=2", "b=1"]),
        ("directories merge", &[&[f("d/a", "1")], &[f("d/b", "2")]], &["d/", "d/a=1", "d/b=2"]),
        ("whiteout", &[&[f("d/a", "1"), f("d/b", "1")], &[Whiteout("d/a")]], &["d/", "d/b=1"]),
        ("whiteout of a directory", &[&[f("d/a", "1")], &[Whiteout("d")]], &[]),
        ("whiteout of nothing", &[&[f("a", "1")], &[Whiteout("z")]], &["a=1"]),
        ("made again above a whiteout", &[&[f("d/a", "1")], &[Whiteout("d")], &[f("d/b", "3")]], &["d/", "d/b=3"]),
        ("opaque", &[&[f("d/a", "1")], &[Opaque("d"), f("d/b", "2")]], &["d/", "d/b=2"]),
        ("opaque hides only below", &[&[f("d/a", "1")], &[Opaque("d")], &[f("d/c", "3")]], &["d/", "d/c=3"]),
        ("opaque root", &[&[f("a", "1")], &[Opaque("."), f("b", "2")]], &["b=2"]),
        ("directory to file", &[&[f("x/a", "1")], &[f("x", "2")]], &["x=2"]),
        ("file to directory", &[&[f("x", "1")], &[f("x/a", "2")]], &["x/", "x/a=2"]),
        ("and back and forth", &[&[f("x/a", "1")], &[f("x", "2")], &[f("x/b", "3")]], &["x/", "x/b=3"]),
        ("directory to link", &[&[f("x/a", "1"), f("y/b", "1")], &[Link("x", "y")]], &["x->y", "y/", "y/b=1"]),
        (
            "deep",
            &[&[f("a/b/c/d", "1")], &[f("a/b/c/e", "2")], &[Whiteout("a/b/c/d")]],
            &["a/", "a/b/", "a/b/c/", "a/b/c/e=2"],
        ),
    ];
    for (name, layers, expected) in cases {
        let trees: Vec<_> = layers.iter().map(|l| tree(l)).collect();
        let view = View::stack(trees.iter().map(root).collect());
        assert_eq!(dump(&view), *expected, "{name}");
    }
}

#[test]
fn a_plain_directory_has_no_marks() {
    let top = tree(&[Whiteout("device"), Opaque("d"), File("d/a", "1", 0o644)]);
    assert_eq!(dump(&View::dir(root(&top))), ["d/", "d/a=1", "device Char"]);
}

#[test]
fn metadata_comes_from_the_topmost() {
    let lower = tree(&[Dir("d", 0o700), Attribute("d", "user.colour", "red"), File("d/f", "1", 0o600)]);
    let upper =
        tree(&[Dir("d", 0o751), Attribute("d", "user.colour", "blue"), Attribute("d", "user.overlay.origin", "x")]);
    let view = View::stack(vec![root(&lower), root(&upper)]);
    let mode = |p: &str| view.lstat(&RelPath::from(p)).unwrap().unwrap().mode;
    assert_eq!((mode("d"), mode("d/f")), (0o751, 0o600));
    let attributes = view.xattrs(&RelPath::from("d")).unwrap();
    assert_eq!(attributes.into_iter().collect::<Vec<_>>(), [(b"user.colour".to_vec(), b"blue".to_vec())]);
}

#[test]
fn nothing_below_a_file_or_a_link_is_there() {
    let top = tree(&[File("f", "1", 0o644), Dir("d", 0o755), File("d/a", "1", 0o644), Link("l", "d")]);
    for view in [View::dir(root(&top)), View::stack(vec![root(&top)])] {
        for path in ["f/a", "l/a", "nothing/a/b"] {
            assert_eq!(view.lstat(&RelPath::from(path)).unwrap(), None, "{path}");
        }
        for path in ["f", "l", "nothing"] {
            assert!(view.read_dir(&RelPath::from(path)).is_err(), "{path}");
        }
        assert!(view.open_file(&RelPath::from("l/a")).is_err());
    }
}

#[test]
fn links_are_followed_inside() {
    let outside = tree(&[File("canary", "outside", 0o644)]);
    let canary = outside.path().join("canary");
    let top = tree(&[
        File("d/e/f", "1", 0o644),
        Link("absolute", "/d/e"),
        Link("relative", "d/e"),
        Link("d/up", "../d/e"),
        Link("climbs", "../../../../d/e"),
        Link("out", canary.to_str().unwrap()),
        Link("chain", "chain2"),
        Link("chain2", "absolute"),
        Link("dangling", "d/none"),
        Link("host", "/proc/self/root"),
        Link("d/e/back", "../up/f"),
    ]);
    let cases = [
        ("absolute/f", "d/e/f", true),
        ("relative/f", "d/e/f", true),
        ("d/up/f", "d/e/f", true),
        ("climbs/f", "d/e/f", true),
        ("chain/f", "d/e/f", true),
        ("d/e/back", "d/e/f", true),
        ("chain", "d/e", true),
        ("dangling", "d/none", false),
        ("dangling/x/y", "d/none/x/y", false),
        ("d/e/f/below", "d/e/f/below", false),
        ("", "", true),
    ];
    for view in [View::dir(root(&top)), View::stack(vec![root(&top)])] {
        for (path, real, there) in cases {
            let resolved = view.resolve(&RelPath::from(path), Follow::Final).unwrap();
            assert_eq!((resolved.path, resolved.meta.is_some()), (RelPath::from(real), there), "{path}");
        }
        let out = view.resolve(&RelPath::from("out"), Follow::Final).unwrap();
        assert_eq!(out.path, RelPath::clean(canary.as_os_str().as_encoded_bytes()), "re-rooted");
        assert_eq!(out.meta, None, "the canary is outside");
        assert_eq!(view.resolve(&RelPath::from("host/etc"), Follow::Final).unwrap().meta, None);
        let link = view.resolve(&RelPath::from("chain2"), Follow::Parents).unwrap();
        assert_eq!((link.path, link.meta.unwrap().kind), (RelPath::from("chain2"), Kind::Symlink));
        let below = view.resolve(&RelPath::from("relative/back"), Follow::Parents).unwrap();
        assert_eq!(below.path, RelPath::from("d/e/back"));
    }
}

#[test]
fn endless_links_end_in_an_error() {
    let mut list = vec![Link("a", "b"), Link("b", "a"), Link("self", "self/x")];
    let names: Vec<(String, String)> = (0..300).map(|i| (format!("n{i}"), format!("n{}", i + 1))).collect();
    list.extend(names.iter().map(|(name, to)| Link(name, to)));
    list.push(Dir("n300", 0o755));
    let top = tree(&list);
    let view = View::dir(root(&top));
    for path in ["a", "a/x", "self", "n0", "n44"] {
        let error = view.resolve(&RelPath::from(path), Follow::Final).unwrap_err();
        assert!(matches!(error, LayerfsError::TooManyLinks { .. }), "{path}: {error}");
    }
    assert_eq!(view.resolve(&RelPath::from("n45"), Follow::Final).unwrap().path, RelPath::from("n300"));
}

#[test]
fn many_layers_and_deep_paths() {
    let layers: Vec<_> = (0..150)
        .map(|i| tree(&[File(&format!("d/f{i}"), "x", 0o644), File("d/common", &i.to_string(), 0o644)]))
        .collect();
    let view = View::stack(layers.iter().map(root).collect());
    assert_eq!(view.read_dir(&RelPath::from("d")).unwrap().len(), 151);
    let mut text = String::new();
    view.open_file(&RelPath::from("d/common")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "149");
    let deep = "x/".repeat(20_000);
    assert_eq!(view.lstat(&RelPath::from(deep.as_str())).unwrap(), None);
}
