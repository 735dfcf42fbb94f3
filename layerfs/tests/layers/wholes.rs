//! What happens in a root that is one plain directory, and the layer made by comparing: laid over what was before, it
//! gives what a full walk finds afterwards, be it laid by a map of paths or by overlayfs itself. A second step goes on in
//! the same root; a root that is brought up to date and one that is laid out anew are equal to it.
//!
//! `COOPER_TEST_CHANGES=100000` tries more.

use crate::changes::{ROLE, Tree, again_in_a_namespace, all, lay, operate};
use crate::random::{Random, cases};
use crate::readers::{PYTHON, framed, read_by};
use crate::trees::{hex, pack};
use cooper_image::RelPath;
use cooper_layerfs::LayerfsError;
use cooper_layerfs::apply::OverlayXattr;
use cooper_layerfs::root::Root;
use cooper_layerfs::view::View;
use cooper_layerfs::whiteout::{is_opaque, is_whiteout};
use cooper_layerfs::whole::{Before, Fresh, Index, Left, Scope, copy_out, lay_out, part, write_changes};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root(path: &Path) -> Root {
    Root::open(path).unwrap()
}

fn view(layers: &[PathBuf]) -> View {
    View::stack(layers.iter().map(|path| root(path)).collect())
}

fn laid_out(layers: &[PathBuf], fresh: Fresh, into: &Path) {
    lay_out(&view(layers), fresh, &root(into), Scope::default(), &|| false).unwrap();
}

/// Those that overlayfs goes by here.
fn marks() -> OverlayXattr {
    if std::env::var(ROLE).unwrap() == "trusted" { OverlayXattr::Trusted } else { OverlayXattr::User }
}

/// What overlayfs shows of layers, lowest first.
fn merged(layers: &[PathBuf], at: &Path) -> Tree {
    let lowers: Vec<String> = layers.iter().rev().map(|path| path.display().to_string()).collect();
    let marks = if marks() == OverlayXattr::Trusted { "" } else { ",userxattr" };
    let options = CString::new(format!("lowerdir={}{marks}", lowers.join(":"))).unwrap();
    mount("overlay", at, "overlay", MountFlags::RDONLY, Some(options.as_c_str())).unwrap();
    let tree = all(at);
    unmount(at, UnmountFlags::empty()).unwrap();
    tree
}

struct Step {
    before: Tree,
    after: Tree,
    layer: Vec<u8>,
}

/// Some steps in one root.
fn story(random: &mut Random, top: &Path) -> Vec<Step> {
    let at = |name: &str| {
        fs::create_dir_all(top.join(name)).unwrap();
        top.join(name)
    };
    let mut layers = vec![at("lower")];
    for _ in 0..random.below(25) {
        operate(random, &layers[0]);
    }
    let (whole, late) = (at("whole"), at("late"));
    laid_out(&layers, Fresh::All, &whole);
    laid_out(&layers, Fresh::All, &late);
    let mut steps = Vec::new();
    for number in 0..2 {
        let before = all(&whole);
        assert_eq!(before, merged_or_only(&layers, &at("merged")));
        let index = Index::of(&root(&whole), Scope::default()).unwrap();
        for _ in 0..=random.below(12) {
            operate(random, &whole);
        }
        let upper = at(&format!("upper-{number}"));
        let before_step = Before {
            index: &index,
            view: &view(&layers),
            moved: &BTreeSet::new(),
            scope: Scope::default(),
            ctimes_tell: true,
        };
        write_changes(&root(&whole), &before_step, &root(&upper), marks(), &|| false).unwrap();
        layers.push(upper.clone());
        let after = all(&whole);
        assert_eq!(merged(&layers, &at("merged")), after, "overlayfs over {before:#?}");
        steps.push(Step { before, after, layer: pack(&upper) });
    }
    laid_out(&layers, Fresh::Top(2), &late);
    assert_eq!(all(&late), steps[1].after, "brought up to date");
    let anew = at("anew");
    laid_out(&layers, Fresh::All, &anew);
    assert_eq!(all(&anew), steps[1].after, "laid out anew");
    steps
}

/// Overlayfs wants two.
fn merged_or_only(layers: &[PathBuf], at: &Path) -> Tree {
    if let [only] = layers { all(only) } else { merged(layers, at) }
}

