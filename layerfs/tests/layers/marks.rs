//! Order, marks of deletion, directories at the edges, and what the writer promises.

use crate::forge::{Forged, archive};
use crate::scene::options;
use crate::trees::{hex, listing, pack, setxattr, unpack};
use cooper_image::RelPath;
use cooper_layerfs::apply::{ApplyOptions, OverlayXattr, apply};
use cooper_layerfs::layer::{DigestWriter, Packed, pack_upper};
use cooper_layerfs::owners::Owners;
use cooper_layerfs::root::Root;
use cooper_layerfs::stat::{Kind, Time};
use cooper_layerfs::tar::write::{Entry, EntryKind, TarWriter};
use cooper_layerfs::view::View;
use cooper_layerfs::{LayerfsError, whiteout};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn order_is_parents_marks_deletions_rest() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("d/sub")).unwrap();
    fs::write(at("d.txt"), b"").unwrap();
    fs::write(at("d/AAA"), b"").unwrap();
    for gone in ["d/zz", "d/mm", "d/sub/x", "gone"] {
        rustix::fs::mknodat(CWD, at(gone), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }
    setxattr(&at("d"), "user.overlay.opaque", b"y");
    let names: Vec<String> =
        listing(&pack(dir.path())).iter().map(|l| l.split(' ').next().unwrap().to_owned()).collect();
    let wanted = [".wh.gone", "d", "d/.wh..wh..opq", "d/.wh.mm", "d/.wh.zz", "d/AAA", "d/sub", "d/sub/.wh.x", "d.txt"];
    assert_eq!(names, wanted.map(|name| hex(name.as_bytes())));
}

#[test]
fn deletions_and_additions_in_any_order_mean_the_same() {
    let x = || Forged::file(".wh.x", b"");
    for entries in [
        vec![x(), Forged::dir("x"), Forged::file("x/f", b"1")],
        vec![Forged::dir("x"), Forged::file("x/f", b"1"), x()],
        vec![Forged::dir("x"), Forged::file("x/f", b"1"), Forged::file("x/.wh..wh..opq", b"")],
    ] {
        let copy = unpack(&archive(&entries));
        let root = Root::open(copy.path()).unwrap();
        assert!(whiteout::is_opaque(&root.dir(&RelPath::from("x")).unwrap()).unwrap());
        assert_eq!(fs::read(copy.path().join("x/f")).unwrap(), b"1");
        let names: Vec<String> =
            listing(&pack(copy.path())).iter().map(|l| l.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["x", "x/.wh..wh..opq", "x/f"].map(|name| hex(name.as_bytes())));
    }
    // Without an entry for the directory, and with a file.
    let copy = unpack(&archive(&[x(), Forged::file("x/f", b"1")]));
    assert!(whiteout::is_opaque(&Root::open(copy.path()).unwrap().dir(&RelPath::from("x")).unwrap()).unwrap());
    for entries in [[x(), Forged::file("x", b"1")], [Forged::file("x", b"1"), x()]] {
        assert_eq!(fs::read(unpack(&archive(&entries)).path().join("x")).unwrap(), b"1");
    }
    let twice = unpack(&archive(&[x(), x()]));
    assert!(whiteout::is_whiteout(&Root::open(twice.path()).unwrap().stat(&RelPath::from("x")).unwrap().unwrap()));
}

#[test]
fn trusted_marks_are_made_and_read_by_root() {
    let bytes = archive(&[Forged::file("d/.wh..wh..opq", b"")]);
    let dir = tempfile::tempdir().unwrap();
    let made = apply(&mut &*bytes, &Root::open(dir.path()).unwrap(), &ApplyOptions::default(), &|_| Ok(None));
    let probe = tempfile::tempdir().unwrap();
    if rustix::fs::setxattr(probe.path(), "trusted.overlay.opaque", b"y", XattrFlags::empty()).is_ok() {
        let applied = made.unwrap();
        assert_eq!((applied.entries, applied.implied_dirs), (1, 1));
        assert!(pack(dir.path()).windows(12).any(|w| w == b".wh..wh..opq"));
    } else {
        assert!(made.unwrap_err().is_storage());
    }
}

