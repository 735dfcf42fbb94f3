//! What COPY takes: patterns, ignore rules, links, and what the digest stands for.

use crate::trees::{Attribute, Dir, Fifo, File, Hard, Link, Make, Whiteout, add, listing, root, tree};
use cooper_image::{Digest, RelPath};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::copy::{self, CopyPart, CopyRequest, Owner, Unpack};
use cooper_layerfs::seen::Seen;
use cooper_layerfs::select::{Ownership, Rules, SelectRequest, Selection, select};
use cooper_layerfs::view::View;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Enough of a glob for tests: `*` alone, before or behind a text, and `[x]`.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let pattern = String::from_utf8_lossy(pattern).replace("[[]", "[");
    let name = String::from_utf8_lossy(name);
    match pattern.split_once('*') {
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
        None => pattern == name,
    }
}

fn selected(view: &View, patterns: &[&str], ownership: Ownership) -> Result<Selection, LayerfsError> {
    hiding(view, patterns, &[], &[], ownership)
}

/// With the given paths hidden, and everything below them, but for those that are re-included.
fn hiding(
    view: &View,
    patterns: &[&str],
    hidden: &[&str],
    shown: &[&str],
    ownership: Ownership,
) -> Result<Selection, LayerfsError> {
    let below = |path: &RelPath, list: &[&str]| list.iter().any(|h| path.strip_prefix(&RelPath::from(*h)).is_some());
    let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
    select(&SelectRequest {
        view,
        patterns: &patterns,
        ignored: &|p| below(p, hidden) && !below(p, shown),
        may_hold_included: &|p| shown.iter().any(|s| RelPath::from(*s).strip_prefix(p).is_some()),
        glob: &glob,
        ownership,
        rules: Rules::default(),
    })
}

/// The tar of a copy to `/to`.
fn pack(view: &View, selection: &Selection) -> Result<Vec<u8>, LayerfsError> {
    let request = CopyRequest {
        parts: &[CopyPart { view, selection, unpack: Unpack::No }],
        target: &View::stack(Vec::new()),
        dest: &"/to".into(),
        dest_is_dir: true,
        owner: Owner::Keep,
        chmod: None,
        clamp: None,
        now: 0,
        inline: &[],
    };
    let mut out = Vec::new();
    copy::pack_copy(&request, &mut out).map(|_| out)
}

/// What a copy of the selection into `/to/` holds, without modes and owners.
fn names(view: &View, selection: &Selection) -> Vec<String> {
    let out = pack(view, selection).unwrap();
    let lines = listing(&out);
    lines
        .iter()
        .map(|l| l.splitn(4, ' ').nth(3).unwrap())
        .filter(|l| *l != "to/")
        .map(|l| l.replacen("to/", "", 1))
        .collect()
}

