//! Layers of COPY and ADD: where things land, whose they are, and what is refused.

use crate::trees::{Attribute, Dir, File, Hard, Link, Make, listing, root, times, tree};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::copy::{Chmod, CopyPart, CopyRequest, Owner, Packed, Unpack, pack_copy, pack_nothing};
use cooper_layerfs::select::{Ownership, Rules, SelectRequest, Selection, select};
use cooper_layerfs::view::View;
use std::time::{Duration, SystemTime};

/// A copy with everything at its default.
#[derive(Clone, Copy)]
struct Copying<'a> {
    patterns: &'a [&'a str],
    dest: &'a str,
    owner: Owner,
    chmod: Option<&'a str>,
    clamp: Option<i64>,
    inline: &'a [(String, Vec<u8>)],
    unpack: Unpack,
}

const PLAIN: Copying<'_> = Copying {
    patterns: &["."],
    dest: "/to/",
    owner: Owner::Keep,
    chmod: None,
    clamp: None,
    inline: &[],
    unpack: Unpack::No,
};

fn choose(view: &View, patterns: &[&str]) -> Selection {
    let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
    let glob = |pattern: &[u8], _: &[u8]| pattern == b"*";
    let request = SelectRequest {
        view,
        patterns: &patterns,
        ignored: &|_| false,
        may_hold_included: &|_| true,
        glob: &glob,
        ownership: Ownership::Zero,
        rules: Rules::default(),
    };
    select(&request).unwrap()
}

impl Copying<'_> {
    fn pack(
        &self,
        view: &View,
        selection: &Selection,
        target: &View,
        out: &mut Vec<u8>,
    ) -> Result<Packed, LayerfsError> {
        let chmod = self.chmod.map(|c| Chmod::parse(c).unwrap());
        let request = CopyRequest {
            parts: &[CopyPart { view, selection, unpack: self.unpack }],
            target,
            dest: &self.dest.into(),
            dest_is_dir: self.dest.ends_with('/'),
            owner: self.owner,
            chmod: chmod.as_ref(),
            clamp: self.clamp,
            now: NOW,
            inline: self.inline,
        };
        pack_copy(&request, out)
    }

    fn tar(&self, source: &[Make<'_>], target: &[Make<'_>]) -> Result<Vec<u8>, LayerfsError> {
        let (source, target) = (tree(source), tree(target));
        let view = View::dir(root(&source));
        let mut out = Vec::new();
        let packed = self.pack(&view, &choose(&view, self.patterns), &View::stack(vec![root(&target)]), &mut out)?;
        assert_eq!(packed.entries, listing(&out).len() as u64);
        Ok(out)
    }

    fn list(&self, source: &[Make<'_>], target: &[Make<'_>]) -> Result<Vec<String>, LayerfsError> {
        self.tar(source, target).map(|tar| listing(&tar))
    }
}

/// When the copies are made.
const NOW: i64 = 1_700_000_000;

