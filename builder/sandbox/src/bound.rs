//! The root of a step where layers cannot be stacked: one directory that holds all of it, mounted for the step alone.
//!
//! The mount is as overlay's would be: programs and set-id bits work, devices do not open. Must never: give a step a mount
//! on which these are otherwise, as that of the store may be.

use crate::mount_api::{self, copy_of};
use crate::protocol::{At, Fault, Stage};
use crate::spec::{Bound, Files};
use crate::sys::{self, Reach};
use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What the mount of a store may have, and the root of a step may not.
const CLEARED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC)
    .union(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW);

impl Files {
    /// The directory that the step's changes are written to, where mounts can be made.
    pub(crate) fn written(&self) -> Option<&Path> {
        match self {
            Self::Layers(stack) => Some(&stack.upper),
            Self::Bound(bound) => Some(&bound.root),
            Self::Whole(_) => None,
        }
    }
}

/// Mounts the root on the specification's mount point; gives a descriptor of its top.
pub(crate) fn mount_root(bound: &Bound) -> Result<OwnedFd, Fault> {
    let object = bound.root.display();
    let open = |path: &Path| mount_api::on_host(path).map_err(io::Error::from);
    let mount = || mount_at(&open(&bound.root)?, &open(&bound.mountpoint)?);
    mount().at(Stage::Files, &object)?;
    open(&bound.mountpoint).at(Stage::Files, &object)
}

/// What the mount of the store has and a user namespace may not take from it is refused with this error alone.
fn told(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EPERM) => io::Error::new(
            error.kind(),
            format!(
                "the store is mounted so that programs do not run as they should (noexec, nosuid or nosymfollow): {error}"
            ),
        ),
        _ => error,
    }
}

/// Mounts a directory on what `target` refers to.
pub(crate) fn mount_at(root: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let copy = copy_of(root, Reach::Mount)?;
    let nodev = MountAttrFlags::MOUNT_ATTR_NODEV;
    sys::change_mount_attributes(copy.as_fd(), (nodev.bits().into(), CLEARED.bits().into()), Reach::Mount)
        .map_err(told)?;
    mount_api::attach(copy, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_about_how_the_store_is_mounted() {
        for (code, about_mount) in [(libc::EPERM, true), (libc::ENOSYS, false), (libc::EINVAL, false)] {
            let error = told(io::Error::from_raw_os_error(code));
            assert_eq!(error.to_string().contains("the store is mounted so"), about_mount, "{error}");
        }
    }
}
