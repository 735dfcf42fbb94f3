//! Looks at files of `/proc` without opening them (`stat` and its like), by paths that begin at the root.
//!
//! What is told of a file is what the kernel tells of it, where the step may look into the process and the file is of its
//! root or of no place at all. Directories of a process are not there, since they could not be read.

use super::named::{Named, What, Whose};
use super::opening::errno;
use super::own::{Keeper, as_caller};
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

impl Keeper {
    /// `stat` and its like: the numbers of the arguments with the path and with the place for the answer.
    pub(super) fn stat(&self, call: &Call<'_>, (path, to): (usize, usize), flags: AtFlags) -> io::Result<Replied> {
        self.tell(call, (path, to), flags, |file, owner| sys::stat_as(file, true, owner))
    }

    pub(super) fn statx(&self, call: &Call<'_>) -> io::Result<Replied> {
        let (flags, mask) = (AtFlags::from_bits_retain(call.word(2)), call.word(3));
        self.tell(call, (1, 4), flags, |file, owner| sys::statx_as(file, 0, mask, owner))
    }

    fn tell(
        &self,
        call: &Call<'_>,
        (path, to): (usize, usize),
        flags: AtFlags,
        look: impl FnOnce(&CString, (u32, u32)) -> io::Result<Vec<u8>>,
    ) -> io::Result<Replied> {
        let follow = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
        let Some(named) = self.named(call, path)? else { return Ok(Ok(Reply::Kernel)) };
        // The kernel has the root's own file of that name, or says that there is none.
        let Ok(file) = self.looked_at(call, &named, follow)? else { return Ok(Ok(Reply::Kernel)) };
        let stat = rustix::fs::fstat(&file)?;
        let by_name = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(io::Error::other)?;
        // Of a mask that the kernel does not know.
        let told = match look(&by_name, (stat.st_uid, stat.st_gid)) {
            Ok(told) => told,
            Err(error) => return Ok(Err(errno(&error))),
        };
        Ok(as_caller(call, || call.write(call.argument(to), &told))?.map(|()| Reply::Done(0)))
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
            Ok(held) => self.of_the_root(held)?.ok_or(Errno::ACCESS),
            Err(error) => Err(error),
        })
    }
}
