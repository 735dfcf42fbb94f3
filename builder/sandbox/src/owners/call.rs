//! One call that waits: its arguments, the memory and the directories of its process.
//!
//! A path is looked up as its process would: with the top of the step's root as this process's root, and from the
//! process's own directories by way of `/proc/PID`, which was opened while the call certainly waited. A number that is
//! given to another process meanwhile leads nowhere. Must never: use a path of a step before its process's root is in
//! place, or write into the memory of anybody who is not known to wait.

use super::record::{From, Place};
use super::server::Server;
use crate::sys::{self, Asked};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Longest path that the kernel takes, with its end.
const PATH_BYTES: usize = 4096;
/// Memory is read up to the end of one of these, beyond which there may be none.
const PAGE: u64 = 4096;

/// A call that waits.
pub(super) struct Call<'a> {
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
    pub(super) fn new(
        asked: Asked,
        (listener, processes): (&'a OwnedFd, &'a OwnedFd),
        left: Option<Rc<OwnedFd>>,
    ) -> Self {
        let (own, fresh) = (RefCell::new(left), Cell::new(false));
        Self { asked, listener, processes, own, fresh, hindrance: Cell::new(None) }
    }

    /// What a later call of its thread can begin with.
    pub(super) fn leave(self) -> Option<Rc<OwnedFd>> {
        self.own.into_inner()
    }

    pub(super) fn argument(&self, number: usize) -> u64 {
        self.asked.arguments.get(number).copied().unwrap_or_default()
    }

    /// An argument that is an `int`, an id, a mode or flags.
    pub(super) fn word(&self, number: usize) -> u32 {
        self.argument(number) as u32
    }

    /// Whether something that the kernel or a setting forbids kept this process from answering rightly.
    pub(super) fn hindrance(&self) -> Option<Errno> {
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
    pub(super) fn check(&self) -> Result<(), Errno> {
        if sys::still_waits(self.listener.as_fd(), &self.asked) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// Does something in `/proc/PID` of its thread.
    fn in_own<T>(&self, run: impl Fn(&OwnedFd) -> Result<T, Errno>) -> Result<T, Errno> {
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
    pub(super) fn open_own(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        self.needed(self.in_own(|own| rustix::fs::openat(own, name, flags, Mode::empty())))
    }

    /// The text of one of those.
    pub(super) fn read_own(&self, name: &str) -> Result<String, Errno> {
        let file = self.open_own(name, OFlags::RDONLY)?;
        let mut text = vec![0; PATH_BYTES];
        let length = rustix::io::read(&file, &mut text)?;
        text.truncate(length);
        String::from_utf8(text).map_err(|_| Errno::ILSEQ)
    }

    /// A string of its memory, without its end. It is that of the call only after [`Call::check`].
    pub(super) fn string(&self, address: u64) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::with_capacity(256);
        let mut at = address;
        while text.len() < PATH_BYTES {
            let piece = (PAGE - at % PAGE).min((PATH_BYTES - text.len()) as u64) as usize;
            let begin = text.len();
            text.resize(begin + piece, 0);
            let read = self.read(at, text.get_mut(begin..).unwrap_or_default())?;
            if let Some(end) = text.get(begin..begin + read).and_then(|new| new.iter().position(|byte| *byte == 0)) {
                text.truncate(begin + end);
                return Ok(text);
            }
            text.truncate(begin + read);
            at = at.wrapping_add(piece as u64);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Bytes of its memory, as far as [`Call::string`].
    pub(super) fn bytes(&self, address: u64, count: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; count];
        if self.read(address, &mut bytes)? == count { Ok(bytes) } else { Err(Errno::FAULT) }
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let read = sys::read_memory(self.asked.pid, address, buffer);
        self.needed(read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::FAULT)))
    }

    /// Writes into its memory. The file is that of the memory itself: one that is gone takes nothing.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let memory = self.open_own("mem", OFlags::WRONLY)?;
        self.check()?;
        match rustix::io::pwrite(&memory, bytes, address) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::IO) => Err(Errno::FAULT),
            Err(error) => Err(error),
        }
    }

    /// Where a path leads that begins at a directory of the process (`AT_FDCWD`, or a descriptor).
    pub(super) fn place(&self, directory: u32, path: Vec<u8>, follow: bool) -> Result<Place, Errno> {
        let (from, path) = match path.as_slice() {
            [] => return Err(Errno::NOENT),
            [b'/', ..] => own_file(&path, follow).unwrap_or((From::Root, path)),
            _ => (From::Below(base(directory)), path),
        };
        Ok(Place { from, path: CString::new(path).map_err(|_| Errno::INVAL)?, follow })
    }

    /// The same of a path in its memory; with AT_EMPTY_PATH an empty one is the descriptor itself.
    pub(super) fn place_at(&self, directory: u32, address: u64, flags: AtFlags) -> Result<Place, Errno> {
        // Newer kernels take no path at all for an empty one.
        let none = address == 0 && flags.contains(AtFlags::EMPTY_PATH);
        let path = if none { Vec::new() } else { self.string(address)? };
        if path.is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
            return descriptor(directory);
        }
        self.place(directory, path, !flags.contains(AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Goes where the path of a place begins: it is good for this process from now until the next one is stood by.
    pub(super) fn stand_by(&self, server: &Server, place: &Place) -> Result<(), Errno> {
        if place.from == From::Root && !server.has_other_roots() {
            return Ok(());
        }
        self.in_own(|own| {
            rustix::process::fchdir(own)?;
            server.take_root_of_caller()?;
            match &place.from {
                From::Below(base) => rustix::process::chdir(base.as_str()),
                From::Descriptors => rustix::process::chdir("fd"),
                From::Root => Ok(()),
            }
        })
    }
}

/// A descriptor of the process, whatever it is of.
pub(super) fn descriptor(number: u32) -> Result<Place, Errno> {
    let (from, path) = match number as i32 {
        libc::AT_FDCWD => (From::Below(base(number)), ".".to_owned()),
        number => (From::Descriptors, number.to_string()),
    };
    Ok(Place { from, path: CString::new(path).map_err(|_| Errno::INVAL)?, follow: true })
}

fn base(directory: u32) -> String {
    match directory as i32 {
        libc::AT_FDCWD => "cwd".to_owned(),
        number => format!("fd/{number}"),
    }
}

/// What a path means by `/proc/self` and its like: descriptors of the process, and its directories. Only names behind
/// which the kernel leaves `/proc/PID` at once: nothing may climb in it. Without `follow` such a name alone is a link, and
/// not what it leads to.
fn own_file(path: &[u8], follow: bool) -> Option<(From, Vec<u8>)> {
    let own: [&[u8]; 3] = [b"/proc/self/", b"/proc/thread-self/", b"/dev/"];
    let below = own.iter().find_map(|prefix| path.strip_prefix(*prefix))?;
    let name = below.iter().position(|byte| *byte == b'/').map_or(below, |end| below.get(..end).unwrap_or_default());
    let (number, rest) = match name {
        b"fd" => {
            let below = below.strip_prefix(b"fd/")?;
            let digits = below.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (number, rest) = below.split_at_checked(digits)?;
            (Some(std::str::from_utf8(number).ok()?.parse::<i32>().ok()?), rest)
        }
        b"cwd" | b"root" if !path.starts_with(b"/dev/") => (None, below.strip_prefix(name)?),
        _ => return None,
    };
    let base = number.map_or_else(|| String::from_utf8_lossy(name).into_owned(), |number| format!("fd/{number}"));
    match (rest, number) {
        ([], _) if !follow => None,
        ([], Some(number)) => Some((From::Descriptors, number.to_string().into_bytes())),
        // A slash behind a name says that it is a directory, which is found out by going there.
        ([] | [b'/'], _) => Some((From::Below(base), b".".to_vec())),
        ([b'/', rest @ ..], _) => Some((From::Below(base), rest.iter().copied().skip_while(|b| *b == b'/').collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descriptors_are_the_process_own() {
        let below = |base: &str, path: &str| Some((From::Below(base.to_owned()), path.as_bytes().to_vec()));
        for (path, own) in [
            ("/dev/fd/12", Some((From::Descriptors, b"12".to_vec()))),
            ("/proc/thread-self/fd/0", Some((From::Descriptors, b"0".to_vec()))),
            ("/proc/self/fd/3/../x", below("fd/3", "../x")),
            ("/proc/self/fd/3/", below("fd/3", ".")),
            ("/proc/self/fd/3//etc", below("fd/3", "etc")),
            ("/proc/self/cwd", below("cwd", ".")),
            ("/proc/self/root/etc/x", below("root", "etc/x")),
            ("/proc/self/fd/", None),
            ("/proc/self/fd/..", None),
            ("/proc/self/fd/1x", None),
            ("/proc/self/fd/99999999999", None),
            ("/proc/self/../1/root", None),
            ("/proc/self/fd/../../1/root", None),
            ("/proc/self/task/../../1/root", None),
            ("/proc/self/cwdx", None),
            ("/dev/cwd", None),
            ("/dev/stdout", None),
            ("/etc/passwd", None),
        ] {
            assert_eq!(own_file(path.as_bytes(), true), own, "{path}");
        }
        assert_eq!(own_file(b"/dev/fd/12", false), None);
        assert_eq!(own_file(b"/dev/fd/12/x", false), below("fd/12", "x"));
    }
}
