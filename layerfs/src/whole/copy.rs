//! One file copied with all that a layer says of it. Data is shared with the original where the file system can.

use super::is_wanted;
use crate::apply::Devices;
use crate::owners::{self, Owners};
use crate::sparse;
use crate::stat::{Kind, Meta};
use crate::walk::{self, Dir, Xattrs};
use cooper_image::Owner;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Tells whether the work is still wanted; the error that ends it when it is not.
pub(super) fn go_on(given_up: &dyn Fn() -> bool) -> io::Result<()> {
    if given_up() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

/// Copies a regular file to a free name.
pub(super) fn file(from: &File, meta: &Meta, to: &Dir, name: &[u8], given_up: &dyn Fn() -> bool) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut out = File::from(rustix::fs::openat(to.as_fd(), name, flags, Mode::RUSR | Mode::WUSR)?);
    // Most file systems cannot, each in words of its own.
    if meta.size > 0 && rustix::fs::ioctl_ficlone(&out, from).is_err() {
        sparse::copy(from, &mut out, &|| go_on(given_up))?;
    }
    set(out.as_fd(), meta, &walk::travelling_xattrs(from.as_fd())?, to.owners())
}

/// Copies what is neither a regular file nor a directory to a free name; `target` is that of a symbolic link. Of what is
/// not wanted nothing is made.
pub(super) fn special(meta: &Meta, target: &[u8], to: &Dir, name: &[u8], devices: Devices) -> io::Result<()> {
    if !is_wanted(meta, devices) {
        return Ok(());
    }
    let node = |kind, number| rustix::fs::mknodat(to.as_fd(), name, kind, Mode::empty(), number);
    let number = rustix::fs::makedev(meta.rdev.major, meta.rdev.minor);
    match meta.kind {
        Kind::Symlink => rustix::fs::symlinkat(target, to.as_fd(), name)?,
        Kind::Fifo => node(FileType::Fifo, 0)?,
        Kind::Char => node(FileType::CharacterDevice, number)?,
        Kind::Block => node(FileType::BlockDevice, number)?,
        Kind::Dir | Kind::File | Kind::Socket => return Err(io::ErrorKind::InvalidInput.into()),
    }
    match to.owners() {
        Owners::Kernel => {
            let (uid, gid) = owner(meta);
            rustix::fs::chownat(to.as_fd(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Owners::Recorded => owners::record_special(to.as_fd(), name, recorded(meta))?,
    }
    if meta.kind != Kind::Symlink {
        // The kernel follows links in this call; the name was free when the node was made, and nobody else writes here.
        rustix::fs::chmodat(to.as_fd(), name, Mode::from_raw_mode(meta.mode), AtFlags::empty())?;
    }
    Ok(rustix::fs::utimensat(to.as_fd(), name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Gives an open file or directory its attributes, owner, mode and time. The owner first: changing it takes the setuid
/// bit and the capabilities away.
pub(super) fn set(fd: BorrowedFd<'_>, meta: &Meta, xattrs: &Xattrs, owners: Owners) -> io::Result<()> {
    match owners {
        Owners::Kernel => {
            let (uid, gid) = owner(meta);
            rustix::fs::fchown(fd, uid, gid)?;
        }
        Owners::Recorded => owners::rerecord_open(fd, recorded(meta))?,
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(meta.mode))?;
    for (name, value) in xattrs {
        rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(rustix::fs::futimens(fd, &times(meta))?)
}

fn recorded(meta: &Meta) -> Owner {
    Owner { uid: meta.uid, gid: meta.gid }
}

fn owner(meta: &Meta) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec { tv_sec: meta.mtime.secs, tv_nsec: meta.mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
