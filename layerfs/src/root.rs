//! A directory tree held by a descriptor. Every path below it is resolved by the kernel, beneath it,
//! without following a symbolic link anywhere.
//!
//! Takes: clean relative paths. Gives: metadata, names, contents. Must never: use a path string that
//! starts anywhere else than at the held descriptor.

use crate::error::LayerfsError;
use crate::owners::Owners;
use crate::stat::{Kind, Meta};
pub use crate::walk::DirEntry;
use crate::walk::{self, Dir, Xattrs};
use crate::whiteout::OverlayXattr;
use cooper_image::RelPath;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// Longest piece of a path given to the kernel at once; below its `PATH_MAX` of 4096.
const PIECE_BYTES: usize = 4000;

/// A held directory, cheap to clone.
#[derive(Debug, Clone)]
pub struct Root {
    dir: Arc<Dir>,
}

impl Root {
    /// Opens a directory that the caller trusts; symbolic links in `path` itself are followed.
    ///
    /// # Errors
    /// [`LayerfsError::Io`] with the path.
    pub fn open(path: &Path) -> Result<Self, LayerfsError> {
        Self::open_tree(path, Owners::Kernel, OverlayXattr::Unstacked)
    }

    /// Opens a tree of which is known who says whose its files are, and by what deletions are said.
    ///
    /// # Errors
    /// As [`Root::open`].
    pub fn open_tree(path: &Path, owners: Owners, marks: OverlayXattr) -> Result<Self, LayerfsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            .map_err(|e| LayerfsError::io(format!("opening {}", path.display()))(e.into()))?;
        Ok(Self::from_dir(Dir::from_fd(fd).owned(owners).marked(marks)))
    }

    fn from_dir(dir: Dir) -> Self {
        Self { dir: Arc::new(dir) }
    }

    /// The held descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The root directory itself as a [`Dir`].
    pub fn as_dir(&self) -> &Dir {
        &self.dir
    }

    /// Metadata of the path itself (`lstat`). `None` when it is absent, also because a parent is absent, is
    /// not a directory, or is a symbolic link.
    ///
    /// # Errors
    /// Whatever else the kernel says, for example no permission or an I/O error.
    pub fn stat(&self, path: &RelPath) -> io::Result<Option<Meta>> {
        absent(self.at(path, |dir, name| match name {
            Some(name) => dir.stat(name),
            None => dir.meta(),
        }))
    }

    /// The names in a directory, unsorted.
    ///
    /// # Errors
    /// As for [`Root::dir`], and while listing.
    pub fn read_dir(&self, path: &RelPath) -> io::Result<Vec<DirEntry>> {
        self.dir(path)?.entries()
    }

    /// A directory below the root, for many operations in it.
    ///
    /// # Errors
    /// Whatever `openat2` says.
    pub fn dir(&self, path: &RelPath) -> io::Result<Dir> {
        let fd = self.open_piecewise(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(self.dir.sibling(fd))
    }

    /// A regular file, for reading.
    ///
    /// # Errors
    /// `InvalidInput` when it is not a regular file; otherwise whatever `openat2` says.
    pub fn open_file(&self, path: &RelPath) -> io::Result<File> {
        self.at(path, |dir, name| dir.open_file(name.unwrap_or(b".")))
    }

    /// The target of a symbolic link, exactly as stored.
    ///
    /// # Errors
    /// Whatever `readlinkat` says.
    pub fn read_link(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        self.at(path, |dir, name| dir.read_link(name.unwrap_or(b".")))
    }

    /// The extended attributes that travel in layers: `security.capability` and `user.*` without those of
    /// overlay file systems. Only regular files and directories can have such; others give none.
    ///
    /// # Errors
    /// `NotFound`, or whatever the kernel says.
    pub fn xattrs(&self, path: &RelPath) -> io::Result<Xattrs> {
        self.at(path, |dir, name| {
            let Some(name) = name else { return dir.xattrs() };
            match dir.stat(name)?.kind {
                Kind::File => walk::travelling_xattrs(dir.open_file(name)?.as_fd()),
                Kind::Dir => dir.open_dir(name)?.xattrs(),
                _ => Ok(Xattrs::new()),
            }
        })
    }

    /// A directory below the root as a root of its own.
    ///
    /// # Errors
    /// Whatever `openat2` says.
    pub fn sub(&self, path: &RelPath) -> io::Result<Self> {
        self.dir(path).map(Self::from_dir)
    }

    /// Runs an operation with the parent directory and the last component (`None` for the root itself).
    fn at<T>(&self, path: &RelPath, run: impl FnOnce(&Dir, Option<&[u8]>) -> io::Result<T>) -> io::Result<T> {
        let bytes = path.as_bytes();
        match bytes.iter().rposition(|b| *b == b'/') {
            None if bytes.is_empty() => run(&self.dir, None),
            None => run(&self.dir, Some(bytes)),
            Some(cut) => {
                let (parent, name) = (bytes.get(..cut).unwrap_or_default(), bytes.get(cut + 1..));
                let fd = self.open_piecewise(parent, OFlags::PATH | OFlags::DIRECTORY)?;
                run(&self.dir.sibling(fd), name)
            }
        }
    }

    /// Opens a clean path of any length.
    fn open_piecewise(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let mut rest = path;
        let mut held: Option<OwnedFd> = None;
        loop {
            let from = held.as_ref().map_or(self.as_fd(), AsFd::as_fd);
            if rest.len() < PIECE_BYTES {
                let last = if rest.is_empty() { b".".as_slice() } else { rest };
                return walk::open_beneath(from, last, flags | OFlags::NOFOLLOW);
            }
            let cut = rest.iter().take(PIECE_BYTES).rposition(|b| *b == b'/');
            let Some(cut) = cut else { return Err(rustix::io::Errno::NAMETOOLONG.into()) };
            let piece = rest.get(..cut).unwrap_or_default();
            let next = walk::open_beneath(from, piece, OFlags::PATH | OFlags::DIRECTORY)?;
            rest = rest.get(cut + 1..).unwrap_or_default();
            held = Some(next);
        }
    }
}

