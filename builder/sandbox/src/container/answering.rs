//! The process that starts the step, answers what the step asks about its own processes, and hands out its secrets.
//!
//! It stands between the set-up process and the step: the step and all that it leaves behind are its descendants, for
//! which a kernel with Yama lets a process without CAP_SYS_PTRACE look into others. Three Landlock domains lie in each
//! other: that of the set-up process, that of this one, which signals and looks into nobody but its own and opens files
//! of the root and of `/proc` alone, and that of the step, which knows no `/proc` and reaches none of the two. Its
//! capabilities are those of the step's root.
//!
//! When it dies the step dies, by the signal at its parent's death, and the set-up process ends what is left. When that one
//! dies, this one ends everything.

use super::ending::{Herd, bury};
use super::own::{self, Keeper};
use super::secrets::{Secret, has_secrets};
use crate::answers::{self, Left, Link, Taker, answer_next};
use crate::caps::{self, CHROOT_STEP};
use crate::gate::{Gate, Key};
use crate::init::{self, CONTROL_GROUP, follow_parent, said};
use crate::mount_api::on_host;
use crate::protocol::{At, Control, Fault, Stage, Status};
use crate::spec::StepSpec;
use crate::sys::{self, Beneath, Fork};
use crate::user::Databases;
use crate::{cgroup, dev, probe, seccomp};
use rustix::process::{Pid, PidfdFlags, WaitStatus};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What this process does, in messages.
pub(super) const ANSWERS: &str = "answering for /proc";
const PROC: &str = "/proc";
/// How often orphans that ended are looked for.
const TICK: Duration = Duration::from_millis(100);
/// The rights of `linux/landlock.h` to write a file, read one, and list a directory: of `/proc` this process needs no
/// others.
const OF_PROC: u64 = 1 << 1 | 1 << 2 | 1 << 3;

/// Starts the step below `root`, and lives as long as it does. `report` is told how it ended.
pub(super) fn live(
    control: &Control,
    (spec, groups): (&StepSpec, &[PathBuf]),
    (root, secrets, databases): (OwnedFd, Vec<Secret>, Databases),
    (herd, above, report, (gate, key)): (Herd, &OwnedFd, File, (Gate, Key)),
) -> Result<std::convert::Infallible, Fault> {
    follow_parent(above)?;
    // So that what it opens for the step is never the builder's terminal.
    rustix::process::setsid().at(Stage::Process, "session")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).at(Stage::Process, "orphans")?;
    // Out of the domain nothing leads to these.
    let null = dev::host_null().at(Stage::Process, "/dev/null")?;
    let ways_in = cgroup::ways_in(groups).at(Stage::Process, CONTROL_GROUP)?;
    let keeper = enter_domain(&root, secrets).at(Stage::Process, ANSWERS)?;
    let (link, taker) = answers::pair().at(Stage::Process, ANSWERS)?;
    let (alive, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Stage::Process, "pipe")?;
    match sys::fork().at(Stage::Process, "the step's first process")? {
        Fork::Child => {
            let link = keeper.is_some().then_some(link);
            drop((held, taker, keeper, report, null, key));
            let fault = match super::inner(control, (spec, &ways_in), (root, &databases), (&alive, gate, link)) {
                Ok(never) => match never {},
                Err(fault) => fault,
            };
            init::give_up(control, fault)
        }
        Fork::Parent(step) => {
            drop((alive, ways_in, link, root, gate));
            let done = answer(step, (taker, keeper, null), (herd, above, report, key));
            drop(held);
            match done.at(Stage::Process, ANSWERS) {
                Ok(()) => init::end(0),
                Err(fault) => Err(fault),
            }
        }
    }
}

/// Has this process and its children open nothing but the root and `/proc`, and signal nobody else. Where Landlock does not
/// know of files nothing is answered.
fn enter_domain(root: &OwnedFd, secrets: Vec<Secret>) -> io::Result<Option<Keeper>> {
    let version = sys::ask_landlock()?;
    let rights = super::rights(version);
    if rights == 0 {
        let lacking = io::Error::other("nobody can answer for secrets");
        return if secrets.is_empty() { Ok(None) } else { Err(lacking) };
    }
    let processes = on_host(PROC.as_ref())?;
    if rustix::fs::fstatfs(&processes)?.f_type != libc::PROC_SUPER_MAGIC {
        return Err(io::Error::other("there is no /proc"));
    }
    let keeper = Keeper::new(root, processes, version >= probe::SCOPES, secrets)?;
    let beneath =
        [Beneath { rights, directory: root.as_fd() }, Beneath { rights: OF_PROC, directory: keeper.processes.as_fd() }];
    sys::enter_domain(super::scopes(version) & sys::LANDLOCK_SCOPE_SIGNALS, &beneath)?;
    Ok(Some(keeper))
}

/// In the step's first process: has it and its children asked about.
pub(super) fn ask_about_this_process(link: &Link, spec: &StepSpec) -> io::Result<()> {
    let asked = own::asked(has_secrets(spec));
    let listener = seccomp::install_asking(true, asked, seccomp::Besides::Nothing)?;
    link.hand_over(b"asked", &[listener.as_fd()])
}

fn answer(
    step: Pid,
    (taker, keeper, null): (Taker, Option<Keeper>, OwnedFd),
    (herd, above, mut report, key): (Herd, &OwnedFd, File, Key),
) -> io::Result<()> {
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    let handle = rustix::process::pidfd_open(step, PidfdFlags::empty())?;
    caps::limit_own(0, CHROOT_STEP)?;
    let listener = match &keeper {
        Some(_) => taker.receive()?.and_then(|(_, fds)| fds.into_iter().next()),
        None => None,
    };
    // From now on this one looks for that itself, and has something to do then.
    rustix::process::set_parent_process_death_signal(None)?;
    key.turn()?;
    if let Some(listener) = &listener {
        // Only faster, where the kernel knows it.
        let _slower = sys::answer_at_once(listener.as_fd());
        taker.ready()?;
    }
    let (mut status, mut reaped) = (None, Instant::now());
    let note = |status: &mut Option<WaitStatus>, pid, how| {
        if pid == step {
            *status = Some(how);
        }
    };
    let alone = loop {
        let waited = [listener.as_ref().map(AsFd::as_fd), Some(handle.as_fd()), Some(above.as_fd())];
        let [asked, ended, alone] = sys::wait_for_call(waited, TICK)?;
        if asked && let (Some(keeper), Some(listener)) = (&keeper, &listener) {
            answer_next((listener, &keeper.processes), &mut Left::default(), |call| keeper.reply(call))?;
        }
        if ended || !asked || reaped.elapsed() > TICK {
            bury(|pid, how| note(&mut status, pid, how))?;
            reaped = Instant::now();
        }
        if ended || alone {
            break alone;
        }
    };
    // As long as calls wait here: nobody answers those of what would go on. What is left may also trace the first process,
    // and is told of its end in place of this one.
    herd.end(|pid, how| note(&mut status, pid, how))?;
    if alone {
        // Nobody is left who would be told.
        return Ok(());
    }
    let status: Status = status.map(said).ok_or(io::ErrorKind::NotFound)?;
    report.write_all(&serde_json::to_vec(&status).map_err(io::Error::other)?)
}
