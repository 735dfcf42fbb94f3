//! `--exclude` and `--parents`: what goes, what is there only on the way, and which directories keep what they have.

use crate::trees::{Dir, Fifo, File, Link, Make, listing, root, tree};
use cooper_image::RelPath;
use cooper_layerfs::LayerfsError;
use cooper_layerfs::copy::{Chmod, CopyPart, CopyRequest, Owner, Unpack, pack_copy};
use cooper_layerfs::select::{Ownership, Rule, Rules, SelectRequest, Selection, Taken, select};
use cooper_layerfs::view::View;

/// Paths and all below them, but for others and all below those.
struct Listed(&'static [&'static str], &'static [&'static str]);

impl Rule for Listed {
    fn matches(&self, path: &RelPath) -> bool {
        let below = |list: &[&str]| list.iter().any(|l| path.strip_prefix(&RelPath::from(*l)).is_some());
        below(self.0) && !below(self.1)
    }
    fn differs_below(&self, dir: &RelPath) -> bool {
        self.0.iter().chain(self.1).any(|l| RelPath::from(*l).strip_prefix(dir).is_some())
    }
}

const NOTHING: Listed = Listed(&[], &[]);

fn chosen(view: &View, from: &str, excluded: &Listed, taken: &[Taken<'_>]) -> Result<Selection, LayerfsError> {
    select(&SelectRequest {
        view,
        patterns: &[from.to_owned()],
        ignored: &|p| p.as_bytes() == b"hidden",
        may_hold_included: &|_| false,
        glob: &|pattern, _| pattern == b"*",
        ownership: Ownership::Zero,
        rules: Rules { excluded: Some(excluded), taken },
    })
}

fn packed(view: &View, selection: &Selection, target: &[Make<'_>], chmod: Option<&Chmod>) -> Vec<String> {
    let target = tree(target);
    let request = CopyRequest {
        parts: &[CopyPart { view, selection, unpack: Unpack::No }],
        target: &View::stack(vec![root(&target)]),
        dest: &"/to".into(),
        dest_is_dir: true,
        owner: Owner::Set { uid: 5, gid: 6 },
        chmod,
        clamp: None,
        now: 0,
        inline: &[],
    };
    let mut out = Vec::new();
    pack_copy(&request, &mut out).unwrap();
    listing(&out)
}

const TREE: &[Make<'_>] = &[
    Dir("a", 0o700),
    File("a/keep", "k", 0o644),
    File("a/drop", "d", 0o644),
    Dir("a/b", 0o750),
    File("a/b/f", "f", 0o600),
    File("a/b/g", "g", 0o600),
    Dir("empty", 0o755),
    Link("link", "a"),
    File("hidden", "h", 0o644),
    File("top", "t", 0o644),
];

#[test]
fn what_is_excluded_does_not_go_and_does_not_count() {
    let (top, without) = (tree(TREE), tree(&TREE[..2]));
    let view = View::dir(root(&top));
    type Case<'a> = (&'a str, Listed, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("a", Listed(&["drop", "b"], &[]), &["d 755 5:6 to/", "f 644 5:6 to/keep = k"]),
        ("a", Listed(&["drop", "keep", "b"], &["b/f"]), &["d 755 5:6 to/", "d 750 5:6 to/b/", "f 600 5:6 to/b/f = f"]),
        ("a", Listed(&["drop", "keep", "b"], &["b/none"]), &["d 755 5:6 to/"]),
        // What is named, or matched, is judged by its name when it is a file; a directory by what is in it.
        ("a/keep", Listed(&["keep"], &[]), &[]),
        ("a/*", Listed(&["keep", "drop", "g"], &[]), &["d 755 5:6 to/", "f 600 5:6 to/f = f"]),
    ];
    for (from, excluded, expected) in cases {
        let selection = chosen(&view, from, excluded, &[]).unwrap();
        assert_eq!(packed(&view, &selection, &[], None), *expected, "{from} without {:?}", excluded.0);
    }
    let digest = |view: &View, excluded: &Listed| chosen(view, "a", excluded, &[]).unwrap().digest;
    assert_eq!(digest(&view, &Listed(&["drop", "b"], &[])), digest(&View::dir(root(&without)), &NOTHING));
    std::fs::write(top.path().join("a/drop"), "other").unwrap();
    assert_eq!(digest(&view, &Listed(&["drop", "b"], &[])), digest(&View::dir(root(&without)), &NOTHING));
}

#[test]
fn parents_are_kept_with_what_is_on_the_way_to_it() {
    let top = tree(TREE);
    let view = View::dir(root(&top));
    let kept = |from: &str, text: &'static str, list: &'static [&'static str], target: &[Make<'_>]| {
        let rule = Listed(list, &[]);
        let selection = chosen(&view, from, &NOTHING, &[Taken { rule: Some(&rule), kept: text }])?;
        Ok::<_, LayerfsError>(packed(&view, &selection, target, None))
    };
    assert_eq!(
        kept(".", "a/b/f", &["a/b/f"], &[]).unwrap(),
        ["d 755 5:6 to/", "d 700 5:6 to/a/", "d 750 5:6 to/a/b/", "f 600 5:6 to/a/b/f = f"]
    );
    assert_eq!(
        kept("a", "b", &["b"], &[]).unwrap(),
        ["d 755 5:6 to/", "d 750 5:6 to/b/", "f 600 5:6 to/b/f = f", "f 600 5:6 to/b/g = g"]
    );
    // A source that is named through a link is followed; a link behind the pivot is not.
    assert_eq!(kept("link", "keep", &["keep"], &[]).unwrap(), ["d 755 5:6 to/", "f 644 5:6 to/keep = k"]);
    // Wildcards need nothing.
    assert_eq!(kept(".", "n*", &["none"], &[]).unwrap(), ["d 755 5:6 to/"]);
    assert_eq!(kept("*", "b/f", &["b/f"], &[]).unwrap().last().unwrap(), "f 600 5:6 to/b/f = f");
    // A directory that was only on the way and is there keeps its owner.
    let there = [Dir("to/a", 0o777), File("to/a/old", "o", 0o644)];
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let lines = kept(".", "a/b/f", &["a/b/f"], &there).unwrap();
    assert_eq!(lines[1], format!("d 700 {uid}:{gid} to/a/"));
    assert_eq!(lines[2], "d 750 5:6 to/a/b/");
    for (from, text, list, says) in [
        (".", "a/none", &["a/none"], "a/none: no such file or directory in the source"),
        (".", "link/keep", &["link/keep"], "link/keep: no such file or directory in the source"),
        (".", "hidden", &["hidden"], "hidden is excluded by the ignore file"),
        ("top", "x", &["x"], "top/x: no such file or directory in the source"),
        ("none", "x*", &["x"], "none: no such file or directory in the source"),
    ] {
        let error = kept(from, text, list, &[]).unwrap_err();
        assert_eq!(error.to_string(), says, "{from} {text}");
        assert!(error.is_usage(), "{error}");
    }
}

#[test]
fn what_does_not_go_is_not_looked_at() {
    let top = tree(&[File("a/f", "f", 0o644), Fifo("pipe"), Fifo("a/pipe")]);
    let view = View::dir(root(&top));
    let rule = Listed(&["a/f"], &[]);
    let selection = chosen(&view, ".", &NOTHING, &[Taken { rule: Some(&rule), kept: "a/f" }]).unwrap();
    assert_eq!(packed(&view, &selection, &[], None).last().unwrap(), "f 644 5:6 to/a/f = f");
    assert!(chosen(&view, ".", &Listed(&["pipe"], &[]), &[]).is_err());
    assert!(chosen(&view, ".", &Listed(&["pipe", "a/pipe"], &[]), &[]).is_ok());
}

#[test]
fn a_mode_is_for_the_directories_on_the_way_too() {
    let top = tree(TREE);
    let view = View::dir(root(&top));
    let rule = Listed(&["b/f"], &[]);
    let selection = chosen(&view, "a", &NOTHING, &[Taken { rule: Some(&rule), kept: "b/f" }]).unwrap();
    let lines = packed(&view, &selection, &[], Some(&Chmod::parse("711").unwrap()));
    assert_eq!(lines, ["d 711 5:6 to/", "d 711 5:6 to/b/", "f 711 5:6 to/b/f = f"]);
}
