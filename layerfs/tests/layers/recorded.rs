//! Trees in which owners are recorded: read as if they were true, and packed as the layer that they came from.

use crate::forge::{Forged, archive};
use crate::scene::options;
use crate::trees::{owns_all_ids, setxattr};
use cooper_image::RelPath;
use cooper_layerfs::apply::{ApplyOptions, OverlayXattr, apply};
use cooper_layerfs::layer::pack_upper;
use cooper_layerfs::owners::Owners;
use cooper_layerfs::root::Root;
use cooper_layerfs::view::View;
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn owners_are_read_back_and_belong_to_whoever_unpacked() {
    let mut entries = vec![
        Forged::dir("dir").owned(33, 44),
        Forged::file("dir/file", b"x").owned(70_000, 5),
        Forged::file("mine", b"").owned(0, 0),
    ];
    // Only root of a namespace can record whose a link is.
    if owns_all_ids() {
        entries.push(Forged::symlink("soft", "dir/file").owned(7, 8));
    }
    let dir = tempfile::tempdir().unwrap();
    let recorded = ApplyOptions { owners: Owners::Recorded, ..options() };
    let root = Root::open_tree(dir.path(), Owners::Recorded, OverlayXattr::User).unwrap();
    apply(&mut &*archive(&entries), &root, &recorded, &|_| Ok(None)).unwrap();

    let me = fs::metadata(dir.path()).unwrap();
    let view = View::stack(vec![root.clone()]);
    let wanted = [("dir", 33, 44), ("dir/file", 70_000, 5), ("mine", 0, 0), ("soft", 7, 8)];
    for (name, uid, gid) in wanted.into_iter().take(entries.len()) {
        let on_disk = fs::symlink_metadata(dir.path().join(name)).unwrap();
        assert_eq!((on_disk.uid(), on_disk.gid()), (me.uid(), me.gid()), "{name}");
        let found = view.lstat(&RelPath::from(name)).unwrap().unwrap();
        assert_eq!((found.uid, found.gid), (uid, gid), "{name}");
    }
    assert!(view.xattrs(&RelPath::from("dir/file")).unwrap().is_empty(), "a record is no attribute of the file");

    let mut packed = Vec::new();
    pack_upper(&root, &mut packed).unwrap();
    let again = tempfile::tempdir().unwrap();
    let copy = Root::open_tree(again.path(), Owners::Recorded, OverlayXattr::User).unwrap();
    apply(&mut &*packed, &copy, &recorded, &|_| Ok(None)).unwrap();
    let mut repeated = Vec::new();
    pack_upper(&copy, &mut repeated).unwrap();
    assert!(packed == repeated);
    assert!(!packed.windows(5).any(|bytes| bytes == b"xattr"), "records are in no layer");
}

#[test]
fn what_is_no_record_is_roots() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in [("none", &b""[..]), ("words", b"a:b"), ("long", &[b'1'; 100])] {
        fs::write(dir.path().join(name), "").unwrap();
        setxattr(&dir.path().join(name), "user.cooper.owner", value);
    }
    let root = Root::open_tree(dir.path(), Owners::Recorded, OverlayXattr::User).unwrap();
    for name in ["none", "words", "long"] {
        let found = root.stat(&RelPath::from(name)).unwrap().unwrap();
        assert_eq!((found.uid, found.gid), (0, 0), "{name}");
    }
}