#[test]
fn implied_directories_are_plain_and_timeless() {
    let applied_dir = unpack(&archive(&[Forged::file("a/b/c", b"")]));
    let meta = fs::metadata(applied_dir.path().join("a/b")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o755, 0));
}

#[test]
fn implied_directories_are_as_the_layers_below_have_them() {
    let below = tempfile::tempdir().unwrap();
    fs::create_dir(below.path().join("a")).unwrap();
    fs::set_permissions(below.path().join("a"), fs::Permissions::from_mode(0o1777)).unwrap();
    let lower = Root::open(below.path()).unwrap();
    let bytes = archive(&[Forged::file("a/b/c", b"")]);
    let dir = tempfile::tempdir().unwrap();
    let look = |path: &RelPath| -> Result<_, LayerfsError> { Ok(lower.stat(path).unwrap()) };
    let applied = apply(&mut &*bytes, &Root::open(dir.path()).unwrap(), &options(), &look).unwrap();
    assert_eq!(applied.implied_dirs, 2);
    let (a, b) = (fs::metadata(dir.path().join("a")).unwrap(), fs::metadata(dir.path().join("a/b")).unwrap());
    assert_eq!((a.mode() & 0o7777, a.mtime()), (0o1777, fs::metadata(below.path().join("a")).unwrap().mtime()));
    assert_eq!((b.mode() & 0o7777, b.mtime()), (0o755, 0));
}

