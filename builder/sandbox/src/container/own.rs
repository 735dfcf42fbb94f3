//! What a step is told about its own processes, where there is no `/proc` that it could look into.
//!
//! Only whole paths that name it are understood, without a look at the disk (`named`). Paths are told as the step sees
//! them, below its root, and none else. All other calls are left to the kernel, for which the step has a `/proc` of plain
//! files.
//!
//! Must never: tell of a process that is not the step's, or take a path of the step as one of `/proc`.

use super::guise::{self, Rights};
use super::named::{Named, What, Whose, named};
use super::secrets::Secret;
use crate::answers::{Asks, Call, Replied, Reply, Table};
use crate::dev::NODES;
use crate::mount_api::plainly_inside;
use crate::provided::path_of;
use crate::sys;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

/// Answers one kind of call.
type Handler = fn(&Keeper, &Call<'_>) -> io::Result<Replied>;

/// What opens no file of a process: for a directory, or only for its name.
const NO_FILES: u32 = (libc::O_DIRECTORY | libc::O_PATH) as u32;

/// The directory of a path that begins at none: for looks at open files, and from open directories, there is another.
const BY_PATH: u32 = libc::AT_FDCWD as u32;

const EVERYWHERE: Table<Handler> = &[
    (libc::SYS_readlinkat, Asks::Always, |keeper, call| keeper.readlink(call, 1)),
    (libc::SYS_openat, Asks::NoBits(2, NO_FILES), |keeper, call| keeper.open(call, 1)),
    (libc::SYS_newfstatat, Asks::Is(0, BY_PATH), |keeper, call| {
        keeper.stat(call, (1, 2), AtFlags::from_bits_retain(call.word(3)))
    }),
    (libc::SYS_statx, Asks::Is(0, BY_PATH), Keeper::statx),
];

/// The older ones of this architecture.
#[cfg(target_arch = "x86_64")]
const HERE: Table<Handler> = &[
    (libc::SYS_readlink, Asks::Always, |keeper, call| keeper.readlink(call, 0)),
    (libc::SYS_open, Asks::NoBits(1, NO_FILES), |keeper, call| keeper.open(call, 0)),
    (libc::SYS_stat, Asks::Always, |keeper, call| keeper.stat(call, (0, 1), AtFlags::empty())),
    (libc::SYS_lstat, Asks::Always, |keeper, call| keeper.stat(call, (0, 1), AtFlags::SYMLINK_NOFOLLOW)),
];
#[cfg(not(target_arch = "x86_64"))]
const HERE: Table<Handler> = &[];

/// What is asked about besides in a step that has secrets as files: looks at what is open, and from an open directory.
const WITH_SECRETS: Table<Handler> = &[
    (libc::SYS_newfstatat, Asks::Always, |keeper, call| {
        keeper.stat(call, (1, 2), AtFlags::from_bits_retain(call.word(3)))
    }),
    (libc::SYS_statx, Asks::Always, Keeper::statx),
    (libc::SYS_fstat, Asks::Always, Keeper::fstat),
    (libc::SYS_faccessat, Asks::Bits(2, CHANGES), |keeper, call| keeper.may(call, 1)),
    (libc::SYS_faccessat2, Asks::Bits(2, CHANGES), |keeper, call| keeper.may(call, 1)),
];

#[cfg(target_arch = "x86_64")]
const WITH_SECRETS_HERE: Table<Handler> =
    &[(libc::SYS_access, Asks::Bits(1, CHANGES), |keeper, call| keeper.may(call, 0))];
#[cfg(not(target_arch = "x86_64"))]
const WITH_SECRETS_HERE: Table<Handler> = &[];

/// What a secret refuses whatever its mode says, since it is mounted read-only elsewhere, and without programs.
const CHANGES: u32 = (libc::W_OK | libc::X_OK) as u32;

/// What the filter asks about.
pub(super) fn asked(has_secrets: bool) -> impl Iterator<Item = (i64, Asks)> {
    let besides = [WITH_SECRETS, WITH_SECRETS_HERE].into_iter().flatten().filter(move |_| has_secrets);
    EVERYWHERE.iter().chain(HERE).chain(besides).map(|(number, asks, _)| (*number, *asks))
}

/// What this process knows of the step.
pub(super) struct Keeper {
    /// The builder's `/proc`.
    pub processes: OwnedFd,
    /// The null device of the step's root.
    pub null: OwnedFd,
    /// That root.
    pub root: OwnedFd,
    /// What stands in it for secrets.
    pub secrets: Vec<Secret>,
    /// Where it lies in what this process sees.
    top: Vec<u8>,
    /// Can it signal the step's processes and itself alone?
    knows_its_own: bool,
}

impl Keeper {
    pub(super) fn new(
        root: &OwnedFd,
        processes: OwnedFd,
        knows_its_own: bool,
        secrets: Vec<Secret>,
    ) -> io::Result<Self> {
        let top = path_of(root.as_fd())?.into_os_string().into_vec();
        let null = plainly_inside(root.as_fd(), "dev/null", OFlags::PATH)?;
        Ok(Self { processes, null, root: root.try_clone()?, secrets, top, knows_its_own })
    }

    pub(super) fn reply(&self, call: &Call<'_>) -> io::Result<Replied> {
        match [EVERYWHERE, HERE, WITH_SECRETS, WITH_SECRETS_HERE]
            .into_iter()
            .flatten()
            .find(|(number, ..)| *number == call.asked.number)
        {
            Some((.., handle)) => handle(self, call),
            None => Ok(Err(Errno::NOSYS)),
        }
    }

    /// The path that is this argument, as far as that can be read.
    pub(super) fn path(&self, call: &Call<'_>, number: usize) -> io::Result<Option<Vec<u8>>> {
        let address = call.argument(number);
        let path = match call.string(address) {
            // Of another user, or in a container whose filter denies that way.
            Err(Errno::PERM) => as_caller(call, || call.string_by_file(address))?,
            other => other,
        };
        Ok(path.ok())
    }

    /// What a path names.
    pub(super) fn named(&self, call: &Call<'_>, path: &[u8]) -> io::Result<Option<Named>> {
        let named = named(path);
        let Some(Named::Process(Whose::Of(process), what @ (What::Link(_) | What::File(_)))) = named else {
            return Ok(named);
        };
        // By its number, also from another thread than the first.
        let is_own = as_caller(call, || process_of(call))? == Ok(process);
        Ok(Some(Named::Process(if is_own { Whose::Own } else { Whose::Of(process) }, what)))
    }

    fn readlink(&self, call: &Call<'_>, number: usize) -> io::Result<Replied> {
        let Some(path) = self.path(call, number)? else { return Ok(Ok(Reply::Kernel)) };
        let (whose, what) = match self.named(call, &path)? {
            Some(Named::Process(whose, what)) => (whose, what),
            _ => return Ok(Ok(Reply::Kernel)),
        };
        // The kernel explains what is wrong with it.
        let Ok(room @ 1..) = usize::try_from(call.word(number + 2) as i32) else { return Ok(Ok(Reply::Kernel)) };
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
            (What::Itself, Whose::Own) => as_caller(call, || Ok(process_of(call)?.to_string().into_bytes())),
            (What::Itself, Whose::OwnThread) => {
                as_caller(call, || Ok(format!("{}/task/{}", process_of(call)?, call.asked.pid).into_bytes()))
            }
            (What::Itself | What::Directory | What::File(_), _) => {
                Ok(self.within(call, whose, |_| Ok(()))?.and(Err(Errno::INVAL)))
            }
            (What::Link(name), _) => self.within(call, whose, |process| {
                let target = rustix::fs::readlinkat(process, name.as_str(), Vec::new())?;
                self.seen(target.as_bytes()).ok_or(Errno::NOENT)
            }),
        }
    }

    /// Does something in the `/proc/PID` of a process of the step, as whoever asks.
    pub(super) fn within<T>(
        &self,
        call: &Call<'_>,
        whose: Whose,
        run: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> io::Result<Result<T, Errno>> {
        let number = match whose {
            Whose::Of(number) if number != call.asked.pid => number,
            Whose::Own => return as_caller(call, || self.in_process_of(call, run)),
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

    /// In that of the process of a call's thread.
    fn in_process_of<T>(&self, call: &Call<'_>, run: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T, Errno> {
        let process = process_of(call)?;
        if process == call.asked.pid {
            return call.in_own(|own| run(own.as_fd()));
        }
        let process = self.directory(process)?;
        // As long as its thread waits it has its number.
        call.check()?;
        run(process.as_fd())
    }

    /// That of another process of the step. This one is none.
    fn other(&self, number: u32) -> Result<OwnedFd, Errno> {
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(Errno::NOENT)?;
        if !self.knows_its_own || pid == rustix::process::getpid() {
            return Err(Errno::NOENT);
        }
        let process = self.directory(number)?;
        // By what was opened and not by its number, which may be another's soon.
        sys::test_signal(process.as_fd()).map_err(|_| Errno::NOENT)?;
        Ok(process)
    }

    fn directory(&self, number: u32) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.processes, number.to_string(), flags, Mode::empty())
    }

    /// How the step sees what this process sees at a path; nothing where that is outside of its root.
    pub(super) fn seen(&self, path: &[u8]) -> Option<Vec<u8>> {
        match path.strip_prefix(self.top.as_slice()) {
            Some([]) => return Some(b"/".to_vec()),
            Some(below @ [b'/', ..]) => return Some(below.to_vec()),
            _ => {}
        }
        let is_device = |name: &str| path.strip_prefix(b"/dev/") == Some(name.as_bytes());
        // What has no place in any root: a pipe, a socket, memory.
        let nowhere = !path.starts_with(b"/") || path.starts_with(b"/memfd:");
        (nowhere || NODES.iter().any(|(name, ..)| is_device(name))).then(|| path.to_vec())
    }
}

/// Does something as whoever asks, as far as that is needed to look into it.
pub(super) fn as_caller<T>(call: &Call<'_>, run: impl FnOnce() -> Result<T, Errno>) -> io::Result<Result<T, Errno>> {
    match call.in_own(|own| rustix::fs::fstat(own)) {
        Ok(stat) => guise::with_ids((stat.st_uid, stat.st_gid), run),
        Err(error) => Ok(Err(error)),
    }
}

/// The process of a call's thread.
fn process_of(call: &Call<'_>) -> Result<u32, Errno> {
    let status = call.read_own("status")?;
    let number = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    number.and_then(|number| number.trim().parse().ok()).ok_or(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_root_has_a_path() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dev")).unwrap();
        std::fs::write(dir.path().join("dev/null"), "").unwrap();
        let root = crate::mount_api::on_host(dir.path()).unwrap();
        let keeper = Keeper::new(&root, root.try_clone().unwrap(), true, Vec::new()).unwrap();
        let below = |path: &str| format!("{}{path}", dir.path().display());
        for (path, wanted) in [
            (below(""), Some("/")),
            (below("/usr/bin/x"), Some("/usr/bin/x")),
            (below("/x (deleted)"), Some("/x (deleted)")),
            (below("-beside/x"), None),
            ("/".to_owned(), None),
            ("/etc/shadow".to_owned(), None),
            ("/dev/null".to_owned(), Some("/dev/null")),
            ("/dev/sda".to_owned(), None),
            ("pipe:[12]".to_owned(), Some("pipe:[12]")),
            ("/memfd:x (deleted)".to_owned(), Some("/memfd:x (deleted)")),
        ] {
            assert_eq!(keeper.seen(path.as_bytes()), wanted.map(|seen| seen.as_bytes().to_vec()), "{path}");
        }
        let maps =
            format!("7f00-7f01 r-xp 0 08:01 7    {}\n7f02 rw-p 0 0 0\n7f03 r 0 08:01 9  /outside\n", below("/lib/x"));
        let seen = "7f00-7f01 r-xp 0 08:01 7    /lib/x\n7f02 rw-p 0 0 0\n7f03 r 0 08:01 9  \n";
        assert_eq!(String::from_utf8(keeper.seen_in(maps.as_bytes())).unwrap(), seen);
    }
}
