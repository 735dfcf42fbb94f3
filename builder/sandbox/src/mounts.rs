//! What a step has mounted besides its root: files of layers and of the host, memory, secrets.
//!
//! Takes the mounts of a specification; puts each onto a place of the root that is looked up as a process inside would,
//! so that no link of an image leads outside. Must never: leave a secret anywhere but in memory, or hide what the
//! kernel shows of itself.

use crate::idmap::Tier;
use crate::mount_api::{attach, copy_of, inside, new_filesystem, on_host, plainly_inside};
use crate::overlay::{self, Layers, Marks};
use crate::protocol::{At, Fault, Stage, StubKind};
use crate::provided::{Stubs, write_private};
use crate::spec::{Access, Content, Mount};
use crate::sys::{self, Reach};
use crate::{StepSpec, owners};
use cooper_image::Owner;
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Mode of a directory in memory whose place had to be made, as runc.
const TMPFS_MODE: u32 = 0o1777;

/// Mounts them in their order. The host's root must still be visible; the umask must be zero.
pub(crate) fn mount_all(stubs: &Stubs<'_>, private: &OwnedFd, spec: &StepSpec, tier: Tier) -> Result<(), Fault> {
    for (number, mount) in spec.mounts.iter().enumerate() {
        let name = format!("mount-{number}");
        one(stubs, private, &name, mount, tier).at(Stage::Mounts, &mount.target)?;
    }
    Ok(())
}

fn one(stubs: &Stubs<'_>, private: &OwnedFd, name: &str, mount: &Mount, tier: Tier) -> io::Result<()> {
    if let Content::Tmpfs { bytes } = &mount.content {
        return tmpfs(stubs, mount, *bytes);
    }
    let source = source(private, name, &mount.content, tier)?;
    let copy = copy_of(&source, Reach::Mount)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if matches!(mount.content, Content::File { .. }) {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    if mount.access == Access::ReadOnly {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    sys::add_mount_attributes(copy.as_fd(), u64::from(attributes.bits()), Reach::Mount)?;
    let kind = match is_directory(&source)? {
        true => StubKind::Directory,
        false => StubKind::File,
    };
    attach(copy, target(stubs, &mount.target, kind)?)
}

/// The place of a mount: of the right kind, and not the kernel's own.
fn target(stubs: &Stubs<'_>, path: &str, kind: StubKind) -> io::Result<OwnedFd> {
    let wrong = |what| io::Error::other(format!("the image has {what}"));
    let target = match stubs.place(path, kind) {
        Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => return Err(wrong("a file there, or above it")),
        other => other?,
    };
    if kind == StubKind::File && is_directory(&target)? {
        return Err(wrong("a directory there, and a file is mounted"));
    }
    const KERNELS: [libc::c_long; 3] = [libc::PROC_SUPER_MAGIC, libc::SYSFS_MAGIC, libc::CGROUP2_SUPER_MAGIC];
    if KERNELS.contains(&rustix::fs::fstatfs(&target)?.f_type) {
        return Err(io::Error::other("it leads into the kernel's own files, where nothing can be mounted"));
    }
    let (at, top) = (rustix::fs::fstat(&target)?, rustix::fs::fstat(stubs.root)?);
    if (at.st_dev, at.st_ino) == (top.st_dev, top.st_ino) {
        return Err(io::Error::other("it leads to the root, where nothing can be mounted"));
    }
    Ok(target)
}

fn tmpfs(stubs: &Stubs<'_>, mount: &Mount, bytes: Option<u64>) -> io::Result<()> {
    // As runc: a directory that is there gives its mode.
    let mode = match inside(stubs.root, &mount.target, OFlags::PATH | OFlags::DIRECTORY) {
        // What else is there is found again when the place is made.
        Err(Errno::NOENT | Errno::NOTDIR) => TMPFS_MODE,
        known => rustix::fs::fstat(known?)?.st_mode & 0o7777,
    };
    let target = target(stubs, &mount.target, StubKind::Directory)?;
    let (mode, size) = (format!("{mode:o}"), bytes.map(|b| b.to_string()));
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|s| ("size", s)));
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    if mount.access == Access::ReadOnly {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    attach(new_filesystem("tmpfs", &options, attributes)?, target)
}

/// What is to be mounted, somewhere in this mount namespace.
fn source(private: &OwnedFd, name: &str, content: &Content, tier: Tier) -> io::Result<OwnedFd> {
    match content {
        Content::Host(path) => {
            Ok(rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
        }
        Content::Layers { lowers, upper, work, path } => {
            let layers = Layers {
                lowers_top_first: lowers.iter().rev().map(|p| on_host(p)).collect::<Result<_, _>>()?,
                upper: on_host(upper)?,
                work: on_host(work)?,
            };
            rustix::fs::mkdirat(private, name, Mode::from_raw_mode(0o755))?;
            let place = plainly_inside(private.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY)?;
            overlay::mount_at(&layers, Marks::of(tier), &place)?;
            let top = plainly_inside(private.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY)?;
            Ok(inside(top.as_fd(), path, OFlags::PATH)?)
        }
        Content::File { bytes, uid, gid, mode } => {
            let file = write_private(private, name, &bytes.0, *mode)?;
            if tier == Tier::OneId {
                let file = plainly_inside(private.as_fd(), name, OFlags::RDONLY)?;
                owners::give(file.as_fd(), Owner { uid: *uid, gid: *gid })?;
            } else {
                let owner = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
                rustix::fs::chownat(private, name, owner.0, owner.1, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
            }
            // Changing the owner takes setuid bits away.
            rustix::fs::chmodat(private, name, Mode::from_raw_mode(*mode), rustix::fs::AtFlags::empty())?;
            Ok(file)
        }
        // It has no place before its target is known, and what can be mounted is not lent.
        Content::Tmpfs { .. } | Content::Lent { .. } => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn is_directory(file: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory)
}
