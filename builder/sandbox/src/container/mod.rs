//! Steps where nothing can be mounted and no namespace be left: root in an ordinary container.
//!
//! The root is one directory. Three processes: the set-up process stays outside of the root, makes ready what a step finds
//! there and takes it away again; its child answers what the step asks about its own processes, in place of `/proc`, and
//! hands out its secrets (`answering`); a child of that enters the root by `chroot` and becomes the step. What namespaces
//! do elsewhere is done by other means:
//!
//! - Out of the root leads nothing: no descriptor, no CAP_SYS_CHROOT, no `chroot` (filter), and no file outside of it may
//!   be opened (Landlock). Device nodes cannot be made, since they would open.
//! - Signals and ptrace stay among the step's own processes (Landlock, Linux 6.12; before that `usable` says so).
//! - Whatever the step started is dead at its end: the set-up process kills until none is left.
//! - no_new_privs is on, which Landlock and the filter need without CAP_SYS_ADMIN: setuid programs lend no rights.
//!
//! Must never: resolve a path of the root other than by a descriptor of it, or start a step that lacks a wall.

mod answering;
mod devices;
mod ending;
mod guise;
mod looking;
mod machine;
mod memory;
mod mounts;
mod named;
mod opening;
mod own;
mod placing;
mod provided;
mod secrets;

use crate::answers::Link;
use crate::caps::{self, CHROOT_STEP};
use crate::gate::{self, Gate};
use crate::idmap::Tier;
use crate::init::{self, CONTROL_GROUP, follow_parent};
use crate::protocol::{At, Control, Fault, Stage};
use crate::spec::{Content, Network, Security, StepSpec, Surroundings, Whole};
use crate::sys::{self, Beneath, Fork};
use crate::{SandboxError, cgroup, cwd, mount_api, probe, seccomp, user};
use answering::ANSWERS;
use ending::Herd;
use placing::Placing;
use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// Names at the top of a whole root that the sandbox makes and empties, and that hold nothing of an image.
pub const OWN_NAMES: [&str; 3] = ["dev", "proc", "sys"];

/// What the set-up process needs; Docker's default has all of it.
const NEEDED: [(CapabilitySet, &str); 9] = [
    (CapabilitySet::CHOWN, "CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "DAC_OVERRIDE"),
    (CapabilitySet::FOWNER, "FOWNER"),
    (CapabilitySet::KILL, "KILL"),
    (CapabilitySet::MKNOD, "MKNOD"),
    (CapabilitySet::SETGID, "SETGID"),
    (CapabilitySet::SETPCAP, "SETPCAP"),
    (CapabilitySet::SETUID, "SETUID"),
    (CapabilitySet::SYS_CHROOT, "SYS_CHROOT"),
];

/// Who has to be ready before the step starts: the set-up process, and who answers.
const KEYS: usize = 2;
/// The version of Landlock that lets files be moved between directories (Linux 5.19), and the right that does: a domain
/// that does not give it to a place refuses it there, whatever it is about.
const MOVES: i64 = 2;
const MOVE: u64 = 1 << 13;
/// Why nothing is known about it.
pub(crate) const UNASKED: &str = "the kernel does not say whether it has Landlock";
/// How to get an answer.
pub(crate) const UNFILTERED: &str = "let the filter of system calls that this process is under allow Landlock's";
/// The access rights of `linux/landlock.h` that each version knows.
const RIGHTS: [(i64, u64); 4] = [(5, 0xffff), (3, 0x7fff), (MOVES, 0x3fff), (0, 0)];

/// May steps run so here?
pub(crate) fn usable() -> Result<(), SandboxError> {
    let unusable = |cause: String, hint: &str| {
        Err(SandboxError::Unavailable { feature: "isolation by chroot", cause, hint: hint.to_owned() })
    };
    if !rustix::process::geteuid().is_root() {
        return unusable("this is not root".into(), "run as root of the container");
    }
    let have = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let missing: Vec<&str> = NEEDED.iter().filter(|(one, _)| !have.contains(*one)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        let names = missing.join(", ");
        return unusable(format!("this root lacks {names}"), "start the container with --cap-add for each of them");
    }
    // A kernel that does not answer may well have it, so that a step would lack walls that it could have.
    if let Err(error) = sys::ask_landlock() {
        return unusable(format!("{UNASKED}: {error}"), UNFILTERED);
    }
    Ok(())
}

/// Why no process can answer for what is in no file system here, for people.
fn unanswered() -> Option<&'static str> {
    if sys::ask_landlock().map_or(0, rights) == 0 {
        return Some("there is no Landlock of Linux 5.19 here");
    }
    // With the capabilities that the process will have.
    let look = || caps::limit_own(0, CHROOT_STEP).is_ok() && sys::may_look_into_children(read_memory).unwrap_or(false);
    let looks = std::thread::spawn(look).join().unwrap_or(false);
    (!looks).then_some("no process may look into another here (kernel.yama.ptrace_scope above 1, or AppArmor)")
}

