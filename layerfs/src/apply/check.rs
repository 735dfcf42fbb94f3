//! Can a layer be unpacked? What [`super::apply`] refuses is refused, and nothing is written.
//!
//! Takes: the tar of one layer. Must never: look at a file system. What only that can say, such as whose the files may
//! be, is not asked.

use super::{About, Bounds, Meaning};
use crate::error::{LayerfsError, Reason};
use crate::tar::read::{ReadEntry, ReadKind, TarReader};
use crate::whiteout::Marker;
use cooper_image::RelPath;
use std::collections::HashMap;
use std::io::Read;

/// Most bytes that are kept of one layer: some five million names, fewer when they or the targets of links are long.
const KEPT_BYTES: u64 = 512 << 20;
/// What a name costs beside its own bytes.
const NAME_COST: usize = 100;
/// Longest name of a file, and of a link's target, in file systems.
const NAME_BYTES: usize = 255;
const TARGET_BYTES: usize = 4095;
/// Most symbolic links on the way to one file, as in the kernel.
const LINKS: usize = 40;
const ROOT: usize = 0;

/// What there is at a name.
enum Node {
    Dir,
    Symlink(Box<[u8]>),
    /// A deletion of what is below.
    Deleted,
    Other,
}

/// The tree as it would be.
struct Tree {
    nodes: Vec<Node>,
    /// By the directory and the name in it. What was in a directory that has gone cannot be reached any more.
    names: HashMap<(usize, Box<[u8]>), usize>,
    /// What all of it takes, in bytes; also what has been replaced stays.
    kept: u64,
}

/// Reads the tar of a layer to the end of the archive.
///
/// # Errors
/// [`LayerfsError::Entry`], [`LayerfsError::Limit`] and [`LayerfsError::Stream`], as of [`super::apply`].
pub fn check(reader: &mut dyn Read, bounds: Bounds) -> Result<(), LayerfsError> {
    check_keeping(reader, bounds, KEPT_BYTES)
}

fn check_keeping(reader: &mut dyn Read, bounds: Bounds, most: u64) -> Result<(), LayerfsError> {
    let mut tar = TarReader::new(reader, bounds);
    let mut tree = Tree { nodes: vec![Node::Dir], names: HashMap::new(), kept: 0 };
    while let Some(entry) = tar.next_entry()? {
        let path = RelPath::clean(&entry.name);
        let About::Name { parent, name, marker } = About::of(&entry, &path, Meaning::Layer)? else { continue };
        let refuse = |reason| LayerfsError::Entry { entry: path.display(), reason };
        let dir = tree.parent(&parent).map_err(refuse)?;
        let added = match marker {
            Marker::Plain => tree.add(dir, name, &entry),
            Marker::Deletes(gone) => tree.delete(dir, gone),
            Marker::Opaque | Marker::Bookkeeping => Ok(()),
        };
        added.map_err(refuse)?;
        if tree.kept > most {
            return Err(LayerfsError::Limit { what: "bytes of names in a layer that is only looked at", limit: most });
        }
    }
    Ok(())
}

impl Tree {
    fn child(&self, dir: usize, name: &[u8]) -> Option<(usize, &Node)> {
        let id = *self.names.get(&(dir, name.into()))?;
        Some((id, self.nodes.get(id)?))
    }

    fn put(&mut self, dir: usize, name: &[u8], node: Node) -> Result<usize, Reason> {
        if name.len() > NAME_BYTES {
            return Err(Reason::Name);
        }
        let target = if let Node::Symlink(target) = &node { target.len() } else { 0 };
        self.nodes.push(node);
        let id = self.nodes.len() - 1;
        self.name(dir, name, id, target);
        Ok(id)
    }

    fn name(&mut self, dir: usize, name: &[u8], id: usize, more: usize) {
        self.kept = self.kept.saturating_add((NAME_COST + name.len() + more) as u64);
        self.names.insert((dir, name.into()), id);
    }

