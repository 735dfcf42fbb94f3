//! The socket between the step's first process and the server: the place where questions wait goes one way, one word comes
//! back.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most descriptors that are handed over.
const DESCRIPTORS: usize = 2;
/// Longest message between the two.
const MESSAGE_BYTES: usize = 1 << 20;
/// The only word of the server: it answers from now on.
const READY: &[u8] = b"ready";

/// The step's side.
pub(crate) struct Link(OwnedFd);

/// The server's side.
pub(crate) struct Taker(OwnedFd);

/// Both sides.
pub(crate) fn pair() -> io::Result<(Link, Taker)> {
    let flags = SocketFlags::CLOEXEC;
    let (theirs, ours) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((Link(theirs), Taker(ours)))
}

impl Link {
    /// Hands over where questions wait, and what belongs to it. When it comes back, somebody answers them.
    pub(crate) fn hand_over(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if !along.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(message)], &mut along, SendFlags::NOSIGNAL)?;
        let mut word = [0; READY.len()];
        let (_, length) = rustix::net::recv(&self.0, &mut word[..], RecvFlags::empty())?;
        if word.get(..length) == Some(READY) { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }
}

impl Taker {
    /// Under a new number, which none of the first three is.
    pub(crate) fn moved(&self) -> io::Result<Self> {
        Ok(Self(rustix::io::fcntl_dupfd_cloexec(&self.0, 3)?))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// What the step's first process hands over; nothing when it does not get that far.
    pub(crate) fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut message = vec![0; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut message)], &mut along, flags)?;
        if got.bytes == 0 {
            return Ok(None);
        }
        let mut fds = Vec::new();
        for message in along.drain() {
            if let RecvAncillaryMessage::ScmRights(given) = message {
                fds.extend(given);
            }
        }
        message.truncate(got.bytes);
        Ok(Some((message, fds)))
    }

    /// Says that questions are answered from now on.
    pub(crate) fn ready(self) -> io::Result<()> {
        Ok(rustix::net::send(&self.0, READY, SendFlags::NOSIGNAL).map(drop)?)
    }
}