/// Reads the memory of a process in one of the ways in which that process does it: filters of containers may deny the first.
fn read_memory(pid: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    sys::read_memory(pid, address, buffer).or_else(|_| File::open(format!("/proc/{pid}/mem"))?.read_at(buffer, address))
}

/// What steps lack here, for people.
pub(crate) fn lacks() -> String {
    let mut text =
        "steps share the container's processes, network and host name, see their own processes alone in /proc and nothing in /sys, and cannot use sudo or device nodes"
            .to_owned();
    let walls = match sys::ask_landlock() {
        Ok(version) => unkept(version).map(str::to_owned),
        Err(error) => Some(format!("{UNASKED}: {error}")),
    };
    let unanswered = unanswered()
        .map(|why| format!("{why}, so that /proc has no more than plain files, and secrets cannot be files"));
    for more in walls.into_iter().chain(unanswered) {
        text.push_str("; ");
        text.push_str(&more);
    }
    text
}

/// Which walls a version of Landlock does not make, for people.
fn unkept(version: i64) -> Option<&'static str> {
    match version {
        ..MOVES => Some(
            "without Landlock of Linux 5.19 only the chroot keeps them from other files, and they may send signals to \
             the builder and reach abstract sockets",
        ),
        MOVES..probe::SCOPES => {
            Some("without Landlock of Linux 6.12 they may send signals to the builder and reach abstract sockets")
        }
        _ => None,
    }
}

/// Refuses what a step asks for and cannot have.
pub(crate) fn refuse(spec: &StepSpec) -> Result<(), SandboxError> {
    check_surroundings(&spec.surroundings)?;
    for mount in &spec.mounts {
        match &mount.content {
            Content::Tmpfs { bytes: Some(_) } => return Err(unlimited_tmpfs()),
            Content::File { .. } => check_secret_file("ID")?,
            Content::Layers { .. } => {
                return Err(not_in_a_chroot("RUN --mount", &format!("layers cannot be mounted at {}", mount.target)));
            }
            Content::Tmpfs { bytes: None } | Content::Host(_) | Content::Lent { .. } => {}
        }
    }
    Ok(())
}

/// The refusal of a limit that would not be kept.
pub fn unlimited_tmpfs() -> SandboxError {
    not_in_a_chroot("size= of RUN --mount=type=tmpfs", "a directory has no limit of its own")
}

/// Refuses a secret as a file where nobody can hand it out of memory; `id` is its name.
///
/// # Errors
/// [`SandboxError::Unavailable`].
pub fn check_secret_file(id: &str) -> Result<(), SandboxError> {
    let Some(why) = unanswered() else { return Ok(()) };
    Err(SandboxError::Unavailable {
        feature: "RUN --mount=type=secret as a file",
        cause: in_a_chroot(&format!("the secret would be written to the disk, since {why}")),
        hint: format!("give it as a variable: --mount=type=secret,id={id},env=NAME, or {BETTER}"),
    })
}

/// Refuses surroundings that a step in a chroot cannot have.
///
/// # Errors
/// [`SandboxError::Unavailable`].
pub fn check_surroundings(around: &Surroundings) -> Result<(), SandboxError> {
    Err(match () {
        () if around.security == Security::Insecure => {
            not_in_a_chroot("RUN --security=insecure", "this root has too few rights itself")
        }
        () if around.network != Network::Host => {
            not_in_a_chroot("a network other than the host's", "it needs a network namespace")
        }
        () if around.shm_bytes.is_some() => not_in_a_chroot("--shm-size", "/dev/shm is a plain directory"),
        () => return Ok(()),
    })
}

/// The refusal of what needs more than a chroot.
pub fn not_in_a_chroot(feature: &'static str, cause: &str) -> SandboxError {
    SandboxError::Unavailable { feature, cause: in_a_chroot(cause), hint: format!("leave it out, or {BETTER}") }
}

fn in_a_chroot(cause: &str) -> String {
    format!("steps run in a chroot here, and {cause}")
}

/// What to change for a better tier.
pub(crate) const BETTER: &str = "start the container with --cap-add SYS_ADMIN --security-opt seccomp=unconfined \
                                 --security-opt apparmor=unconfined --security-opt systempaths=unconfined";

