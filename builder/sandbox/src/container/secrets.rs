//! Secrets as files of a step, which are in memory and in no file system.
//!
//! At the place of each stands a socket with its mode and owner. Whoever opens that or looks at it by a call that is asked
//! about gets the memory instead. To all other calls it is no file (ENXIO): a plain empty file would be read in silence.
//! Where a path leads is found as the caller would find it, below its root, without opening anything (O_PATH).
//!
//! Must never: open what a path leads to, or give the memory to somebody whom its mode refuses.

use super::guise::Rights;
use super::memory::{Owned, sealed};
use super::named::Whose;
use super::opening::{HOW, Opened};
use super::own::{Keeper, as_caller};
use super::placing::{Home, Place, Placing};
use crate::answers::{Call, Replied, Reply};
use crate::mount_api::{beneath, inside};
use crate::provided::path_of;
use crate::spec::{Content, Private, StepSpec};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

/// The name that `/proc/self/fd` has for the memory.
const NAME: &str = "secret";

/// A file, wherever it is.
type Identity = (u64, u64);

/// One secret of a step.
pub(super) struct Secret {
    /// What stands for it in the root. The set-up process holds that, so that no other file becomes it.
    stands: Identity,
    memory: OwnedFd,
    is: Identity,
}

/// Has a step any?
pub(super) fn has_secrets(spec: &StepSpec) -> bool {
    spec.mounts.iter().any(|mount| matches!(mount.content, Content::File { .. }))
}

/// Puts what stands for a secret into the root. The umask must be zero.
pub(super) fn put(placing: &mut Placing<'_>, place: Place, bytes: &Private, owned: &Owned) -> io::Result<Secret> {
    let memory = sealed(NAME, &bytes.0, owned)?;
    let mut stands = None;
    placing.put(place, Home::None, |parent, name| {
        let mode = Mode::from_raw_mode(owned.mode);
        rustix::fs::mknodat(parent, name, FileType::Socket, mode, 0)?;
        let (uid, gid) = (Uid::from_raw(owned.uid), Gid::from_raw(owned.gid));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        // Changing the owner takes bits away.
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
        stands = Some(identity(&rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?));
        Ok(())
    })?;
    let stands = stands.ok_or(io::ErrorKind::NotFound)?;
    let is = identity(&rustix::fs::fstat(&memory)?);
    Ok(Secret { stands, memory, is })
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// How a call names a file: the directory in which it begins, as a descriptor of the caller or AT_FDCWD, and a path.
#[derive(Clone, Copy)]
pub(super) struct Way<'p> {
    pub from: i32,
    pub path: &'p [u8],
    pub follow: bool,
}

impl<'p> Way<'p> {
    /// Of a call whose argument with this number is the path, after the directory where there is one.
    pub(super) fn of(call: &Call<'_>, number: usize, path: &'p [u8], follow: bool) -> Self {
        let from = number.checked_sub(1).map_or(libc::AT_FDCWD, |before| call.word(before) as i32);
        Self { from, path, follow }
    }
}

impl Keeper {
    /// The memory that a file stands for.
    pub(super) fn stood_for(&self, file: &OwnedFd) -> Option<&OwnedFd> {
        self.with(file, |secret, found| secret.stands == found)
    }

    /// Is it a secret's memory?
    pub(super) fn is_secret(&self, file: &OwnedFd) -> bool {
        self.with(file, |secret, found| secret.is == found).is_some()
    }

    /// The memory of the secret that has something to do with a file.
    fn with(&self, file: &OwnedFd, has: impl Fn(&Secret, Identity) -> bool) -> Option<&OwnedFd> {
        if self.secrets.is_empty() {
            return None;
        }
        let found = identity(&rustix::fs::fstat(file).ok()?);
        self.secrets.iter().find(|secret| has(secret, found)).map(|secret| &secret.memory)
    }

    /// What a call gets that opens a secret; nothing for all else, which is the kernel's.
    pub(super) fn open_secret(&self, call: &Call<'_>, way: Way<'_>, flags: OFlags) -> io::Result<Option<Opened>> {
        // There is something of that name, whatever it is.
        if flags.contains(OFlags::CREATE | OFlags::EXCL) {
            return Ok(None);
        }
        match self.secret_at(call, way)? {
            Some((memory, rights)) => self.opened(memory, &rights, flags).map(Some),
            None => Ok(None),
        }
    }

    /// Opened as its mode allows it, and never to be written: it is mounted read-only elsewhere.
    fn opened(&self, memory: &OwnedFd, rights: &Rights, flags: OFlags) -> io::Result<Opened> {
        let how = flags.intersection(HOW).difference(OFlags::TRUNC) | OFlags::CLOEXEC;
        let path = format!("self/fd/{}", memory.as_raw_fd());
        let opened = rights.with(|| rustix::fs::openat(&self.processes, path, how, Mode::empty()))?;
        Ok(if writes(flags) { opened.and(Err(Errno::ROFS)) } else { opened })
    }

