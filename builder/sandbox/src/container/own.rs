//! What a step is told about its own processes, where there is no `/proc` that it could look into.
//!
//! Only whole paths that name it are understood, without a look at the disk: `/proc/self/exe` and its like. A path is told
//! as the step sees it, below its root, and never another one. All else is left to the kernel, for which the step has an
//! empty `/proc`.
//!
//! Must never: tell of a process that is not the step's, or take a path of the step as one of `/proc`.

use super::guise::{self, Rights};
use crate::answers::{Asks, Call, Replied, Reply, Table};
use crate::dev::NODES;
use crate::provided::path_of;
use crate::sys;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

/// Answers one kind of call.
type Handler = fn(&Keeper, &Call<'_>) -> io::Result<Replied>;

const EVERYWHERE: Table<Handler> = &[(libc::SYS_readlinkat, Asks::Always, |keeper, call| keeper.readlink(call, 1))];

/// The older ones of this architecture.
#[cfg(target_arch = "x86_64")]
const HERE: Table<Handler> = &[(libc::SYS_readlink, Asks::Always, |keeper, call| keeper.readlink(call, 0))];
#[cfg(not(target_arch = "x86_64"))]
const HERE: Table<Handler> = &[];

/// What the filter asks about.
pub(super) fn asked() -> impl Iterator<Item = (i64, Asks)> {
    EVERYWHERE.iter().chain(HERE).map(|(number, asks, _)| (*number, *asks))
}

/// Links of a process that lead to what it has.
const LINKS: [&str; 3] = ["cwd", "exe", "root"];
/// Directories of a process.
const DIRECTORIES: [&str; 2] = ["fd", "task"];

/// What this process knows of the step.
pub(super) struct Keeper {
    /// The builder's `/proc`.
    pub processes: OwnedFd,
    /// Where the step's root lies in what this process sees.
    top: Vec<u8>,
    /// Can it signal the step's processes and its own alone?
    knows_its_own: bool,
}

/// Whose `/proc/PID` a path is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The caller's.
    Own,
    /// That of its thread.
    OwnThread,
    /// That of the process, or thread, with this number.
    Of(u32),
}

/// What a path names in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// Itself. For the caller's it is a link to the number.
    Itself,
    Directory,
    /// A link, by its path below it.
    Link(String),
}

impl Keeper {
    pub(super) fn new(root: &OwnedFd, processes: OwnedFd, knows_its_own: bool) -> io::Result<Self> {
        let top = path_of(root.as_fd())?.into_os_string().into_vec();
        Ok(Self { processes, top, knows_its_own })
    }

    pub(super) fn reply(&self, call: &Call<'_>) -> io::Result<Replied> {
        match EVERYWHERE.iter().chain(HERE).find(|(number, ..)| *number == call.asked.number) {
            Some((.., handle)) => handle(self, call),
            None => Ok(Err(Errno::NOSYS)),
        }
    }

    /// The path that an argument is, as far as it can be read.
    fn path(&self, call: &Call<'_>, number: usize) -> io::Result<Result<Vec<u8>, Errno>> {
        let address = call.argument(number);
        match call.string(address) {
            // Of another user.
            Err(Errno::PERM) => as_caller(call, || call.string_by_file(address)),
            other => Ok(other),
        }
    }

    fn readlink(&self, call: &Call<'_>, number: usize) -> io::Result<Replied> {
        let Ok(path) = self.path(call, number)? else { return Ok(Ok(Reply::Kernel)) };
        let Some((whose, what)) = named(&path) else { return Ok(Ok(Reply::Kernel)) };
        // The kernel explains what is wrong with it.
        let room = call.word(number + 2) as i32;
        let Ok(room @ 1..) = usize::try_from(room) else { return Ok(Ok(Reply::Kernel)) };
        let mut target = match self.target(call, whose, &what)? {
            Ok(target) => target,
            Err(Errno::INVAL) => return Ok(Err(Errno::INVAL)),
            // What cannot be looked up is not there.
            Err(_) => return Ok(Ok(Reply::Kernel)),
        };
        target.truncate(room);
        let written = as_caller(call, || call.write(call.argument(number + 1), &target))?;
        Ok(written.map(|()| Reply::Done(target.len() as i64)))
    }

