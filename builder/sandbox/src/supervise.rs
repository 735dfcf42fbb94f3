//! The waiting side of a step: starts the set-up process, hands it the specification, passes the
//! output on in bounded pieces and says how the step ended. Blocks the calling thread; steps of
//! several threads do not know of each other.

use crate::cgroup::Group;
use crate::idmap::{Tier, tier_here};
use crate::isolated::{Helper, check_network};
use crate::leftover::{self, Leftover};
use crate::probe::check_kernel;
use crate::protocol::{LINE_BYTES, Order, Stage, Status, StubKind, receive, send_order};
use crate::set_up::{SetUp, Standby};
use crate::spec::{Files, Resources, Security};
use crate::{SandboxError, StepSpec, container, own_program, provided, sys};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a cancellation is looked for.
const TICK: Duration = Duration::from_millis(50);
/// How long output is read after the step's end, should something still hold the pipe.
const DRAIN: Duration = Duration::from_millis(500);

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With this code.
    Exited(i32),
    /// Killed by this signal.
    Signaled(i32),
    /// Failed after a process of it was killed, because the memory that it may use was used up.
    OutOfMemory,
    /// With 0, although a process of it was killed for that.
    DoneWithoutMemory,
}

/// What comes after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another step.
    Step,
    /// Nothing that runs.
    Nothing,
}

/// Runs a step to its end. `output` gets standard output and error in the order written. When
/// `cancel` becomes true the step is killed. When this returns, nothing of the step is alive; its mounts, which nobody
/// else has seen, are being taken apart, and the process that set it up is ending.
pub fn run(spec: &StepSpec, output: &mut dyn FnMut(&[u8]), cancel: &AtomicBool) -> Result<Outcome, SandboxError> {
    attend(spec, Wires::Collected(None), output, cancel)
}

/// As [`run`], of steps that follow each other: beside one that another follows, that one's process is started.
pub fn run_in_turn(
    spec: &StepSpec,
    (standby, next): (&Standby, Next),
    output: &mut dyn FnMut(&[u8]),
    cancel: &AtomicBool,
) -> Result<Outcome, SandboxError> {
    attend(spec, Wires::Collected(Some((standby, next))), output, cancel)
}