/// The whole life of the set-up process.
pub(crate) fn run(control: &Control, (spec, whole): (&StepSpec, &Whole), groups: &[PathBuf]) -> Result<(), Fault> {
    rustix::process::umask(Mode::empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |path| rustix::fs::open(path, flags, Mode::empty());
    let root = open(&whole.root).at(Stage::Files, whole.root.display())?;
    let aside = open(&whole.aside).at(Stage::Files, whole.aside.display())?;
    // Whom the image knows, whatever the step has mounted there.
    let databases = user::Databases::read(root.as_fd()).at(Stage::Files, "user databases of the image")?;
    let streams = devices::make(&root, &aside, spec)?;
    let mut placing = Placing::new(&root, &aside);
    provided::put(&mut placing, &spec.surroundings)?;
    let secrets = mounts::put(&mut placing, &spec.mounts)?;
    let herd = Herd::gather().at(Stage::Process, "keeping signals away from the builder")?;
    let (alive, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Stage::Process, "pipe")?;
    let (told, report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Stage::Process, "pipe")?;
    let (gate, key) = gate::closed().at(Stage::Process, "pipe")?;
    let ended = match sys::fork().at(Stage::Process, ANSWERS)? {
        Fork::Child => {
            drop((held, told, placing, streams));
            drop(aside);
            let fault = match answering::live(
                control,
                (spec, groups),
                (root, secrets, databases),
                (herd, &alive, report.into(), (gate, key)),
            ) {
                Ok(never) => match never {},
                Err(fault) => fault,
            };
            init::give_up(control, fault)
        }
        Fork::Parent(pid) => {
            drop((alive, report, secrets, gate));
            let followed = herd.follow(control, (pid, told.into(), key), &streams);
            followed.at(Stage::Process, "ending what the step started")?
        }
    };
    drop(held);
    // What is left of it is dead, so that all can be put back before this is told.
    placing.take_back().at(Stage::Files, "putting the image's files back")?;
    devices::take_away(&root, &aside).at(Stage::Devices, "/dev")?;
    let ended = ended.ok_or("the process that does it is gone").at(Stage::Process, ANSWERS)?;
    control.say(&ended).at(Stage::Process, "report")
}

fn inner(
    control: &Control,
    (spec, ways_in): (&StepSpec, &[File]),
    (root, databases): (OwnedFd, &user::Databases),
    (alive, gate, link): (&OwnedFd, Gate, Option<Link>),
) -> Result<std::convert::Infallible, Fault> {
    follow_parent(alive)?;
    // Where devices do not open, programs would fail in odd places.
    mount_api::plainly_inside(root.as_fd(), "dev/null", OFlags::RDWR).at(Stage::Devices, "/dev/null")?;
    cgroup::join(ways_in).at(Stage::Process, CONTROL_GROUP)?;
    enter(&root).at(Stage::Pivot, "/")?;
    let who = user::look_up(&spec.user, databases).at(Stage::User, &spec.user)?;
    cwd::enter(root.as_fd(), &spec.cwd, &who, Tier::Container)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    init::limit(spec)?;
    confine(&root)?;
    drop(root);
    if let Some(link) = link {
        answering::ask_about_this_process(&link, spec).at(Stage::Seccomp, ANSWERS)?;
    }
    init::become_user(&who, &spec.surroundings, CHROOT_STEP)?;
    init::start(control, spec, &who, (gate, KEYS))
}

fn enter(root: &OwnedFd) -> rustix::io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")
}

/// What a version of Landlock knows of files.
fn rights(version: i64) -> u64 {
    RIGHTS.iter().find(|(first, _)| version >= *first).map_or(0, |(_, rights)| *rights)
}

/// What it knows of signals and sockets.
fn scopes(version: i64) -> u64 {
    match version {
        probe::SCOPES.. => sys::LANDLOCK_SCOPE_ABSTRACT_SOCKETS | sys::LANDLOCK_SCOPE_SIGNALS,
        _ => 0,
    }
}

/// The walls, from the outermost in. no_new_privs is on since the herd was gathered.
fn confine(root: &OwnedFd) -> Result<(), Fault> {
    let version = sys::ask_landlock().at(Stage::Process, "Landlock")?;
    let rights = rights(version);
    if rights != 0 {
        let beneath = Beneath { rights, directory: root.as_fd() };
        sys::enter_domain(scopes(version), &[beneath]).at(Stage::Process, "files beneath the root")?;
    }
    caps::limit_bounding_set(CHROOT_STEP).at(Stage::Capabilities, "bounding set")?;
    seccomp::install(seccomp::Walls::Chroot).at(Stage::Seccomp, "filter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_told_by_name() {
        for version in [0, 1] {
            let text = unkept(version).unwrap();
            assert!(["files", "signals", "sockets"].iter().all(|wall| text.contains(wall)), "{version}: {text}");
        }
        for version in 2..6 {
            let text = unkept(version).unwrap();
            assert!(["signals", "sockets"].iter().all(|wall| text.contains(wall)), "{version}: {text}");
            assert!(!text.contains("files"), "{version}: {text}");
        }
        assert_eq!([unkept(6), unkept(7), unkept(100)], [None; 3]);
    }
}
