//! Where entries go: the directories of the tree in the making, and how a parent path finds one.
//!
//! Takes: clean paths of entries. Gives: held directories. Must never: resolve a path with anything but the
//! tree as its root.

use super::{DirMeta, failed};
use crate::error::{LayerfsError, Reason};
use crate::limits::OPEN_DIRECTORIES;
use crate::root::{Root, absent};
use crate::stat::{Kind, Meta};
use crate::walk::{self, Dir};
use crate::whiteout;
use cooper_image::RelPath;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;

/// The node of the root.
pub(super) const ROOT: usize = 0;
/// Longest path that the kernel resolves in one go.
const KERNEL_PATH: usize = 4000;

/// A directory of the tree, known since it was made.
struct Node {
    parent: usize,
    name: Box<[u8]>,
    /// `None` until an entry for it comes.
    meta: Option<DirMeta>,
    opaque: bool,
    /// The layer deletes what is there below, so that it is another directory than that.
    fresh: bool,
    removed: bool,
}

/// A held directory and its node.
pub(super) struct Place {
    pub(super) dir: Dir,
    pub(super) node: usize,
}

/// A directory as the last pass needs it.
pub(super) struct Known {
    pub(super) path: RelPath,
    pub(super) meta: Option<DirMeta>,
    pub(super) opaque: bool,
    /// Is it on top of one of the layers below, where these have one?
    pub(super) covers: bool,
}

/// All directories of the tree.
pub(super) struct Places {
    root: Root,
    nodes: Vec<Node>,
    by_inode: HashMap<(u64, u64), usize>,
    /// Directories used last, latest first, by the parent path that led to them.
    recent: VecDeque<(RelPath, Rc<Place>)>,
}

impl Places {
    /// Starts with an empty root; anything in it would be reachable without having been checked.
    pub(super) fn new(root: Root) -> Result<Self, LayerfsError> {
        let path = RelPath::root();
        let meta = root.as_dir().meta().map_err(failed("reading", &path))?;
        if !root.read_dir(&path).map_err(failed("listing", &path))?.is_empty() {
            let source = io::ErrorKind::DirectoryNotEmpty.into();
            return Err(LayerfsError::Io { what: "unpacking a layer".into(), source });
        }
        let node = Node { parent: ROOT, name: Box::default(), meta: None, opaque: false, fresh: false, removed: false };
        let by_inode = HashMap::from([((meta.dev, meta.ino), ROOT)]);
        Ok(Self { root, nodes: vec![node], by_inode, recent: VecDeque::new() })
    }

    /// The directory that holds `entry`; missing ones are made.
    pub(super) fn parent(&mut self, path: &RelPath, entry: &RelPath) -> Result<Rc<Place>, LayerfsError> {
        if let Some(at) = self.recent.iter().position(|(known, _)| known == path) {
            let hit = if at == 0 { None } else { self.recent.remove(at) };
            if let Some(hit) = hit {
                self.recent.push_front(hit);
            }
            if let Some((_, place)) = self.recent.front() {
                return Ok(Rc::clone(place));
            }
        }
        let found = match self.existing(path, entry)? {
            Some(place) => place,
            None => self.descend(path, entry)?,
        };
        let place = Rc::new(found);
        self.recent.truncate(OPEN_DIRECTORIES - 1);
        self.recent.push_front((path.clone(), Rc::clone(&place)));
        Ok(place)
    }

    /// Forgets held directories, after a directory or a symbolic link went away.
    pub(super) fn forget_paths(&mut self) {
        self.recent.clear();
    }

    /// Makes a directory; the caller made sure that the name is free.
    pub(super) fn make(&mut self, place: &Place, name: &[u8], entry: &RelPath) -> Result<usize, LayerfsError> {
        rustix::fs::mkdirat(place.dir.as_fd(), name, Mode::RWXU).map_err(failed("creating", entry))?;
        let meta = place.dir.stat(name).map_err(failed("reading", entry))?;
        let node =
            Node { parent: place.node, name: name.into(), meta: None, opaque: false, fresh: false, removed: false };
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.by_inode.insert((meta.dev, meta.ino), index);
        Ok(index)
    }

    /// The node of a directory that exists.
    pub(super) fn node(&self, meta: &Meta) -> Option<usize> {
        self.by_inode.get(&(meta.dev, meta.ino)).copied()
    }

    /// Notes that a directory was removed.
    pub(super) fn removed(&mut self, meta: &Meta) {
        if let Some(node) = self.by_inode.remove(&(meta.dev, meta.ino)).and_then(|index| self.nodes.get_mut(index)) {
            node.removed = true;
        }
    }

