//! System calls of a step that a process of ours answers, the server: a filter of system calls has the kernel ask it.
//!
//! Who needs it has a table of calls, of which the filter asks ([`Asks`]) and to which its server replies ([`Reply`]).
//! `call` is one call that waits, `link` the way on which the place where questions wait comes to the server. The deny
//! filters stand as before and win. What the kernel does itself it does by what is in the step's memory then, and not by
//! what was read here: a reply that lets it go on never promises anything.

mod call;
mod link;

pub(crate) use call::Call;
pub(crate) use link::{Link, Taker, pair};

use crate::sys::{self, Answer};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

/// What is said to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The kernel does it.
    Kernel,
    /// It is done, with this result.
    Done(i64),
    /// It was answered already, by a descriptor.
    Given,
}

pub(crate) type Replied = Result<Reply, Errno>;

/// Whether a call is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Always,
    /// Where this argument has one of these bits.
    Bits(u8, u32),
    /// Where it has none of them.
    NoBits(u8, u32),
    /// Where this argument is this.
    Is(u8, u32),
}

/// The calls that a server answers, as one table for the filter and for it.
pub(crate) type Table<Handler> = &'static [(i64, Asks, Handler)];

/// `/proc/PID` of whoever asked last, for when it asks again.
#[derive(Debug, Default)]
pub(crate) struct Left(Option<(u32, Rc<OwnedFd>)>);

/// Takes the next question and answers it. An error of `reply` itself ends the server.
pub(crate) fn answer_next(
    (listener, processes): (&OwnedFd, &OwnedFd),
    left: &mut Left,
    reply: impl FnOnce(&Call<'_>) -> io::Result<Replied>,
) -> io::Result<()> {
    let asked = match sys::next_call(listener.as_fd()) {
        Ok(asked) => asked,
        // Whoever asked is gone.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let of_same = left.0.take().filter(|(pid, _)| *pid == asked.pid).map(|(_, own)| own);
    let call = Call::new(asked, (listener, processes), of_same);
    let replied = reply(&call)?;
    left.0 = call.leave().map(|own| (asked.pid, own));
    let answer = match replied {
        Ok(Reply::Given) => return Ok(()),
        Ok(Reply::Kernel) => Answer::Kernel,
        Ok(Reply::Done(result)) => Answer::Done(result),
        Err(error) => Answer::Failed(error),
    };
    sys::answer_call(listener.as_fd(), &asked, answer)
}