#[test]
fn patterns_name_files() {
    let top = tree(&[
        File("a.txt", "a", 0o644),
        File("b.txt", "b", 0o644),
        File("c.md", "c", 0o644),
        File("d/e/f.txt", "f", 0o644),
        File("d/g.txt", "g", 0o644),
        Dir("empty", 0o755),
        File("weird[x", "w", 0o644),
        File("star*", "s", 0o644),
        Link("to-file", "d/g.txt"),
        Link("to-dir", "/d/e"),
        Link("d/inner", "../a.txt"),
        Link("climb", "../../../d"),
    ]);
    let view = View::dir(root(&top));
    let cases: &[(&[&str], &[&str])] = &[
        (&["a.txt"], &["a.txt = a"]),
        (&["/a.txt"], &["a.txt = a"]),
        (&["../../a.txt"], &["a.txt = a"]),
        (&["./d/../b.txt"], &["b.txt = b"]),
        (&["*.txt"], &["a.txt = a", "b.txt = b"]),
        (&["*.nothing"], &[]),
        (&["nothing/*"], &[]),
        (&["a.txt/*"], &[]),
        (&["d"], &["e/", "e/f.txt = f", "g.txt = g", "inner -> ../a.txt"]),
        (&["d/"], &["e/", "e/f.txt = f", "g.txt = g", "inner -> ../a.txt"]),
        (&["d/*"], &["f.txt = f", "g.txt = g", "inner = a"]),
        (&["*/g.txt"], &["g.txt = g"]),
        (&["*/*/f.txt"], &["f.txt = f"]),
        (&["to-file"], &["to-file = g"]),
        (&["to-dir"], &["f.txt = f"]),
        (&["to-dir/f.txt"], &["f.txt = f"]),
        (&["to-dir/*.txt"], &["f.txt = f"]),
        (&["climb/g.txt"], &["g.txt = g"]),
        (&["to-*"], &["f.txt = f", "to-file = g"]),
        (&["empty"], &[]),
        (&["weird[[]x"], &["weird[x = w"]),
        (&["weird\\[x"], &["weird[x = w"]),
        (&["star\\*"], &["star* = s"]),
        (&["a.txt", "d/e"], &["a.txt = a", "f.txt = f"]),
    ];
    for (patterns, expected) in cases {
        let selection = selected(&view, patterns, Ownership::Zero).unwrap();
        assert_eq!(names(&view, &selection), *expected, "{patterns:?}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let outside = tree(&[File("canary", "outside", 0o644)]);
    let out = outside.path().join("canary");
    let top = tree(&[File("a", "1", 0o644), Link("out", out.to_str().unwrap()), Link("dangling", "none")]);
    let view = View::dir(root(&top));
    for pattern in ["missing", "a/below", "missing/x", "dangling", "out", "*t", "dang*"] {
        let error = selected(&view, &["a", pattern], Ownership::Zero).unwrap_err();
        assert!(matches!(&error, LayerfsError::MissingSource { .. }), "{pattern}: {error}");
        assert!(error.is_usage() && error.hint().unwrap().contains(".dockerignore"));
    }
}

#[test]
fn ignored_files_are_not_taken() {
    let top = tree(&[
        File("a/keep/x", "x", 0o644),
        File("a/drop/y", "y", 0o644),
        File("b/secret", "s", 0o644),
        File("c", "c", 0o644),
        Link("to-secret", "b/secret"),
    ]);
    let view = View::dir(root(&top));
    let names = |patterns: &[&str], hidden: &[&str], shown: &[&str]| {
        hiding(&view, patterns, hidden, shown, Ownership::Zero).map(|s| names(&view, &s))
    };
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            &["."],
            &["b"],
            &[],
            &["a/", "a/drop/", "a/drop/y = y", "a/keep/", "a/keep/x = x", "c = c", "to-secret -> b/secret"],
        ),
        (&["."], &["a", "b", "to-secret"], &["a/keep"], &["a/", "a/keep/", "a/keep/x = x", "c = c"]),
        (&["a"], &["a"], &["a/keep"], &["keep/", "keep/x = x"]),
        (&["*"], &["a", "b", "to-secret"], &[], &["c = c"]),
        (&["*"], &["a", "b", "to-secret"], &["a/none"], &["c = c"]),
        (&["."], &["a", "b", "c", "to-secret"], &[], &[]),
    ];
    for (patterns, hidden, shown, expected) in cases {
        assert_eq!(names(patterns, hidden, shown).unwrap(), *expected, "{patterns:?} without {hidden:?} but {shown:?}");
    }
    for (pattern, hidden) in
        [("c", "c"), ("b", "b"), ("b/secret", "b"), ("to-secret", "b"), ("to-secret", "to-secret"), ("to-*", "b")]
    {
        let error = names(&[pattern], &[hidden], &[]).unwrap_err();
        assert!(matches!(error, LayerfsError::IgnoredSource { .. }), "{pattern} without {hidden}: {error}");
        assert!(error.is_usage() && error.hint().unwrap().contains(".dockerignore"));
    }
    let error = names(&["a"], &["a"], &["a/none"]).unwrap_err();
    assert!(matches!(error, LayerfsError::IgnoredSource { .. }), "{error}");
}