#[test]
#[ignore = "runs as a child of the test below"]
fn in_a_namespace() {
    assert!(std::env::var_os(ROLE).is_some(), "it mounts, and so needs a namespace of its own");
    // A file system whose ctimes say all, and one where they do not.
    let (disk, memory) = (tempfile::tempdir_in("/var/tmp").unwrap(), tempfile::tempdir().unwrap());
    mount("tmpfs", memory.path(), "tmpfs", MountFlags::empty(), None).unwrap();
    let mut random = Random::new(12);
    let steps: Vec<Step> = (0..cases("COOPER_TEST_CHANGES", 300))
        .flat_map(|case| {
            let top = if case % 2 == 0 { disk.path() } else { memory.path() };
            let dir = top.join(case.to_string());
            let steps = story(&mut random, &dir);
            fs::remove_dir_all(dir).unwrap();
            steps
        })
        .collect();
    let said = read_by(Command::new("python3").args(["-c", PYTHON]), framed(steps.iter().map(|s| s.layer.as_slice())));
    let said = String::from_utf8(said).unwrap();
    let mut lists = said.split("--\n");
    let mut marks = 0;
    for (case, step) in steps.iter().enumerate() {
        let entries: Vec<&str> = lists.next().unwrap().lines().collect();
        marks += entries.iter().filter(|line| line.contains(&hex(b".wh."))).count();
        assert_eq!(lay(&step.before, &entries), step.after, "step {case}: {entries:#?}\nover {:#?}", step.before);
    }
    assert!(marks > steps.len() / 4, "only {marks} deletions");
    unmount(memory.path(), UnmountFlags::DETACH).unwrap();
}

#[test]
fn the_layer_of_a_whole_root_is_the_difference() {
    again_in_a_namespace("wholes::in_a_namespace");
}

/// A root with two files, and what a layer holds of what `work` did.
fn changed(cut_off: &[&str], moved: &[&str], work: impl FnOnce(&Path)) -> (tempfile::TempDir, Vec<String>) {
    let top = tempfile::tempdir().unwrap();
    let [lower, whole, upper] = ["lower", "whole", "upper"].map(|name| top.path().join(name));
    for path in [&lower, &whole, &upper] {
        fs::create_dir(path).unwrap();
    }
    fs::create_dir_all(lower.join("dev")).unwrap();
    fs::create_dir_all(lower.join("etc")).unwrap();
    fs::write(lower.join("dev/image's"), "x").unwrap();
    for name in ["hosts", "other"] {
        fs::write(lower.join("etc").join(name), "from the image").unwrap();
    }
    let view = view(&[lower]);
    let scope = Scope { cut_off, ..Scope::default() };
    lay_out(&view, Fresh::All, &root(&whole), scope, &|| false).unwrap();
    let index = Index::of(&root(&whole), scope).unwrap();
    work(&whole);
    let moved: BTreeSet<RelPath> = moved.iter().map(|path| RelPath::from(*path)).collect();
    let before = Before { index: &index, view: &view, moved: &moved, scope, ctimes_tell: true };
    write_changes(&root(&whole), &before, &root(&upper), OverlayXattr::Unstacked, &|| false).unwrap();
    let mut names: Vec<String> = walk(&upper, &upper);
    names.sort();
    (top, names)
}

fn walk(top: &Path, dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        found.push(entry.path().strip_prefix(top).unwrap().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(top, &entry.path()));
        }
    }
    found
}

#[test]
fn names_that_are_cut_off_are_in_neither() {
    let (top, names) = changed(&["dev"], &[], |whole| {
        assert!(!whole.join("dev").exists());
        fs::create_dir(whole.join("dev")).unwrap();
        fs::write(whole.join("dev/null"), "").unwrap();
        fs::create_dir(whole.join("etc/dev")).unwrap();
    });
    assert_eq!(names, ["etc", "etc/dev"]);
    drop(top);
}