    /// `access` and its like, asked about where they are about writing or executing; of the mode that the socket has the
    /// kernel tells.
    pub(super) fn may(&self, call: &Call<'_>, number: usize) -> io::Result<Replied> {
        const EXECUTE: u32 = libc::X_OK as u32;
        let nofollow = call.asked.number == libc::SYS_faccessat2
            && AtFlags::from_bits_retain(call.word(number + 2)).contains(AtFlags::SYMLINK_NOFOLLOW);
        let Some(path) = self.path(call, number)? else { return Ok(Ok(Reply::Kernel)) };
        match self.secret_at(call, Way::of(call, number, &path, !nofollow))? {
            None => Ok(Ok(Reply::Kernel)),
            Some(_) if call.word(number + 1) & EXECUTE != 0 => Ok(Err(Errno::ACCESS)),
            Some((memory, rights)) => Ok(self.opened(memory, &rights, OFlags::WRONLY)?.and(Err(Errno::ROFS))),
        }
    }

    /// The memory of what a path leads to, where that stands for a secret and the caller may go there.
    pub(super) fn secret_at(&self, call: &Call<'_>, way: Way<'_>) -> io::Result<Option<(&OwnedFd, Rights)>> {
        if self.secrets.is_empty() || way.path.is_empty() {
            return Ok(None);
        }
        let from = match self.begins(call, way)? {
            Ok(from) => from,
            Err(_) => return Ok(None),
        };
        let find = || self.find(from.as_ref(), way);
        // First with the rights of this process, which is cheap: nearly all paths lead elsewhere. It may go wherever its
        // own may, but for links of another user in a directory for everybody (fs.protected_symlinks).
        match find() {
            Ok(found) if self.stood_for(&found).is_none() => return Ok(None),
            Ok(_) | Err(Errno::ACCESS) => {}
            Err(_) => return Ok(None),
        }
        let status = as_caller(call, || call.read_own("status"))?;
        let Some(rights) = status.ok().and_then(|status| Rights::read(&status)) else { return Ok(None) };
        let found = rights.with(find)?;
        Ok(found.ok().and_then(|found| self.stood_for(&found)).map(|memory| (memory, rights)))
    }

    /// The memory of what the caller has open, or has named without opening it (O_PATH).
    pub(super) fn secret_held(&self, call: &Call<'_>, number: u32) -> io::Result<Option<&OwnedFd>> {
        let held = self.descriptor(call, number, OFlags::PATH)?;
        Ok(held.ok().and_then(|held| self.with(&held, |secret, found| secret.stands == found || secret.is == found)))
    }

    fn descriptor(&self, call: &Call<'_>, number: u32, flags: OFlags) -> io::Result<Opened> {
        let (name, flags) = (format!("fd/{number}"), flags | OFlags::CLOEXEC);
        self.within(call, Whose::OwnThread, |process| rustix::fs::openat(process, name.as_str(), flags, Mode::empty()))
    }

    /// The directory in which a path begins; none for one that begins at the root.
    fn begins(&self, call: &Call<'_>, way: Way<'_>) -> io::Result<Result<Option<OwnedFd>, Errno>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match way.from {
            _ if way.path.starts_with(b"/") => return Ok(Ok(None)),
            libc::AT_FDCWD => {
                self.within(call, Whose::OwnThread, |process| rustix::fs::openat(process, "cwd", flags, Mode::empty()))?
            }
            number => match u32::try_from(number) {
                Ok(number) => self.descriptor(call, number, flags)?,
                Err(_) => Err(Errno::BADF),
            },
        };
        Ok(directory.map(Some))
    }

    /// What a path leads to, without opening it.
    fn find(&self, from: Option<&OwnedFd>, way: Way<'_>) -> Result<OwnedFd, Errno> {
        let flags = if way.follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
        let Some(from) = from else { return inside(self.root.as_fd(), way.path, flags) };
        match beneath(from.as_fd(), way.path, flags) {
            // It climbs, or a link leads to the root: then it has to begin there.
            Err(Errno::XDEV) => {
                let above = path_of(from.as_fd()).map_err(|_| Errno::NOENT)?;
                let above = self.seen(above.as_os_str().as_bytes()).ok_or(Errno::NOENT)?;
                inside(self.root.as_fd(), [&above, b"/".as_slice(), way.path].concat().as_slice(), flags)
            }
            other => other,
        }
    }
}

/// Would it change the file?
pub(super) fn writes(flags: OFlags) -> bool {
    flags.intersection(OFlags::ACCMODE) != OFlags::RDONLY || flags.contains(OFlags::TRUNC)
}
