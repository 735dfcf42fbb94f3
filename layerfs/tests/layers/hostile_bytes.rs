//! Bytes that readers could understand in two ways, that are damaged, or that are too many.

use crate::forge::{Forged, archive};
use crate::scene::{Scene, options, reason};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::apply::{ApplyOptions, Bounds, apply};
use cooper_layerfs::error::Reason;
use cooper_layerfs::root::Root;
use proptest::prelude::*;
use std::fs;

#[test]
fn sizes_have_one_meaning() {
    // The extended header's size counts, so what would look like a header within the body is data.
    let inner = archive(&[Forged::file("smuggled", b"x")]);
    let size = inner.len().to_string();
    let scene = Scene::new();
    let outer = Forged::file("f", &inner).claims(0);
    scene.unpack(&[Forged::pax(&[("size", size.as_bytes())]), outer]).unwrap();
    assert_eq!(fs::read(scene.tree().join("f")).unwrap(), inner);
    assert!(!scene.tree().join("smuggled").exists());
    // It speaks about the entry and not about a long name in between.
    let scene = Scene::new();
    let entries = [Forged::pax(&[("size", b"3")]), Forged::gnu_long(b'L', b"long"), Forged::file("short", b"abc")];
    scene.unpack(&entries).unwrap();
    assert_eq!(scene.read("long"), "abc");
}

#[test]
fn ambiguous_archives_are_refused() {
    let file = || Forged::file("f", b"abc");
    for (what, entries) in [
        ("two extended headers", vec![Forged::pax(&[("path", b"a")]), Forged::pax(&[("path", b"b")]), file()]),
        ("two long names", vec![Forged::gnu_long(b'L', b"a"), Forged::gnu_long(b'L', b"b"), file()]),
        ("PAX and GNU name", vec![Forged::pax(&[("path", b"a")]), Forged::gnu_long(b'L', b"b"), file()]),
        ("one record twice", vec![Forged::pax(&[("path", b"a"), ("path", b"b")]), file()]),
        ("extended header at the end", vec![file(), Forged::pax(&[("path", b"a")])]),
        ("long name at the end", vec![Forged::gnu_long(b'L', b"b")]),
        ("global path", vec![Forged::pax(&[("path", b"a")]).raw(156, b"g"), file()]),
        ("body of a directory", vec![Forged::dir("d").body(b"abc")]),
        ("body of a link", vec![Forged::symlink("l", "x").body(b"abc")]),
        ("body of a hard link by PAX", vec![file(), Forged::pax(&[("size", b"3")]), Forged::hardlink("h", "f")]),
        ("file with a slash", vec![Forged::file("f/", b"abc")]),
        ("empty long name", vec![Forged::gnu_long(b'L', b""), file()]),
        ("NUL in a name", vec![Forged::pax(&[("path", b"a\0b")]), file()]),
        ("negative size", vec![file().raw(124, &[0xff; 12])]),
        ("huge size", vec![file().raw(124, &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])]),
        ("negative owner", vec![file().raw(108, &[0xff; 8])]),
        ("owner that means nobody", vec![Forged::pax(&[("uid", b"4294967295")]), file()]),
        ("letters in the mode", vec![file().raw(100, b"rw-r--r-")]),
        ("unknown type", vec![Forged::new(b'Z', b"z")]),
        ("multi-volume", vec![Forged::new(b'M', b"m")]),
        ("old sparse", vec![Forged::new(b'S', b"s")]),
        ("PAX sparse", vec![Forged::pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]), file()]),
        ("symlink to nothing", vec![Forged::symlink("l", "")]),
        ("long component", vec![Forged::pax(&[("path", &[b'x'; 256])]), file()]),
        ("long target", vec![Forged::pax(&[("linkpath", &[b'x'; 5000])]), Forged::symlink("l", "x")]),
        ("parent that is a file", vec![file(), Forged::file("f/x", b"")]),
        ("parent that dangles", vec![Forged::symlink("l", "nowhere"), Forged::file("l/x", b"")]),
        ("parent that loops", vec![Forged::symlink("l", "l"), Forged::file("l/x", b"")]),
    ] {
        let result = Scene::new().unpack(&entries);
        assert!(matches!(result, Err(LayerfsError::Entry { .. })), "{what}: {result:?}");
        let error = result.unwrap_err();
        assert!(!error.is_storage() && !error.is_usage(), "{what}");
    }
}