/// By a deletion, before or after what is put there, or by an opaque directory above: then it is another directory.
/// One that is opaque itself is the same with other content.
#[test]
fn implied_directories_are_not_as_what_the_layer_deletes() {
    let below = tempfile::tempdir().unwrap();
    fs::set_permissions(below.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let private = Root::open(below.path()).unwrap().as_dir().meta().unwrap();
    let look = |_: &RelPath| -> Result<_, LayerfsError> { Ok(Some(private)) };
    let (gone, new, opaque) =
        (Forged::file(".wh.d", b""), Forged::file("d/e/f", b""), Forged::file("d/.wh..wh..opq", b""));
    for (number, (entries, modes)) in [
        (vec![gone.clone(), new.clone()], [0o755, 0o755]),
        (vec![new.clone(), gone.clone()], [0o755, 0o755]),
        (vec![opaque.clone(), new.clone()], [0o700, 0o755]),
        (vec![new.clone(), opaque], [0o700, 0o755]),
        (vec![gone, Forged::dir("d").mode(0o711), new.clone()], [0o711, 0o755]),
        (vec![new], [0o700, 0o700]),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = tempfile::tempdir().unwrap();
        apply(&mut &*archive(&entries), &Root::open(dir.path()).unwrap(), &options(), &look).unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().mode() & 0o7777;
        assert_eq!([mode("d"), mode("d/e")], modes, "{number}");
    }
}

#[test]
fn directories_without_permissions_are_filled_first() {
    let entries = [Forged::dir("d").mode(0o500), Forged::dir("d/e").mode(0), Forged::file("d/e/f", b"1").mode(0)];
    let copy = unpack(&archive(&entries));
    assert_eq!(fs::metadata(copy.path().join("d")).unwrap().mode() & 0o7777, 0o500);
    assert_eq!(fs::metadata(copy.path().join("d")).unwrap().mtime(), 1_700_000_000);
    fs::set_permissions(copy.path().join("d"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(copy.path().join("d/e"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn trees_that_no_layer_can_hold_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/.wh.real"), b"").unwrap();
    let error = pack_upper(&Root::open(dir.path()).unwrap(), &mut std::io::sink()).unwrap_err();
    assert!(matches!(&error, LayerfsError::ReservedName { path } if path == "d/.wh.real"), "{error}");
    fs::remove_file(dir.path().join("d/.wh.real")).unwrap();
    if rustix::fs::setxattr(dir.path().join("d"), "trusted.overlay.redirect", b"x", XattrFlags::empty()).is_ok() {
        let error = pack_upper(&Root::open(dir.path()).unwrap(), &mut std::io::sink()).unwrap_err();
        assert!(matches!(error, LayerfsError::Entry { .. }), "{error}");
    }
}

/// A step can set it in a root that overlay stacks, where it hides nothing.
#[test]
fn attributes_that_are_no_marks_of_a_tree_hide_nothing() {
    let (lower, upper) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&lower, &upper] {
        fs::create_dir(dir.path().join("d")).unwrap();
    }
    fs::write(lower.path().join("d/below"), b"").unwrap();
    setxattr(&upper.path().join("d"), "user.cooper.opaque", b"y");
    for (marks, hides) in [(OverlayXattr::Trusted, false), (OverlayXattr::User, false), (OverlayXattr::Unstacked, true)]
    {
        let open = |dir: &tempfile::TempDir| Root::open_tree(dir.path(), Owners::Kernel, marks).unwrap();
        let view = View::stack(vec![open(&lower), open(&upper)]);
        assert_eq!(view.lstat(&RelPath::from("d/below")).unwrap().is_none(), hides, "{marks:?}");
        let mut packed = Vec::new();
        pack_upper(&open(&upper), &mut packed).unwrap();
        assert_eq!(packed.windows(12).any(|w| w == b".wh..wh..opq"), hides, "{marks:?}");
        assert!(!packed.windows(6).any(|w| w == b"cooper"), "it is no attribute of the layer");
    }
}

#[test]
fn an_empty_tree_is_an_empty_archive() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = DigestWriter::new(Vec::new());
    assert_eq!(pack_upper(&Root::open(dir.path()).unwrap(), &mut writer).unwrap(), Packed::default());
    let finished = writer.finish();
    assert_eq!(finished.size, 1024);
    // The DiffID that every builder gives to a layer without entries.
    let empty = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!(finished.digest.to_string(), empty);
}

#[test]
fn deep_trees_survive() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{}f", "directory-0123456789/".repeat(250));
    let bytes = archive(&[Forged::pax(&[("path", name.as_bytes())]), Forged::file("short", b"deep")]);
    apply(&mut &*bytes, &Root::open(dir.path()).unwrap(), &options(), &|_| Ok(None)).unwrap();
    let packed = pack(dir.path());
    assert!(packed == pack(unpack(&packed).path()));
    let root = Root::open(dir.path()).unwrap();
    let path = RelPath::clean(name.as_bytes());
    assert_eq!(root.stat(&path).unwrap().unwrap().kind, Kind::File);
    let mut text = String::new();
    root.open_file(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "deep");
}

#[test]
fn bodies_have_exactly_the_promised_size() {
    let path = RelPath::from("f");
    let none = BTreeMap::new();
    let entry = |size| Entry {
        path: &path,
        kind: EntryKind::File { size },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        xattrs: &none,
    };
    for (promised, given, fits) in
        [(3, 3, true), (3, 2, false), (3, 4, false), (0, 0, true), (0, 1, false), (512, 512, true)]
    {
        let mut tar = TarWriter::new(Vec::new());
        tar.entry(&entry(promised)).unwrap();
        let result = tar.data(&mut &vec![1u8; given][..], promised);
        assert_eq!(result.is_ok(), fits, "{promised} promised, {given} given");
        assert!(fits || matches!(result, Err(LayerfsError::Changed { .. })));
    }
    let mut tar = TarWriter::new(Vec::new());
    tar.entry(&entry(3)).unwrap();
    assert!(matches!(tar.entry(&entry(0)), Err(LayerfsError::Changed { .. })));
    let mut tar = TarWriter::new(Vec::new());
    tar.entry(&entry(3)).unwrap();
    assert!(matches!(tar.finish(), Err(LayerfsError::Changed { .. })));
}

#[test]
fn numbers_beyond_ustar_are_said_in_pax() {
    let path = RelPath::from("f");
    let none = BTreeMap::new();
    let mtime = Time { secs: 1 << 34, nanos: 5 };
    let kind = EntryKind::Dir;
    let mut tar = TarWriter::new(Vec::new());
    tar.entry(&Entry { path: &path, kind, mode: 0o755, uid: 2_097_151, gid: 2_097_152, mtime, xattrs: &none }).unwrap();
    let bytes = tar.finish().unwrap();
    assert_eq!(bytes.len(), 512 * 5);
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("15 gid=2097152\n") && text.contains("21 mtime=17179869184\n") && !text.contains("uid="));
    assert_eq!(listing(&bytes), [format!("{} 5 0o755 2097151 2097152 0 17179869184  ", hex(b"f"))]);
}
