//! Which path of the target gets what: decided before the first byte is written.
//!
//! Takes: the selection and a look at the target. Gives: a sorted map from final paths to what they get.
//! Must never: hold a path that goes through a symbolic link, or a file where a directory is needed.

use super::node::{Node, Plan};
use super::{CopyPart, CopyRequest, Unpack, archive};
use crate::LayerfsError;
use crate::select::{Item, Part, Shape, Source};
use crate::stat::{Kind, Meta};
use crate::view::{Follow, Resolved};
use crate::whiteout;
use cooper_image::RelPath;
use std::collections::HashMap;

/// Mode of directories that are made where nothing else is said.
pub(super) const MADE: u32 = 0o755;

/// Decides everything.
pub(super) fn plan<'a>(request: &CopyRequest<'a>) -> Result<Plan<'a>, LayerfsError> {
    let dest = request.target.resolve(request.dest.rel(), Follow::Final)?;
    let mut planner = Planner { request, plan: Plan::default(), entered: HashMap::new(), unpacking: None };
    let parts: &'a [CopyPart<'a>] = request.parts;
    let sources: Vec<(usize, &'a CopyPart<'a>, &'a Source)> = parts
        .iter()
        .enumerate()
        .flat_map(|(n, part)| part.selection.sources.iter().map(move |source| (n, part, source)))
        .filter(|(_, _, source)| source.goes())
        .collect();
    planner.plan.sources = sources.iter().map(|(part, _, _)| *part).collect();
    // As in BuildKit each source goes to the destination in turn, so that an earlier one decides what it is, and of
    // several files that all go onto one path the last one stays.
    let is_dir = request.dest_is_dir || dest.is_dir();
    let into = |plan: &Plan<'_>| is_dir || plan.nodes.get(&dest.path).is_some_and(Node::is_dir);
    for (number, (_, part, source)) in sources.into_iter().enumerate() {
        match source.shape {
            Shape::Contents => planner.contents(&dest.path, number, source)?,
            Shape::Single => {
                for item in &source.items {
                    if part.unpack == Unpack::Local && archive::is_archive(part.view, item)? {
                        planner.unpack(&dest.path, part.view, item)?;
                    } else {
                        let into = into(&planner.plan);
                        planner.file(&dest.path, into, &source.name, Node::Item { source: number, item })?;
                    }
                }
            }
        }
    }
    for (name, bytes) in request.inline {
        let into = into(&planner.plan);
        planner.file(&dest.path, into, name.as_bytes(), Node::Inline(bytes))?;
    }
    Ok(planner.plan)
}

impl Source {
    /// A directory goes even when it is empty; a socket does not.
    fn goes(&self) -> bool {
        self.shape == Shape::Contents || !self.items.is_empty()
    }
}

impl Resolved {
    fn is_dir(&self) -> bool {
        self.meta.is_some_and(|m| m.kind == Kind::Dir)
    }
}

pub(super) struct Planner<'a, 'r> {
    pub(super) request: &'r CopyRequest<'a>,
    pub(super) plan: Plan<'a>,
    /// Directories that are known to be there, by the path with which they were asked for.
    pub(super) entered: HashMap<RelPath, RelPath>,
    /// While archives are unpacked: their root, above which their links do not lead.
    pub(super) unpacking: Option<RelPath>,
}

