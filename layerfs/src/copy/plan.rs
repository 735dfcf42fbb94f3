//! Which path of the target gets what: decided before the first byte is written.
//!
//! Takes: the selection and a look at the target. Gives: a sorted map from final paths to what they get.
//! Must never: hold a path that goes through a symbolic link, or a file where a directory is needed.

use super::{CopyPart, CopyRequest, Unpack, archive};
use crate::LayerfsError;
use crate::select::{Item, Part, Shape, Source};
use crate::stat::{Kind, Meta};
use crate::tar::read::{ReadEntry, ReadKind};
use crate::view::{Follow, Resolved, View};
use crate::walk::Xattrs;
use crate::whiteout;
use cooper_image::RelPath;
use std::collections::{BTreeMap, HashMap};

/// Most links that a path may lead through, as in the kernel.
const MAX_LINKS: u32 = 40;
/// Mode of directories that are made where nothing else is said.
const MADE: u32 = 0o755;

/// What a path gets.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// A directory made because something goes into it.
    Made {
        /// Its permission bits.
        mode: u32,
    },
    /// A directory of the target on the way, stated again as it is: the layer is unpacked on its own, and a
    /// directory without an entry would hide the mode and owner that the layers below give it.
    Kept {
        /// Its metadata in the target.
        meta: Meta,
        /// Its attributes in the target.
        xattrs: Xattrs,
    },
    /// A selected object.
    Item {
        /// Which of [`Plan::sources`] it is of: hard links hold within one.
        source: usize,
        /// The object.
        item: &'a Item,
    },
    /// A file from the Dockerfile.
    Inline(&'a [u8]),
    /// What an archive says without a body.
    Stated(Box<ReadEntry>),
    /// A file or a hard link that is written when its archive streams by.
    Streamed {
        /// Which of [`Plan::archives`].
        archive: usize,
        /// Which entry of it.
        at: usize,
    },
}

impl Node<'_> {
    /// Where a symbolic link of an archive leads, as written.
    fn link(&self) -> Option<&[u8]> {
        match self {
            Self::Stated(entry) => match &entry.kind {
                ReadKind::Symlink(to) => Some(to),
                _ => None,
            },
            _ => None,
        }
    }
    fn is_dir(&self) -> bool {
        match self {
            Self::Made { .. } | Self::Kept { .. } => true,
            Self::Item { item, .. } => item.meta.kind == Kind::Dir,
            Self::Stated(entry) => entry.kind == ReadKind::Dir,
            Self::Inline(_) | Self::Streamed { .. } => false,
        }
    }
}

/// An archive to unpack.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    /// Where the file is.
    pub view: &'a View,
    /// The file.
    pub item: &'a Item,
    /// Its entries by number; `None` for those that are not streamed.
    pub streamed: Vec<Option<Place>>,
}

/// Where a streamed entry goes.
#[derive(Debug)]
pub(super) struct Place {
    /// Its final path.
    pub path: RelPath,
    /// For a hard link: the final path of what it names.
    pub link: Option<RelPath>,
}

/// The whole layer.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// By final path.
    pub nodes: BTreeMap<RelPath, Node<'a>>,
    /// In the order of the sources.
    pub archives: Vec<Archive<'a>>,
    /// For each source the part of the request that it is of.
    pub sources: Vec<usize>,
}

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
    request: &'r CopyRequest<'a>,
    plan: Plan<'a>,
    /// Directories that are known to be there, by the path with which they were asked for.
    entered: HashMap<RelPath, RelPath>,
    /// While archives are unpacked: their root, above which their links do not lead.
    unpacking: Option<RelPath>,
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

    /// An archive's entries, below the destination.
    fn unpack(&mut self, dest: &RelPath, view: &'a View, item: &'a Item) -> Result<(), LayerfsError> {
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

    fn enter_parent(&mut self, path: &RelPath) -> Result<RelPath, LayerfsError> {
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

    /// The directory that a link of an archive leads to, by directories that are there and links that archives hold.
    /// As for a process whose root is the archive's, an absolute link starts there and `..` ends there.
    fn through(&self, link: &RelPath, root: &RelPath) -> Result<Option<RelPath>, LayerfsError> {
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

    /// Puts an archive's entry: it takes the place of whatever is there, with all that is below it, unless both are
    /// directories.
    fn replace(&mut self, archive: &Item, path: RelPath, node: Node<'a>) -> Result<(), LayerfsError> {
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

    fn insert(&mut self, path: RelPath, node: Node<'a>) -> Result<(), LayerfsError> {
        if path.file_name().is_some_and(whiteout::is_reserved) {
            return Err(LayerfsError::ReservedName { path: path.display() });
        }
        self.plan.nodes.insert(path, node);
        Ok(())
    }
}
