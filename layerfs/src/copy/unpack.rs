//! Where the entries of an archive go that ADD unpacks.
//!
//! Takes: an archive and where it goes. Gives: its entries in the plan, and what is streamed when it is read again.
//! Must never: follow a link of the archive out of its root.

use super::archive;
use super::node::{Archive, Node, Place};
use super::plan::{MADE, Planner};
use crate::LayerfsError;
use crate::select::Item;
use crate::stat::Kind;
use crate::tar::read::ReadKind;
use crate::view::View;
use cooper_image::RelPath;
use std::collections::HashMap;

/// Most links that a path may lead through, as in the kernel.
const MAX_LINKS: u32 = 40;

impl<'a> Planner<'a, '_> {
    /// An archive's entries, below the destination.
    pub(super) fn unpack(&mut self, dest: &RelPath, view: &'a View, item: &'a Item) -> Result<(), LayerfsError> {
        let dest = self.enter(dest, MADE)?;
        self.unpacking = Some(dest.clone());
        let number = self.plan.archives.len();
        let mut streamed: Vec<Option<Place>> = Vec::new();
        // Final paths by the names in the archive: what a hard link may name.
        let mut names: HashMap<RelPath, RelPath> = HashMap::new();
        archive::each(view, item, |entry, _body| {
            let at = streamed.len();
            streamed.push(None);
            let Some(tail) = archive::tail(item, &entry)? else { return Ok(()) };
            let path = self.enter_parent(&dest.join(tail.as_bytes()))?;
            let link = match &entry.kind {
                ReadKind::Hardlink(to) => Some(archive::earlier(item, to, &names)?.clone()),
                _ => None,
            };
            names.insert(tail, path.clone());
            if matches!(entry.kind, ReadKind::File { .. } | ReadKind::Hardlink(_)) {
                if let Some(slot) = streamed.last_mut() {
                    *slot = Some(Place { path: path.clone(), link });
                }
                return self.replace(item, path, Node::Streamed { archive: number, at });
            }
            self.replace(item, path, Node::Stated(Box::new(entry)))
        })?;
        self.plan.archives.push(Archive { view, item, streamed });
        self.unpacking = None;
        Ok(())
    }

    /// The directory that a link of an archive leads to, by directories that are there and links that archives hold.
    /// As for a process whose root is the archive's, an absolute link starts there and `..` ends there.
    pub(super) fn through(&self, link: &RelPath, root: &RelPath) -> Result<Option<RelPath>, LayerfsError> {
        let mut budget = MAX_LINKS;
        let mut at = root.clone();
        let Some(inside) = link.strip_prefix(root) else { return Ok(None) };
        let mut ahead: Vec<Vec<u8>> = inside.components().rev().map(<[u8]>::to_vec).collect();
        while let Some(component) = ahead.pop() {
            match component.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = if at == *root { at } else { at.parent().unwrap_or_default() };
                    continue;
                }
                name => at = at.join(name),
            }
            let node = self.plan.nodes.get(&at);
            if let Some(to) = node.and_then(Node::link) {
                if budget == 0 {
                    return Ok(None);
                }
                budget -= 1;
                at = if to.starts_with(b"/") { root.clone() } else { at.parent().unwrap_or_default() };
                ahead.extend(to.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                continue;
            }
            let there = match node {
                Some(node) => node.is_dir(),
                None => self.request.target.lstat(&at)?.is_some_and(|m| m.kind == Kind::Dir),
            };
            if !there {
                return Ok(None);
            }
        }
        Ok(Some(at))
    }

    /// Puts an archive's entry: it takes the place of whatever is there, with all that is below it, unless both are
    /// directories.
    pub(super) fn replace(&mut self, archive: &Item, path: RelPath, node: Node<'a>) -> Result<(), LayerfsError> {
        let planned = self.plan.nodes.get(&path);
        let other = planned.filter(|planned| planned.is_dir() != node.is_dir()).map(Node::is_dir);
        // A link that comes or goes changes where paths through it lead, and so does a directory that goes.
        if other.is_some() || [planned, Some(&node)].into_iter().flatten().any(|n| n.link().is_some()) {
            self.entered.clear();
        }
        match other {
            Some(true) => self.forget_below(&path),
            // A layer cannot say that a directory of those below it begins anew without what it held.
            Some(false) if self.request.target.lstat(&path)?.is_some_and(|m| m.kind == Kind::Dir) => {
                return Err(LayerfsError::Archive {
                    archive: archive.path.display(),
                    reason: format!("{} would replace a directory of the target and be one again", path.display()),
                });
            }
            Some(false) | None => {}
        }
        self.insert(path, node)
    }

    /// Takes out what was to go below a directory that is none any more.
    fn forget_below(&mut self, dir: &RelPath) {
        // No name is less than this one.
        let first = dir.join(&[0]);
        let below = self.plan.nodes.range(first..).map(|(path, _)| path);
        let below: Vec<RelPath> = below.take_while(|path| path.strip_prefix(dir).is_some()).cloned().collect();
        below.iter().for_each(|path| drop(self.plan.nodes.remove(path)));
    }
}