/// What an earlier step left in the root and no layer has is not missing when a later one has deleted it.
#[test]
fn sockets_are_in_no_layer_and_missing_from_none() {
    let top = tempfile::tempdir().unwrap();
    let [lower, whole, upper] = ["lower", "whole", "upper"].map(|name| top.path().join(name));
    for path in [&lower, &whole, &upper] {
        fs::create_dir(path).unwrap();
    }
    for name in ["stays", "goes", "is-replaced"] {
        drop(UnixListener::bind(whole.join(name)).unwrap());
    }
    let (view, moved) = (view(&[lower]), BTreeSet::new());
    let index = Index::of(&root(&whole), Scope::default()).unwrap();
    fs::remove_file(whole.join("goes")).unwrap();
    fs::remove_file(whole.join("is-replaced")).unwrap();
    fs::write(whole.join("is-replaced"), "a file").unwrap();
    drop(UnixListener::bind(whole.join("new")).unwrap());
    let before = Before { index: &index, view: &view, moved: &moved, scope: Scope::default(), ctimes_tell: true };
    write_changes(&root(&whole), &before, &root(&upper), OverlayXattr::Unstacked, &|| false).unwrap();
    assert_eq!(walk(&upper, &upper), ["is-replaced"]);
}

#[test]
fn what_was_moved_away_and_back_is_no_change_but_what_was_done_to_it_is() {
    let back = |whole: &Path| {
        let etc = fs::metadata(whole.join("etc")).unwrap().modified().unwrap();
        fs::rename(whole.join("etc/hosts"), whole.join("aside")).unwrap();
        fs::write(whole.join("etc/hosts"), "provided").unwrap();
        fs::remove_file(whole.join("etc/hosts")).unwrap();
        fs::rename(whole.join("aside"), whole.join("etc/hosts")).unwrap();
        fs::File::open(whole.join("etc")).unwrap().set_modified(etc).unwrap();
    };
    let moved = ["etc/hosts", "etc"];
    assert_eq!(changed(&[], &[], back).1, ["etc", "etc/hosts"]);
    assert!(changed(&[], &moved, back).1.is_empty());
    let touched = changed(&[], &moved, |whole| {
        back(whole);
        fs::set_permissions(whole.join("etc"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(whole.join("etc/other"), "new").unwrap();
    });
    assert_eq!(touched.1, ["etc", "etc/other"]);
    let replaced = changed(&[], &moved, |whole| {
        back(whole);
        fs::remove_file(whole.join("etc/hosts")).unwrap();
        fs::write(whole.join("etc/hosts"), "from the image").unwrap();
    });
    assert_eq!(replaced.1, ["etc", "etc/hosts"]);
}

#[test]
fn deletions_need_no_device_and_are_deletions_to_all_who_read_them() {
    let (top, names) = changed(&[], &[], |whole| fs::remove_file(whole.join("etc/other")).unwrap());
    assert_eq!(names, ["etc", "etc/other"]);
    let upper = top.path().join("upper");
    let mark = root(&upper).stat(&RelPath::from("etc/other")).unwrap().unwrap();
    assert!(is_whiteout(&mark));
    let merged = view(&[top.path().join("lower"), upper.clone()]);
    assert_eq!(merged.lstat(&RelPath::from("etc/other")).unwrap(), None);
    let tar = pack(&upper);
    assert!(tar.windows(12).any(|bytes| bytes == b".wh.other\0\0\0"));
}

#[test]
fn other_names_of_what_was_moved_away_and_back_are_no_change() {
    let top = tempfile::tempdir().unwrap();
    let [lower, whole, upper] = ["lower", "whole", "upper"].map(|name| top.path().join(name));
    for path in [&lower, &whole, &upper] {
        fs::create_dir(path).unwrap();
    }
    for name in ["one", "touched"] {
        fs::write(lower.join(name), name).unwrap();
        fs::hard_link(lower.join(name), lower.join(format!("{name}-too"))).unwrap();
    }
    let view = view(&[lower]);
    lay_out(&view, Fresh::All, &root(&whole), Scope::default(), &|| false).unwrap();
    for name in ["one", "touched"] {
        fs::remove_file(whole.join(format!("{name}-too"))).unwrap();
        fs::hard_link(whole.join(name), whole.join(format!("{name}-too"))).unwrap();
    }
    let index = Index::of(&root(&whole), Scope::default()).unwrap();
    for name in ["one", "touched"] {
        fs::rename(whole.join(name), top.path().join("aside")).unwrap();
        fs::rename(top.path().join("aside"), whole.join(name)).unwrap();
    }
    fs::set_permissions(whole.join("touched-too"), fs::Permissions::from_mode(0o600)).unwrap();
    let moved = ["", "one", "touched"].map(RelPath::from).into_iter().collect();
    let before = Before { index: &index, view: &view, moved: &moved, scope: Scope::default(), ctimes_tell: true };
    write_changes(&root(&whole), &before, &root(&upper), OverlayXattr::Unstacked, &|| false).unwrap();
    let mut names = walk(&upper, &upper);
    names.sort();
    assert_eq!(names, ["touched", "touched-too"]);
}

/// As overlayfs has it: what is written by one name is not found by another, and what replaces something hides it.
#[test]
fn names_of_one_file_are_parted_and_what_is_replaced_is_hidden() {
    let top = tempfile::tempdir().unwrap();
    let [lower, whole, upper] = ["lower", "whole", "upper"].map(|name| top.path().join(name));
    for path in [&lower, &whole, &upper, &lower.join("old"), &lower.join("kept")] {
        fs::create_dir(path).unwrap();
    }
    for name in ["a", "old/in", "file"] {
        fs::write(lower.join(name), name).unwrap();
    }
    for name in ["b", "c", "d"] {
        fs::hard_link(lower.join("a"), lower.join(name)).unwrap();
    }
    let layers = vec![lower, upper.clone()];
    let below = view(&layers[..1]);
    lay_out(&below, Fresh::All, &root(&whole), Scope::default(), &|| false).unwrap();
    let step = |work: &dyn Fn()| {
        let index = Index::of(&root(&whole), Scope::default()).unwrap();
        work();
        let before =
            Before { index: &index, view: &below, moved: &BTreeSet::new(), scope: Scope::default(), ctimes_tell: true };
        write_changes(&root(&whole), &before, &root(&upper), OverlayXattr::Unstacked, &|| false).unwrap()
    };
    let left = step(&|| {
        fs::set_permissions(whole.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(whole.join("b")).unwrap();
        for name in ["old", "file"] {
            fs::remove_dir_all(whole.join(name)).or_else(|_| fs::remove_file(whole.join(name))).unwrap();
            // So that it cannot get the number of what was deleted.
            fs::write(whole.join("between"), "").unwrap();
            fs::create_dir(whole.join(name)).unwrap();
        }
        fs::create_dir(whole.join("kept/new")).unwrap();
    });
    assert_eq!(left, Left::Alike);
    let mut names = walk(&upper, &upper);
    names.sort();
    assert_eq!(names, ["a", "b", "between", "file", "kept", "kept/new", "old"]);
    let opaque = |name: &str| is_opaque(&root(&upper).dir(&RelPath::from(name)).unwrap()).unwrap();
    assert_eq!(["file", "kept", "kept/new", "old"].map(opaque), [true, false, false, true]);
    assert_eq!(view(&layers).lstat(&RelPath::from("old/in")).unwrap(), None);

    fs::remove_dir_all(&upper).unwrap();
    fs::create_dir(&upper).unwrap();
    assert_eq!(step(&|| fs::hard_link(whole.join("c"), whole.join("e")).unwrap()), Left::Linked);
}

#[test]
fn what_was_written_by_another_name_is_a_change_whatever_its_time() {
    let (top, names) = changed(&[], &["etc/hosts", "etc"], |whole| {
        let hosts = whole.join("etc/hosts");
        let time = fs::metadata(&hosts).unwrap().modified().unwrap();
        let etc = fs::metadata(whole.join("etc")).unwrap().modified().unwrap();
        fs::rename(&hosts, whole.join("aside")).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(whole.join("aside")).unwrap();
        std::io::Write::write_all(&mut file, b"of the step, ").unwrap();
        file.set_modified(time).unwrap();
        fs::rename(whole.join("aside"), &hosts).unwrap();
        fs::File::open(whole.join("etc")).unwrap().set_modified(etc).unwrap();
        assert_eq!(fs::read_to_string(&hosts).unwrap().len(), "from the image".len());
    });
    assert_eq!(names, ["etc", "etc/hosts"]);
    assert_eq!(fs::read_to_string(top.path().join("upper/etc/hosts")).unwrap(), "of the step, e");
}

#[test]
fn a_part_of_a_view_is_copied_as_it_is() {
    let top = tempfile::tempdir().unwrap();
    let [lower, upper, out] = ["lower", "upper", "out"].map(|name| top.path().join(name));
    fs::create_dir_all(lower.join("d/sub")).unwrap();
    fs::create_dir_all(upper.join("d/sub")).unwrap();
    fs::create_dir(&out).unwrap();
    fs::write(lower.join("d/one"), "one").unwrap();
    fs::hard_link(lower.join("d/one"), lower.join("d/sub/two")).unwrap();
    fs::hard_link(lower.join("d/one"), lower.join("beside")).unwrap();
    fs::write(upper.join("d/sub/three"), "three").unwrap();
    std::os::unix::fs::symlink("../beside", upper.join("d/sub/link")).unwrap();
    fs::set_permissions(upper.join("d"), fs::Permissions::from_mode(0o710)).unwrap();
    let view = view(&[lower.clone(), upper.clone()]);
    copy_out(&view, &RelPath::from("d"), (&root(&out), b"copy"), &|| false).unwrap();
    copy_out(&view, &RelPath::from("d/sub/three"), (&root(&out), b"file"), &|| false).unwrap();
    let mut names = walk(&out, &out);
    names.sort();
    assert_eq!(names, ["copy", "copy/one", "copy/sub", "copy/sub/link", "copy/sub/three", "copy/sub/two", "file"]);
    assert_eq!(fs::metadata(out.join("copy")).unwrap().permissions().mode() & 0o7777, 0o710);
    assert_eq!(fs::read_link(out.join("copy/sub/link")).unwrap(), Path::new("../beside"));
    assert_eq!(fs::read_to_string(out.join("file")).unwrap(), "three");
    let inode = |path: &str| fs::metadata(out.join(path)).unwrap().ino();
    assert_eq!(inode("copy/one"), inode("copy/sub/two"));
    assert_eq!(fs::metadata(lower.join("beside")).unwrap().nlink(), 3, "no name of a layer's file was made");
    let absent = copy_out(&view, &RelPath::from("absent"), (&root(&out), b"x"), &|| false);
    assert!(absent.is_err() && !out.join("x").exists());
}

#[test]
fn a_directory_is_parted_from_the_other_names_of_its_files() {
    let top = tempfile::tempdir().unwrap();
    let cache = top.path().join("cache");
    fs::create_dir_all(cache.join("sub")).unwrap();
    for name in ["shared", "own"] {
        fs::write(cache.join(name), name).unwrap();
        fs::set_permissions(cache.join(name), fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(cache.join(name), cache.join("sub").join(name)).unwrap();
    }
    fs::hard_link(cache.join("shared"), top.path().join("outside")).unwrap();
    let inode = |path: &str| fs::metadata(cache.join(path)).unwrap().ino();
    let own = inode("own");
    // Of one who was killed at it, in whichever of the directories the first name is.
    for dir in [cache.clone(), cache.join("sub")] {
        fs::write(dir.join(format!(".parted-{}", inode("shared"))), "half").unwrap();
    }
    part(&root(&cache)).unwrap();
    fs::write(top.path().join("outside"), "changed").unwrap();
    for path in ["shared", "sub/shared"] {
        assert_eq!(fs::read_to_string(cache.join(path)).unwrap(), "shared");
        assert_eq!(fs::metadata(cache.join(path)).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(inode(path), inode("shared"));
    }
    assert_eq!((inode("own"), inode("sub/own")), (own, own));
    assert_eq!(walk(&cache, &cache).len(), 5);
}

#[test]
#[ignore = "runs as a child of the test below"]
fn on_a_full_file_system() {
    assert!(std::env::var_os(ROLE).is_some(), "it mounts, and so needs a namespace of its own");
    let top = tempfile::tempdir().unwrap();
    mount("tmpfs", top.path(), "tmpfs", MountFlags::empty(), Some(c"size=256k")).unwrap();
    let cache = top.path().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join("large"), vec![1; 160 * 1024]).unwrap();
    fs::hard_link(cache.join("large"), top.path().join("outside")).unwrap();
    let failed = part(&root(&cache)).unwrap_err();
    assert!(matches!(failed, LayerfsError::Io { .. }), "{failed:?}");
    assert_eq!(walk(&cache, &cache), ["large"]);
    unmount(top.path(), UnmountFlags::DETACH).unwrap();
}

#[test]
fn half_a_copy_is_left_nowhere() {
    again_in_a_namespace("wholes::on_a_full_file_system");
}
