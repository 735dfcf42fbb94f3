//! How layers become one tree (the rules of overlayfs, and of image-spec's layer.md).
//!
//! The topmost layer that has a path decides what it is. Directories merge with directories below them,
//! down to the first layer that has something else, a whiteout, or an opaque directory. Which layers hold
//! a part of a directory is remembered, so that a look-up below it asks only those.

use super::{EMPTY_ROOT, Marks, View};
use crate::stat::{Kind, Meta};
use crate::whiteout;
use cooper_image::RelPath;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// A path in the merged tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// What it is.
    pub meta: Meta,
    /// The layer that decides, counted from the top.
    pub layer: usize,
}

/// The layers that hold a part of a directory, topmost first.
pub(super) type Merged = Arc<[usize]>;

impl View {
    pub(super) fn look_up(&self, path: &RelPath) -> io::Result<Option<Found>> {
        let Some(parent) = path.parent() else { return self.look_up_root() };
        let Some(layers) = self.merged(&parent)? else { return Ok(None) };
        for &layer in layers.iter() {
            if let Some(meta) = self.stat_in(layer, path)? {
                return Ok((!self.is_whiteout(&meta)).then_some(Found { meta, layer }));
            }
        }
        Ok(None)
    }

    fn look_up_root(&self) -> io::Result<Option<Found>> {
        match self.layers.first() {
            None => Ok(Some(Found { meta: EMPTY_ROOT, layer: 0 })),
            Some(top) => Ok(top.stat(&RelPath::root())?.map(|meta| Found { meta, layer: 0 })),
        }
    }

    /// The layers that make up a directory; `None` when the path is not a directory.
    pub(super) fn merged(&self, path: &RelPath) -> io::Result<Option<Merged>> {
        if let Some(known) = self.known(path.as_bytes()) {
            return Ok(known);
        }
        let mut above: Merged = (0..self.layers.len()).collect();
        // From the top down, so that what is below something absent costs nothing and is not remembered.
        let ends = path.as_bytes().iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in std::iter::once(0).chain(ends).chain(std::iter::once(path.as_bytes().len())) {
            let prefix = path.as_bytes().get(..end).unwrap_or_default();
            let part = match self.known(prefix) {
                Some(known) => known,
                None => self.merge(prefix, &above)?,
            };
            match part {
                Some(layers) => above = layers,
                None => return Ok(None),
            }
        }
        Ok(Some(above))
    }

    fn known(&self, path: &[u8]) -> Option<Option<Merged>> {
        self.dirs().get(path).cloned()
    }

    /// Which of the layers that hold a part of the parent hold one of this directory.
    fn merge(&self, prefix: &[u8], candidates: &[usize]) -> io::Result<Option<Merged>> {
        let path = RelPath::clean(prefix);
        let mut parts = Vec::new();
        for &layer in candidates {
            match self.stat_in(layer, &path)? {
                None => {}
                Some(meta) if meta.kind == Kind::Dir => {
                    parts.push(layer);
                    if self.is_opaque(layer, &path)? {
                        break;
                    }
                }
                Some(_) => break,
            }
        }
        let empty_stack = path.is_root() && self.layers.is_empty();
        let merged: Option<Merged> = (!parts.is_empty() || empty_stack).then(|| parts.into());
        self.dirs().insert(prefix.to_vec(), merged.clone());
        Ok(merged)
    }

    pub(super) fn list(&self, path: &RelPath) -> io::Result<Vec<(Vec<u8>, Found)>> {
        let layers = self.merged(path)?.ok_or(io::ErrorKind::NotADirectory)?;
        let mut seen: BTreeMap<Vec<u8>, Option<Found>> = BTreeMap::new();
        for &layer in layers.iter() {
            let dir = self.open_dir(layer, path)?;
            for entry in dir.entries()? {
                if seen.contains_key(&entry.name) {
                    continue;
                }
                match dir.stat(&entry.name) {
                    Ok(meta) => {
                        let found = (!self.is_whiteout(&meta)).then_some(Found { meta, layer });
                        seen.insert(entry.name, found);
                    }
                    // It vanished after it was listed: as if it had vanished before.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(seen.into_iter().filter_map(|(name, found)| found.map(|f| (name, f))).collect())
    }

    fn stat_in(&self, layer: usize, path: &RelPath) -> io::Result<Option<Meta>> {
        self.layers.get(layer).map_or(Ok(None), |root| root.stat(path))
    }

    fn is_whiteout(&self, meta: &Meta) -> bool {
        self.marks == Marks::Overlay && whiteout::is_whiteout(meta)
    }

    fn is_opaque(&self, layer: usize, path: &RelPath) -> io::Result<bool> {
        if self.marks == Marks::Plain {
            return Ok(false);
        }
        whiteout::is_opaque(&self.open_dir(layer, path)?)
    }
}
