//! Looks at files of `/proc`, by paths that begin at the root, and at secrets, without opening them (`stat` and its like).
//!
//! What is told of a file is what the kernel tells of it, where the step may look into the process and the file is of its
//! root or of no place at all. Directories of a process are not there, since they could not be read.

use super::memory::errno;
use super::named::{Named, What, Whose};
use super::own::{Keeper, as_caller};
use super::secrets::Way;
use crate::answers::{Call, Replied, Reply};
use crate::sys;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

/// For a file that is only looked at, or a link itself.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FOLLOW: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Which answer a call wants.
#[derive(Clone, Copy)]
enum Answer {
    Stat,
    /// Of these fields.
    Statx(u32),
}

impl Answer {
    /// What the kernel says of the file that the path leads to.
    fn of(self, path: &CString, owner: (u32, u32)) -> io::Result<Vec<u8>> {
        match self {
            Self::Stat => sys::stat_as(path, true, owner),
            Self::Statx(mask) => sys::statx_as(path, 0, mask, owner),
        }
    }

    /// Says that the file has one name, as files have that were not deleted; memory has none.
    fn named_once(self, told: &mut [u8]) {
        let (at, one) = match self {
            Self::Stat => {
                (std::mem::offset_of!(libc::stat, st_nlink), libc::nlink_t::from(1_u8).to_ne_bytes().to_vec())
            }
            Self::Statx(_) => (std::mem::offset_of!(libc::statx, stx_nlink), 1_u32.to_ne_bytes().to_vec()),
        };
        if let Some(place) = told.get_mut(at..at + one.len()) {
            place.copy_from_slice(&one);
        }
    }
}

impl Keeper {
    /// `stat` and its like: the numbers of the arguments with the path and with the place for the answer.
    pub(super) fn stat(&self, call: &Call<'_>, (path, to): (usize, usize), flags: AtFlags) -> io::Result<Replied> {
        self.tell(call, (path, to), flags, Answer::Stat)
    }

    pub(super) fn statx(&self, call: &Call<'_>) -> io::Result<Replied> {
        let (flags, mask) = (AtFlags::from_bits_retain(call.word(2)), call.word(3));
        self.tell(call, (1, 4), flags, Answer::Statx(mask))
    }

    fn tell(&self, call: &Call<'_>, (path, to): (usize, usize), flags: AtFlags, answer: Answer) -> io::Result<Replied> {
        // The kernel has the root's own file of that name, or says that there is none.
        let Some(file) = self.looked_at_by_path(call, path, flags)? else { return Ok(Ok(Reply::Kernel)) };
        self.told(call, (&file, to), answer)
    }

    /// `fstat` of a secret, whether it was opened or only named.
    pub(super) fn fstat(&self, call: &Call<'_>) -> io::Result<Replied> {
        match self.secret_held(call, call.word(0))? {
            Some(memory) => self.told(call, (memory, 1), Answer::Stat),
            None => Ok(Ok(Reply::Kernel)),
        }
    }

    /// Writes what is told of a file to the place that is this argument.
    fn told(&self, call: &Call<'_>, (file, to): (&OwnedFd, usize), answer: Answer) -> io::Result<Replied> {
        let stat = rustix::fs::fstat(file)?;
        let by_name = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(io::Error::other)?;
        // Of a mask that the kernel does not know.
        let mut told = match answer.of(&by_name, (stat.st_uid, stat.st_gid)) {
            Ok(told) => told,
            Err(error) => return Ok(Err(errno(&error))),
        };
        if self.is_secret(file) {
            answer.named_once(&mut told);
        }
        Ok(as_caller(call, || call.write(call.argument(to), &told))?.map(|()| Reply::Done(0)))
    }

    fn looked_at_by_path(&self, call: &Call<'_>, number: usize, flags: AtFlags) -> io::Result<Option<OwnedFd>> {
        let follow = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
        let path = self.path(call, number)?.unwrap_or_default();
        if let Some(named) = self.named(call, &path)? {
            return Ok(self.looked_at(call, &named, follow)?.ok());
        }
        let way = Way::of(call, number, &path, follow);
        let memory = match u32::try_from(way.from) {
            Ok(held) if path.is_empty() && flags.contains(AtFlags::EMPTY_PATH) => self.secret_held(call, held)?,
            _ => self.secret_at(call, way)?.map(|(memory, _)| memory),
        };
        memory.map(OwnedFd::try_clone).transpose()
    }

    fn looked_at(&self, call: &Call<'_>, named: &Named, follow: bool) -> io::Result<Result<OwnedFd, Errno>> {
        let at = |directory: BorrowedFd<'_>, name: &str| rustix::fs::openat(directory, name, LOOK, Mode::empty());
        let (whose, what) = match named {
            Named::Machine(name) => return Ok(at(self.processes.as_fd(), name)),
            Named::Stream(_) if !follow => return Ok(Err(Errno::NOENT)),
            Named::Stream(number) => return self.held(call, Whose::Own, &format!("fd/{number}")),
            Named::Process(whose, what) => (*whose, what),
        };
        match what {
            What::Directory => Ok(Err(Errno::NOENT)),
            What::Link(name) if follow => self.held(call, whose, name),
            What::Itself if !follow && whose == Whose::Own => Ok(at(self.processes.as_fd(), "self")),
            What::Itself if !follow && whose == Whose::OwnThread => Ok(at(self.processes.as_fd(), "thread-self")),
            What::Itself => self.within(call, whose, |process| at(process, ".")),
            What::File(name) => self.within(call, whose, |process| at(process, name)),
            What::Link(name) => self.within(call, whose, |process| at(process, name)),
        }
    }

    /// What a link of a process leads to, where that is a file for the step. One look at it, so that all that follows is
    /// about one file.
    pub(super) fn held(&self, call: &Call<'_>, whose: Whose, name: &str) -> io::Result<Result<OwnedFd, Errno>> {
        let held = self.within(call, whose, |process| rustix::fs::openat(process, name, FOLLOW, Mode::empty()))?;
        Ok(match held {
            Ok(held) => match self.stood_for(&held) {
                Some(memory) => Ok(memory.try_clone()?),
                None => self.of_the_root(held)?.ok_or(Errno::ACCESS),
            },
            Err(error) => Err(error),
        })
    }
}
