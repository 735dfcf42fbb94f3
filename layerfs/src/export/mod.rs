//! The merged root, out of the store: to a directory of the caller's, or as one tar.
//!
//! Takes: a view and where to. Gives: files, or bytes that depend on nothing but the view. Must never: write
//! through a symbolic link that the destination holds, or remove a directory that it holds.

mod dir;
mod tar;

pub use dir::export_dir;
pub use tar::export_tar;

use crate::stat::{Kind, Meta};
use crate::view::Found;
use cooper_image::RelPath;
use std::collections::HashMap;

/// First names of files that have several.
#[derive(Default)]
struct FirstNames(HashMap<(usize, u64, u64), RelPath>);

impl FirstNames {
    /// The name under which the file was met before; remembers this one otherwise.
    fn seen(&mut self, found: &Found, path: &RelPath) -> Option<&RelPath> {
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
