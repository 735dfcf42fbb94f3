//! Records of owners (`cooper_image::owner`) of files that are named by paths as this process sees them.
//!
//! Must never: open a file, or take true capabilities for a record.

use cooper_image::Owner;
use cooper_image::owner::{OWNER_CAPABILITY, OWNER_XATTR};
use rustix::fs::XattrFlags;
use rustix::io::{Errno, Result};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::BorrowedFd;

/// Most owners that are kept in memory.
const MOST: usize = 65_536;
/// More than any record has, in bytes.
const LONGEST: usize = 64;

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    /// At the root of its process.
    Root,
    /// Among the descriptors of its process: it is one of them.
    Descriptors,
    /// At a directory in `/proc/PID` of its process.
    Below(String),
}

/// Names a file of a process. The path is good once this process stands where it begins (`Call::stand_by`).
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub from: From,
    pub path: CString,
    /// Is a link the file that it leads to?
    pub follow: bool,
}

/// Owners of files on file systems that take no records, by device and inode: pipes, terminals. They are in no layer.
#[derive(Debug, Default)]
pub(super) struct Records {
    elsewhere: BTreeMap<(u64, u64), Owner>,
}

impl Records {
    /// What is recorded of a file; nothing when it is root's.
    pub(super) fn get(&self, place: &Place) -> Result<Option<Owner>> {
        if let Some(value) = attribute(place, OWNER_XATTR)? {
            return Ok(Owner::from_text(&value));
        }
        if let Some(value) = attribute(place, OWNER_CAPABILITY)?
            && let Some(owner) = Owner::from_capability(&value)
        {
            return Ok(Some(owner));
        }
        if self.elsewhere.is_empty() {
            return Ok(None);
        }
        Ok(self.elsewhere.get(&identity(place)?).copied())
    }

    /// Records whose a file is.
    pub(super) fn set(&mut self, place: &Place, owner: Owner) -> Result<()> {
        if owner == Owner::ROOT {
            return self.forget(place);
        }
        match write(place, OWNER_XATTR, owner.to_text().as_bytes()) {
            // No file or directory, or a file system without attributes of users.
            Err(Errno::PERM | Errno::NOTSUP) => {}
            done => return done,
        }
        match write(place, OWNER_CAPABILITY, &owner.to_capability()) {
            Err(Errno::PERM | Errno::NOTSUP) => {}
            done => return done,
        }
        self.remember(identity(place)?, owner)
    }

    /// Records whose a file is that this process has just made. As [`give`], also where no file takes a record.
    pub(super) fn give(&mut self, fd: BorrowedFd<'_>, owner: Owner) -> Result<()> {
        match give(fd, owner) {
            Err(Errno::PERM | Errno::NOTSUP) => {}
            done => return done,
        }
        let stat = rustix::fs::fstat(fd)?;
        self.remember((stat.st_dev, stat.st_ino), owner)
    }

    fn remember(&mut self, key: (u64, u64), owner: Owner) -> Result<()> {
        if self.elsewhere.len() >= MOST && !self.elsewhere.contains_key(&key) {
            return Err(Errno::NOSPC);
        }
        self.elsewhere.insert(key, owner);
        Ok(())
    }

    fn forget(&mut self, place: &Place) -> Result<()> {
        if attribute(place, OWNER_XATTR)?.is_some() {
            remove(place, OWNER_XATTR)?;
        }
        if attribute(place, OWNER_CAPABILITY)?.is_some_and(|value| Owner::from_capability(&value).is_some()) {
            remove(place, OWNER_CAPABILITY)?;
        }
        if !self.elsewhere.is_empty() {
            self.elsewhere.remove(&identity(place)?);
        }
        Ok(())
    }
}

/// Records whose an open file or directory is. For the set-up, before there is anybody to ask.
pub(crate) fn give(fd: BorrowedFd<'_>, owner: Owner) -> Result<()> {
    if owner == Owner::ROOT {
        return Ok(());
    }
    match rustix::fs::fsetxattr(fd, OWNER_XATTR, owner.to_text().as_bytes(), XattrFlags::empty()) {
        // A file system in memory, before Linux 6.6.
        Err(Errno::NOTSUP) => rustix::fs::fsetxattr(fd, OWNER_CAPABILITY, &owner.to_capability(), XattrFlags::empty()),
        done => done,
    }
}

fn attribute(place: &Place, name: &str) -> Result<Option<Vec<u8>>> {
    let mut value = [0; LONGEST];
    let read = match place.follow {
        true => rustix::fs::getxattr(&place.path, name, &mut value),
        false => rustix::fs::lgetxattr(&place.path, name, &mut value),
    };
    match read {
        Ok(length) => Ok(value.get(..length).map(<[u8]>::to_vec)),
        // The last two: longer than any record, or capabilities of another namespace.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::OVERFLOW) => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(place: &Place, name: &str, value: &[u8]) -> Result<()> {
    match place.follow {
        true => rustix::fs::setxattr(&place.path, name, value, XattrFlags::empty()),
        false => rustix::fs::lsetxattr(&place.path, name, value, XattrFlags::empty()),
    }
}

fn remove(place: &Place, name: &str) -> Result<()> {
    match place.follow {
        true => rustix::fs::removexattr(&place.path, name),
        false => rustix::fs::lremovexattr(&place.path, name),
    }
}

fn identity(place: &Place) -> Result<(u64, u64)> {
    let stat = if place.follow { rustix::fs::stat(&place.path) } else { rustix::fs::lstat(&place.path) }?;
    Ok((stat.st_dev, stat.st_ino))
}