#[test]
fn an_ignored_file_is_never_opened() {
    let top = tree(&[File("a", "1", 0o644), File("locked/x", "1", 0o644), Fifo("pipe")]);
    std::fs::set_permissions(top.path().join("locked"), std::fs::Permissions::from_mode(0o0)).unwrap();
    let view = View::dir(root(&top));
    let selection = hiding(&view, &["."], &["locked", "pipe"], &[], Ownership::Zero);
    std::fs::set_permissions(top.path().join("locked"), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(names(&view, &selection.unwrap()), ["a = 1"]);
}

#[test]
fn pipes_devices_and_sockets() {
    let top = tree(&[File("a", "1", 0o644)]);
    let _socket = std::os::unix::net::UnixListener::bind(top.path().join("socket")).unwrap();
    let view = View::dir(root(&top));
    assert_eq!(names(&view, &selected(&view, &["."], Ownership::Zero).unwrap()), ["a = 1"], "sockets are skipped");
    add(top.path(), Fifo("pipe"));
    let stage = View::stack(vec![root(&top)]);
    assert_eq!(names(&stage, &selected(&stage, &["."], Ownership::Keep).unwrap()), ["a = 1", "pipe"]);
    for pattern in ["pipe", ".", "*"] {
        let error = selected(&view, &[pattern], Ownership::Zero).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("pipe"), "{error}");
    }
    std::fs::remove_file(top.path().join("pipe")).unwrap();
    add(top.path(), Whiteout("device"));
    let error = selected(&view, &["."], Ownership::Zero).unwrap_err();
    assert!(matches!(error, LayerfsError::UnsupportedKind { .. }), "{error}");
}

