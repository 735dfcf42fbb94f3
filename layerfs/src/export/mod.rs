//! The merged root, out of the store: to a directory of the caller's, or as one tar.
//!
//! Takes: views and where to. Gives: files, or bytes that depend on nothing but the views. Must never: write
//! through a symbolic link that the destination holds, or remove a directory that it holds, unless the destination
//! is to become equal to the view.

mod dir;
mod tar;

pub(crate) use dir::delete;
pub use dir::{LeftOut, Others, export_dir};
pub use tar::export_tar;

use crate::LayerfsError;
use crate::stat::{Kind, Meta, Time};
use crate::view::{Found, View};
use cooper_image::RelPath;
use std::collections::{HashMap, HashSet};

/// One root and the directory of the output that it goes to.
pub struct Part {
    /// The directory; the output itself for a root that stands alone.
    pub into: RelPath,
    /// The root.
    pub view: View,
}

/// The first path that is no directory in one of the views and exists in another one too.
///
/// # Errors
/// [`LayerfsError::Io`] when a view cannot be listed.
pub fn collision(views: &[&View]) -> Result<Option<RelPath>, LayerfsError> {
    let (mut dirs, mut files): (HashSet<RelPath>, HashSet<RelPath>) = (HashSet::new(), HashSet::new());
    for view in views {
        let mut fresh = Vec::new();
        let mut pending = vec![RelPath::root()];
        while let Some(dir) = pending.pop() {
            for (name, found) in view.children(&dir)? {
                let path = dir.join(&name);
                let is_dir = found.meta.kind == Kind::Dir;
                if files.contains(&path) || (!is_dir && dirs.contains(&path)) {
                    return Ok(Some(path));
                }
                if is_dir {
                    pending.push(path.clone());
                }
                fresh.push((path, is_dir));
            }
        }
        for (path, is_dir) in fresh {
            if is_dir {
                dirs.insert(path)
            } else {
                files.insert(path)
            };
        }
    }
    Ok(None)
}

/// The time that an entry gets: the one for all entries, or its own.
fn dated(meta: &Meta, all: Option<i64>) -> Time {
    all.map_or(meta.mtime, |secs| Time { secs, nanos: 0 })
}

/// First names of files that have several.
#[derive(Default)]
pub(crate) struct FirstNames(HashMap<(usize, u64, u64), RelPath>);

impl FirstNames {
    /// The name under which the file was met before; remembers this one otherwise.
    pub(crate) fn seen(&mut self, found: &Found, path: &RelPath) -> Option<&RelPath> {
        let Meta { kind, nlink, dev, ino, .. } = found.meta;
        if kind != Kind::File || nlink < 2 {
            return None;
        }
        match self.0.entry((found.layer, dev, ino)) {
            std::collections::hash_map::Entry::Occupied(first) => Some(first.into_mut()),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(path.clone());
                None
            }
        }
    }
}
