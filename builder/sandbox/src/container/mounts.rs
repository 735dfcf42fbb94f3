//! What a step in a chroot has mounted elsewhere: put in place before it, and taken away after it.
//!
//! Must never: put a secret into a file.

use super::memory::Owned;
use super::placing::{Home, Place, Placing};
use super::secrets::{self, Secret};
use crate::protocol::{At, Fault, Stage};
use crate::spec::{Content, Mount};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

/// Mode of a directory that is a tmpfs elsewhere and whose place had to be made.
const TMPFS_MODE: u32 = 0o1777;

/// Puts them in place, in their order; gives the secrets among them. The umask must be zero.
pub(super) fn put(placing: &mut Placing<'_>, mounts: &[Mount]) -> Result<Vec<Secret>, Fault> {
    let mut secrets = Vec::new();
    for mount in mounts {
        secrets.extend(one(placing, mount).at(Stage::Mounts, &mount.target)?);
    }
    Ok(secrets)
}

fn one(placing: &mut Placing<'_>, mount: &Mount) -> io::Result<Option<Secret>> {
    let place = match placing.place(&mount.target) {
        Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => return Err(of_the_image("a file there, or above it")),
        other => other?,
    };
    let own = |name: &&str| place.path.starts_with(name) && (*name != "dev" || place.path == Path::new("dev"));
    if super::OWN_NAMES.iter().any(own) {
        return Err(io::Error::other("it leads into the kernel's own files, where nothing can be mounted"));
    }
    let there = place.found()?;
    match &mount.content {
        Content::Tmpfs { bytes: None } => {
            fits(there.as_ref(), FileType::Directory)?;
            let mode = there.map_or(TMPFS_MODE, |stat| stat.st_mode & 0o7777);
            placing
                .put(place, Home::None, |parent, name| rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode)))?;
        }
        Content::Host(path) => {
            let from = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
            fits(there.as_ref(), FileType::from_raw_mode(from.st_mode))?;
            placing.put(place, Home::None, |parent, name| rustix::fs::renameat(CWD, path, parent, name))?;
        }
        Content::Lent { directory, stands } => {
            fits(there.as_ref(), FileType::Directory)?;
            lent(placing, place, directory, stands)?;
        }
        Content::File { bytes, uid, gid, mode } => {
            fits(there.as_ref(), FileType::RegularFile)?;
            let owned = Owned { uid: *uid, gid: *gid, mode: *mode };
            return secrets::put(placing, place, bytes, &owned).map(Some);
        }
        Content::Tmpfs { .. } | Content::Layers { .. } => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(None)
}

/// The file is locked before it changes places with the directory, so that there is no moment in which somebody else could
/// believe that the directory is nobody's.
fn lent(placing: &mut Placing<'_>, place: Place, directory: &Path, stands: &Path) -> io::Result<()> {
    let lock = rustix::fs::open(stands, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    match rustix::fs::renameat_with(CWD, stands, CWD, directory, RenameFlags::EXCHANGE) {
        Err(Errno::XDEV) => {
            return Err(io::Error::other(
                "its directory cannot be moved, since it is in a lower layer of the container's own file system: put the \
                 store on a volume, or delete the cache",
            ));
        }
        other => other?,
    }
    let home = Home::Lent(directory.to_owned(), File::from(lock));
    placing.put(place, home, |parent, name| rustix::fs::renameat(CWD, stands, parent, name))
}

/// What is mounted takes the place of something of the same kind, or of nothing.
fn fits(there: Option<&Stat>, what: FileType) -> io::Result<()> {
    let Some(stat) = there else { return Ok(()) };
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    match (directory, what == FileType::Directory) {
        (false, true) => Err(of_the_image("a file there, or above it")),
        (true, false) => Err(of_the_image("a directory there, and a file is mounted")),
        _ => Ok(()),
    }
}

fn of_the_image(what: &str) -> io::Error {
    io::Error::other(format!("the image has {what}"))
}