/// The digest of a tree, copied whole.
fn digest(list: &[Make<'_>], ownership: Ownership) -> Digest {
    let top = tree(list);
    selected(&View::dir(root(&top)), &["."], ownership).unwrap().digest
}

#[test]
fn the_digest_knows_every_part_and_nothing_else() {
    let base: &[Make<'_>] = &[
        Dir("d", 0o755),
        File("d/f", "content", 0o644),
        File("d/g", "content", 0o644),
        Link("l", "d/f"),
        Attribute("d/f", "user.a", "1"),
    ];
    let same = digest(base, Ownership::Zero);
    assert_eq!(digest(base, Ownership::Zero), same, "another place, another time");
    let with = |list: &[Make<'_>]| digest(&[base, list].concat(), Ownership::Zero);
    let variants = [
        ("content", with(&[File("d/f", "CONTENT", 0o644)])),
        ("size", with(&[File("d/f", "content ", 0o644)])),
        ("mode", with(&[File("d/f", "content", 0o755)])),
        ("set-id", with(&[File("d/f", "content", 0o4644)])),
        ("mode of a directory", with(&[Dir("d", 0o700)])),
        ("one more", with(&[File("d/h", "", 0o644)])),
        ("an empty directory", with(&[Dir("e", 0o755)])),
        ("attribute", with(&[Attribute("d/f", "user.a", "2")])),
        ("attribute of a directory", with(&[Attribute("d", "user.a", "2")])),
        (
            "rename",
            digest(
                &[
                    Dir("d", 0o755),
                    File("d/ff", "content", 0o644),
                    File("d/g", "content", 0o644),
                    Link("l", "d/f"),
                    Attribute("d/ff", "user.a", "1"),
                ],
                Ownership::Zero,
            ),
        ),
        ("link target", digest(&[&base[..3], &[Link("l", "d/g"), base[4]]].concat(), Ownership::Zero)),
        ("hard link", digest(&[base[0], base[1], Hard("d/g", "d/f"), base[3], base[4]], Ownership::Zero)),
    ];
    for (at, (what, changed)) in variants.iter().enumerate() {
        assert_ne!(*changed, same, "{what}");
        assert!(variants.iter().skip(at + 1).all(|(_, other)| other != changed), "{what} is like another");
    }
    assert_eq!(with(&[Attribute("d/f", "user.overlay.origin", "x")]), same, "marks of overlayfs");
}

#[test]
fn times_and_places_do_not_count() {
    let top = tree(&[File("one/a/f", "1", 0o644), File("two/b/f", "1", 0o644)]);
    let view = View::dir(root(&top));
    let digest = |patterns: &[&str]| selected(&view, patterns, Ownership::Zero).unwrap().digest;
    let before = digest(&["one"]);
    let past = SystemTime::now() - Duration::from_secs(86_400);
    std::fs::File::open(top.path().join("one/a/f")).unwrap().set_modified(past).unwrap();
    assert_eq!(digest(&["one"]), before);
    assert_eq!(digest(&["one/a"]), digest(&["two/b"]), "only contents go");
    assert_ne!(digest(&["one"]), digest(&["one/a"]));
    assert_eq!(digest(&["one/a/f"]), digest(&["two/b/f"]));
    assert_ne!(digest(&["one/a/f"]), digest(&["one/a"]), "a file that is named, or what is in a directory");
    assert_ne!(digest(&["one/a", "two"]), digest(&["two", "one/a"]), "the last one wins, so order counts");
    assert_eq!(digest(&["*/nothing"]), digest(&["none*"]));
}

#[test]
fn owners_count_for_stages_only() {
    let top = tree(&[File("f", "1", 0o644)]);
    let view = View::dir(root(&top));
    let zero = selected(&view, &["."], Ownership::Zero).unwrap().digest;
    let keep = selected(&view, &["."], Ownership::Keep).unwrap().digest;
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(top.path().join("f")).unwrap()) == 0;
    assert_eq!(zero == keep, is_root, "the same exactly when root owns the file");
}

#[test]
fn many_files_hash_like_one_by_one() {
    let list: Vec<String> = (0..700).map(|i| format!("d{}/f{i}", i % 7)).collect();
    let makes: Vec<Make<'_>> = list.iter().map(|path| File(path, path, 0o644)).collect();
    let (one, two) = (tree(&makes), tree(&makes));
    let digest = |top: &tempfile::TempDir| selected(&View::dir(root(top)), &["."], Ownership::Zero).unwrap().digest;
    let same = digest(&one);
    assert_eq!(digest(&two), same);
    for changed in ["d0/f0", "d6/f699"] {
        std::fs::write(two.path().join(changed), changed.to_uppercase()).unwrap();
        assert_ne!(digest(&two), same, "{changed}");
        std::fs::write(two.path().join(changed), changed).unwrap();
    }
    assert_eq!(digest(&two), same);
}

#[test]
fn a_wide_tree_is_walked_as_a_small_one_is() {
    let top = tempfile::tempdir().unwrap();
    let mut wanted = Vec::new();
    for n in 0..40 {
        for m in 0..10 {
            let dir = format!("d{n:02}/e{m}");
            std::fs::create_dir_all(top.path().join(&dir)).unwrap();
            std::fs::write(top.path().join(&dir).join("f"), &dir).unwrap();
            wanted.push(format!("{dir}/f"));
        }
    }
    let view = View::dir(root(&top));
    let one = selected(&view, &["."], Ownership::Zero).unwrap();
    let files: Vec<String> = one.files(usize::MAX).unwrap().into_keys().filter(|f| f.ends_with('f')).collect();
    assert_eq!(files, wanted);
    assert_eq!(selected(&view, &["."], Ownership::Zero).unwrap().digest, one.digest);
    let few = hiding(&view, &["."], &["d07"], &["d07/e3/f"], Ownership::Zero).unwrap();
    let in_07: Vec<String> = few.files(usize::MAX).unwrap().into_keys().filter(|f| f.starts_with("d07")).collect();
    assert_eq!(in_07, ["d07", "d07/e3", "d07/e3/f"]);
    // A failure ends the walk of all threads.
    for dir in ["d11", "d35"] {
        add(top.path(), Fifo(&format!("{dir}/pipe")));
    }
    for _ in 0..5 {
        let refused = selected(&view, &["."], Ownership::Zero).unwrap_err().to_string();
        assert!(refused.contains("d11/pipe") || refused.contains("d35/pipe"), "{refused}");
    }
}

#[test]
fn a_file_tells_whether_its_content_or_its_mode_changed() {
    use std::os::unix::fs::PermissionsExt as _;
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("f");
    let told = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let selection = selected(&View::dir(root(&top)), &["f"], Ownership::Zero).unwrap();
        let files = selection.files(1).unwrap();
        files["f"].split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let (first, mode, content) = (told("a", 0o644), told("a", 0o755), told("b", 0o755));
    assert_eq!((first[0].len(), &first[1..]), (12, &["644".to_owned(), "0:0".to_owned()][..]));
    assert_eq!((&mode[0], mode[1].as_str()), (&first[0], "755"));
    assert_ne!(content[0], mode[0]);
    assert_eq!(content[1..], mode[1..]);
}

/// A look at the tree with what earlier looks remembered, as at a time long after the files were made.
fn remembering(dir: &tempfile::TempDir, before: &[u8]) -> (View, std::sync::Arc<Seen>) {
    let later = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(60);
    let dev = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(dir.path()).unwrap());
    let seen = std::sync::Arc::new(Seen::decode(before, dev, later.as_secs() as i64));
    (View::dir(root(dir)).with_seen(seen.clone()), seen)
}