/// Turns "not there" into `None`.
pub(crate) fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    use rustix::io::Errno;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) => match Errno::from_io_error(&e) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            _ => Err(e),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn scene() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("tree/d/e")).unwrap();
        std::fs::write(at("tree/d/f"), b"inside").unwrap();
        std::fs::write(at("secret"), b"outside").unwrap();
        symlink("d", at("tree/to-dir")).unwrap();
        symlink("../secret", at("tree/to-file")).unwrap();
        symlink("..", at("tree/up")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("tree/fifo"), rustix::fs::Mode::RWXU).unwrap();
        let root = Root::open(&at("tree")).unwrap();
        (dir, root)
    }

    #[test]
    fn links_are_seen_and_never_followed() {
        let (_dir, root) = scene();
        for (path, kind) in [
            ("", Some(Kind::Dir)),
            ("d/f", Some(Kind::File)),
            ("to-dir", Some(Kind::Symlink)),
            ("to-dir/f", None),
            ("up/secret", None),
            ("d/f/x", None),
            ("none/x", None),
            ("none", None),
            ("fifo", Some(Kind::Fifo)),
        ] {
            let meta = root.stat(&RelPath::from(path)).unwrap();
            assert_eq!(meta.map(|meta| meta.kind), kind, "{path}");
        }
        assert!(root.open_file(&RelPath::from("to-file")).is_err());
        assert!(root.read_dir(&RelPath::from("to-dir")).is_err());
        assert!(root.sub(&RelPath::from("up")).is_err());
        assert_eq!(root.read_link(&RelPath::from("to-file")).unwrap(), b"../secret");
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let (_dir, root) = scene();
        for path in ["fifo", "d", ""] {
            assert!(root.open_file(&RelPath::from(path)).is_err(), "{path:?}");
        }
        assert!(root.open_file(&RelPath::from("d/f")).is_ok());
        assert!(root.xattrs(&RelPath::from("fifo")).unwrap().is_empty());
    }

    #[test]
    fn a_sub_root_is_a_root() {
        let (_dir, root) = scene();
        let sub = root.sub(&RelPath::from("d")).unwrap();
        assert_eq!(sub.stat(&RelPath::from("f")).unwrap(), root.stat(&RelPath::from("d/f")).unwrap());
        let mut names: Vec<_> = sub.read_dir(&RelPath::root()).unwrap().into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, [b"e", b"f"]);
    }
}
