//! One open directory and what is directly in it: the fast way through trees with many files.
//!
//! Takes: single names (no slashes) relative to a held descriptor. Gives: metadata, contents,
//! descriptors. Must never: follow a symbolic link, or open a device or a pipe.

use crate::limits;
use crate::owners::Owners;
use crate::stat::{Kind, Meta};
use crate::whiteout::{OPAQUE_XATTR, OverlayXattr};
use cooper_image::Owner;
use cooper_image::owner::{OWNER_CAPABILITY, OWNER_XATTR};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What is asked of files.
const STATS: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// Extended attributes, by name.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// How every look-up below a root is confined.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Raw bytes, without slashes; never `.` or `..`.
    pub name: Vec<u8>,
    /// The kind, when the file system tells it with the name.
    pub kind: Option<Kind>,
}

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    owners: Owners,
    marks: OverlayXattr,
}

impl Dir {
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd, owners: Owners::Kernel, marks: OverlayXattr::Unstacked }
    }

    /// The same directory, with owners from elsewhere.
    pub(crate) fn owned(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// The same directory, of a tree whose marks are these.
    pub(crate) fn marked(self, marks: OverlayXattr) -> Self {
        Self { marks, ..self }
    }

    /// Another directory of the same tree.
    pub(crate) fn sibling(&self, fd: OwnedFd) -> Self {
        Self { fd, ..*self }
    }

    /// Which marks its tree has.
    pub(crate) fn marks(&self) -> OverlayXattr {
        self.marks
    }

    /// Who says whose the files in it are.
    pub(crate) fn owners(&self) -> Owners {
        self.owners
    }

    /// The descriptor, for calls that this type does not have.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Metadata of the directory itself.
    ///
    /// # Errors
    /// Whatever `statx` says.
    pub fn meta(&self) -> io::Result<Meta> {
        self.meta_of(self.as_fd())
    }

    /// Metadata of an open file or directory in it.
    pub(crate) fn meta_of(&self, fd: BorrowedFd<'_>) -> io::Result<Meta> {
        self.owners.of_open(fd, meta_of_fd(fd)?)
    }

    /// All names but `.` and `..`, in the file system's order.
    ///
    /// # Errors
    /// Whatever the kernel says while it lists.
    pub fn entries(&self) -> io::Result<Vec<DirEntry>> {
        // A second open gives a read position of its own, so a listing can be repeated.
        let fd = open_beneath(self.as_fd(), b".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut raw = rustix::fs::RawDir::new(fd, buffer.spare_capacity_mut());
        let mut found = Vec::new();
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                found.push(DirEntry { name: name.to_vec(), kind: Kind::of(entry.file_type()) });
            }
        }
        Ok(found)
    }

    /// Metadata of `name` itself, never of what it links to.
    ///
    /// # Errors
    /// `NotFound` when it is absent; otherwise whatever `statx` says.
    pub fn stat(&self, name: &[u8]) -> io::Result<Meta> {
        let stat = rustix::fs::statx(self.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, STATS)?;
        self.owners.of_name(self.as_fd(), name, Meta::of(&stat).ok_or_else(unknown_kind)?)
    }

    /// A directory in this directory.
    ///
    /// # Errors
    /// Whatever `openat2` says; a symbolic link is never a directory here.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Dir> {
        let fd = open_beneath(self.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        Ok(self.sibling(fd))
    }

    /// A regular file in this directory, for reading.
    ///
    /// # Errors
    /// `InvalidInput` when it is something else; otherwise whatever `openat2` says.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        open_regular(self.as_fd(), name)
    }

    /// The target of a symbolic link, exactly as stored.
    ///
    /// # Errors
    /// Whatever `readlinkat` says.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self.as_fd(), name, Vec::new())?.into_bytes())
    }

    /// The attributes of the directory itself that travel in layers.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn xattrs(&self) -> io::Result<Xattrs> {
        travelling_xattrs(self.as_fd())
    }
}

/// Opens a path below a directory. Only for paths whose components are clean.
pub(crate) fn open_beneath(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    loop {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
            // The kernel could not rule out a rename during the look-up and asks to try again.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Opens a regular file for reading. A pipe or a device in its place is refused without waiting for it.
pub(crate) fn open_regular(dir: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    let fd = open_beneath(dir, path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    if meta_of_fd(fd.as_fd())?.kind != Kind::File {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(File::from(fd))
}

/// Metadata of an open file.
fn meta_of_fd(fd: BorrowedFd<'_>) -> io::Result<Meta> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, STATS)?;
    Meta::of(&stat).ok_or_else(unknown_kind)
}

fn unknown_kind() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "unknown kind of file")
}

/// What Cooper says of files in trees.
const OWN: [&str; 2] = [OWNER_XATTR, OPAQUE_XATTR];

/// Does this attribute belong into a layer? File capabilities and what users wrote do; labels, access
/// lists, the marks of overlay file systems and Cooper's own belong to the machine.
pub fn travels(name: &[u8]) -> bool {
    name == OWNER_CAPABILITY.as_bytes()
        || (name.starts_with(b"user.") && !is_overlay_control(name) && !OWN.iter().any(|own| name == own.as_bytes()))
}

/// The same with the value at hand: what says who owns a file is no capability, and would be believed where owners are
/// recorded.
pub fn travels_with(name: &[u8], value: &[u8]) -> bool {
    travels(name) && !(name == OWNER_CAPABILITY.as_bytes() && Owner::from_capability(value).is_some())
}

/// Is it one of the names by which overlayfs is steered? Those never come from, nor go to, a layer.
pub fn is_overlay_control(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
}

/// The attributes of an open file that travel in layers.
pub(crate) fn travelling_xattrs(fd: BorrowedFd<'_>) -> io::Result<Xattrs> {
    travelling_xattrs_of(fd, &xattr_names(fd)?)
}

/// The same, when the names (each closed by NUL) are known already.
pub(crate) fn travelling_xattrs_of(fd: BorrowedFd<'_>, names: &[u8]) -> io::Result<Xattrs> {
    let mut found = Xattrs::new();
    for name in names.split(|b| *b == 0).filter(|name| travels(name)) {
        if let Some(value) = xattr(fd, name)?.filter(|value| travels_with(name, value)) {
            found.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

/// All attribute names, each followed by NUL; empty where the file system has none.
pub(crate) fn xattr_names(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut names = Vec::with_capacity(256);
    loop {
        match rustix::fs::flistxattr(fd, rustix::buffer::spare_capacity(&mut names)) {
            Ok(_) => return Ok(names),
            Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
            Err(rustix::io::Errno::RANGE) if names.capacity() < limits::XATTR_BYTES => {
                names.reserve(limits::XATTR_BYTES);
            }
            Err(other) => return Err(other.into()),
        }
    }
}

/// One attribute of an open file; `None` when it is not there.
pub(crate) fn xattr(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut value = Vec::with_capacity(256);
    loop {
        match rustix::fs::fgetxattr(fd, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => return Ok(Some(value)),
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => return Ok(None),
            Err(rustix::io::Errno::RANGE) if value.capacity() < limits::XATTR_BYTES => {
                value.reserve(limits::XATTR_BYTES);
            }
            Err(other) => return Err(other.into()),
        }
    }
}