/// What a step is connected to.
pub(crate) enum Wires<'s> {
    /// A pipe for all that it says; and where a process for it may be.
    Collected(Option<(&'s Standby, Next)>),
    /// The streams that it is given, and from where its output comes, if from anywhere.
    Given([OwnedFd; 3], Option<OwnedFd>),
}

/// Runs a step to its end, however it is connected.
pub(crate) fn attend(
    spec: &StepSpec,
    wires: Wires<'_>,
    output: &mut dyn FnMut(&[u8]),
    cancel: &AtomicBool,
) -> Result<Outcome, SandboxError> {
    refuse_what_is_not_here(spec)?;
    check_network(spec.surroundings.network)?;
    let group = Group::new(&spec.surroundings.resources)?;
    let span = tracing::debug_span!("sandbox", hostname = %spec.surroundings.hostname);
    let _entered = span.enter();
    // What was written into an overlay that still is one is to be stacked by no other. Before a process begins, which
    // would get a descriptor of the mounts along, and have to take them apart.
    leftover::wait();
    let program = || own_program::unchangeable(&spec.files).map_err(SandboxError::io("guard the program"));
    let in_turn = match wires {
        // Where nothing is mounted it is another program.
        Wires::Collected(in_turn) => in_turn.filter(|_| !matches!(spec.files, Files::Whole(_))),
        Wires::Given(..) => None,
    };
    let (set_up, streams) = match (wires, in_turn.and_then(|(standby, _)| standby.take())) {
        (Wires::Given(streams, output), _) => {
            (SetUp::start(&program()?, [(); 2].map(|()| Stdio::null()), output)?, Vec::from(streams))
        }
        (Wires::Collected(_), Some(ready)) => (ready, Vec::new()),
        (Wires::Collected(_), None) => (SetUp::collected(&program()?)?, Vec::new()),
    };
    let SetUp { child, control, output: pipe } = set_up;
    let (child, control) = (Some(child), Some(control));
    let mut step = Running { child, control, heard: Heard::default(), mounts: None, helper: None };
    let groups = group.as_ref().map(Group::directories).unwrap_or_default();
    let order = Order { spec: spec.clone(), groups };
    let sent = step.send(&order, &streams);
    drop(streams);
    if let Some((standby, Next::Step)) = in_turn {
        standby.prepare();
    }
    let followed = sent.and_then(|()| step.follow(pipe, output, cancel));
    let status = step.finish()?;
    let starved = group.as_ref().is_some_and(Group::ran_out_of_memory);
    drop(group);
    let heard = std::mem::take(&mut step.heard);
    if let Some(written) = spec.files.written() {
        for (path, kind) in heard.stubs.iter().rev() {
            provided::remove_stub(written, path, *kind)
                .map_err(SandboxError::io("remove a mount point from the layer"))?;
        }
    }
    followed?;
    if let Some(failure) = heard.failure {
        return Err(failure);
    }
    if cancel.load(Ordering::Relaxed) && heard.outcome != Some(Outcome::Exited(0)) {
        return Err(SandboxError::Cancelled);
    }
    tracing::debug!(outcome = ?heard.outcome, "step ended");
    match heard.outcome.filter(|_| heard.started) {
        Some(Outcome::Exited(0)) if starved => Ok(Outcome::DoneWithoutMemory),
        Some(_) if starved => Ok(Outcome::OutOfMemory),
        Some(outcome) => Ok(outcome),
        None => Err(SandboxError::Lost { status: status.map(|status| status.to_string()).unwrap_or_default() }),
    }
}

/// Can these limits be kept here? To be asked before anything runs.
///
/// # Errors
/// [`SandboxError::Unavailable`] with what is missing.
pub fn check_resources(wanted: &Resources) -> Result<(), SandboxError> {
    Group::new(wanted).map(drop)
}

/// In a user namespace no step can have what an insecure one is promised; in a chroot even less.
fn refuse_what_is_not_here(spec: &StepSpec) -> Result<(), SandboxError> {
    check_kernel()?;
    if let Files::Whole(_) = &spec.files {
        return container::refuse(spec);
    }
    if spec.surroundings.security == Security::Insecure && matches!(tier_here(), Tier::Rootless | Tier::OneId) {
        return Err(SandboxError::Unavailable {
            feature: "RUN --security=insecure",
            cause: "steps run in a user namespace, which cannot write the kernel's settings".to_owned(),
            hint: "build as root, or drop --security=insecure".to_owned(),
        });
    }
    Ok(())
}

#[derive(Default)]
struct Heard {
    line: Vec<u8>,
    stubs: Vec<(PathBuf, StubKind)>,
    started: bool,
    failure: Option<SandboxError>,
    outcome: Option<Outcome>,
}

struct Running {
    /// The set-up process, until it is waited for or left to end.
    child: Option<Child>,
    control: Option<UnixStream>,
    heard: Heard,
    /// The namespace of the step's mounts.
    mounts: Option<OwnedFd>,
    /// Carries the step's network.
    helper: Option<Helper>,
}

impl Running {
    fn send(&mut self, order: &Order, streams: &[OwnedFd]) -> Result<(), SandboxError> {
        let Some(control) = &mut self.control else { return Ok(()) };
        match send_order(control, order, streams) {
            // A set-up process that ended early has said why, or its status tells.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(SandboxError::Io { action: "send the specification", source: error })
            }
            _ => Ok(()),
        }
    }

    fn follow(
        &mut self,
        pipe: Option<OwnedFd>,
        output: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<(), SandboxError> {
        let mut pipe = pipe.map(std::fs::File::from);
        let mut buffer = vec![0; 64 * 1024];
        let mut silent_at: Option<Instant> = None;
        while pipe.is_some() || self.control.is_some() {
            if cancel.load(Ordering::Relaxed) {
                // The set-up process kills the step when this end closes, and ends.
                self.stop_sending();
            }
            let fds = [pipe.as_ref().map(AsFd::as_fd), self.control.as_ref().map(AsFd::as_fd)];
            let [written, said] = sys::wait_readable(fds, Some(TICK)).map_err(SandboxError::io("wait for the step"))?;
            if written && let Some(reader) = &mut pipe {
                match reader.read(&mut buffer) {
                    Ok(0) => pipe = None,
                    Ok(count) => output(buffer.get(..count).unwrap_or_default()),
                    // A terminal that nobody has open any more.
                    Err(error) if error.raw_os_error() == Some(libc::EIO) => pipe = None,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(SandboxError::Io { action: "read output", source: error }),
                }
            }
            if said {
                self.hear(&mut buffer)?;
            }
            self.see_to_the_helper();
            if self.control.is_none() {
                let since = *silent_at.get_or_insert_with(Instant::now);
                if since.elapsed() > DRAIN {
                    pipe = None;
                }
            }
        }
        Ok(())
    }

    /// A step that waits for its network in vain, or has lost it, ends.
    fn see_to_the_helper(&mut self) {
        if let Some(failure) = self.helper.as_mut().and_then(Helper::ended) {
            self.helper = None;
            self.heard.failure.get_or_insert(failure);
            self.stop_sending();
        }
    }

    fn stop_sending(&self) {
        if let Some(control) = &self.control {
            // Fails only when the other end is gone already.
            let _gone = control.shutdown(std::net::Shutdown::Write);
        }
    }

    fn hear(&mut self, buffer: &mut [u8]) -> Result<(), SandboxError> {
        let Some(control) = &mut self.control else {
            return Ok(());
        };
        let (count, along) = match receive(&*control, buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => (0, Vec::new()),
            Err(error) => return Err(SandboxError::Io { action: "read status", source: error }),
        };
        self.mounts = along.into_iter().next().or(self.mounts.take());
        if count == 0 {
            self.control = None;
            return Ok(());
        }
        for byte in buffer.get(..count).unwrap_or_default() {
            if *byte != b'\n' {
                self.heard.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.heard.line);
            let status = serde_json::from_slice(&line)
                .map_err(|error| SandboxError::Io { action: "read status", source: error.into() })?;
            if let Status::Network = status {
                let Some(child) = &self.child else { continue };
                self.helper = Some(Helper::start(child.id())?);
                continue;
            }
            self.heard.note(status);
        }
        if self.heard.line.len() > LINE_BYTES {
            return Err(SandboxError::Lost { status: "it said too much".into() });
        }
        Ok(())
    }

    /// Closes the socket, which ends the step if it still runs, and waits for the set-up process; but not for one that
    /// has said how the step ended, and whose mounts are here to be taken apart. Gives what was waited for.
    fn finish(&mut self) -> Result<Option<ExitStatus>, SandboxError> {
        self.control = None;
        let Some(mut child) = self.child.take() else { return Ok(None) };
        let mounts = self.mounts.take();
        if let Some(mounts) = mounts.filter(|_| self.heard.started && self.heard.outcome.is_some()) {
            leftover::end(Leftover { mounts, process: child });
            return Ok(None);
        }
        child.wait().map(Some).map_err(SandboxError::io("wait for the sandbox process"))
    }
}

impl Heard {
    fn note(&mut self, status: Status) {
        match status {
            Status::Stub { path, kind } => self.stubs.push((path, kind)),
            Status::Mounts | Status::Network => {}
            Status::Starting => self.started = true,
            Status::Exited(code) => self.outcome = Some(Outcome::Exited(code)),
            Status::Signaled(signal) => self.outcome = Some(Outcome::Signaled(signal)),
            Status::Failed { stage, object, cause } => {
                let failure = match stage {
                    Stage::Exec => SandboxError::Exec { program: object, cause },
                    Stage::Mounts => SandboxError::Mount { target: object, cause },
                    Stage::User => SandboxError::User { user: object, cause },
                    _ => SandboxError::Setup { stage, object, cause },
                };
                self.failure.get_or_insert(failure);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control = None;
        // Only when the caller's output function panicked.
        if let Some(mut child) = self.child.take() {
            let _status = child.wait();
        }
    }
}