impl<'a> Planner<'a, '_> {
    fn contents(&mut self, dest: &RelPath, number: usize, source: &'a Source) -> Result<(), LayerfsError> {
        let dest = self.enter(dest, self.made())?;
        for item in &source.items {
            let path = dest.join(source.tail(item).as_bytes());
            match item.part {
                Part::Chosen => self.put(path, Node::Item { source: number, item })?,
                Part::Way => self.pass(path, number, item)?,
            }
        }
        Ok(())
    }

    /// A directory on the way to what was chosen. As in BuildKit, one that is there already takes the mode of the
    /// source's and keeps the rest.
    fn pass(&mut self, path: RelPath, number: usize, item: &'a Item) -> Result<(), LayerfsError> {
        if self.plan.nodes.get(&path).is_some_and(Node::is_dir) {
            return Ok(());
        }
        match self.request.target.lstat(&path)?.filter(|m| m.kind == Kind::Dir) {
            Some(meta) if !self.plan.nodes.contains_key(&path) => {
                let xattrs = self.request.target.xattrs(&path)?;
                self.insert(path, Node::Kept { meta: Meta { mode: item.meta.mode, ..meta }, xattrs })
            }
            _ => self.put(path, Node::Item { source: number, item }),
        }
    }

    /// One file, into the destination or in its place.
    fn file(&mut self, dest: &RelPath, into: bool, name: &[u8], node: Node<'a>) -> Result<(), LayerfsError> {
        if into {
            let dir = self.enter(dest, self.made())?;
            // A name from the Dockerfile may hold directories.
            let path = self.enter_parent(&dir.join(name))?;
            return self.put(path, node);
        }
        let path = self.enter_parent(dest)?;
        self.put(path, node)
    }

    pub(super) fn enter_parent(&mut self, path: &RelPath) -> Result<RelPath, LayerfsError> {
        // An archive's own directories have nothing to do with --chmod.
        let mode = if self.unpacking.is_some() { MADE } else { self.made() };
        let parent = self.enter(&path.parent().unwrap_or_default(), mode)?;
        Ok(parent.join(path.file_name().unwrap_or_default()))
    }

    /// Mode of directories that are made for what is copied: as in BuildKit, that of an octal `--chmod`, also where it
    /// lets nobody enter.
    fn made(&self) -> u32 {
        self.request.chmod.and_then(|c| c.octal()).unwrap_or(MADE)
    }

    /// Makes sure that a directory is there, or will be; gives its path without links. Those that have to be made get
    /// `mode`.
    pub(super) fn enter(&mut self, dir: &RelPath, mode: u32) -> Result<RelPath, LayerfsError> {
        if let Some(real) = self.entered.get(dir) {
            return Ok(real.clone());
        }
        let mut at = RelPath::root();
        for component in dir.components() {
            at = self.step(at.join(component), mode)?;
        }
        self.keep(&at)?;
        self.entered.insert(dir.clone(), at.clone());
        Ok(at)
    }

    /// States the directories of the target down to `dir` that the layer does not speak of yet.
    fn keep(&mut self, dir: &RelPath) -> Result<(), LayerfsError> {
        let mut at = RelPath::root();
        for component in dir.components() {
            at = at.join(component);
            if self.plan.nodes.contains_key(&at) {
                continue;
            }
            if let Some(meta) = self.request.target.lstat(&at)?.filter(|m| m.kind == Kind::Dir) {
                let xattrs = self.request.target.xattrs(&at)?;
                self.insert(at.clone(), Node::Kept { meta, xattrs })?;
            }
        }
        Ok(())
    }

    fn step(&mut self, next: RelPath, mode: u32) -> Result<RelPath, LayerfsError> {
        let in_the_way = |path: &RelPath| LayerfsError::NotADirectory { path: path.display() };
        match (self.plan.nodes.get(&next), &self.unpacking) {
            (Some(node), _) if node.is_dir() => return Ok(next),
            (Some(Node::Stated(_)), Some(root)) => {
                return self.through(&next, root)?.ok_or_else(|| in_the_way(&next));
            }
            (Some(_), _) => return Err(in_the_way(&next)),
            (None, _) => {}
        }
        match self.request.target.lstat(&next)? {
            Some(Meta { kind: Kind::Dir, .. }) => Ok(next),
            Some(Meta { kind: Kind::Symlink, .. }) => {
                let real = self.request.target.resolve(&next, Follow::Final)?;
                if real.is_dir() && !self.is_covered(&real.path) { Ok(real.path) } else { Err(in_the_way(&next)) }
            }
            Some(_) => Err(in_the_way(&next)),
            None => {
                self.insert(next.clone(), Node::Made { mode })?;
                Ok(next)
            }
        }
    }

    /// Does something that is no directory take the place of a path of the target, or of one above it?
    fn is_covered(&self, path: &RelPath) -> bool {
        let mut at = RelPath::root();
        path.components().any(|component| {
            at = at.join(component);
            self.plan.nodes.get(&at).is_some_and(|node| !node.is_dir())
        })
    }

    /// Puts a copied object at a path whose parent was entered. Files replace files; directories merge.
    fn put(&mut self, path: RelPath, node: Node<'a>) -> Result<(), LayerfsError> {
        let there = match self.plan.nodes.get(&path) {
            Some(planned) => Some(planned.is_dir()),
            None => self.request.target.lstat(&path)?.map(|m| m.kind == Kind::Dir),
        };
        match (there, node.is_dir()) {
            (Some(false), true) => Err(LayerfsError::NotADirectory { path: path.display() }),
            (Some(true), false) => Err(LayerfsError::IsADirectory { path: path.display() }),
            _ => self.insert(path, node),
        }
    }

    pub(super) fn insert(&mut self, path: RelPath, node: Node<'a>) -> Result<(), LayerfsError> {
        if path.file_name().is_some_and(whiteout::is_reserved) {
            return Err(LayerfsError::ReservedName { path: path.display() });
        }
        self.plan.nodes.insert(path, node);
        Ok(())
    }
}
