//! The step's working directory.
//!
//! Takes the top of the root and a path as the image gives it; leaves the process in that
//! directory. Entered with the set-up's rights, as runc does, so that a step may start where its
//! user may not look; made when it is missing, as BuildKit does. Links lead where a process inside
//! would be led, never through a descriptor of the set-up (`/proc/self/fd`, CVE-2024-21626).

use crate::idmap::Tier;
use crate::mount_api::{inside, plainly_inside};
use crate::owners;
use crate::protocol::{At, Fault, Stage};
use crate::user::Identity;
use cooper_image::Owner;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// Enters `path` below `root`. Directories that are missing are made for `who`, mode 0755, and stay
/// in the layer. The umask must be zero.
pub(crate) fn enter(root: BorrowedFd<'_>, path: &str, who: &Identity, tier: Tier) -> Result<(), Fault> {
    let path = if path.is_empty() { "/" } else { path };
    let directory = match inside(root, path, DIRECTORY) {
        Err(Errno::NOENT) => make_all(root, path, (who, tier)),
        other => other,
    };
    let directory = directory.at(Stage::WorkingDirectory, path)?;
    rustix::process::fchdir(&directory).at(Stage::WorkingDirectory, path)
}

/// Checks that the process stands somewhere below its root.
pub(crate) fn verify(path: &str) -> Result<(), Fault> {
    let now = rustix::process::getcwd(Vec::new()).at(Stage::WorkingDirectory, path)?;
    if now.as_bytes().starts_with(b"/") { Ok(()) } else { Err("is outside the root").at(Stage::WorkingDirectory, path) }
}

fn make_all(root: BorrowedFd<'_>, path: &str, who: (&Identity, Tier)) -> rustix::io::Result<OwnedFd> {
    let mut now = inside(root, "/", DIRECTORY)?;
    let mut so_far = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        so_far.push('/');
        so_far.push_str(name);
        now = match inside(root, &so_far, DIRECTORY) {
            Err(Errno::NOENT) => make(now.as_fd(), name, who)?,
            other => other?,
        };
    }
    Ok(now)
}

fn make(parent: BorrowedFd<'_>, name: &str, (who, tier): (&Identity, Tier)) -> rustix::io::Result<OwnedFd> {
    // A link to nowhere is in the way: EEXIST.
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    let made = plainly_inside(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
    match tier {
        Tier::OneId => owners::give(made.as_fd(), Owner { uid: who.uid, gid: who.gid })?,
        Tier::Root | Tier::Rootless | Tier::Container => {
            rustix::fs::fchown(&made, Some(Uid::from_raw(who.uid)), Some(Gid::from_raw(who.gid)))?;
        }
    }
    Ok(made)
}