    /// Where a link leads; `EINVAL` for what is none.
    fn target(&self, call: &Call<'_>, whose: Whose, what: &What) -> io::Result<Result<Vec<u8>, Errno>> {
        match (what, whose) {
            (What::Itself, Whose::Own) => as_caller(call, || Ok(group(call)?.to_string().into_bytes())),
            (What::Itself, Whose::OwnThread) => {
                as_caller(call, || Ok(format!("{}/task/{}", group(call)?, call.asked.pid).into_bytes()))
            }
            (What::Itself | What::Directory, _) => Ok(self.within(call, whose, |_| Ok(()))?.and(Err(Errno::INVAL))),
            (What::Link(name), _) => self.within(call, whose, |process| {
                let target = rustix::fs::readlinkat(process, name.as_str(), Vec::new())?;
                self.seen(target.as_bytes())
            }),
        }
    }

    /// Does something in the `/proc/PID` of a process of the step, as whoever asks.
    fn within<T>(
        &self,
        call: &Call<'_>,
        whose: Whose,
        run: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> io::Result<Result<T, Errno>> {
        let number = match whose {
            Whose::Of(number) if number != call.asked.pid => number,
            _ => return as_caller(call, || call.in_own(|own| run(own.as_fd()))),
        };
        let rights = as_caller(call, || call.read_own("status"))?;
        let Some(rights) = rights.ok().and_then(|status| Rights::read(&status)) else { return Ok(Err(Errno::NOENT)) };
        let process = match self.other(number) {
            Ok(process) => process,
            Err(error) => return Ok(Err(error)),
        };
        rights.with(|| run(process.as_fd()))
    }

    /// That of another process of the step. This one is none.
    fn other(&self, number: u32) -> Result<OwnedFd, Errno> {
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(Errno::NOENT)?;
        if !self.knows_its_own || pid == rustix::process::getpid() {
            return Err(Errno::NOENT);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = rustix::fs::openat(&self.processes, number.to_string(), flags, Mode::empty())?;
        // By what was opened and not by its number, which may be another's soon.
        sys::test_signal(process.as_fd()).map_err(|_| Errno::NOENT)?;
        Ok(process)
    }

    /// How the step sees what is there in this process's root.
    fn seen(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        match path.strip_prefix(self.top.as_slice()) {
            Some([]) => return Ok(b"/".to_vec()),
            Some(below @ [b'/', ..]) => return Ok(below.to_vec()),
            _ => {}
        }
        let is_device = |name: &str| path.strip_prefix(b"/dev/") == Some(name.as_bytes());
        // What has no place in any root: a pipe, a socket, memory.
        let nowhere = !path.starts_with(b"/") || path.starts_with(b"/memfd:");
        if nowhere || NODES.iter().any(|(name, ..)| is_device(name)) { Ok(path.to_vec()) } else { Err(Errno::NOENT) }
    }
}

/// Does something as whoever asks, as far as that is needed to look into it.
fn as_caller<T>(call: &Call<'_>, run: impl FnOnce() -> Result<T, Errno>) -> io::Result<Result<T, Errno>> {
    match call.in_own(|own| rustix::fs::fstat(own)) {
        Ok(stat) => guise::with_ids((stat.st_uid, stat.st_gid), run),
        Err(error) => Ok(Err(error)),
    }
}

/// The process of a call's thread.
fn group(call: &Call<'_>) -> Result<u32, Errno> {
    let status = call.read_own("status")?;
    let number =
        status.lines().find_map(|line| line.strip_prefix("Tgid:")).and_then(|number| number.trim().parse().ok());
    number.ok_or(Errno::SRCH)
}

/// What a path names, when it is about a process. Only by its text: it begins at the root, and climbs nowhere.
fn named(path: &[u8]) -> Option<(Whose, What)> {
    let path = std::str::from_utf8(path.strip_prefix(b"/")?).ok()?;
    // A slash behind a name has the kernel follow a link to a directory.
    if path.ends_with('/') {
        return None;
    }
    let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let whose = match (parts.next()?, parts.next()?) {
        ("dev", "fd") => return Some((Whose::Own, What::Link(format!("fd/{}", number(parts.next()?)?)))),
        ("proc", "self") => Whose::Own,
        ("proc", "thread-self") => Whose::OwnThread,
        ("proc", process) => Whose::Of(number(process)?),
        _ => return None,
    };
    let rest: Vec<&str> = parts.collect();
    let what = match *rest.as_slice() {
        [] => What::Itself,
        [name] if LINKS.contains(&name) => What::Link(name.to_owned()),
        [name] if DIRECTORIES.contains(&name) => What::Directory,
        ["fd", name] => What::Link(format!("fd/{}", number(name)?)),
        _ => return None,
    };
    Some((whose, what))
}

/// A number as `/proc` has it for a name.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number: &u32| number.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_by_their_text_alone() {
        let link = |name: &str| What::Link(name.to_owned());
        for (path, wanted) in [
            ("/proc/self/exe", Some((Whose::Own, link("exe")))),
            ("//proc/./self///fd/12", Some((Whose::Own, link("fd/12")))),
            ("/dev/fd/3", Some((Whose::Own, link("fd/3")))),
            ("/proc/thread-self/cwd", Some((Whose::OwnThread, link("cwd")))),
            ("/proc/12/root", Some((Whose::Of(12), link("root")))),
            ("/proc/self", Some((Whose::Own, What::Itself))),
            ("/proc/12", Some((Whose::Of(12), What::Itself))),
            ("/proc/self/fd", Some((Whose::Own, What::Directory))),
            ("/proc/self/exe/", None),
            ("/proc/self/fd/../../1/exe", None),
            ("/proc/self/../1/exe", None),
            ("/../proc/self/exe", None),
            ("/proc/self/fd/3/x", None),
            ("/proc/self/fd/03", None),
            ("/proc/self/fd/-1", None),
            ("/proc/+1/exe", None),
            ("/proc/99999999999/exe", None),
            ("/proc/self/mem", None),
            ("/proc/sys/kernel", None),
            ("/proc", None),
            ("/dev/fd", None),
            ("/dev/fd/3/4/", None),
            ("proc/self/exe", None),
            ("", None),
        ] {
            assert_eq!(named(path.as_bytes()), wanted, "{path}");
        }
    }

    #[test]
    fn nothing_outside_of_the_root_has_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let root = crate::mount_api::on_host(dir.path()).unwrap();
        let keeper = Keeper::new(&root, root.try_clone().unwrap(), true).unwrap();
        let below = |path: &str| format!("{}{path}", dir.path().display());
        for (path, wanted) in [
            (below(""), Ok("/")),
            (below("/usr/bin/x"), Ok("/usr/bin/x")),
            (below("/x (deleted)"), Ok("/x (deleted)")),
            (below("-beside/x"), Err(Errno::NOENT)),
            ("/".to_owned(), Err(Errno::NOENT)),
            ("/etc/shadow".to_owned(), Err(Errno::NOENT)),
            ("/dev/null".to_owned(), Ok("/dev/null")),
            ("/dev/sda".to_owned(), Err(Errno::NOENT)),
            ("pipe:[12]".to_owned(), Ok("pipe:[12]")),
            ("/memfd:x (deleted)".to_owned(), Ok("/memfd:x (deleted)")),
        ] {
            assert_eq!(keeper.seen(path.as_bytes()), wanted.map(|seen| seen.as_bytes().to_vec()), "{path}");
        }
    }
}
