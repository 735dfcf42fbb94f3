//! A step that a person has their hands on: with the streams of this process, or with a terminal of its own.
//!
//! The step never gets the terminal of whoever asks: it gets a new one, and this side carries what is typed and what is
//! shown. So job control works inside, and nothing inside can type outside. Must leave the person's terminal as it was.

use crate::spec::Streams;
use crate::supervise::{Outcome, Wires, attend};
use crate::{SandboxError, StepSpec, sys};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};
use std::io::{IsTerminal, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the size of the window and the end are looked for.
const TICK: Duration = Duration::from_millis(50);
/// Between two tries to hand on what was typed.
const PAUSE: Duration = Duration::from_millis(10);

/// Is a person at both ends of this process?
pub fn has_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Runs a step to its end that reads and writes what this process does; on a terminal it has one of its own. When
/// `cancel` becomes true, or the terminal is closed, the step is killed.
///
/// # Errors
/// As [`run`](crate::run); when no terminal can be made.
pub fn enter(spec: &StepSpec, cancel: &AtomicBool) -> Result<Outcome, SandboxError> {
    let mut spec = spec.clone();
    if !has_terminal() {
        spec.surroundings.streams = Streams::Given;
        let copies = copies([std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()])?;
        return attend(&spec, Wires::Given(copies, None), &mut |_| {}, cancel);
    }
    spec.surroundings.streams = Streams::Terminal;
    let (ours, theirs) = open_terminal().map_err(SandboxError::io("make a terminal"))?;
    let typed = ours.try_clone().map_err(SandboxError::io("copy a terminal"))?;
    let _before = Raw::enter().map_err(SandboxError::io("prepare the terminal"))?;
    let (over, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| carry_input(&typed, &over, &stop, cancel));
        let mut show = |bytes: &[u8]| {
            let mut out = std::io::stdout().lock();
            if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let outcome = copies([theirs.as_fd(); 3]).and_then(|copies| {
            // Its end is seen when nobody has the other side.
            drop(theirs);
            attend(&spec, Wires::Given(copies, Some(ours)), &mut show, &stop)
        });
        over.store(true, Ordering::Relaxed);
        outcome
    })
}

fn copies(streams: [BorrowedFd<'_>; 3]) -> Result<[OwnedFd; 3], SandboxError> {
    let [input, output, error] =
        streams.map(|stream| stream.try_clone_to_owned().map_err(SandboxError::io("copy a stream")));
    Ok([input?, output?, error?])
}

/// A new terminal: the side that is kept, and the side that is given away.
fn open_terminal() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    // What is typed must not keep this side waiting when nobody reads it.
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Hands on what is typed and how large the window is, until it is over or the person is gone.
fn carry_input(terminal: &OwnedFd, over: &AtomicBool, stop: &AtomicBool, cancel: &AtomicBool) {
    let input = std::io::stdin();
    let mut open = true;
    let mut buffer = [0; 4096];
    let mut known = None;
    while !over.load(Ordering::Relaxed) {
        if cancel.load(Ordering::Relaxed) {
            stop.store(true, Ordering::Relaxed);
        }
        let size = rustix::termios::tcgetwinsize(&input).ok().map(|s| (s.ws_row, s.ws_col, s));
        if let Some((rows, columns, size)) = size
            && known != Some((rows, columns))
        {
            known = Some((rows, columns));
            // Its window stays as it was then; nothing else depends on it.
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
        match sys::wait_readable([open.then(|| input.as_fd())], Some(TICK)) {
            Ok([true]) => {}
            _ => continue,
        }
        match rustix::io::read(&input, &mut buffer) {
            Ok(0) | Err(_) => {
                open = false;
                stop.store(true, Ordering::Relaxed);
            }
            Ok(count) => hand_on(terminal, buffer.get(..count).unwrap_or_default(), [over, cancel]),
        }
    }
}

/// Hands on what was typed; gives up when one of the ends has come, since a program need not read.
fn hand_on(terminal: &OwnedFd, mut bytes: &[u8], ends: [&AtomicBool; 2]) {
    while !bytes.is_empty() && !ends.iter().any(|end| end.load(Ordering::Relaxed)) {
        match rustix::io::write(terminal, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => std::thread::sleep(PAUSE),
            Err(_) => return,
        }
    }
}

/// The person's terminal hands every key on as it is, as long as this lives.
struct Raw(Termios);

impl Raw {
    fn enter() -> std::io::Result<Self> {
        let before = rustix::termios::tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_program_that_does_not_read_holds_nobody_up() {
        let (ours, theirs) = open_terminal().unwrap();
        let mut raw = rustix::termios::tcgetattr(&theirs).unwrap();
        raw.make_raw();
        rustix::termios::tcsetattr(&theirs, OptionalActions::Now, &raw).unwrap();
        let bound = Duration::from_secs(20);
        let (over, cancel) = (AtomicBool::new(false), AtomicBool::new(false));
        let handed_on = AtomicBool::new(false);
        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // More than a terminal takes.
                hand_on(&ours, &[b'x'; 1 << 20], [&over, &cancel]);
                handed_on.store(true, Ordering::Relaxed);
            });
            std::thread::sleep(PAUSE * 10);
            assert!(!handed_on.load(Ordering::Relaxed), "it waits for the program");
            cancel.store(true, Ordering::Relaxed);
            while !handed_on.load(Ordering::Relaxed) && began.elapsed() < bound {
                std::thread::sleep(PAUSE);
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(began.elapsed() < bound, "it did not see that it was to stop");
    }
}
