//! Set-up processes as they are started: by the step that is to be set up, or beside the one before, so that it waits for
//! neither their execution nor their beginnings.
//!
//! Must never: keep a step from running for want of a process that was started before it, or leave one behind: it ends with
//! its socket.

use crate::{INIT_ARGUMENT, SandboxError, leftover, own_program};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// A set-up process that waits for its order.
pub(crate) struct SetUp {
    pub child: Child,
    /// Takes the order, and gives what becomes of it.
    pub control: UnixStream,
    /// From where the output comes of a step that is given no streams of its own.
    pub output: Option<OwnedFd>,
}

impl SetUp {
    /// Executes `program`, with what is to be its standard output and error.
    pub(crate) fn start(program: &OwnedFd, own: [Stdio; 2], output: Option<OwnedFd>) -> Result<Self, SandboxError> {
        let (control, theirs) = UnixStream::pair().map_err(SandboxError::io("make a socket"))?;
        let [out, error] = own;
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0("cooper")
            .arg(INIT_ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(out)
            .stderr(error)
            // So that Ctrl-C reaches only Cooper, which ends the step itself.
            .process_group(0)
            .spawn()
            .map_err(SandboxError::io("start the sandbox process"))?;
        Ok(Self { child, control, output })
    }

    /// With both streams in one pipe, in the order written.
    pub(crate) fn collected(program: &OwnedFd) -> Result<Self, SandboxError> {
        let (pipe, writer) = std::io::pipe().map_err(SandboxError::io("make a pipe"))?;
        let copy = writer.try_clone().map_err(SandboxError::io("copy a pipe"))?;
        Self::start(program, [writer, copy].map(|end| Stdio::from(OwnedFd::from(end))), Some(pipe.into()))
    }

    /// Ends one that got no order.
    fn end(mut self) {
        drop(self.control);
        // It had nothing to say.
        let _status = self.child.wait();
    }
}

/// Can one be executed by this process, which has the rights of steps and its own mounts?
pub(crate) fn may_start() -> Result<(), SandboxError> {
    let program = own_program::mounted().map_err(SandboxError::io("guard the program"))?;
    SetUp::collected(&program).map(SetUp::end)
}

/// The set-up process of the step that comes next, of steps that follow each other.
#[derive(Default)]
pub struct Standby(Mutex<Option<JoinHandle<Option<SetUp>>>>);

impl Standby {
    /// Starts one that mounts, if there is none, beside whoever calls.
    pub fn prepare(&self) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            // Whatever fails, the step meets it again and tells.
            let start = || {
                leftover::wait();
                own_program::mounted().ok().and_then(|program| SetUp::collected(&program).ok())
            };
            *slot = Builder::new().name("standby".to_owned()).spawn(start).ok();
        }
    }

    /// The one that was started, if it has not ended.
    pub(crate) fn take(&self) -> Option<SetUp> {
        let start = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let mut set_up = start.join().ok()??;
        matches!(set_up.child.try_wait(), Ok(None)).then_some(set_up)
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let slot = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(Some(set_up))) = slot.take().map(JoinHandle::join) {
            set_up.end();
        }
    }
}