    pub(super) fn set_opaque(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.opaque = true;
        }
    }

    /// In the place of what the layer deletes.
    pub(super) fn set_fresh(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            (node.opaque, node.fresh) = (true, true);
        }
    }

    pub(super) fn set_meta(&mut self, index: usize, meta: DirMeta) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.meta = Some(meta);
        }
    }

    /// How many directories no entry spoke of; the root is not counted.
    pub(super) fn implied(&self) -> u64 {
        self.nodes.iter().skip(1).filter(|node| !node.removed && node.meta.is_none()).count() as u64
    }

    /// How many nodes there are, removed ones included.
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// A directory by its node; `None` when it was removed.
    pub(super) fn known(&self, index: usize) -> Option<Known> {
        let node = self.nodes.get(index).filter(|node| !node.removed)?;
        let covers = !node.fresh && !self.above(index).skip(1).any(|above| above.opaque);
        Some(Known { path: self.path(index), meta: node.meta, opaque: node.opaque, covers })
    }

    /// Opens a directory by its node, along real directories only.
    pub(super) fn open(&self, index: usize) -> Result<Dir, LayerfsError> {
        let path = self.path(index);
        self.root.dir(&path).map_err(failed("opening", &path))
    }

    fn path(&self, index: usize) -> RelPath {
        // The root has no name.
        let mut names: Vec<&[u8]> = self.above(index).map(|node| &*node.name).filter(|name| !name.is_empty()).collect();
        names.reverse();
        RelPath::clean(&names.join(&b'/'))
    }

    /// A directory and those that it is in, the root last.
    fn above(&self, index: usize) -> impl Iterator<Item = &Node> {
        let parent = |at: &usize| (*at != ROOT).then(|| self.nodes.get(*at).map(|node| node.parent)).flatten();
        std::iter::successors(Some(index), parent).filter_map(|at| self.nodes.get(at))
    }

    /// A parent that is there already, through symbolic links of this layer when there are any. For hard links
    /// too, whose targets must exist.
    pub(super) fn existing(&self, path: &RelPath, entry: &RelPath) -> Result<Option<Place>, LayerfsError> {
        let bytes = if path.is_root() { b"." } else { path.as_bytes() };
        // The kernel takes no longer path at once; a piece of one cannot be resolved as if it were the whole, so
        // paths that long lead through real directories only.
        let dir = if bytes.len() > KERNEL_PATH { self.root.dir(path) } else { open_in_root(&self.root, bytes) };
        match absent(dir) {
            Ok(Some(dir)) => self.place(dir, entry).map(Some),
            Ok(None) => Ok(None),
            Err(e) => Err(failed("opening the parent of", entry)(e)),
        }
    }

    fn place(&self, dir: Dir, entry: &RelPath) -> Result<Place, LayerfsError> {
        let meta = dir.meta().map_err(failed("reading the parent of", entry))?;
        let node = self.node(&meta).ok_or_else(|| not_a_parent(entry))?;
        Ok(Place { dir, node })
    }

    /// Goes down one component at a time and makes what is missing.
    fn descend(&mut self, path: &RelPath, entry: &RelPath) -> Result<Place, LayerfsError> {
        let mut place = self.place(open_in_root(&self.root, b".").map_err(failed("opening", entry))?, entry)?;
        let mut so_far = 0;
        for name in path.components() {
            so_far += name.len() + 1;
            let meta = absent(place.dir.stat(name)).map_err(failed("reading a parent of", entry))?;
            place = match meta {
                Some(meta) if meta.kind == Kind::Symlink => {
                    let link = path.as_bytes().get(..so_far - 1).unwrap_or_default();
                    let dir = open_in_root(&self.root, link).map_err(|_| not_a_parent(entry))?;
                    self.place(dir, entry)?
                }
                Some(meta) if meta.kind == Kind::Dir => self.step(&place, name, entry)?,
                Some(meta) if whiteout::is_whiteout(&meta) => {
                    rustix::fs::unlinkat(place.dir.as_fd(), name, rustix::fs::AtFlags::empty())
                        .map_err(failed("replacing a parent of", entry))?;
                    let node = self.make(&place, name, entry)?;
                    self.set_fresh(node);
                    self.step(&place, name, entry)?
                }
                Some(_) => return Err(not_a_parent(entry)),
                None => {
                    self.make(&place, name, entry)?;
                    self.step(&place, name, entry)?
                }
            };
        }
        Ok(place)
    }

    fn step(&self, place: &Place, name: &[u8], entry: &RelPath) -> Result<Place, LayerfsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = walk::open_beneath(place.dir.as_fd(), name, flags).map_err(failed("opening a parent of", entry))?;
        self.place(Dir::from_fd(fd), entry)
    }
}

fn not_a_parent(entry: &RelPath) -> LayerfsError {
    LayerfsError::Entry { entry: entry.display(), reason: Reason::Parent }
}

/// Opens a directory with the tree as the root of the look-up, as `chroot` would.
fn open_in_root(root: &Root, path: &[u8]) -> io::Result<Dir> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => return Ok(Dir::from_fd(other?)),
        }
    }
}
