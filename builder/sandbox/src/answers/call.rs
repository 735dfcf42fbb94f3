//! One call that waits: its arguments, the memory of its process, and what `/proc` has of it.
//!
//! That is opened while the call certainly waits: a number that is given to another process meanwhile leads nowhere. Must
//! never: write into the memory of anybody who is not known to wait.

use super::{Replied, Reply};
use crate::sys::{self, Asked};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Longest path that the kernel takes, with its end.
const PATH_BYTES: usize = 4096;
/// The most that is read of a file of `/proc/PID`: `status` names up to 65,536 groups.
const FILE_BYTES: u64 = 1024 * 1024;
/// Memory is read up to the end of one of these, beyond which there may be none.
const PAGE: u64 = 4096;

/// A call that waits.
pub(crate) struct Call<'a> {
    pub asked: Asked,
    listener: &'a OwnedFd,
    /// The builder's `/proc`.
    processes: &'a OwnedFd,
    /// That of the call's thread in it. As long as there is such a thread, its number is given to no other.
    own: RefCell<Option<Rc<OwnedFd>>>,
    /// Was that opened while this call waited? If not, its thread may be one that is gone.
    fresh: Cell<bool>,
    /// What keeps this process from its work.
    hindrance: Cell<Option<Errno>>,
}

impl<'a> Call<'a> {
    /// With what an earlier call of a thread with this number left.
    pub(crate) fn new(
        asked: Asked,
        (listener, processes): (&'a OwnedFd, &'a OwnedFd),
        left: Option<Rc<OwnedFd>>,
    ) -> Self {
        let (own, fresh) = (RefCell::new(left), Cell::new(false));
        Self { asked, listener, processes, own, fresh, hindrance: Cell::new(None) }
    }

    /// What a later call of its thread can begin with.
    pub(crate) fn leave(self) -> Option<Rc<OwnedFd>> {
        self.own.into_inner()
    }

    pub(crate) fn argument(&self, number: usize) -> u64 {
        self.asked.arguments.get(number).copied().unwrap_or_default()
    }

    /// An argument that is an `int`, an id, a mode or flags.
    pub(crate) fn word(&self, number: usize) -> u32 {
        self.argument(number) as u32
    }

    /// Whether something that the kernel or a setting forbids kept this process from answering rightly.
    pub(crate) fn hindrance(&self) -> Option<Errno> {
        self.hindrance.get()
    }

    /// Notes when this process may not do what every answer needs. What a process that is gone refuses means nothing.
    fn needed<T>(&self, result: Result<T, Errno>) -> Result<T, Errno> {
        if let Err(error @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS)) = result
            && self.check().is_ok()
        {
            self.hindrance.set(Some(error));
        }
        result
    }

    /// That it still waits: what was read of its process until now is its own.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        if sys::still_waits(self.listener.as_fd(), &self.asked) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// Does something in `/proc/PID` of its thread.
    pub(crate) fn in_own<T>(&self, run: impl Fn(&OwnedFd) -> Result<T, Errno>) -> Result<T, Errno> {
        if let Some(own) = self.own.borrow().clone() {
            match run(&own) {
                // Of a thread that had the number before.
                Err(Errno::NOENT | Errno::SRCH) if !self.fresh.get() => {}
                other => return other,
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own = rustix::fs::openat(self.processes, self.asked.pid.to_string(), flags, Mode::empty())?;
        self.check()?;
        self.fresh.set(true);
        let done = run(&own);
        *self.own.borrow_mut() = Some(Rc::new(own));
        done
    }

    /// One of its files in `/proc/PID`.
    pub(crate) fn open_own(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        self.needed(self.in_own(|own| rustix::fs::openat(own, name, flags, Mode::empty())))
    }

    /// The text of one of those.
    pub(crate) fn read_own(&self, name: &str) -> Result<String, Errno> {
        let file = self.open_own(name, OFlags::RDONLY)?;
        let mut text = Vec::new();
        let read = File::from(file).take(FILE_BYTES).read_to_end(&mut text);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        // A process may give itself a name of any bytes.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// A string of its memory, without its end. It is that of the call only after [`Call::check`].
    pub(crate) fn string(&self, address: u64) -> Result<Vec<u8>, Errno> {
        string(address, |at, buffer| self.read(at, buffer))
    }

    /// The same by the file of its memory, for which the ids that this process uses files with are enough.
    pub(crate) fn string_by_file(&self, address: u64) -> Result<Vec<u8>, Errno> {
        let memory = self.open_own("mem", OFlags::RDONLY)?;
        string(address, |at, buffer| rustix::io::pread(&memory, buffer, at))
    }

    /// Bytes of its memory, as far as [`Call::string`].
    pub(crate) fn bytes(&self, address: u64, count: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; count];
        if self.read(address, &mut bytes)? == count { Ok(bytes) } else { Err(Errno::FAULT) }
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let read = sys::read_memory(self.asked.pid, address, buffer);
        self.needed(read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::FAULT)))
    }

    /// Answers it by a copy of a descriptor.
    pub(crate) fn give(&self, file: BorrowedFd<'_>, closed_on_exec: bool) -> Replied {
        let flags = if closed_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
        let given = sys::answer_with_descriptor(self.listener.as_fd(), &self.asked, file, flags);
        given.map(|()| Reply::Given).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Writes into its memory. The file is that of the memory itself: one that is gone takes nothing.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let memory = self.open_own("mem", OFlags::WRONLY)?;
        self.check()?;
        match rustix::io::pwrite(&memory, bytes, address) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::IO) => Err(Errno::FAULT),
            Err(error) => Err(error),
        }
    }
}

/// A string at an address, without its end, read piece by piece.
fn string(address: u64, read: impl Fn(u64, &mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::with_capacity(256);
    let mut at = address;
    while text.len() < PATH_BYTES {
        let piece = (PAGE - at % PAGE).min((PATH_BYTES - text.len()) as u64) as usize;
        let begin = text.len();
        text.resize(begin + piece, 0);
        let read = read(at, text.get_mut(begin..).unwrap_or_default())?;
        if let Some(end) = text.get(begin..begin + read).and_then(|new| new.iter().position(|byte| *byte == 0)) {
            text.truncate(begin + end);
            return Ok(text);
        }
        text.truncate(begin + read);
        at = at.wrapping_add(piece as u64);
    }
    Err(Errno::NAMETOOLONG)
}