/// Owner of what the tests make in a target.
fn me() -> String {
    format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

#[test]
fn where_things_land() {
    let file: &[Make<'_>] = &[File("f", "1", 0o640)];
    let dir: &[Make<'_>] = &[Dir("s", 0o700), File("s/sub/g", "2", 0o600), Dir("s/sub", 0o750)];
    let both: &[Make<'_>] = &[file, dir].concat();
    type Case<'a> = (&'a str, &'a [Make<'a>], &'a [&'a str], &'a str, &'a [Make<'a>], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("rename", file, &["f"], "/x/y", &[], &["d 755 0:0 x/", "f 640 0:0 x/y = 1"]),
        ("into", file, &["f"], "/x/y/", &[], &["d 755 0:0 x/", "d 755 0:0 x/y/", "f 640 0:0 x/y/f = 1"]),
        ("to the root", file, &["f"], "/", &[], &["f 640 0:0 f = 1"]),
        (
            "existing parents are stated again",
            file,
            &["f"],
            "/x/y",
            &[Dir("x", 0o700)],
            &["d 700 ME x/", "f 640 0:0 x/y = 1"],
        ),
        ("existing directory", file, &["f"], "/x", &[Dir("x", 0o700)], &["d 700 ME x/", "f 640 0:0 x/f = 1"]),
        ("existing file", file, &["f"], "/x", &[File("x", "old", 0o777)], &["f 640 0:0 x = 1"]),
        (
            "over a link in a directory",
            file,
            &["f"],
            "/x/",
            &[Link("x/f", "/y"), Dir("x", 0o755)],
            &["d 755 ME x/", "f 640 0:0 x/f = 1"],
        ),
        (
            "linked directory",
            file,
            &["f"],
            "/x",
            &[Link("x", "/d/e"), Dir("d", 0o711), Dir("d/e", 0o755)],
            &["d 711 ME d/", "d 755 ME d/e/", "f 640 0:0 d/e/f = 1"],
        ),
        (
            "linked parent",
            file,
            &["f"],
            "/x/y",
            &[Link("x", "d"), Dir("d", 0o755)],
            &["d 755 ME d/", "f 640 0:0 d/y = 1"],
        ),
        (
            "climbing link",
            file,
            &["f"],
            "/a/x/y",
            &[Link("a/x", "../../../d"), Dir("d", 0o755)],
            &["d 755 ME d/", "f 640 0:0 d/y = 1"],
        ),
        (
            "linked file",
            file,
            &["f"],
            "/x",
            &[Link("x", "d/old"), File("d/old", "", 0o600), Dir("d", 0o755)],
            &["d 755 ME d/", "f 640 0:0 d/old = 1"],
        ),
        ("dangling link", file, &["f"], "/x", &[Link("x", "d/new")], &["d 755 0:0 d/", "f 640 0:0 d/new = 1"]),
        ("contents", dir, &["s"], "/x", &[], &["d 755 0:0 x/", "d 750 0:0 x/sub/", "f 600 0:0 x/sub/g = 2"]),
        (
            "contents into what is there",
            dir,
            &["s"],
            "/x",
            &[Dir("x/sub", 0o777), Dir("x", 0o755)],
            &["d 755 ME x/", "d 750 0:0 x/sub/", "f 600 0:0 x/sub/g = 2"],
        ),
        (
            "several",
            both,
            &["f", "s"],
            "/x/",
            &[],
            &["d 755 0:0 x/", "f 640 0:0 x/f = 1", "d 750 0:0 x/sub/", "f 600 0:0 x/sub/g = 2"],
        ),
        (
            "a glob over several",
            both,
            &["*"],
            "/x/",
            &[],
            &["d 755 0:0 x/", "f 640 0:0 x/f = 1", "d 750 0:0 x/sub/", "f 600 0:0 x/sub/g = 2"],
        ),
        (
            "several, the first of which makes the directory",
            both,
            &["s", "f"],
            "/x",
            &[],
            &["d 755 0:0 x/", "f 640 0:0 x/f = 1", "d 750 0:0 x/sub/", "f 600 0:0 x/sub/g = 2"],
        ),
        (
            "the last of several files",
            &[File("a", "1", 0o644), File("b", "2", 0o600)],
            &["b", "a"],
            "/x",
            &[],
            &["f 644 0:0 x = 1"],
        ),
        (
            "the last of a glob",
            &[File("a", "1", 0o644), File("b", "2", 0o600)],
            &["*"],
            "/x",
            &[],
            &["f 600 0:0 x = 2"],
        ),
        (
            "several into a directory that is there",
            &[File("a", "1", 0o644), File("b", "2", 0o600)],
            &["*"],
            "/x",
            &[Dir("x", 0o700)],
            &["d 700 ME x/", "f 644 0:0 x/a = 1", "f 600 0:0 x/b = 2"],
        ),
        ("empty", &[Dir("s", 0o700)], &["s"], "/x/y", &[], &["d 755 0:0 x/", "d 755 0:0 x/y/"]),
        ("nothing", &[], &["none*"], "/x/y/", &[], &[]),
        (
            "the later wins",
            &[File("a/f", "1", 0o644), File("b/f", "2", 0o600)],
            &["a", "b"],
            "/",
            &[],
            &["f 600 0:0 f = 2"],
        ),
        ("set-id", &[File("s", "", 0o6755)], &["s"], "/s", &[], &["f 6755 0:0 s = "]),
        (
            "links stay",
            &[Link("s/l", "/etc/../x"), Link("s/d", "nowhere")],
            &["s"],
            "/",
            &[],
            &["l 777 0:0 d -> nowhere", "l 777 0:0 l -> /etc/../x"],
        ),
        (
            "attributes",
            &[File("f", "", 0o644), Attribute("f", "user.a", "b")],
            &["f"],
            "/",
            &[],
            &["f 644 0:0 f =  user.a=b"],
        ),
        (
            "hard links",
            &[File("s/a", "1", 0o644), Hard("s/b", "s/a"), Hard("c", "s/a")],
            &["s", "c"],
            "/",
            &[],
            &["f 644 0:0 a = 1", "h 644 0:0 b -> a", "f 644 0:0 c = 1"],
        ),
    ];
    for (name, source, patterns, dest, target, expected) in cases {
        let copying = Copying { patterns, dest, ..PLAIN };
        let expected: Vec<String> = expected.iter().map(|line| line.replace("ME", &me())).collect();
        assert_eq!(copying.list(source, target).unwrap(), expected, "{name}");
    }
}

#[test]
fn what_is_in_the_way() {
    let f: Make<'_> = File("f", "1", 0o644);
    let d: Make<'_> = File("d/sub/g", "1", 0o644);
    type Case<'a> = (&'a str, &'a [Make<'a>], &'a [&'a str], &'a str, &'a [Make<'a>], bool);
    // The last says: is a directory needed where there is none?
    let cases: &[Case<'_>] = &[
        ("file onto a directory of its name", &[f], &["f"], "/x/", &[Dir("x/f", 0o755)], false),
        ("file into a file", &[f], &["f"], "/x/", &[File("x", "", 0o644)], true),
        ("file below a file", &[f], &["f"], "/x/y", &[File("x", "", 0o644)], true),
        ("directory onto an earlier source's file", &[f, d], &["f", "d"], "/x", &[], true),
        ("directory onto a file", &[d], &["d"], "/x", &[File("x", "", 0o644)], true),
        ("directory onto a file below", &[d], &["d"], "/", &[File("sub", "", 0o644)], true),
        ("directory onto a link below", &[d], &["d"], "/", &[Link("sub", "x"), Dir("x", 0o755)], true),
        ("file onto a directory below", &[d], &["d"], "/", &[Dir("sub/g", 0o755)], false),
        ("one source's file, another's directory", &[f, File("e/f/x", "", 0o644)], &["f", "e"], "/", &[], true),
        ("one source's directory, another's file", &[f, File("e/f/x", "", 0o644)], &["e", "f"], "/", &[], false),
    ];
    for (name, source, patterns, dest, target, needs_directory) in cases {
        let error = Copying { patterns, dest, ..PLAIN }.list(source, target).unwrap_err();
        assert_eq!(matches!(error, LayerfsError::NotADirectory { .. }), *needs_directory, "{name}: {error}");
        assert!(error.is_usage() && error.hint().is_some(), "{name}: {error}");
    }
    let reserved = Copying { ..PLAIN }.list(&[File(".wh.f", "", 0o644)], &[]).unwrap_err();
    assert!(matches!(reserved, LayerfsError::ReservedName { .. }), "{reserved}");
}

#[test]
fn owners_and_modes() {
    let source: &[Make<'_>] = &[File("s/f", "", 0o600), Dir("s/d", 0o700), Link("s/l", "f"), File("s/x", "", 0o711)];
    let set = Owner::Set { uid: 7, gid: 8 };
    let list = |chmod| Copying { patterns: &["s"], owner: set, chmod, ..PLAIN }.list(source, &[]).unwrap();
    assert_eq!(
        list(Some("u=rwX,go=rX")),
        ["d 755 7:8 to/", "d 755 7:8 to/d/", "f 644 7:8 to/f = ", "l 777 7:8 to/l -> f", "f 755 7:8 to/x = "]
    );
    assert_eq!(
        list(Some("4750")),
        ["d 4750 7:8 to/", "d 4750 7:8 to/d/", "f 4750 7:8 to/f = ", "l 777 7:8 to/l -> f", "f 4750 7:8 to/x = "]
    );
    let made = Copying { patterns: &["s/f"], dest: "/a/b/f", owner: set, chmod: Some("600"), ..PLAIN };
    assert_eq!(made.list(source, &[]).unwrap(), ["d 600 7:8 a/", "d 600 7:8 a/b/", "f 600 7:8 a/b/f = "]);
    let there = made.list(source, &[Dir("a", 0o711)]).unwrap();
    assert_eq!(there, [&format!("d 711 {} a/", me()), "d 600 7:8 a/b/", "f 600 7:8 a/b/f = "]);
    let symbolic = Copying { chmod: Some("u=rw,go="), ..made };
    assert_eq!(symbolic.list(source, &[]).unwrap(), ["d 755 7:8 a/", "d 755 7:8 a/b/", "f 600 7:8 a/b/f = "]);
}

#[test]
fn times_are_clamped_and_the_rest_is_reproducible() {
    let source = tree(&[File("old", "1", 0o644), File("new", "2", 0o644)]);
    let at = |name: &str, secs| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        std::fs::File::open(source.path().join(name)).unwrap().set_modified(time).unwrap();
    };
    at("old", 1000);
    at("new", 3000);
    let view = View::dir(root(&source));
    let target = View::stack(Vec::new());
    let pack = |clamp| {
        let mut out = Vec::new();
        Copying { clamp, ..PLAIN }.pack(&view, &choose(&view, &["."]), &target, &mut out).unwrap();
        out
    };
    let named = |list: &[(&str, i64)]| list.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect::<Vec<_>>();
    assert_eq!(times(&pack(None)), named(&[("to/", 3000), ("to/new", 3000), ("to/old", 1000)]));
    assert_eq!(times(&pack(Some(2000))), named(&[("to/", 2000), ("to/new", 2000), ("to/old", 1000)]));
    assert_eq!(pack(Some(2000)), pack(Some(2000)));
}

#[test]
fn files_from_the_dockerfile() {
    let inline = [("a".to_owned(), b"one".to_vec()), ("b".to_owned(), b"two".to_vec())];
    let base = Copying { patterns: &[], owner: Owner::Set { uid: 1, gid: 2 }, ..PLAIN };
    let one = Copying { dest: "/x/y", inline: &inline[..1], ..base };
    assert_eq!(one.list(&[], &[]).unwrap(), ["d 755 1:2 x/", "f 644 1:2 x/y = one"]);
    let stated = [format!("d 700 {} x/", me()), format!("d 755 {} x/y/", me()), "f 644 1:2 x/y/a = one".to_owned()];
    assert_eq!(one.list(&[], &[Dir("x", 0o700), Dir("x/y", 0o755)]).unwrap(), stated);
    let last = Copying { dest: "/x", inline: &inline, ..one };
    assert_eq!(last.list(&[], &[]).unwrap(), ["f 644 1:2 x = two"], "each in turn");
    let two = Copying { dest: "/x/", inline: &inline, chmod: Some("+x"), ..one };
    assert_eq!(two.list(&[], &[]).unwrap(), ["d 755 1:2 x/", "f 755 1:2 x/a = one", "f 755 1:2 x/b = two"]);
    let with_a_file = Copying { patterns: &["a"], dest: "/", inline: &inline[..1], ..PLAIN };
    assert_eq!(with_a_file.list(&[File("a", "file", 0o600)], &[]).unwrap(), ["f 644 0:0 a = one"], "it comes after");
}

#[test]
fn files_of_the_dockerfile_are_made_now_and_no_later_than_the_date() {
    let inline = [("a".to_owned(), b"one".to_vec())];
    let copying = Copying { patterns: &["f"], dest: "/", inline: &inline, ..PLAIN };
    let time = |clamp: Option<i64>| {
        let tar = Copying { clamp, ..copying }.tar(&[File("f", "1", 0o644)], &[]).unwrap();
        times(&tar).into_iter().find(|(name, _)| name == "a").unwrap().1
    };
    assert_eq!((time(None), time(Some(5))), (NOW, 5), "whatever the file beside it has");
    // A directory that nothing has a time for is as new.
    let alone = Copying { patterns: &[], dest: "/x/", inline: &inline, ..PLAIN };
    assert!(times(&alone.tar(&[], &[]).unwrap()).iter().all(|(_, time)| *time == NOW));
}

#[test]
fn what_changed_since_it_was_selected_is_not_packed() {
    type Change = fn(&std::path::Path);
    let changes: [(&str, Change); 5] = [
        ("content", |p| std::fs::write(p, "2").unwrap()),
        ("longer", |p| std::fs::write(p, "11").unwrap()),
        ("shorter", |p| std::fs::write(p, "").unwrap()),
        ("gone", |p| std::fs::remove_file(p).unwrap()),
        ("a link", |p| {
            std::fs::remove_file(p).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", p).unwrap();
        }),
    ];
    for (what, change) in changes {
        let source = tree(&[File("f", "1", 0o644)]);
        let view = View::dir(root(&source));
        let selection = choose(&view, &["."]);
        change(&source.path().join("f"));
        let result = PLAIN.pack(&view, &selection, &View::stack(Vec::new()), &mut Vec::new());
        assert!(matches!(result, Err(LayerfsError::Changed { .. })), "{what}: {result:?}");
    }
}

#[test]
fn a_layer_of_nothing_is_an_empty_archive() {
    let mut out = Vec::new();
    pack_nothing(&mut out).unwrap();
    assert_eq!((listing(&out).len(), out.len()), (0, 1024));
}

#[test]
fn a_whole_directory_for_workdir() {
    let empty = tree(&[]);
    let view = View::dir(root(&empty));
    let selection = Selection::whole_directory(&view).unwrap();
    let mut out = Vec::new();
    let copying = Copying { dest: "/a/b/", owner: Owner::Set { uid: 5, gid: 6 }, clamp: Some(9), ..PLAIN };
    copying.pack(&view, &selection, &View::stack(Vec::new()), &mut out).unwrap();
    assert_eq!(listing(&out), ["d 755 5:6 a/", "d 755 5:6 a/b/"]);
    assert!(times(&out).iter().all(|(_, t)| *t == 9));
}
