//! Everything that a step started, held together without a pid namespace, so that it can be ended.
//!
//! The set-up process, and the one that starts the step, adopt whatever loses its parent, so that all descendants of the
//! step stay their own. Where Landlock knows scopes the set-up process also enters a domain of its own, in which only it
//! and they are: a signal that it sends to everybody reaches them alone, all of them at once, and nobody among them can
//! fork meanwhile. The domain of the one that starts the step lies in it, so that this holds there as well. Elsewhere they
//! are killed one by one, over and over.
//!
//! Must never: signal everybody without having seen that the domain holds.

use crate::gate::Key;
use crate::mount_api;
use crate::probe;
use crate::protocol::{Control, Status};
use crate::sys::{self, Beneath};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How often orphans that ended are looked for while the step runs.
const TICK: Duration = Duration::from_millis(100);
/// How often those that were killed are, at the end.
const AGAIN: Duration = Duration::from_millis(1);
/// How long killing may take: then something hangs in the kernel, and it is told.
const LONGEST: Duration = Duration::from_secs(10);
/// Bytes of a stream that are passed on at once, and how often between two looks for the end: a step that never stops
/// writing ends as well.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;

/// This process and all that will come from it.
pub(super) struct Herd {
    reach: Reach,
}

/// Whom a signal to everybody reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The herd.
    Herd,
    /// The whole container.
    All,
}

impl Herd {
    /// Begins it with this process alone. Turns on no_new_privs.
    pub(super) fn gather() -> io::Result<Self> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        rustix::thread::set_no_new_privs(true)?;
        if sys::ask_landlock()? < probe::SCOPES {
            return Ok(Self { reach: Reach::All });
        }
        // The files are the business of the next domain.
        let everywhere = mount_api::on_host("/".as_ref())?;
        let beneath = Beneath { rights: super::MOVE, directory: everywhere.as_fd() };
        sys::enter_domain(sys::LANDLOCK_SCOPE_SIGNALS, &[beneath])?;
        let parent = rustix::process::getppid().ok_or_else(|| io::Error::other("the builder is gone"))?;
        match rustix::process::test_kill_process(parent) {
            Err(Errno::PERM) => Ok(Self { reach: Reach::Herd }),
            _ => Err(io::Error::other("the builder can be reached")),
        }
    }

    /// Waits for the process that started the step, or for the other side of the socket to go away; ends everything; tells
    /// how the step ended, which that process has told unless it is gone before. What is written to the streams meanwhile goes to standard output.
    pub(super) fn follow(
        self,
        control: &Control,
        (above, mut told, key): (Pid, File, Key),
        streams: &[File; 2],
    ) -> io::Result<Option<Status>> {
        let handle = rustix::process::pidfd_open(above, PidfdFlags::empty())?;
        key.turn()?;
        let hung_up = loop {
            let [out, err] = streams;
            let waited = [Some(handle.as_fd()), Some(control.0.as_fd()), Some(out.as_fd()), Some(err.as_fd())];
            let [ended, gone, ..] = sys::wait_readable(waited, Some(TICK))?;
            forward(streams)?;
            if ended || gone {
                break gone;
            }
        };
        self.end(|_, _| ())?;
        // Nobody is left who writes.
        while forward(streams)? == Passed::Some {}
        let mut status = Vec::new();
        told.read_to_end(&mut status)?;
        match (status.as_slice(), hung_up) {
            // It was killed with the step.
            ([], true) => Ok(Some(Status::Signaled(Signal::KILL.as_raw()))),
            ([], false) => Ok(None),
            (status, _) => Ok(Some(serde_json::from_slice(status).map_err(io::Error::other)?)),
        }
    }

    /// Kills everything below this process until nothing is left, and tells of its children.
    pub(super) fn end(&self, mut ended: impl FnMut(Pid, WaitStatus)) -> io::Result<()> {
        let end = Instant::now() + LONGEST;
        while !self.strike(&mut ended)? {
            if Instant::now() > end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(AGAIN);
        }
        Ok(())
    }

    /// Kills everything that lives, and buries it; is nothing left?
    fn strike(&self, ended: impl FnMut(Pid, WaitStatus)) -> io::Result<bool> {
        match self.reach {
            // That there was nobody is no error.
            Reach::Herd => drop(sys::kill_everybody()),
            Reach::All => kill_children()?,
        }
        bury(ended)
    }
}

/// Buries children that ended, and tells of them; are there none, neither dead nor alive?
pub(super) fn bury(mut ended: impl FnMut(Pid, WaitStatus)) -> io::Result<bool> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, how))) => ended(pid, how),
            Ok(None) => return Ok(false),
            Err(Errno::CHILD) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How much of what was in the pipes was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    All,
    Some,
}

/// Passes on what is in the pipes now, or a part of it. The pipes do not block, and this process holds their other ends,
/// so that they never end.
fn forward(streams: &[File; 2]) -> io::Result<Passed> {
    let mut buffer = [0; PIECE];
    let mut passed = Passed::All;
    for mut stream in streams {
        let mut pieces = 0..PIECES;
        loop {
            if pieces.next().is_none() {
                passed = Passed::Some;
                break;
            }
            match stream.read(&mut buffer) {
                // When nobody listens any more, the socket says so too.
                Ok(count) if count > 0 => drop(io::stdout().write_all(buffer.get(..count).unwrap_or_default())),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    // As above.
    io::stdout().flush().or(Ok(())).map(|()| passed)
}

/// Kills every process whose parent is this one; their children become this one's.
fn kill_children() -> io::Result<()> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        // One that ended meanwhile has no file any more.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // After the name, which may hold anything: state, parent.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent.and_then(|parent| parent.parse::<i32>().ok()) == Some(own) {
            let _ended = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    Ok(())
}
