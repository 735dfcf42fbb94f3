//! The process that answers for owners.
//!
//! It is a child of the set-up's outer process and a sibling of the step, outside of the step's pid namespace, so that no
//! process of the step sees, signals or traces it. From the step's first process it gets the descriptor where questions
//! wait, and the mounts in which it looks paths up; then it answers until it is killed, which the outer process does when
//! the step has ended. It keeps the capabilities with which root of the step could do the same, and those to look into the
//! step's processes.

use super::calls;
use super::identity::Identity;
use super::people::People;
use super::record::Records;
use crate::answers::{self, Left, Link, Taker};
use crate::caps;
use crate::dev;
use crate::init;
use crate::sys::{self, Fork};
use crate::user::Identity as User;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What it may do to files as root of the step may; to change roots as the step's processes do; to look into them, and to
/// note who they are.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_NICE);

/// Who the step begins as.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Begins {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// The process, as its parent knows it.
pub(crate) struct Serving {
    pid: Pid,
    handle: OwnedFd,
}

/// Starts the process; gives the step's side. To be called before the pid namespace is left, in a process with one thread.
pub(crate) fn serve() -> io::Result<(Serving, Link)> {
    let (link, taker) = answers::pair()?;
    match sys::fork()? {
        Fork::Child => {
            let ended = live(&taker);
            // The number of the error is all that is heard of it.
            let code = ended.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            init::end(code)
        }
        Fork::Parent(pid) => {
            let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
            Ok((Serving { pid, handle }, link))
        }
    }
}

impl Serving {
    /// Can be read when it has ended.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Ends it, if it does not end by itself; says why it did.
    pub(crate) fn end(self) -> io::Result<()> {
        rustix::process::pidfd_send_signal(&self.handle, Signal::KILL)?;
        let ended = rustix::process::waitpid(Some(self.pid), WaitOptions::empty())?;
        match ended.and_then(|(_, status)| status.exit_status()) {
            None | Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Hands over where questions wait. When it comes back, somebody answers them.
pub(super) fn hand_over(link: &Link, listener: &OwnedFd, mounts: &OwnedFd, user: &User) -> io::Result<()> {
    let begins = Begins { uid: user.uid, gid: user.gid, groups: user.groups.clone() };
    let message = serde_json::to_vec(&begins).map_err(io::Error::other)?;
    link.hand_over(&message, &[listener.as_fd(), mounts.as_fd()])
}

/// What the kernel takes a file for by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Program,
    Script,
    /// Nothing that it executes by itself.
    Other,
}

/// The state of the process.
pub(crate) struct Server {
    /// Where questions wait.
    listener: OwnedFd,
    pub(super) records: Records,
    pub(super) people: People,
    /// The builder's `/proc`, in whose pid namespace this process is.
    processes: OwnedFd,
    /// The top of the step's mounts.
    top: OwnedFd,
    /// Has any process of the step taken another root?
    other_roots: bool,
}

fn live(taker: &Taker) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let null = dev::host_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let taker = taker.moved()?;
    // Whoever waits for the end of the set-up's socket or pipes must not wait for this process.
    sys::close_all_but([taker.as_fd()])?;
    let processes = rustix::fs::open("/proc", flags, Mode::empty())?;
    let Some((begins, listener, mounts)) = receive(&taker)? else { return Ok(()) };
    // The step's mounts alone from here on, and its root.
    rustix::thread::move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
    drop(mounts);
    let top = rustix::fs::open("/", flags, Mode::empty())?;
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    caps::limit_bounding_set(CapabilitySet::empty())?;
    rustix::thread::set_capabilities(None, sets)?;
    // Only faster, where the kernel knows it.
    let _slower = sys::answer_at_once(listener.as_fd());
    let first = User { uid: begins.uid, gid: begins.gid, groups: begins.groups, home: String::new() };
    let people = People::new(Identity::of(&first));
    let server = Server { listener, records: Records::default(), people, processes, top, other_roots: false };
    taker.ready()?;
    server.answer_all()
}

/// What the step's first process hands over; nothing when it does not get that far.
fn receive(taker: &Taker) -> io::Result<Option<(Begins, OwnedFd, OwnedFd)>> {
    let Some((message, fds)) = taker.receive()? else { return Ok(None) };
    let begins = serde_json::from_slice(&message).map_err(io::Error::other)?;
    let [listener, mounts] = <[OwnedFd; 2]>::try_from(fds).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Some((begins, listener, mounts)))
}

impl Server {
    fn answer_all(mut self) -> io::Result<()> {
        // Descriptors of their own, for what is asked while the rest changes.
        let (listener, processes) = (self.listener.try_clone()?, self.processes.try_clone()?);
        let mut left = Left::default();
        loop {
            answers::answer_next((&listener, &processes), &mut left, |call| {
                let replied = match calls::handler(call.asked.number) {
                    Some(handle) => handle(&mut self, call),
                    None => Err(Errno::NOSYS),
                };
                self.take_own_root()?;
                // Better no step than one that sees wrong owners.
                call.hindrance().map_or(Ok(replied), |error| Err(error.into()))
            })?;
        }
    }

    /// A process of the step is about to take another root.
    pub(super) fn expect_other_roots(&mut self) {
        self.other_roots = true;
    }

    pub(super) fn has_other_roots(&self) -> bool {
        self.other_roots
    }

    /// Looks paths up below the root of the process in whose `/proc/PID` this one stands.
    pub(super) fn take_root_of_caller(&self) -> Result<(), Errno> {
        if self.other_roots { rustix::process::chroot("root") } else { Ok(()) }
    }

    fn take_own_root(&self) -> io::Result<()> {
        if self.other_roots {
            rustix::process::fchdir(&self.top)?;
            rustix::process::chroot(".")?;
        }
        Ok(())
    }

    /// What the kernel takes a regular file for.
    pub(super) fn format_of(&self, named: &OwnedFd) -> Result<Format, Errno> {
        use std::os::fd::AsRawFd as _;
        let path = format!("self/fd/{}", named.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.processes, path, flags, Mode::empty())?;
        let mut begin = [0; 4];
        let length = rustix::io::read(&file, &mut begin)?;
        Ok(match begin.get(..length) {
            Some(b"\x7fELF") => Format::Program,
            Some([b'#', b'!', ..]) => Format::Script,
            _ => Format::Other,
        })
    }
}
