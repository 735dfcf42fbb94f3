//! ADD of local archives: unpacked in every compression, confined, and refused when they are hostile.

use crate::trees::{Dir, File, Link, Make, add, listing, root, tree};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::copy::{CopyPart, CopyRequest, Owner, Unpack, pack_copy};
use cooper_layerfs::select::{Ownership, Rules, SelectRequest, select};
use cooper_layerfs::view::View;
use rustix::process::{getegid, geteuid};

/// One entry of an archive made for a test.
type Raw<'a> = (u8, &'a str, u32, &'a str);

/// A tar with names as given, also such as no tar writer would take.
fn archive(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (flag, name, mode, text) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::new(*flag));
        header.set_mode(*mode);
        header.set_uid(3);
        header.set_gid(4);
        header.set_mtime(100);
        let body = if *flag == b'0' { text.as_bytes() } else { b"" };
        if *flag == b'1' || *flag == b'2' {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_size(body.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// Unpacks archives `0`, `1`, … into `/x`.
fn add_archives(archives: &[&[u8]], owner: Owner, target: &[Make<'_>]) -> Result<Vec<String>, LayerfsError> {
    let files: Vec<(String, &[u8])> = archives.iter().enumerate().map(|(i, bytes)| (i.to_string(), *bytes)).collect();
    let source = tree(&[]);
    for (name, bytes) in &files {
        add(source.path(), File(name, "", 0o644));
        std::fs::write(source.path().join(name), bytes).unwrap();
    }
    let patterns: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    let (view, target) = (View::dir(root(&source)), tree(target));
    let selection = select(&SelectRequest {
        view: &view,
        patterns: &patterns,
        ignored: &|_| false,
        may_hold_included: &|_| true,
        glob: &|_, _| false,
        ownership: Ownership::Zero,
        rules: Rules::default(),
    })?;
    let mut out = Vec::new();
    let request = CopyRequest {
        parts: &[CopyPart { view: &view, selection: &selection, unpack: Unpack::Local }],
        target: &View::stack(vec![root(&target)]),
        dest: &"/x".into(),
        dest_is_dir: false,
        owner,
        chmod: None,
        clamp: None,
        now: 0,
        inline: &[],
    };
    pack_copy(&request, &mut out)?;
    Ok(listing(&out))
}

#[test]
fn archives_are_unpacked_in_every_compression() {
    let plain = archive(&[
        (b'5', "./", 0o700, ""),
        (b'5', "d/", 0o750, ""),
        (b'0', "/d/f", 0o4755, "one"),
        (b'1', "h", 0o4755, "d/f"),
        (b'2', "l", 0o777, "../up"),
        (b'0', "e/g", 0o600, "two"),
    ]);
    let expected = [
        "d 755 0:0 x/",
        "d 750 3:4 x/d/",
        "d 755 0:0 x/e/",
        "l 777 3:4 x/l -> ../up",
        "f 4755 3:4 x/d/f = one",
        "h 4755 3:4 x/h -> x/d/f",
        "f 600 3:4 x/e/g = two",
    ];
    for command in [None, Some("gzip"), Some("bzip2"), Some("xz"), Some("zstd")] {
        let bytes = command.map_or(plain.clone(), |c| compressed(c, &plain));
        assert_eq!(add_archives(&[&bytes], Owner::Keep, &[]).unwrap(), expected, "{command:?}");
    }
    let owned = add_archives(&[&plain], Owner::Set { uid: 9, gid: 9 }, &[]).unwrap();
    assert!(owned.iter().all(|line| line.contains(" 9:9 ")), "{owned:?}");
}

fn compressed(command: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    match command {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        _ => zstd::encode_all(bytes, 1).unwrap(),
    }
}

#[test]
fn what_is_no_archive_is_copied() {
    let gzip = compressed("gzip", b"no tar inside");
    let cut = &compressed("gzip", &archive(&[(b'0', "f", 0o644, "")]))[..20];
    for (what, bytes) in [
        ("text", b"text".as_slice()),
        ("gzip of text", &gzip),
        ("a damaged gzip", cut),
        ("zeros", &[0; 2048]),
        ("empty", b""),
    ] {
        let lines = add_archives(&[bytes], Owner::Keep, &[]);
        let source = lines.unwrap();
        assert_eq!(source.len(), 1, "{what}: {source:?}");
        assert!(source[0].starts_with("f 644 0:0 x = "), "{what}: {source:?}");
    }
}

#[test]
fn archives_meet_the_target_and_each_other() {
    let lib = archive(&[(b'0', "lib/a", 0o644, "1")]);
    let dirs = ["x", "x/usr", "x/usr/lib"].map(|d| Dir(d, 0o755));
    let usr: &[Make<'_>] = &[dirs.as_slice(), &[Link("x/lib", "usr/lib")]].concat();
    // What exists on the way is stated again as it is.
    let stated = |path: &str| format!("d 755 {}:{} {path}", geteuid().as_raw(), getegid().as_raw());
    assert_eq!(
        add_archives(&[&lib], Owner::Keep, usr).unwrap(),
        [stated("x/"), stated("x/usr/"), stated("x/usr/lib/"), "f 644 3:4 x/usr/lib/a = 1".to_owned()],
        "through the target's link"
    );
    let with_dir = archive(&[(b'5', "lib", 0o755, ""), (b'0', "lib/a", 0o644, "1")]);
    let replaced = [stated("x/"), "d 755 3:4 x/lib/".to_owned(), "f 644 3:4 x/lib/a = 1".to_owned()];
    assert_eq!(add_archives(&[&with_dir], Owner::Keep, usr).unwrap(), replaced, "a directory takes the link's place");
    let twice = archive(&[(b'0', "f", 0o644, "1"), (b'0', "f", 0o600, "2")]);
    assert_eq!(add_archives(&[&twice], Owner::Keep, &[]).unwrap(), ["d 755 0:0 x/", "f 600 3:4 x/f = 2"]);
    let other = archive(&[(b'0', "lib/a", 0o600, "2"), (b'0', "z", 0o644, "")]);
    assert_eq!(
        add_archives(&[&lib, &other], Owner::Keep, &[]).unwrap(),
        ["d 755 0:0 x/", "d 755 0:0 x/lib/", "f 600 3:4 x/lib/a = 2", "f 644 3:4 x/z = "]
    );
}

#[test]
fn names_are_cleaned_as_text() {
    let cleaned = archive(&[(b'0', "a/../b", 0o644, "1"), (b'1', "c", 0o644, "./d/../b")]);
    assert_eq!(
        add_archives(&[&cleaned], Owner::Keep, &[]).unwrap(),
        ["d 755 0:0 x/", "f 644 3:4 x/b = 1", "h 644 3:4 x/c -> x/b"]
    );
    let error = add_archives(&[&archive(&[(b'0', "a/../../f", 0o644, "")])], Owner::Keep, &[]).unwrap_err();
    assert!(error.to_string().contains("a/../../f climbs out of the destination"), "{error}");
}

#[test]
fn links_of_an_archive_are_followed_inside_the_destination() {
    // A canary outside, which every one of these would meet if the link led there.
    let outside: &[Make<'_>] = &[Dir("lib", 0o700), File("lib/canary", "as it was", 0o600), Dir("x", 0o755)];
    let (dir, file) = ((b'5', "lib/", 0o750, ""), "f 644 3:4 x/lib/f = 1");
    for to in ["lib", "./lib", "/lib", "../lib", "../../../lib", "lib/../lib", "again"] {
        let bytes = archive(&[dir, (b'2', "again", 0o777, "lib"), (b'2', "l", 0o777, to), (b'0', "l/f", 0o644, "1")]);
        let lines = add_archives(&[&bytes], Owner::Keep, outside).unwrap();
        assert!(lines.iter().any(|l| l == file) && lines.iter().all(|l| l.contains(" x/")), "{to}: {lines:?}");
    }
    // Below a directory, and to the destination itself.
    for to in ["..", "../..", "../../..", "/", "/.."] {
        let bytes = archive(&[(b'5', "d/", 0o750, ""), (b'2', "d/l", 0o777, to), (b'0', "d/l/f", 0o644, "1")]);
        let lines = add_archives(&[&bytes], Owner::Keep, outside).unwrap();
        assert!(lines.iter().any(|l| l == "f 644 3:4 x/f = 1"), "{to}: {lines:?}");
    }
    // The last link of a name counts for what comes behind it.
    let bytes = archive(&[
        (b'5', "a/", 0o750, ""),
        (b'5', "b/", 0o750, ""),
        (b'2', "l", 0o777, "a"),
        (b'0', "l/1", 0o644, ""),
        (b'2', "l", 0o777, "b"),
        (b'0', "l/2", 0o644, ""),
    ]);
    let lines = add_archives(&[&bytes], Owner::Keep, outside).unwrap();
    assert!(["f 644 3:4 x/a/1 = ", "f 644 3:4 x/b/2 = "].iter().all(|f| lines.iter().any(|l| l == f)), "{lines:?}");
    // A directory that the target has below the destination is one that the archive's link may lead to.
    let kept: &[Make<'_>] = &[Dir("x", 0o755), Dir("x/lib", 0o755), Dir("lib", 0o700)];
    let bytes = archive(&[(b'2', "l", 0o777, "/lib"), (b'0', "l/f", 0o644, "1")]);
    assert!(add_archives(&[&bytes], Owner::Keep, kept).unwrap().iter().any(|l| l == file));
    // What only the root outside has is not there for the archive.
    let bytes = archive(&[(b'2', "l", 0o777, "/lib"), (b'0', "l/canary", 0o644, "hostile")]);
    assert!(matches!(add_archives(&[&bytes], Owner::Keep, outside), Err(LayerfsError::NotADirectory { .. })));
}

/// As docker's unpacker does: what is there is removed, and the entry made anew.
#[test]
fn an_entry_of_another_kind_replaces_what_is_there() {
    let outside: &[Make<'_>] = &[Dir("out", 0o700), File("out/f", "as it was", 0o600), Dir("x", 0o755)];
    let (link, dir) = ((b'2', "d", 0o777, "../out"), (b'5', "d/", 0o750, ""));
    let (file, below) = ((b'0', "d", 0o644, "1"), (b'0', "d/f", 0o644, "2"));
    let beside = (b'0', "d-f", 0o644, "3");
    for (entries, expected) in [
        (&[link, dir, below][..], &["d 750 3:4 x/d/", "f 644 3:4 x/d/f = 2"][..]),
        (&[file, dir, below], &["d 750 3:4 x/d/", "f 644 3:4 x/d/f = 2"]),
        (&[dir, below, link], &["l 777 3:4 x/d -> ../out"]),
        (&[dir, below, beside, file], &["f 644 3:4 x/d-f = 3", "f 644 3:4 x/d = 1"]),
        (&[below, file, dir], &["d 750 3:4 x/d/"]),
        (&[link, dir, below, link, dir], &["d 750 3:4 x/d/"]),
    ] {
        let lines = add_archives(&[&archive(entries)], Owner::Keep, outside).unwrap();
        let mut found: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.ends_with(" x/")).collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{entries:?}");
        // Of two archives the second does the same to the first.
        let (first, second) = entries.split_at(entries.len() - 1);
        let again = add_archives(&[&archive(first), &archive(second)], Owner::Keep, outside).unwrap();
        assert_eq!(again.len(), lines.len(), "{entries:?}");
    }
    // What a directory of the target held would come back.
    let kept: &[Make<'_>] = &[Dir("x", 0o755), Dir("x/d", 0o755), File("x/d/old", "", 0o644)];
    assert!(add_archives(&[&archive(&[dir, below, file])], Owner::Keep, kept).is_ok());
    let error = add_archives(&[&archive(&[link, dir])], Owner::Keep, kept).unwrap_err();
    assert!(error.to_string().contains("x/d would replace a directory of the target"), "{error}");
    // A link of the target to what is not there any more.
    let linked: &[Make<'_>] = &[Dir("x", 0o755), Dir("x/d", 0o755), Dir("x/d/e", 0o755), Link("x/l", "d/e")];
    let through = archive(&[file, (b'0', "l/f", 0o644, "")]);
    assert!(matches!(add_archives(&[&through], Owner::Keep, linked), Err(LayerfsError::NotADirectory { .. })));
}

#[test]
fn hostile_archives_are_refused() {
    let cases: &[(&str, &[Raw<'_>])] = &[
        ("climbing name", &[(b'0', "../f", 0o644, "")]),
        ("climbing name that comes back", &[(b'0', "a/../../x/f", 0o644, "")]),
        ("climbing absolute name", &[(b'0', "/../f", 0o644, "")]),
        ("climbing link", &[(b'0', "f", 0o644, ""), (b'1', "h", 0o644, "../f")]),
        ("link to nothing", &[(b'1', "h", 0o644, "etc/passwd")]),
        ("link to a later one", &[(b'1', "h", 0o644, "f"), (b'0', "f", 0o644, "")]),
        ("link to what is replaced", &[(b'0', "f", 0o644, "1"), (b'1', "h", 0o644, "f"), (b'0', "f", 0o644, "2")]),
        ("through its own link", &[(b'2', "l", 0o777, "/etc"), (b'0', "l/passwd", 0o644, "")]),
        ("through a link to nothing", &[(b'2', "l", 0o777, "d"), (b'0', "l/f", 0o644, "")]),
        ("through a link to a file", &[(b'0', "f", 0o644, ""), (b'2', "l", 0o777, "f"), (b'0', "l/g", 0o644, "")]),
        ("through a link to itself", &[(b'2', "l", 0o777, "l"), (b'0', "l/f", 0o644, "")]),
        ("the root is a link", &[(b'2', "./", 0o777, "/etc")]),
        ("whiteout device", &[(b'3', "c", 0o644, "")]),
        ("whiteout name", &[(b'0', ".wh.f", 0o644, "")]),
        (
            "link to what went with its directory",
            &[(b'0', "d/f", 0o644, ""), (b'0', "d", 0o644, ""), (b'1', "h", 0o644, "d/f")],
        ),
        (
            "below a file that was a directory",
            &[(b'0', "d/f", 0o644, ""), (b'0', "d", 0o644, ""), (b'0', "d/g", 0o644, "")],
        ),
    ];
    for (what, entries) in cases {
        let error = add_archives(&[&archive(entries)], Owner::Keep, &[]).unwrap_err();
        assert!(!error.is_storage(), "{what}: {error}");
    }
    let whole = archive(&[(b'0', "f", 0o644, &"x".repeat(2000))]);
    let error = add_archives(&[&whole[..1024]], Owner::Keep, &[]).unwrap_err();
    assert!(matches!(error, LayerfsError::Archive { .. }) && error.hint().is_some(), "{error}");
}
