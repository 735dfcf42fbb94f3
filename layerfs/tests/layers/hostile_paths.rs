//! Names, links, marks and nodes that reach for something outside: nothing there may change.

use crate::forge::{Forged, owner};
use crate::scene::{Scene, options, reason};
use crate::trees::owns_all_ids;
use cooper_image::RelPath;
use cooper_layerfs::apply::{ApplyOptions, Devices, Meaning};
use cooper_layerfs::error::Reason;
use cooper_layerfs::root::Root;
use cooper_layerfs::stat::Kind;
use cooper_layerfs::{LayerfsError, whiteout};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn names_are_re_rooted() {
    for (name, lands) in [
        ("/abs", "abs"),
        ("../up", "up"),
        ("../../../../up2", "up2"),
        ("a/../../b", "b"),
        ("./c//d", "c/d"),
        ("e/./f", "e/f"),
        ("/../outside/file", "outside/file"),
    ] {
        let scene = Scene::new();
        scene.unpack(&[Forged::file(name, b"x")]).unwrap();
        assert_eq!(scene.read(lands), "x", "{name}");
    }
}

#[test]
fn planted_links_lead_nowhere_outside() {
    for target in ["../outside", "ABS", "/../../outside", "../../../../../../../../tmp"] {
        let scene = Scene::new();
        let target = target.replace("ABS", &scene.outside());
        for last in [
            Forged::file("d/x", b"evil"),
            Forged::dir("d/dir"),
            Forged::dir("d/dir").mode(0o777),
            Forged::symlink("d/link", "x"),
            Forged::new(b'6', b"d/fifo"),
            Forged::file("d/.wh.file", b""),
            Forged::file("d/.wh..wh..opq", b""),
            Forged::hardlink("mine", "d/file"),
        ] {
            let fresh = Scene::new();
            let result = fresh.unpack(&[Forged::symlink("d", &target), last]);
            assert!(matches!(result, Err(LayerfsError::Entry { .. })), "{target}: {result:?}");
        }
        scene.unpack(&[Forged::symlink("d", &target)]).unwrap();
        assert_eq!(
            fs::read_link(scene.tree().join("d")).unwrap().to_str().unwrap(),
            target,
            "targets are kept as they are"
        );
    }
}

#[test]
fn links_within_the_layer_are_followed_for_parents() {
    let scene = Scene::new();
    let entries =
        [Forged::dir("usr/"), Forged::dir("usr/lib/"), Forged::symlink("lib", "/usr/lib"), Forged::file("lib/x", b"1")];
    scene.unpack(&entries).unwrap();
    assert_eq!(scene.read("usr/lib/x"), "1");
    assert!(fs::symlink_metadata(scene.tree().join("lib")).unwrap().is_symlink());
}

