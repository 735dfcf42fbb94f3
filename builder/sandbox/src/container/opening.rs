//! Files of `/proc` that a step opens.
//!
//! What a process has open is opened again as it could do it itself, where that is of its root or of no place at all. Of
//! the files that tell of it, and of the machine, it gets what they say now, in memory: no descriptor of `/proc` is ever
//! handed out.

use super::guise::Rights;
use super::memory::{READABLE, errno, sealed};
use super::named::{Named, What, Whose};
use super::own::{Keeper, as_caller};
use super::secrets::{Way, writes};
use crate::answers::{Call, Replied, Reply};
use crate::provided::path_of;
use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

/// Files with the paths of what is mapped.
const WITH_PATHS: [&str; 2] = ["maps", "smaps"];
/// The most that is read of a file.
const MOST_BYTES: u64 = 64 << 20;
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
/// How a file may be opened again.
pub(super) const HOW: OFlags = OFlags::ACCMODE
    .union(OFlags::APPEND)
    .union(OFlags::TRUNC)
    .union(OFlags::SYNC)
    .union(OFlags::DSYNC)
    .union(OFlags::NOATIME);

/// A descriptor for the step, if this process has one.
pub(super) type Opened = Result<OwnedFd, Errno>;

impl Keeper {
    pub(super) fn open(&self, call: &Call<'_>, number: usize) -> io::Result<Replied> {
        let flags = OFlags::from_bits_retain(call.word(number + 1));
        let reads = flags.intersection(OFlags::ACCMODE) == OFlags::RDONLY;
        let Some(path) = self.path(call, number)? else { return Ok(Ok(Reply::Kernel)) };
        let opened = match self.named(call, &path)? {
            Some(Named::Process(whose, What::Link(name))) => self.open_again(call, (whose, &name), flags)?,
            Some(Named::Stream(number)) => match self.open_again(call, (Whose::Own, &format!("fd/{number}")), flags)? {
                // The root has something else of this name.
                Err(_) => return Ok(Ok(Reply::Kernel)),
                opened => opened,
            },
            Some(Named::Process(whose, What::File(name))) if reads => match self.read(call, whose, name)? {
                Err(Errno::NOENT) => return Ok(Ok(Reply::Kernel)),
                opened => opened,
            },
            Some(Named::Machine(name)) if reads => {
                read(self.processes.as_fd(), name).and_then(|text| self.in_memory(&text))
            }
            _ => {
                match self.open_secret(call, Way::of(call, number, &path, !flags.contains(OFlags::NOFOLLOW)), flags)? {
                    Some(opened) => opened,
                    None => return Ok(Ok(Reply::Kernel)),
                }
            }
        };
        Ok(opened.and_then(|file| call.give(file.as_fd(), flags.contains(OFlags::CLOEXEC))))
    }

    /// Opens again what the caller has open, or executes.
    fn open_again(&self, call: &Call<'_>, (whose, name): (Whose, &str), flags: OFlags) -> io::Result<Opened> {
        let refused = match (flags, whose) {
            (flags, _) if flags.contains(OFlags::NOFOLLOW) => Some(Errno::LOOP),
            (flags, _) if flags.contains(OFlags::CREATE | OFlags::EXCL) => Some(Errno::EXIST),
            (_, Whose::Of(number)) if number != call.asked.pid => Some(Errno::ACCESS),
            _ => None,
        };
        if let Some(error) = refused {
            return Ok(Err(error));
        }
        let held = match self.held(call, whose, name)? {
            Ok(held) => held,
            Err(error) => return Ok(Err(error)),
        };
        if writes(flags) && self.is_secret(&held) {
            return Ok(Err(Errno::ROFS));
        }
        let status = as_caller(call, || call.read_own("status"))?;
        let Some(rights) = status.ok().and_then(|status| Rights::read(&status)) else { return Ok(Err(Errno::ACCESS)) };
        // So that nobody waits here for the other end of a pipe, and this process gets no terminal.
        let how = flags.intersection(HOW) | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let path = format!("self/fd/{}", held.as_raw_fd());
        let opened = rights.with(|| rustix::fs::openat(&self.processes, path, how, Mode::empty()))?;
        Ok(opened.and_then(|file| {
            if !flags.contains(OFlags::NONBLOCK) {
                let now = rustix::fs::fcntl_getfl(&file)?;
                rustix::fs::fcntl_setfl(&file, now.difference(OFlags::NONBLOCK))?;
            }
            Ok(file)
        }))
    }

    /// What a file is for the step: itself, where it is of its root or of no place; of the null devices its own.
    pub(super) fn of_the_root(&self, file: OwnedFd) -> io::Result<Option<OwnedFd>> {
        let stat = rustix::fs::fstat(&file)?;
        let is_null =
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3);
        if is_null {
            return self.null.try_clone().map(Some);
        }
        let path = match path_of(file.as_fd()) {
            // The step has directories as deep as it likes, but nobody can say that this is one of them.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NAMETOOLONG) => return Ok(None),
            other => other?,
        };
        let known = self.seen(path.as_os_str().as_bytes()).is_some();
        Ok(known.then_some(file))
    }

    /// What a file of a process says now.
    fn read(&self, call: &Call<'_>, whose: Whose, name: &str) -> io::Result<Opened> {
        let text = self.within(call, whose, |process| read(process, name))?;
        let seen = |text: Vec<u8>| if WITH_PATHS.contains(&name) { self.seen_in(&text) } else { text };
        Ok(text.map(seen).and_then(|text| self.in_memory(&text)))
    }

    /// A list of what is mapped with the paths that the step sees, and without those outside of its root.
    pub(super) fn seen_in(&self, maps: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(maps.len());
        for line in maps.split_inclusive(|byte| *byte == b'\n') {
            let (before, path) = line.split_at(line.iter().position(|byte| *byte == b'/').unwrap_or(line.len()));
            let (path, end) = path.split_at(path.len() - usize::from(path.ends_with(b"\n")));
            text.extend_from_slice(before);
            text.extend(self.seen(path).filter(|_| !path.is_empty()).unwrap_or_default());
            text.extend_from_slice(end);
        }
        text
    }

    /// A file that can be read and that nobody can write.
    fn in_memory(&self, text: &[u8]) -> Opened {
        let memory = sealed("proc", text, &READABLE)?;
        rustix::fs::openat(&self.processes, format!("self/fd/{}", memory.as_raw_fd()), READ, Mode::empty())
    }
}

/// What a file below `/proc` says, up to a length that none has.
fn read(directory: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>, Errno> {
    let file = rustix::fs::openat(directory, name, READ | OFlags::NOFOLLOW, Mode::empty())?;
    let mut text = Vec::new();
    File::from(file).take(MOST_BYTES).read_to_end(&mut text).map_err(|error| errno(&error))?;
    Ok(text)
}
