//! Random stacks of trees, merged by the view and by a map of paths that follows the words of the image
//! specification. `COOPER_TEST_STACKS=100000` looks at more of them.

use crate::random::{Random, cases};
use cooper_image::RelPath;
use cooper_layerfs::root::Root;
use cooper_layerfs::stat::Kind;
use cooper_layerfs::view::View;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Contents of files by path; directories have none.
type Tree = BTreeMap<String, Option<String>>;

/// A directory in memory when attributes can be set there, because files cost little in it.
pub fn scratch() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    let usable = |dir: &tempfile::TempDir| {
        rustix::fs::setxattr(dir.path(), "user.overlay.opaque", b"n", XattrFlags::empty()).is_ok()
    };
    memory.filter(usable).unwrap_or_else(|| tempfile::tempdir().unwrap())
}

fn drop_below(tree: &mut Tree, path: &str) {
    let prefix = format!("{path}/");
    tree.retain(|name, _| !name.starts_with(&prefix));
}

/// Fills one directory of a layer, and does to the merged tree what it means.
fn fill(random: &mut Random, dir: &Path, path: &str, merged: &mut Tree, depth: usize) {
    // What this layer itself brings must not be hidden by its own marks: they come first.
    let opaque = !path.is_empty() && random.once_in(5);
    if opaque {
        let value = if random.once_in(4) { b"n" } else { b"y" };
        rustix::fs::setxattr(dir, "user.overlay.opaque", value, XattrFlags::empty()).unwrap();
        if value == b"y" {
            drop_below(merged, path);
        }
    }
    for name in ["a", "b", "c", "d"] {
        let (file, path) = (dir.join(name), if path.is_empty() { name.into() } else { format!("{path}/{name}") });
        match random.below(9) {
            0 | 1 => {
                let text = random.bits().to_string();
                fs::write(&file, &text).unwrap();
                drop_below(merged, &path);
                merged.insert(path, Some(text));
            }
            2 => {
                rustix::fs::mknodat(CWD, &file, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
                drop_below(merged, &path);
                merged.remove(&path);
            }
            3..=5 if depth < 3 => {
                fs::create_dir(&file).unwrap();
                if merged.get(&path).is_some_and(Option::is_some) {
                    merged.remove(&path);
                }
                merged.insert(path.clone(), None);
                fill(random, &file, &path, merged, depth + 1);
            }
            _ => {}
        }
    }
}

/// What the view shows, by its own walk.
fn shown(view: &View) -> Tree {
    let mut found = Tree::new();
    let mut pending = vec![RelPath::root()];
    while let Some(dir) = pending.pop() {
        for entry in view.read_dir(&dir).unwrap() {
            let path = dir.join(&entry.name);
            let name = path.display();
            let kind = view.lstat(&path).unwrap().unwrap().kind;
            if kind == Kind::Dir {
                found.insert(name, None);
                pending.push(path);
            } else {
                assert_eq!(kind, Kind::File, "{name}");
                let mut text = String::new();
                view.open_file(&path).unwrap().read_to_string(&mut text).unwrap();
                found.insert(name, Some(text));
            }
        }
    }
    found
}

#[test]
fn random_stacks_merge_as_the_specification_says() {
    let mut random = Random::new(4);
    for case in 0..cases("COOPER_TEST_STACKS", 10_000) {
        let (top, mut merged) = (scratch(), Tree::new());
        let layers: Vec<PathBuf> = (0..1 + random.below(4)).map(|n| top.path().join(n.to_string())).collect();
        for layer in &layers {
            fs::create_dir(layer).unwrap();
            fill(&mut random, layer, "", &mut merged, 0);
        }
        let view = View::stack(layers.iter().map(|layer| Root::open(layer).unwrap()).collect());
        assert_eq!(shown(&view), merged, "stack {case}");
    }
}
