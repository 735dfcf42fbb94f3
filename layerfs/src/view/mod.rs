//! A read-only look at a file system: one plain directory, or layers merged as overlayfs merges them.
//!
//! Takes: held roots, lowest layer first, and clean relative paths. Gives: metadata, names and contents
//! of the merged tree. Must never: follow a symbolic link by accident (only [`View::resolve`] follows,
//! and stays inside), or leave the roots.

mod merge;
mod resolve;

pub(crate) use merge::Found;
pub use resolve::{Follow, Resolved};

use crate::LayerfsError;
use crate::root::{DirEntry, Root};
use crate::seen::Seen;
use crate::stat::{Kind, Meta};
use crate::walk::{self, Xattrs};
use cooper_image::RelPath;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an empty stack shows as its root.
const EMPTY_ROOT: Meta = Meta {
    kind: Kind::Dir,
    mode: 0o755,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: crate::stat::Time { secs: 0, nanos: 0 },
    ctime: crate::stat::Time { secs: 0, nanos: 0 },
    btime: crate::stat::Time { secs: 0, nanos: 0 },
    dev: 0,
    ino: 0,
    nlink: 1,
    rdev: crate::stat::Rdev { major: 0, minor: 0 },
};

/// Do the marks of overlayfs mean something here?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// A directory of the user's: a device is a device.
    Plain,
    /// Layers: whiteouts and opaque directories hide what is below.
    Overlay,
}

/// Paths that were looked up: the layers that hold a part of each, or `None` for what is no directory.
type Dirs = HashMap<Vec<u8>, Option<merge::Merged>>;

/// A merged, read-only tree. Clones share what was looked up; it is assumed not to change its shape.
#[derive(Debug, Clone)]
pub struct View {
    /// Topmost first.
    layers: Arc<[Root]>,
    marks: Marks,
    dirs: Arc<Mutex<Dirs>>,
    /// Files that were hashed before.
    seen: Option<Arc<Seen>>,
}

impl View {
    /// One plain directory, such as a build context.
    pub fn dir(root: Root) -> Self {
        Self::over(vec![root], Marks::Plain)
    }

    /// Unpacked layers, lowest first. No layers are an empty root directory.
    pub fn stack(mut layers: Vec<Root>) -> Self {
        layers.reverse();
        Self::over(layers, Marks::Overlay)
    }

    fn over(layers: Vec<Root>, marks: Marks) -> Self {
        Self { layers: layers.into(), marks, dirs: Arc::default(), seen: None }
    }

    /// The same view, whose files need not be read again when they are known.
    pub fn with_seen(self, seen: Arc<Seen>) -> Self {
        Self { seen: Some(seen), ..self }
    }

    pub(crate) fn seen(&self) -> Option<&Seen> {
        self.seen.as_deref()
    }

    /// Metadata of the path itself; `None` when it is absent, or a parent is not a directory.
    ///
    /// # Errors
    /// [`LayerfsError::Io`] with the path.
    pub fn lstat(&self, path: &RelPath) -> Result<Option<Meta>, LayerfsError> {
        Ok(self.find(path)?.map(|found| found.meta))
    }

    /// Where a path is, and what: `None` when it is absent.
    pub(crate) fn find(&self, path: &RelPath) -> Result<Option<Found>, LayerfsError> {
        self.look_up(path).map_err(LayerfsError::io(format!("looking up {}", path.display())))
    }

    /// The merged names of a directory, sorted.
    ///
    /// # Errors
    /// [`LayerfsError::Io`] with the path, also when it is not a directory.
    pub fn read_dir(&self, path: &RelPath) -> Result<Vec<DirEntry>, LayerfsError> {
        let children = self.children(path)?;
        Ok(children.into_iter().map(|(name, found)| DirEntry { name, kind: Some(found.meta.kind) }).collect())
    }

    /// The merged contents of a directory with their metadata, sorted by name.
    pub(crate) fn children(&self, path: &RelPath) -> Result<Vec<(Vec<u8>, Found)>, LayerfsError> {
        self.list(path).map_err(LayerfsError::io(format!("listing {}", shown(path))))
    }

    /// A regular file, for reading.
    ///
    /// # Errors
    /// [`LayerfsError::Io`] with the path, also when it is absent or not a regular file.
    pub fn open_file(&self, path: &RelPath) -> Result<File, LayerfsError> {
        self.in_its_layer(path, Root::open_file).map_err(LayerfsError::io(format!("opening {}", path.display())))
    }

    /// The target of a symbolic link, exactly as stored.
    ///
    /// # Errors
    /// [`LayerfsError::Io`] with the path, also when it is absent or not a symbolic link.
    pub fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, LayerfsError> {
        self.in_its_layer(path, Root::read_link).map_err(LayerfsError::io(format!("reading link {}", path.display())))
    }

    /// The extended attributes that travel in layers.
    ///
    /// # Errors
    /// [`LayerfsError::Io`] with the path, also when it is absent.
    pub fn xattrs(&self, path: &RelPath) -> Result<Xattrs, LayerfsError> {
        if path.is_root() && self.layers.is_empty() {
            return Ok(Xattrs::new());
        }
        self.in_its_layer(path, Root::xattrs)
            .map_err(LayerfsError::io(format!("reading the attributes of {}", shown(path))))
    }

    /// A directory of one layer, for many operations in it.
    pub(crate) fn open_dir(&self, layer: usize, path: &RelPath) -> io::Result<walk::Dir> {
        self.layers.get(layer).ok_or(io::ErrorKind::NotFound)?.dir(path)
    }

    fn in_its_layer<T>(&self, path: &RelPath, run: impl Fn(&Root, &RelPath) -> io::Result<T>) -> io::Result<T> {
        let found = self.look_up(path)?.ok_or(io::ErrorKind::NotFound)?;
        run(self.layers.get(found.layer).ok_or(io::ErrorKind::NotFound)?, path)
    }

    fn dirs(&self) -> MutexGuard<'_, Dirs> {
        // Entries are inserted whole, so a panic elsewhere leaves nothing half done.
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The root has an empty path, which nobody would see in a message.
fn shown(path: &RelPath) -> String {
    if path.is_root() { "the root directory".to_owned() } else { path.display() }
}
