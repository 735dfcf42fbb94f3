//! The process that answers for owners.
//!
//! It is a child of the set-up's outer process and a sibling of the step, outside of the step's pid namespace, so that no
//! process of the step sees, signals or traces it. From the step's first process it gets the descriptor where questions
//! wait, and the mounts in which it looks paths up; then it answers until it is killed, which the outer process does when
//! the step has ended. It keeps the capabilities with which root of the step could do the same, and those to look into the
//! step's processes.

use super::call::Call;
use super::calls::{self, Reply};
use super::identity::Identity;
use super::people::People;
use super::record::Records;
use crate::caps;
use crate::dev;
use crate::init;
use crate::sys::{self, Answer, Fork};
use crate::user::Identity as User;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where questions wait, and the mounts.
const DESCRIPTORS: usize = 2;
/// Longest message between the two.
const MESSAGE_BYTES: usize = 1 << 20;
/// The only word of the server: it answers from now on.
const READY: &[u8] = b"ready";

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

/// The step's side of the socket between the two.
pub(crate) struct Link(OwnedFd);

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
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match sys::fork()? {
        Fork::Child => {
            let ended = live(&ours);
            // The number of the error is all that is heard of it.
            let code = ended.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            init::end(code)
        }
        Fork::Parent(pid) => {
            let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
            Ok((Serving { pid, handle }, Link(theirs)))
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

impl Link {
    /// Hands over where questions wait. When it comes back, somebody answers them.
    pub(crate) fn hand_over(&self, listener: &OwnedFd, mounts: &OwnedFd, user: &User) -> io::Result<()> {
        let begins = Begins { uid: user.uid, gid: user.gid, groups: user.groups.clone() };
        let message = serde_json::to_vec(&begins).map_err(io::Error::other)?;
        let fds = [listener.as_fd(), mounts.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if !along.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&message)], &mut along, SendFlags::NOSIGNAL)?;
        let mut word = [0; READY.len()];
        let (_, length) = rustix::net::recv(&self.0, &mut word[..], RecvFlags::empty())?;
        if word.get(..length) == Some(READY) { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }
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
    pub(super) listener: OwnedFd,
    pub(super) records: Records,
    pub(super) people: People,
    /// The builder's `/proc`, in whose pid namespace this process is.
    processes: OwnedFd,
    /// The top of the step's mounts.
    top: OwnedFd,
    /// Has any process of the step taken another root?
    other_roots: bool,
}

fn live(link: &OwnedFd) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let null = dev::host_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let link = rustix::io::fcntl_dupfd_cloexec(link, 3)?;
    // Whoever waits for the end of the set-up's socket or pipes must not wait for this process.
    sys::close_all_but(link.as_fd())?;
    let processes = rustix::fs::open("/proc", flags, Mode::empty())?;
    let Some((begins, listener, mounts)) = receive(&link)? else { return Ok(()) };
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
    rustix::net::send(&link, READY, SendFlags::NOSIGNAL)?;
    drop(link);
    server.answer_all()
}

/// What the step's first process hands over; nothing when it does not get that far.
fn receive(link: &OwnedFd) -> io::Result<Option<(Begins, OwnedFd, OwnedFd)>> {
    let mut message = vec![0; MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(link, &mut [IoSliceMut::new(&mut message)], &mut along, flags)?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            fds.extend(given);
        }
    }
    let begins = serde_json::from_slice(message.get(..got.bytes).unwrap_or_default()).map_err(io::Error::other)?;
    let [listener, mounts] = <[OwnedFd; DESCRIPTORS]>::try_from(fds).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Some((begins, listener, mounts)))
}

impl Server {
    fn answer_all(mut self) -> io::Result<()> {
        // Descriptors of their own, for what is asked while the rest changes.
        let (listener, processes) = (self.listener.try_clone()?, self.processes.try_clone()?);
        let mut left = None;
        loop {
            let asked = match sys::next_call(listener.as_fd()) {
                Ok(asked) => asked,
                // Whoever asked is gone.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => continue,
                Err(error) => return Err(error),
            };
            let of_same = left.take().filter(|(pid, _)| *pid == asked.pid).and_then(|(_, own)| own);
            let call = Call::new(asked, (&listener, &processes), of_same);
            let replied = match calls::handler(asked.number) {
                Some(handle) => handle(&mut self, &call),
                None => Err(Errno::NOSYS),
            };
            self.take_own_root()?;
            // Better no step than one that sees wrong owners.
            if let Some(error) = call.hindrance() {
                return Err(error.into());
            }
            left = Some((asked.pid, call.leave()));
            let answer = match replied {
                Ok(Reply::Given) => continue,
                Ok(Reply::Kernel) => Answer::Kernel,
                Ok(Reply::Done(result)) => Answer::Done(result),
                Err(error) => Answer::Failed(error),
            };
            sys::answer_call(listener.as_fd(), &asked, answer)?;
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