#[test]
fn a_known_file_is_not_read_again_and_a_changed_one_is() {
    let capability = [File("cap", "x", 0o755), Attribute("cap", "user.note", "1")];
    let top = tree(&[File("a", "one", 0o644), File("d/b", "two", 0o644)]);
    capability.into_iter().for_each(|make| add(top.path(), make));
    let digest = |before: &[u8]| {
        let (view, seen) = remembering(&top, before);
        (selected(&view, &["."], Ownership::Zero).unwrap().digest, seen.encode())
    };
    let (first, remembered) = digest(b"");
    let remembered = remembered.unwrap();
    // Nothing new but the file with an attribute, which is read each time and not remembered.
    assert_eq!(digest(&remembered), (first.clone(), None));
    // The same size and the same modification time: the change shows in the ctime alone.
    let path = top.path().join("d/b");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, "TWO").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let (second, after) = digest(&remembered);
    assert_ne!(second, first);
    assert_eq!(digest(&after.unwrap()), (second.clone(), None));
    // A known file that cannot be read is not missed: nobody opened it.
    let lying = remembering(&top, &remembered).0;
    std::fs::write(&path, "two").unwrap();
    assert_eq!(selected(&lying, &["."], Ownership::Zero).unwrap().digest, first);
    // An attribute that comes later changes the ctime too.
    add(top.path(), Attribute("a", "user.note", "1"));
    assert_ne!(digest(&remembered).0, first);
}

#[test]
fn a_file_that_a_mapping_changed_is_found_when_it_is_packed_and_everything_is_forgotten() {
    let top = tree(&[File("a", "one", 0o644), File("b", "two", 0o644)]);
    let remembered = {
        let (view, seen) = remembering(&top, b"");
        selected(&view, &["."], Ownership::Zero).unwrap();
        seen.encode().unwrap()
    };
    let (view, seen) = remembering(&top, &remembered);
    // As a program does that has the file mapped: the bytes change and the times do not. The record of `a` is taken
    // from a look at the file as it was, and the bytes are other ones by now.
    let selection = selected(&view, &["."], Ownership::Zero).unwrap();
    std::fs::write(top.path().join("a"), "ONE").unwrap();
    let packed = pack(&view, &selection);
    assert!(matches!(packed, Err(LayerfsError::Changed { .. })), "{packed:?}");
    let (view, again) = remembering(&top, &seen.encode().unwrap());
    selected(&view, &["."], Ownership::Zero).unwrap();
    // Both were read and noted anew.
    assert!(again.encode().is_some_and(|bytes| bytes.len() == remembered.len()));
}

#[test]
fn a_file_that_never_holds_still_is_an_error() {
    let top = tree(&[File("d/busy", &"x".repeat(64 << 20), 0o644)]);
    let path = top.path().join("d/busy");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| keep_writing(&path, &stop));
        let result = selected(&View::dir(root(&top)), &["."], Ownership::Zero);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    });
    assert!(matches!(result, Err(LayerfsError::Changed { .. })), "{result:?}");
}

fn keep_writing(path: &Path, stop: &std::sync::atomic::AtomicBool) {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        file.write_all(b"y").unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
}
