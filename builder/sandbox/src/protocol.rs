//! The words that the supervising side and the set-up process say to each other over one socket:
//! one order in, status lines out. Lines are JSON. Nothing secret may enter a status.

use crate::StepSpec;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Largest order or status accepted, in bytes.
pub(crate) const LINE_BYTES: usize = 16 * 1024 * 1024;

/// Streams that go along with an order: standard input, output and error.
pub(crate) const STREAMS: usize = 3;

/// The one thing said to the set-up process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The step.
    pub spec: StepSpec,
    /// The control groups that it joins.
    pub groups: Vec<PathBuf>,
}

/// A stage of the set-up, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Reading the specification.
    Order,
    /// Leaving the host's namespaces.
    Namespaces,
    /// Stacking the root.
    Overlay,
    /// Mounting proc and sys, masking what they show.
    KernelFilesystems,
    /// Making the devices.
    Devices,
    /// Providing resolv.conf, hosts and the script.
    Files,
    /// Mounting what the step asks for.
    Mounts,
    /// Leaving the host's root.
    Pivot,
    /// Looking up and becoming the user.
    User,
    /// Limits, session and signals.
    Process,
    /// Reducing capabilities.
    Capabilities,
    /// Installing the system call filter.
    Seccomp,
    /// Entering the working directory.
    WorkingDirectory,
    /// Replacing the process by the step.
    Exec,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Order => "reading the specification",
            Self::Namespaces => "creating namespaces",
            Self::Overlay => "mounting the root",
            Self::KernelFilesystems => "mounting proc and sys",
            Self::Devices => "making devices",
            Self::Files => "providing files",
            Self::Mounts => "mounting what the step asks for",
            Self::Pivot => "entering the root",
            Self::User => "looking up the user",
            Self::Process => "setting process attributes",
            Self::Capabilities => "dropping capabilities",
            Self::Seccomp => "installing the system call filter",
            Self::WorkingDirectory => "entering the working directory",
            Self::Exec => "starting the program",
        })
    }
}

/// One thing said by the set-up process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Status {
    /// An empty mount point had to be made in the upper layer, at this path below its root.
    Stub {
        /// Relative to the root.
        path: PathBuf,
        /// What was made.
        kind: StubKind,
    },
    /// The step's mounts are its own from here on; their namespace comes along.
    Mounts,
    /// The host's network was left, and one of its own is waited for.
    Network,
    /// Set-up ended here; the step did not run.
    Failed {
        /// Where.
        stage: Stage,
        /// On what.
        object: String,
        /// Why.
        cause: String,
    },
    /// The step is being started.
    Starting,
    /// The step ended by itself, and all that it started is dead.
    Exited(i32),
    /// The step was killed by this signal, and all that it started is dead.
    Signaled(i32),
}

/// What a stub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StubKind {
    /// An empty file.
    File,
    /// An empty directory.
    Directory,
}

/// The set-up process's end of the socket.
pub(crate) struct Control(pub(crate) OwnedFd);

impl Control {
    /// Reads the order up to its end and nothing after it, and takes the streams that came along.
    pub(crate) fn receive(&self) -> io::Result<(Order, Vec<OwnedFd>)> {
        let (mut line, mut streams) = (Vec::new(), Vec::new());
        let mut chunk = vec![0; 64 * 1024];
        while line.last() != Some(&b'\n') {
            let (count, along) = receive(&self.0, &mut chunk)?;
            streams.extend(along);
            line.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if count == 0 || line.len() > LINE_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok((serde_json::from_slice(&line).map_err(io::Error::other)?, streams))
    }

    /// Says one thing. An error means that nobody listens any more.
    pub(crate) fn say(&self, status: &Status) -> io::Result<()> {
        send(&self.0, status, &[])
    }

    /// As [`Control::say`], with what goes along.
    pub(crate) fn hand_over(&self, status: &Status, along: BorrowedFd<'_>) -> io::Result<()> {
        send(&self.0, status, &[along])
    }
}

/// Reads some bytes into the buffer, and what came along with them: how many, none at the end.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut along, RecvFlags::CMSG_CLOEXEC)?;
    let fds = along.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((got.bytes, fds.flatten().collect()))
}

/// Writes one JSON line.
pub(crate) fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// Sends the order; the streams go along with its first byte.
pub(crate) fn send_order(socket: impl AsFd, order: &Order, streams: &[OwnedFd]) -> io::Result<()> {
    send(socket, order, &streams.iter().map(AsFd::as_fd).collect::<Vec<_>>())
}

/// Sends one JSON line; what goes along does so with its first byte.
fn send(socket: impl AsFd, value: &impl Serialize, streams: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if rest.len() == line.len() && !streams.is_empty() && !along.push(SendAncillaryMessage::ScmRights(streams)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = rustix::net::sendmsg(&socket, &[IoSlice::new(rest)], &mut along, SendFlags::NOSIGNAL)?;
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// A failure on the set-up side, before it is said.
#[derive(Debug)]
pub(crate) struct Fault {
    pub stage: Stage,
    pub object: String,
    pub cause: String,
}

/// Names the stage and the object of a failed operation.
pub(crate) trait At<T> {
    /// Turns the error into a [`Fault`].
    fn at(self, stage: Stage, object: impl std::fmt::Display) -> Result<T, Fault>;
}

impl<T, E: std::fmt::Display> At<T> for Result<T, E> {
    fn at(self, stage: Stage, object: impl std::fmt::Display) -> Result<T, Fault> {
        self.map_err(|error| Fault { stage, object: object.to_string(), cause: error.to_string() })
    }
}