#[test]
fn a_directory_over_a_link_replaces_the_link() {
    for mode in [0o000, 0o755, 0o777] {
        let scene = Scene::new();
        let target = format!("{}/dir", scene.outside());
        scene.unpack(&[Forged::symlink("d", &target), Forged::dir("d").mode(mode)]).unwrap();
        let meta = fs::symlink_metadata(scene.tree().join("d")).unwrap();
        assert!(meta.is_dir());
        assert_eq!(u64::from(meta.permissions().mode()) & 0o7777, mode);
        fs::set_permissions(scene.tree().join("d"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn files_over_links_replace_them() {
    let scene = Scene::new();
    let file = format!("{}/file", scene.outside());
    scene.unpack(&[Forged::symlink("f", &file), Forged::file("f", b"mine").mode(0o777)]).unwrap();
    assert_eq!(scene.read("f"), "mine");
}

#[test]
fn a_held_parent_is_forgotten_when_it_is_replaced() {
    let scene = Scene::new();
    let outside = scene.outside();
    let entries = [
        Forged::dir("d/"),
        Forged::file("d/a", b"1"),
        Forged::symlink("d", &outside),
        Forged::dir("e/"),
        Forged::file("e/a", b"2"),
        Forged::file("d/file", b"evil"),
    ];
    assert_eq!(reason(scene.unpack(&entries)), Reason::Parent);
}

#[test]
fn hard_links_stay_in_the_tree() {
    for target in ["file", "../outside/file", "/etc/hostname", "", "d", "gone", "absent/file"] {
        let scene = Scene::new();
        let entries = [Forged::dir("d"), Forged::file(".wh.gone", b""), Forged::hardlink("h", target)];
        let refused = reason(scene.unpack(&entries));
        assert_eq!(refused, if target.is_empty() { Reason::Name } else { Reason::Hardlink }, "{target:?}");
    }
    let scene = Scene::new();
    let file = format!("{}/file", scene.outside());
    scene.unpack(&[Forged::symlink("l", &file), Forged::hardlink("h", "l")]).unwrap();
    assert!(fs::symlink_metadata(scene.tree().join("h")).unwrap().is_symlink(), "the link itself is linked");
}

#[test]
fn a_hard_link_to_itself_changes_nothing() {
    let scene = Scene::new();
    scene.unpack(&[Forged::file("a", b"kept"), Forged::hardlink("a", "./a")]).unwrap();
    assert_eq!(scene.read("a"), "kept");
}

#[test]
fn the_root_stays_a_directory() {
    for entry in
        [Forged::symlink(".", "/etc"), Forged::file("/", b"").raw(156, b"2").raw(157, b"x"), Forged::file("..", b"")]
    {
        assert_eq!(reason(Scene::new().unpack(&[entry])), Reason::Root);
    }
    let scene = Scene::new();
    scene.unpack(&[Forged::dir("./").mode(0o711)]).unwrap();
    assert_eq!(fs::metadata(scene.tree()).unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn the_last_of_two_entries_wins() {
    let deep = [Forged::dir("x"), Forged::file("x/a/b/c/d", b"1"), Forged::file("x/a/.0", b"2"), Forged::dir("x/.0")];
    for (last, kind) in [
        (Forged::file("x", b"new"), Kind::File),
        (Forged::symlink("x", "y"), Kind::Symlink),
        (Forged::new(b'6', b"x"), Kind::Fifo),
    ] {
        for first in [vec![Forged::file("x", b"old, longer")], vec![Forged::symlink("x", "z")], deep.to_vec()] {
            let scene = Scene::new();
            scene.unpack(&[first, vec![last.clone()]].concat()).unwrap();
            let root = Root::open(&scene.tree()).unwrap();
            assert_eq!(root.stat(&RelPath::from("x")).unwrap().unwrap().kind, kind);
            assert_eq!(root.read_dir(&RelPath::root()).unwrap().len(), 1);
        }
    }
    let scene = Scene::new();
    scene.unpack(&[Forged::dir("d").mode(0o700), Forged::file("d/f", b"kept"), Forged::dir("d/").mode(0o750)]).unwrap();
    assert_eq!(scene.read("d/f"), "kept");
    assert_eq!(fs::metadata(scene.tree().join("d")).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn replacing_a_very_deep_tree_needs_no_depth() {
    let scene = Scene::new();
    let name = format!("top/{}", "directory/".repeat(600));
    let entries = [Forged::pax(&[("path", name.as_bytes())]), Forged::dir("short"), Forged::file("top", b"flat")];
    scene.unpack(&entries).unwrap();
    assert_eq!(scene.read("top"), "flat");
}

#[test]
fn whiteouts_are_names_and_nothing_more() {
    for (name, wanted) in [
        (".wh.", Some(Reason::Whiteout)),
        (".wh..", Some(Reason::Whiteout)),
        (".wh...", Some(Reason::Whiteout)),
        ("d/.wh.", Some(Reason::Whiteout)),
        (".wh.x/y", Some(Reason::Whiteout)),
        (".wh..wh..opq/y", Some(Reason::Whiteout)),
        (".wh./x", Some(Reason::Whiteout)),
        (".wh..wh.aufs", None),
        (".wh..wh.plnk/1.2", None),
        (".wh.x", None),
    ] {
        let scene = Scene::new();
        let result = scene.unpack(&[Forged::file(name, b"")]);
        match wanted {
            Some(wanted) => assert_eq!(reason(result), wanted, "{name}"),
            None => assert!(result.is_ok(), "{name}: {result:?}"),
        }
        let names = Root::open(&scene.tree()).unwrap().read_dir(&RelPath::root()).unwrap();
        assert!(!names.iter().any(|entry| whiteout::is_reserved(&entry.name)), "{name}");
    }
    for kind in [b'2', b'5', b'6', b'1'] {
        let entry = Forged::new(kind, b".wh.x").raw(157, b"t");
        assert_eq!(reason(Scene::new().unpack(&[entry])), Reason::Whiteout);
    }
}

#[test]
fn device_zero_is_never_a_whiteout() {
    for devices in [Devices::Create, Devices::SkipUnprivileged] {
        let scene = Scene::new();
        let entry = Forged::new(b'3', b"w").device(0, 0);
        assert_eq!(reason(scene.unpack_with(&[entry], ApplyOptions { devices, ..options() })), Reason::DeviceZero);
    }
    let v7 = Forged::new(b'3', b"w").device(1, 3).raw(257, &[0; 8]);
    assert_eq!(reason(Scene::new().unpack(&[v7])), Reason::DeviceZero);
}

#[test]
fn devices_are_made_or_counted() {
    let entries = [Forged::new(b'3', b"null").device(1, 3).mode(0o666), Forged::new(b'4', b"b").device(7, 9)];
    let scene = Scene::new();
    assert_eq!(scene.unpack(&entries).unwrap().devices_skipped, 2);
    assert_eq!(fs::read_dir(scene.tree()).unwrap().count(), 0);
    let scene = Scene::new();
    let made = scene.unpack_with(&entries, ApplyOptions { devices: Devices::Create, ..options() });
    // Root may be without CAP_MKNOD; nobody else has it.
    if owner().0 == 0 && made.is_ok() {
        let meta = Root::open(&scene.tree()).unwrap().stat(&RelPath::from("null")).unwrap().unwrap();
        assert_eq!((meta.kind, meta.mode, meta.rdev.major, meta.rdev.minor), (Kind::Char, 0o666, 1, 3));
    } else {
        assert!(matches!(made, Err(LayerfsError::Io { .. })), "{made:?}");
    }
}

#[test]
fn steering_attributes_are_not_taken() {
    let scene = Scene::new();
    let names = [
        "user.cooper.opaque",
        "user.overlay.opaque",
        "user.overlay.redirect",
        "user.overlay.metacopy",
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "security.selinux",
        "system.posix_acl_access",
    ];
    let keywords = names.map(|name| format!("SCHILY.xattr.{name}"));
    let records: Vec<(&str, &[u8])> = keywords.iter().map(|k| (k.as_str(), b"y".as_slice())).collect();
    let entries = [Forged::pax(&records), Forged::dir("d"), Forged::pax(&records), Forged::file("f", b"")];
    assert_eq!(scene.unpack(&entries).unwrap().xattrs_skipped, 2 * names.len() as u64);
    let dir = Root::open(&scene.tree()).unwrap().dir(&RelPath::from("d")).unwrap();
    assert!(!whiteout::is_opaque(&dir).unwrap());
    let mut listed = Vec::with_capacity(4096);
    rustix::fs::flistxattr(dir.as_fd(), rustix::buffer::spare_capacity(&mut listed)).unwrap();
    let listed = String::from_utf8_lossy(&listed);
    assert!(!listed.contains("overlay") && !listed.contains("cooper"), "{listed}");
}

#[test]
fn foreign_owners_are_named() {
    let scene = Scene::new();
    let result = scene.unpack(&[Forged::file("f", b"x").owned(12_345, 54_321)]);
    if owns_all_ids() {
        result.unwrap();
        let meta = fs::metadata(scene.tree().join("f")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (12_345, 54_321));
    } else {
        let error = result.unwrap_err();
        assert!(matches!(error, LayerfsError::Unmapped { id: "uid", number: 12_345, .. }), "{error}");
        assert!(error.hint().unwrap().contains("subuid"));
    }
}

#[test]
fn only_an_empty_directory_is_filled() {
    let scene = Scene::new();
    symlink(scene.outside(), scene.tree().join("d")).unwrap();
    assert!(matches!(scene.unpack(&[Forged::file("d/file", b"evil")]), Err(LayerfsError::Io { .. })));
}

#[test]
fn an_archive_of_files_is_no_layer() {
    let files = ApplyOptions { meaning: Meaning::Files, ..options() };
    let scene = Scene::new();
    // Owners that nobody here could give, and names that delete in a layer.
    let strange = [
        Forged::file("a", b"1").owned(1_234_567, 1_765_432),
        Forged::file(".wh.a", b"2"),
        Forged::file("d/.wh..wh..opq", b"3"),
        Forged::file("/absolute", b"4"),
    ];
    scene.unpack_with(&strange, files).unwrap();
    for (path, text) in [("a", "1"), (".wh.a", "2"), ("d/.wh..wh..opq", "3"), ("absolute", "4")] {
        assert_eq!(scene.read(path), text);
    }
    for (entry, why) in [
        (Forged::file("../x", b""), Reason::Climbs),
        (Forged::file("d/../../x", b""), Reason::Climbs),
        (Forged::hardlink("x", "../outside/file"), Reason::Climbs),
        (Forged::hardlink("../x", "a"), Reason::Climbs),
        (Forged::new(b'3', b"null").device(1, 3), Reason::Device),
        (Forged::new(b'4', b"b").device(7, 9), Reason::Device),
    ] {
        assert_eq!(reason(Scene::new().unpack_with(&[entry], files)), why);
    }
}

#[test]
fn directories_that_become_links_while_it_unpacks_lead_nowhere_outside() {
    let scene = Scene::new();
    let (tree, outside) = (scene.tree(), scene.outside());
    let mut entries = vec![Forged::dir("d")];
    entries.extend((0..200).flat_map(|n| {
        [Forged::file("d/file", b"evil").mode(0o777), Forged::dir("d/dir").mode(0o777), Forged::dir(&format!("e{n}"))]
    }));
    let stop = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let (dir, aside) = (tree.join("d"), tree.join("aside"));
            let mut swaps = 0;
            while !stop.load(Ordering::Relaxed) {
                // Whatever of this fails, because the other side was faster, is tried again.
                if fs::rename(&dir, &aside).is_ok() {
                    swaps += usize::from(std::os::unix::fs::symlink(&outside, &dir).is_ok());
                }
                let _gone = fs::remove_file(&dir);
                let _back = fs::rename(&aside, &dir);
            }
            swaps
        });
        for _ in 0..5 {
            // The scene compares what is outside, whether the archive is refused or not; the link is none of the
            // archive's, so that both are right.
            let _either = scene.unpack(&entries);
            for path in fs::read_dir(&tree).unwrap().flatten().map(|entry| entry.path()) {
                let _gone = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
        stop.store(true, Ordering::Relaxed);
        swapping.join().unwrap()
    });
    assert!(swaps > 20, "only {swaps} links were in the way");
}
