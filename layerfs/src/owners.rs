//! Whose files are: what the kernel says, or what is recorded beside them (`cooper_image::owner`).
//!
//! Where a user has no other id than their own, everything on the disk is theirs; trees then carry records. Must never:
//! follow a link, or take a record from a layer (`walk::travels_with` keeps them out).

use crate::stat::{Kind, Meta};
use crate::walk::{self, Dir};
use cooper_image::Owner;
use cooper_image::owner::{OWNER_CAPABILITY, OWNER_XATTR};
use rustix::fs::{AtFlags, Gid, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// More than any record has, in bytes.
const LONGEST: usize = 64;

/// Who says whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owners {
    /// The kernel: several ids can be used.
    #[default]
    Kernel,
    /// A record beside the file. Without one it is root's.
    Recorded,
}

impl Owners {
    /// Gives a name in a directory to somebody; what is not said stays. A link is not followed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn give(self, dir: BorrowedFd<'_>, name: &[u8], uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        if self == Self::Kernel {
            let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
            return Ok(rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?);
        }
        let now = Dir::from_fd(dir.try_clone_to_owned()?).owned(self).stat(name)?;
        let owner = Owner { uid: uid.unwrap_or(now.uid), gid: gid.unwrap_or(now.gid) };
        match now.kind {
            Kind::File | Kind::Dir => {
                let value = owner.to_text();
                rustix::fs::lsetxattr(beneath(dir, name), OWNER_XATTR, value.as_bytes(), XattrFlags::empty())?;
            }
            _ => record_special(dir, name, owner)?,
        }
        Ok(())
    }

    /// What is known of an open file or directory, with its owner.
    pub(crate) fn of_open(self, fd: BorrowedFd<'_>, meta: Meta) -> io::Result<Meta> {
        match self {
            Self::Kernel => Ok(meta),
            Self::Recorded => Ok(owned(meta, walk::xattr(fd, OWNER_XATTR.as_bytes())?)),
        }
    }

    /// What is known of a name in a directory, with its owner.
    pub(crate) fn of_name(self, dir: BorrowedFd<'_>, name: &[u8], meta: Meta) -> io::Result<Meta> {
        if self == Self::Kernel {
            return Ok(meta);
        }
        let mut value = [0; LONGEST];
        match rustix::fs::lgetxattr(beneath(dir, name), attribute(meta.kind), &mut value) {
            Ok(length) => Ok(owned(meta, value.get(..length).map(<[u8]>::to_vec))),
            // Longer than any record is none.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(owned(meta, None)),
            Err(e) => Err(e.into()),
        }
    }
}

/// Records whose an open file or directory is.
pub(crate) fn record_open(fd: BorrowedFd<'_>, owner: Owner) -> rustix::io::Result<()> {
    if owner == Owner::ROOT {
        return Ok(());
    }
    rustix::fs::fsetxattr(fd, OWNER_XATTR, owner.to_text().as_bytes(), XattrFlags::empty())
}

/// The same of what may have a record already.
pub(crate) fn rerecord_open(fd: BorrowedFd<'_>, owner: Owner) -> rustix::io::Result<()> {
    if owner != Owner::ROOT {
        return record_open(fd, owner);
    }
    match rustix::fs::fremovexattr(fd, OWNER_XATTR) {
        Err(Errno::NODATA) => Ok(()),
        other => other,
    }
}

/// Records whose a link, pipe or socket is.
pub(crate) fn record_special(dir: BorrowedFd<'_>, name: &[u8], owner: Owner) -> rustix::io::Result<()> {
    if owner == Owner::ROOT {
        return Ok(());
    }
    rustix::fs::lsetxattr(beneath(dir, name), OWNER_CAPABILITY, &owner.to_capability(), XattrFlags::empty())
}

fn attribute(kind: Kind) -> &'static str {
    match kind {
        Kind::File | Kind::Dir => OWNER_XATTR,
        Kind::Symlink | Kind::Char | Kind::Block | Kind::Fifo | Kind::Socket => OWNER_CAPABILITY,
    }
}

fn owned(meta: Meta, record: Option<Vec<u8>>) -> Meta {
    let read = match meta.kind {
        Kind::File | Kind::Dir => Owner::from_text,
        _ => Owner::from_capability,
    };
    let Owner { uid, gid } = record.as_deref().and_then(read).unwrap_or_default();
    Meta { uid, gid, ..meta }
}

/// A name in a held directory as a path: before Linux 6.13 attributes of what cannot be opened are asked for by paths.
fn beneath(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    OsString::from_vec(path).into()
}
