//! The kernel's descriptor-based mount calls, in the few combinations used here.
//!
//! A mount is always attached to a descriptor, never to a path, so that no symbolic link in an
//! image can send it elsewhere. Look-ups below the root never leave it.

use crate::sys::{self, Reach};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::path::Arg;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// No programs, no devices, no setuid.
pub(crate) const INERT: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
/// As [`INERT`], and read-only.
pub(crate) const INERT_READ_ONLY: MountAttrFlags = INERT.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// How often a look-up that the kernel could not vouch for is tried.
const AGAIN: usize = 128;

/// A new file system, not attached yet.
pub(crate) fn new_filesystem(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    made(fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?, options, attributes)
}

/// A tmpfs whose files are never written to the swap, where the kernel lets this process have one (Linux 6.4, and root of
/// the machine).
pub(crate) fn new_memory(options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    match fsconfig_set_flag(&context, "noswap") {
        // What kernels say that do not know it, or not for this process: it is memory like that of every process then.
        Err(rustix::io::Errno::INVAL) => {}
        other => other?,
    }
    made(context, options, attributes)
}

fn made(context: OwnedFd, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Puts a detached mount onto what `target` refers to.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    Ok(move_mount(
        mount,
        "",
        target,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )?)
}

/// A detached copy of what `source` refers to.
pub(crate) fn copy_of(source: impl AsFd, reach: Reach) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if matches!(reach, Reach::Tree) {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(source, "", flags)?)
}

/// A detached, unchangeable copy of what `source` refers to.
pub(crate) fn read_only_copy_of(source: impl AsFd, attributes: MountAttrFlags, reach: Reach) -> io::Result<OwnedFd> {
    let copy = copy_of(source, reach)?;
    let attributes = attributes | MountAttrFlags::MOUNT_ATTR_RDONLY;
    sys::add_mount_attributes(copy.as_fd(), u64::from(attributes.bits()), reach)?;
    Ok(copy)
}

/// Refers to `path` below `root`, following links as a process inside would.
pub(crate) fn inside(root: BorrowedFd<'_>, path: impl Arg + Copy, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    look_up(root, path, flags, ResolveFlags::IN_ROOT)
}

/// Refers to `path` below a directory, following links; what leads out of it is `EXDEV`.
pub(crate) fn beneath(from: BorrowedFd<'_>, path: impl Arg + Copy, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    look_up(from, path, flags, ResolveFlags::BENEATH)
}

/// As [`inside`], but only to what the layers hold: what is mounted in the root is `EXDEV`.
pub(crate) fn inside_layers(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    look_up(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_XDEV)
}

/// Refers to `path` below `root`, where nothing on the way may be a link.
pub(crate) fn plainly_inside(
    root: BorrowedFd<'_>,
    path: impl Arg + Copy,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    look_up(root, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn look_up(
    root: BorrowedFd<'_>,
    path: impl Arg + Copy,
    flags: OFlags,
    rules: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let rules = rules | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..AGAIN {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), rules) {
            // Something was mounted or renamed meanwhile, perhaps by another step.
            Err(rustix::io::Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(rustix::io::Errno::AGAIN)
}

/// Refers to a path of the host.
pub(crate) fn on_host(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}
