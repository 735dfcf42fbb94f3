//! The set-up process: freshly executed, with one thread, it leaves the host, builds the step's
//! world and becomes the step. It says what it does over the socket on its standard input.
//!
//! Two processes run this file: the outer one waits outside the pid namespace, the inner one is
//! its pid 1. No error here may be passed over: each one ends the step before it starts.
//!
//! The outer process asks for no signal at its parent's death: that signal comes at the end of the
//! thread that started it, and would kill it before it could kill the step. It sees the death of
//! its parent as the end of the socket, and kills pid 1 itself, whatever pid 1 has become.

use crate::answers::Link;
use crate::gate::{self, Gate, Key};
use crate::idmap::{Tier, tier_of_namespace};
use crate::overlay::Marks;
use crate::owners::{self, Serving};
use crate::protocol::{At, Control, Fault, Order, Stage, Status};
use crate::provided::{self, Stubs};
use crate::spec::{Bound, Files, Network, Security, Stack, StepSpec, Streams, Surroundings};
use crate::sys::{self, Fork};
use crate::user::{self, Identity};
use crate::{bound, caps, cgroup, container, cwd, dev, isolated, kernel_fs, limits, mounts, overlay, probe, seccomp};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, WaitStatus};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, UnshareFlags};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the set-up process ends with when the step never ran; its reader goes by the status.
const NOT_STARTED: u8 = 125;
/// Soft limit of open files, as a login has it; a step may raise it to the hard one.
const OPEN_FILES: u64 = 1024;
/// How long a network of its own may take to be there, and how often that is looked at.
const NETWORK_PATIENCE: Duration = Duration::from_secs(10);
const NETWORK_TICK: Duration = Duration::from_millis(2);
/// What the server does, in messages.
const OWNERS: &str = "answering for owners";
/// What is joined, in messages.
pub(crate) const CONTROL_GROUP: &str = "control group";
/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole life of the outer process.
pub(crate) fn main() -> ExitCode {
    let Ok(control) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map(Control) else {
        return ExitCode::from(NOT_STARTED);
    };
    match outer(&control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            report(&control, fault);
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// Ends the child that should have become the step.
pub(crate) fn give_up(control: &Control, fault: Fault) -> ! {
    report(control, fault);
    end(i32::from(NOT_STARTED))
}

/// Ends a process that was forked here.
pub(crate) fn end(code: i32) -> ! {
    std::process::exit(code)
}

fn report(control: &Control, fault: Fault) {
    let Fault { stage, object, cause } = fault;
    // When nobody listens, nobody waits for this step either.
    let _unheard = control.say(&Status::Failed { stage, object, cause });
}

fn outer(control: &Control) -> Result<(), Fault> {
    // Not where the builder stands, which root of a user namespace may not be able to search.
    rustix::process::chdir("/").at(Stage::Process, "/")?;
    // No core of the set-up, and nobody but the host's root looks into it; exec brings it back.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Process, "dumpable")?;
    let null = dev::host_null().at(Stage::Process, "/dev/null")?;
    rustix::stdio::dup2_stdin(&null).at(Stage::Process, "standard input")?;
    let (order, streams) = control.receive().at(Stage::Order, "specification")?;
    let Order { spec, groups } = order;
    take_streams(&streams, spec.surroundings.streams).at(Stage::Process, "streams")?;
    drop(streams);
    match &spec.files {
        Files::Layers(stack) => in_namespaces(control, (&spec, Rooted::Stacked(stack)), &groups, &null),
        Files::Bound(bound) => in_namespaces(control, (&spec, Rooted::Bound(bound)), &groups, &null),
        Files::Whole(whole) => container::run(control, (&spec, whole), &groups),
    }
}

/// How a root is made where mounts can be.
#[derive(Clone, Copy)]
enum Rooted<'s> {
    Stacked(&'s Stack),
    Bound(&'s Bound),
}

fn in_namespaces(
    control: &Control,
    (spec, rooted): (&StepSpec, Rooted<'_>),
    groups: &[PathBuf],
    null: &OwnedFd,
) -> Result<(), Fault> {
    let tier = tier_of_namespace().at(Stage::Namespaces, "own user namespace")?;
    // Before the pid namespace is left, so that the step does not see it.
    let server = match tier {
        Tier::OneId => Some(owners::serve().at(Stage::Process, OWNERS)?),
        Tier::Root | Tier::Rootless | Tier::Container => None,
    };
    let (serving, link) = server.unzip();
    let mut leave = UnshareFlags::NEWPID | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    if spec.surroundings.network != Network::Host {
        leave |= UnshareFlags::NEWNET;
    }
    sys::unshare(leave).at(Stage::Namespaces, "pid, uts, ipc and network namespaces")?;
    if spec.surroundings.network != Network::Host {
        sys::raise_loopback().at(Stage::Namespaces, "loopback device")?;
    }
    if spec.surroundings.network == Network::Isolated {
        control.say(&Status::Network).at(Stage::Process, "report")?;
        await_network(control).at(Stage::Namespaces, "isolated network")?;
    }
    let (alive, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Stage::Process, "pipe")?;
    let (gate, key) = gate::closed().at(Stage::Process, "pipe")?;
    match sys::fork().at(Stage::Namespaces, "first process of the pid namespace")? {
        Fork::Child => {
            drop((held, key, serving));
            let fault = match inner(control, (spec, rooted), groups, (&alive, gate, tier, link.as_ref())) {
                Ok(never) => match never {},
                Err(fault) => fault,
            };
            give_up(control, fault)
        }
        Fork::Parent(pid) => {
            drop((alive, gate, link));
            // The output ends with the step, and not only when this process does.
            rustix::stdio::dup2_stdout(null).at(Stage::Process, "standard output")?;
            rustix::stdio::dup2_stderr(null).at(Stage::Process, "standard error")?;
            let ended = wait_for(control, (pid, key), serving.as_ref());
            drop(held);
            serving.map_or(Ok(()), Serving::end).at(Stage::Process, OWNERS)?;
            control.say(&ended.at(Stage::Process, "wait")?).at(Stage::Process, "report")
        }
    }
}

/// Waits until the helper has made a way out; ends when nobody is there any more who would start one.
fn await_network(control: &Control) -> io::Result<()> {
    let since = Instant::now();
    while !isolated::is_ready()? {
        let [gone] = sys::wait_readable([Some(control.0.as_fd())], Some(NETWORK_TICK))?;
        if gone {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if since.elapsed() > NETWORK_PATIENCE {
            return Err(io::Error::other("there is no route to the outside yet"));
        }
    }
    Ok(())
}

/// Puts the streams that came with the order into their places.
fn take_streams(streams: &[OwnedFd], wanted: Streams) -> io::Result<()> {
    match (wanted, streams) {
        (Streams::Collected, []) => Ok(()),
        (Streams::Given | Streams::Terminal, [input, output, error]) => {
            rustix::stdio::dup2_stdin(input)?;
            rustix::stdio::dup2_stdout(output)?;
            Ok(rustix::stdio::dup2_stderr(error)?)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Lets pid 1 become the step, and waits for it; kills it when the other side of the socket goes away, or who answers for
/// owners. Its end is the end of everything in its pid namespace.
fn wait_for(control: &Control, (pid, key): (Pid, Key), serving: Option<&Serving>) -> io::Result<Status> {
    let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    key.turn()?;
    let [mut hang_up, mut server] = [Some(control.0.as_fd()), serving.map(Serving::as_fd)];
    let mut served = true;
    loop {
        let [ended, gone, unserved] = sys::wait_readable([Some(handle.as_fd()), hang_up, server], None)?;
        if gone || (unserved && !ended) {
            rustix::process::pidfd_send_signal(&handle, Signal::KILL)?;
            (hang_up, server, served) = (None, None, !unserved);
        }
        if ended {
            break;
        }
    }
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty())?
        .map(|(_, status)| status)
        .ok_or(io::ErrorKind::NotFound)?;
    if served { Ok(said(status)) } else { Err(io::Error::other("who answers for owners is gone")) }
}

/// How a process ended, as it is reported.
pub(crate) fn said(status: WaitStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Exited(code),
        (None, signal) => Status::Signaled(signal.unwrap_or(0)),
    }
}

/// Good until the step executes a setuid program; see above for what is good afterwards.
fn die_with_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// Sees to it that this process does not outlive its parent, whose life `alive` stands for.
pub(crate) fn follow_parent(alive: &OwnedFd) -> Result<(), Fault> {
    die_with_parent().at(Stage::Process, "parent death signal")?;
    let [gone] = sys::wait_readable([Some(alive.as_fd())], Some(Duration::ZERO)).at(Stage::Process, "parent")?;
    if gone { Err("ended early").at(Stage::Process, "parent") } else { Ok(()) }
}

fn inner(
    control: &Control,
    (spec, rooted): (&StepSpec, Rooted<'_>),
    groups: &[PathBuf],
    (alive, gate, tier, link): (&OwnedFd, Gate, Tier, Option<&Link>),
) -> Result<std::convert::Infallible, Fault> {
    follow_parent(alive)?;
    rustix::process::umask(Mode::empty());
    cgroup::join(&cgroup::ways_in(groups).at(Stage::Process, CONTROL_GROUP)?).at(Stage::Process, CONTROL_GROUP)?;
    // In this order, so that the step sees its own group as the root of all.
    sys::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP).at(Stage::Namespaces, "mount and cgroup namespaces")?;
    let mounts = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .at(Stage::Namespaces, "own mounts")?;
    // What an insecure step mounts by itself may write to its root until it is gone: that is waited for.
    if spec.surroundings.security == Security::Sandbox {
        control.hand_over(&Status::Mounts, mounts.as_fd()).at(Stage::Process, "report")?;
    }
    let (root, databases) = build_world(control, spec, rooted, tier)?;
    enter(&root).at(Stage::Pivot, "/")?;
    rustix::system::sethostname(spec.surroundings.hostname.as_bytes()).at(Stage::Process, "host name")?;
    let who = user::look_up(&spec.user, &databases).at(Stage::User, &spec.user)?;
    cwd::enter(root.as_fd(), &spec.cwd, &who, tier)?;
    drop(root);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    limit(spec)?;
    confine(spec)?;
    match link {
        Some(link) => take_for(&who, link, &mounts)?,
        None => become_user(&who, &spec.surroundings, caps::STEP)?,
    }
    drop(mounts);
    start(control, spec, &who, (gate, 1))
}

/// Everything that is mounted; gives the top of the root, and whom the image knows.
fn build_world(
    control: &Control,
    spec: &StepSpec,
    rooted: Rooted<'_>,
    tier: Tier,
) -> Result<(OwnedFd, user::Databases), Fault> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at(Stage::Namespaces, "mount propagation")?;
    let mountpoint = match rooted {
        Rooted::Stacked(stack) => &stack.mountpoint,
        Rooted::Bound(bound) => &bound.mountpoint,
    };
    let private = provided::private_tmpfs(mountpoint).at(Stage::Files, mountpoint.display())?;
    let root = match rooted {
        Rooted::Stacked(stack) => overlay::mount_root(stack, Marks::of(tier))?,
        Rooted::Bound(bound) => bound::mount_root(bound)?,
    };
    // Whom the image knows, whatever the step has mounted there.
    let databases = user::Databases::read(root.as_fd()).at(Stage::Files, "user databases of the image")?;
    let stubs = Stubs { root: root.as_fd(), control };
    let devices = dev::mount_dev(&stubs, &private, tier, &spec.surroundings)?;
    let mut masks = kernel_fs::Masks::new(&devices.null);
    let around = &spec.surroundings;
    kernel_fs::mount_proc(&stubs, &mut masks, around.security)?;
    kernel_fs::mount_sys(&stubs, &mut masks, around)?;
    provided::mount_files(&stubs, &private, &devices.top, spec)?;
    mounts::mount_all(&stubs, &private, spec, tier)?;
    Ok((root, databases))
}

fn enter(root: &OwnedFd) -> rustix::io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    // The old root is now stacked on the new one at "/"; "." still names it.
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// What needs the set-up's own rights: done before they are given up.
pub(crate) fn limit(spec: &StepSpec) -> Result<(), Fault> {
    rustix::process::setsid().at(Stage::Process, "session")?;
    if spec.surroundings.streams == Streams::Terminal {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).at(Stage::Process, "controlling terminal")?;
    }
    match sys::new_session_keyring() {
        // Without keyrings, or where an outer filter denies them, there is none to be shared. With
        // the user's quota of keys used up the old one stays; the filter keeps the step from it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EDQUOT)) => {}
        other => other.at(Stage::Process, "session keyring")?,
    }
    // What was asked for could not be had any more.
    if !spec.surroundings.limits.iter().any(|limit| limit.resource == crate::spec::Resource::Core) {
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(Resource::Core, none).at(Stage::Process, "core limit")?;
    }
    // The builder raises its own; programs that walk over all possible descriptors expect the usual one.
    let files = rustix::process::getrlimit(Resource::Nofile).maximum;
    let usual = Rlimit { current: Some(files.map_or(OPEN_FILES, |most| most.min(OPEN_FILES))), maximum: files };
    rustix::process::setrlimit(Resource::Nofile, usual).at(Stage::Process, "limit of open files")?;
    for limit in &spec.surroundings.limits {
        limits::set(limit).at(Stage::Process, format_args!("limit {:?}", limit.resource))?;
    }
    sys::reset_signals().at(Stage::Process, "signals")
}

fn confine(spec: &StepSpec) -> Result<(), Fault> {
    if spec.surroundings.security == Security::Insecure {
        return Ok(());
    }
    if sys::ask_landlock().at(Stage::Process, "Landlock")? >= probe::SCOPES {
        sys::enter_domain(sys::LANDLOCK_SCOPE_ABSTRACT_SOCKETS, &[]).at(Stage::Process, "scope of abstract sockets")?;
    }
    caps::limit_bounding_set(caps::STEP).at(Stage::Capabilities, "bounding set")?;
    // While this process still may administer, so that no_new_privs can stay off.
    seccomp::install(seccomp::Walls::Namespaces).at(Stage::Seccomp, "filter")?;
    if spec.surroundings.no_new_privs {
        rustix::thread::set_no_new_privs(true).at(Stage::Process, "no_new_privs")?;
    }
    Ok(())
}

/// Becomes the user, with at most these capabilities where the step is not an insecure one.
pub(crate) fn become_user(who: &Identity, around: &Surroundings, most: CapabilitySet) -> Result<(), Fault> {
    use rustix::process::{Gid, Uid};
    let security = around.security;
    let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    let all = rustix::thread::capabilities(None).at(Stage::Capabilities, "own sets")?.permitted;
    // Changing the user would drop what an insecure step keeps.
    rustix::thread::set_keep_capabilities(security == Security::Insecure).at(Stage::Capabilities, "own sets")?;
    let groups: Vec<Gid> = who.groups.iter().copied().map(Gid::from_raw).collect();
    let object = format!("uid {} gid {}", who.uid, who.gid);
    let change = || -> rustix::io::Result<()> {
        // So that the step may open /dev/stdout and /dev/stderr by name.
        if around.streams != Streams::Given {
            rustix::fs::fchown(rustix::stdio::stdout(), Some(uid), None)?;
        }
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    };
    match change() {
        Err(Errno::INVAL) => Err("an id that is not mapped here; the user needs more subordinate ids"),
        other => Ok(other),
    }
    .at(Stage::User, &object)?
    .at(Stage::User, &object)?;
    match security {
        Security::Sandbox => caps::limit_own(who.uid, most),
        Security::Insecure => caps::keep_all(all),
    }
    .at(Stage::Capabilities, "own sets")?;
    // Changing the user clears it.
    die_with_parent().at(Stage::Process, "parent death signal")
}

/// Stays the user, who is root here, and has who the step is answered by the server. Who is somebody else in the step gets
/// no capabilities either, whatever is executed.
fn take_for(who: &Identity, link: &Link, mounts: &OwnedFd) -> Result<(), Fault> {
    owners::ask_about_this_process(link, mounts, who).at(Stage::Seccomp, OWNERS)?;
    if who.uid != 0 {
        let none_for_root = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        rustix::thread::set_capabilities_secure_bits(none_for_root).at(Stage::Capabilities, "secure bits")?;
    }
    caps::limit_own(who.uid, caps::STEP).at(Stage::Capabilities, "own sets")
}

/// Replaces this process by the step, behind a gate with so many keys.
pub(crate) fn start(
    control: &Control,
    spec: &StepSpec,
    who: &Identity,
    (gate, keys): (Gate, usize),
) -> Result<std::convert::Infallible, Fault> {
    cwd::verify(&spec.cwd)?;
    let program = spec.argv.first().map_or("", String::as_str);
    let found = find(program, spec).at(Stage::Exec, program)?;
    let argv = c_strings(spec.argv.iter().cloned()).at(Stage::Exec, program)?;
    let mut env = spec.env.clone();
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), who.home.clone()));
    }
    let env =
        c_strings(env.into_iter().map(|(name, value)| format!("{name}={value}"))).at(Stage::Exec, "environment")?;
    if !gate.pass(keys).at(Stage::Process, "the processes that wait for it")? {
        end(i32::from(NOT_STARTED));
    }
    control.say(&Status::Starting).at(Stage::Process, "report")?;
    sys::close_on_exec_from(3).at(Stage::Process, "descriptors")?;
    let error = sys::execve(&found, &argv, &env);
    Err(error).at(Stage::Exec, program)
}

fn c_strings(strings: impl Iterator<Item = String>) -> io::Result<Vec<CString>> {
    strings.map(|string| CString::new(string).map_err(io::Error::other)).collect()
}

/// The path of a program, as a shell would find it.
fn find(program: &str, spec: &StepSpec) -> io::Result<CString> {
    if program.contains('/') {
        return Ok(CString::new(program)?);
    }
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_str());
    for directory in path.split(':').filter(|_| !program.is_empty()) {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{directory}/{program}");
        let is_file = std::fs::metadata(&candidate).is_ok_and(|found| found.is_file());
        let executable = || rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK).is_ok();
        if is_file && executable() {
            return Ok(CString::new(candidate)?);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("not found in PATH ({path})")))
}