#[test]
fn damaged_streams_are_refused() {
    let whole = archive(&[Forged::file("f", &[7; 1000])]);
    let unpack = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        apply(&mut &*bytes, &Root::open(dir.path()).unwrap(), &options(), &|_| Ok(None))
    };
    for cut in [1, 511, 513, 1000, 1511, 1513, 1600, 2047] {
        assert_eq!(reason(unpack(&whole[..cut])), Reason::Truncated, "cut at {cut}");
    }
    for end in [1536, 2048, 2560] {
        assert!(unpack(&whole[..end]).is_ok(), "the end blocks may be missing: {end}");
    }
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    assert_eq!(reason(unpack(&flipped)), Reason::Checksum);
    let mut gap = whole;
    gap[2100] = 1;
    assert_eq!(reason(unpack(&gap)), Reason::Checksum);
    assert_eq!(reason(unpack(&[1; 512])), Reason::Checksum);
}

#[test]
fn bounds_are_exact() {
    let two = [Forged::file("a", b"12"), Forged::file("b", b"345")];
    for (entries, bytes, fits) in [(2, 5, true), (1, 5, false), (2, 4, false)] {
        let bounds = Bounds { entries, bytes };
        let result = Scene::new().unpack_with(&two, ApplyOptions { bounds, ..options() });
        assert!(if fits { result.is_ok() } else { matches!(result, Err(LayerfsError::Limit { .. })) });
    }
    let header = |size: usize| {
        let value = vec![b'x'; size - "1048576 comment=\n".len()];
        let pax = Forged::pax(&[("comment", &value)]);
        Scene::new().unpack(&[pax, Forged::file("f", b"")])
    };
    assert!(header(1024 * 1024).is_ok());
    assert!(matches!(header(1024 * 1024 + 1), Err(LayerfsError::Limit { .. })));
    let name = |size: usize| {
        let long: Vec<u8> = (0..size).map(|at| if at % 250 == 249 { b'/' } else { b'n' }).collect();
        Scene::new().unpack(&[Forged::gnu_long(b'L', &long), Forged::dir("d")])
    };
    assert!(name(64 * 1024).is_ok());
    assert!(matches!(name(64 * 1024 + 1), Err(LayerfsError::Limit { .. })));
    // At the limit it is refused for another reason, which spares the test thousands of directories.
    let deep = |depth: usize| {
        let name = "f/".repeat(depth);
        Scene::new().unpack(&[Forged::file("f", b""), Forged::pax(&[("path", name.as_bytes())]), Forged::dir("d")])
    };
    assert_eq!(reason(deep(4096)), Reason::Parent);
    assert!(matches!(deep(4097), Err(LayerfsError::Limit { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_name_leaves_the_tree(parts in prop::collection::vec(
        prop::sample::select(vec![".", "..", "", "a", "outside", "file", "dir", "link", ".wh.a"]), 1..8,
    ), kind in prop::sample::select(b"0125".to_vec())) {
        let scene = Scene::new();
        let link = format!("{}/file", scene.outside());
        let planted = Forged::symlink("a", &scene.outside());
        let entry = Forged::new(kind, parts.join("/").as_bytes()).raw(157, &link.as_bytes()[..link.len().min(99)]);
        // Whether it is refused does not matter here; the scene compares what is outside.
        let _refused = scene.unpack(&[planted, entry]);
    }

    #[test]
    fn no_bytes_bring_it_down(changes in prop::collection::vec((0usize..6000, any::<u8>()), 1..6)) {
        let mut bytes = archive(&[
            Forged::pax(&[("path", b"long/name"), ("SCHILY.xattr.user.a", b"1")]),
            Forged::file("f", &[7; 700]),
            Forged::gnu_long(b'L', b"another/long/name"),
            Forged::dir("d"),
            Forged::hardlink("h", "long/name"),
            Forged::symlink("l", "../.."),
        ]);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        // Sums are made right again, so that the change is seen by what is behind them.
        for block in bytes.chunks_mut(512).filter(|block| block[257..262] == *b"ustar") {
            block[148..156].copy_from_slice(b"        ");
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let dir = tempfile::tempdir().unwrap();
        let result = apply(&mut &*bytes, &Root::open(dir.path()).unwrap(), &options(), &|_| Ok(None));
        if let Err(error) = result {
            prop_assert!(!error.is_usage());
        }
    }
}