    /// The directory that a path leads to, links followed with the tree as the root; `None` when there is none.
    fn dir(&self, path: &[u8]) -> Option<usize> {
        let (mut way, mut links) = (vec![ROOT], 0);
        let mut ahead: Vec<&[u8]> = path.rsplit(|b| *b == b'/').collect();
        while let Some(name) = ahead.pop() {
            match name {
                b"" | b"." => continue,
                b".." => {
                    way.truncate(way.len().saturating_sub(1).max(1));
                    continue;
                }
                _ => {}
            }
            match self.child(way.last().copied().unwrap_or(ROOT), name) {
                Some((id, Node::Dir)) => way.push(id),
                Some((_, Node::Symlink(target))) => {
                    links += 1;
                    if links > LINKS {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    ahead.extend(target.rsplit(|b| *b == b'/'));
                }
                _ => return None,
            }
        }
        way.last().copied()
    }

    /// The directory of an entry; missing ones are made.
    fn parent(&mut self, path: &RelPath) -> Result<usize, Reason> {
        if let Some(dir) = self.dir(path.as_bytes()) {
            return Ok(dir);
        }
        let (mut dir, mut so_far) = (ROOT, 0);
        for name in path.components() {
            so_far += name.len() + 1;
            dir = match self.child(dir, name) {
                Some((id, Node::Dir)) => id,
                Some((_, Node::Symlink(_))) => {
                    let link = path.as_bytes().get(..so_far - 1).unwrap_or_default();
                    self.dir(link).ok_or(Reason::Parent)?
                }
                None | Some((_, Node::Deleted)) => self.put(dir, name, Node::Dir)?,
                Some((_, Node::Other)) => return Err(Reason::Parent),
            };
        }
        Ok(dir)
    }

    fn add(&mut self, dir: usize, name: &[u8], entry: &ReadEntry) -> Result<(), Reason> {
        let node = match &entry.kind {
            ReadKind::Dir if matches!(self.child(dir, name), Some((_, Node::Dir))) => return Ok(()),
            ReadKind::Dir => Node::Dir,
            ReadKind::Hardlink(target) => return self.link(dir, name, &RelPath::clean(target)),
            ReadKind::Char(rdev) if rdev.is_whiteout() => return Err(Reason::DeviceZero),
            ReadKind::Symlink(target) if target.len() > TARGET_BYTES => return Err(Reason::Name),
            ReadKind::Symlink(target) => Node::Symlink(target.as_slice().into()),
            ReadKind::File { .. } | ReadKind::Char(_) | ReadKind::Block(_) | ReadKind::Fifo => Node::Other,
        };
        self.put(dir, name, node).map(drop)
    }

    /// Another name for a file that is there.
    fn link(&mut self, dir: usize, name: &[u8], target: &RelPath) -> Result<(), Reason> {
        let (above, last) = target.parent().zip(target.file_name()).ok_or(Reason::Hardlink)?;
        let find = |tree: &Self| {
            let above = tree.dir(above.as_bytes()).ok_or(Reason::Hardlink)?;
            match tree.child(above, last) {
                None | Some((_, Node::Dir | Node::Deleted)) => Err(Reason::Hardlink),
                Some((id, _)) => Ok(id),
            }
        };
        let id = find(self)?;
        match self.child(dir, name) {
            Some((there, _)) if there == id => return Ok(()),
            // What is replaced may be the directory that holds the target.
            Some(_) => {
                self.names.remove(&(dir, name.into()));
                find(self)?;
            }
            None if name.len() > NAME_BYTES => return Err(Reason::Name),
            None => {}
        }
        self.name(dir, name, id, 0);
        Ok(())
    }

    fn delete(&mut self, dir: usize, name: &[u8]) -> Result<(), Reason> {
        match self.child(dir, name) {
            Some(_) => Ok(()),
            None => self.put(dir, name, Node::Deleted).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link to a long path again and again under one name: only what was made of it is small.
    #[test]
    fn what_is_replaced_counts_as_well() {
        let mut tar = tar::Builder::new(Vec::new());
        for _ in 0..100 {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            tar.append_link(&mut header, "link", "x/".repeat(1000)).unwrap();
        }
        let bytes = tar.into_inner().unwrap();
        let kept = |most: u64| check_keeping(&mut bytes.as_slice(), Bounds::default(), most);
        kept(100 * 2104).unwrap();
        let refused = kept(100 * 2103).unwrap_err();
        assert!(matches!(refused, LayerfsError::Limit { limit: 210_300, .. }), "{refused}");
    }
}
