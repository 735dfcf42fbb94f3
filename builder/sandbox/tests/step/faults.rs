//! Every system call of the set-up fails in turn: the step does not start, or starts in the world that it was promised.
//!
//! strace does it to the set-up as it is. What it watches must be the set-up alone, so that the calls of the waiting
//! side are neither counted nor struck: a copy of this program stands between the two. It starts the set-up under
//! strace, for what is done before the order is read; or it starts it, has strace attached when the order is waited
//! for, and passes on what both sides say, for all that comes later. So the first process, which has made its calls by
//! then, does not take away the numbers of the second. `COOPER_TEST_FAULTS=all` strikes every call with every error.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{Access, Content, Files, Mount, Network, Outcome, Private, SandboxError, Tier};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

pub const TESTS: &[(&str, Test)] = &[("set_up_is_fail_closed", set_up_is_fail_closed)];

/// The first argument of the copy that strikes.
pub const SWEEP: &str = "--struck";
/// Beside that copy: what strace has to do, an argument a line, after the place where it begins.
const PLAN: &str = "plan";
/// What the second argument of a set-up process is when it is the real one.
const REAL: &str = "real";
/// How many faults are tried when not all are.
const SOME: usize = 120;

/// From where strace watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// The execution of the set-up.
    Start,
    /// Its waiting for the order.
    Order,
}

/// What the root of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Root {
    Layers,
    /// One directory, which a step is in by chroot.
    Directory,
}

/// One call that fails.
#[derive(Debug)]
struct Strike {
    root: Root,
    from: From,
    call: String,
    number: usize,
    error: &'static str,
}

/// Calls that are made beside the process that becomes the step, and how long they take before they fail, in
/// microseconds: it has begun by then, if it does not wait. Not every processor has `dup2`.
const BESIDE: &[&str] = &["dup2", "dup3", "pidfd_open"];
const DELAY: u32 = 300_000;
/// How long a set-up may take. One that was let keep a descriptor can wait for ever for its end, which the kernel never
/// does to it: a close that fails has closed.
const PATIENCE: Duration = Duration::from_secs(10);
const ERRORS: &[&str] = &["EPERM", "EINVAL", "ENOSYS", "ENOMEDIUM"];

/// Calls that may fail while the step starts, by their errors (all, when none is named), and why that is right.
const HARMLESS: &[(&str, &[&str], &str)] = &[
    ("close", &[], "what is left open is closed by exec"),
    ("munmap", &[], "memory that is not given back"),
    ("madvise", &[], "advice"),
    ("brk", &[], "there is mmap"),
    ("mmap", &[], "there is brk"),
    ("sigaltstack", &[], "of no use to a process that becomes another"),
    ("statx", &[], "there is fstatat, or it was only asked how much there is to read"),
    ("fsopen", &["EINVAL"], "an overlay is stacked the old way"),
    ("fsconfig", &["EINVAL"], "an overlay is stacked the old way"),
    ("fsmount", &["EINVAL"], "an overlay is stacked the old way"),
    ("set_robust_list", &[], "of the C library, for locks between processes"),
    ("statfs", &[], "the step sees no cgroup instead of its own"),
    ("prctl", &["EINVAL"], "the first capability that no kernel knows"),
    ("keyctl", &["EPERM", "ENOSYS"], "no keyrings here, and the filter keeps the step from them"),
    ("ioctl", &[], "whoever asks about owners is answered more slowly"),
    ("kill", &["EPERM"], "that the builder cannot be signalled is what it has to be told"),
    ("landlock_create_ruleset", &["ENOSYS"], "a kernel without Landlock, as the doctor says"),
];

/// What the step does, in one process, so that only its set-up is struck: a mark, and all of its world that it sees.
const LOOK: &str = r#"
: > /ran
echo ran
while read -r line; do
    case $line in Uid*|Gid*|Groups*|NSpid*|Sig[BIC]*|Cap*|NoNew*|Seccomp:*) echo "$line";; esac
done < /proc/self/status
while read -r id parent device root point flags rest; do
    set -- $rest
    echo "$point $flags $2"
done < /proc/self/mountinfo
for file in /proc/interrupts /proc/sys/kernel/hostname /proc/timer_list /etc/hosts /secret; do
    line=; read -r line < $file; echo "$file: $line"
done
umask; pwd; ulimit -c; ulimit -n; echo "$HOME"
echo /proc/[0-9]* /proc/self/fd/* /dev/* /sys/class/net/* /sys/firmware/* /*
"#;

/// The set-up process, when a copy of this program with a plan beside it is asked to be one.
pub fn dispatch(args: &[String]) -> Option<ExitCode> {
    if args.get(1..).is_none_or(|args| args != ["__init"]) {
        return None;
    }
    // Its own name is hidden from a set-up process.
    let program = fs::read_link(format!("/proc/{}/exe", std::os::unix::process::parent_id())).ok()?;
    let plan = fs::read_to_string(program.with_file_name(PLAN)).ok()?;
    let (from, args) = plan.split_once('\n').unwrap();
    let mut strace = Command::new("/usr/bin/strace");
    strace.arg("-f").args(args.lines());
    let mut real = Command::new(&program);
    real.args(["__init", REAL]).env_clear();
    if from == "Start" {
        let error = strace.arg("-qq").arg(&program).args(real.get_args()).exec();
        panic!("strace: {error}; fixtures/setup installs it");
    }
    stand_between(strace, real);
    Some(ExitCode::SUCCESS)
}

fn stand_between(mut strace: Command, mut set_up: Command) {
    let (mut inner, theirs) = UnixStream::pair().unwrap();
    let mut outer = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut real = set_up.stdin(OwnedFd::from(theirs)).spawn().unwrap();
    // Else its other end would stay open here.
    drop(set_up);
    let at = |name: &str| Path::new("/proc").join(real.id().to_string()).join(name);
    let limit = Instant::now() + PATIENCE;
    let waits = || {
        let asleep = fs::read_to_string(at("status")).is_ok_and(|text| text.contains("State:\tS"));
        asleep && fs::read_link(at("fd/0")).is_ok_and(|to| to == Path::new("/dev/null"))
    };
    while !waits() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut strace = strace.args(["-p", &real.id().to_string()]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(strace.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("attached"), "strace: {said}");
    let (mut order, mut to) = (outer.try_clone().unwrap(), inner.try_clone().unwrap());
    std::thread::spawn(move || {
        // Either side may be gone already.
        let _ended = io::copy(&mut order, &mut to);
        let _ended = to.shutdown(Shutdown::Write);
    });
    // The first process ends the others with it.
    let handle = pidfd_open(Pid::from_child(&real), PidfdFlags::empty()).unwrap();
    let (ended, waited) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if waited.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // It can have ended at this very moment.
            let _ended = pidfd_send_signal(&handle, Signal::KILL);
        }
    });
    let _ended = io::copy(&mut inner, &mut outer);
    real.wait().unwrap();
    drop(ended);
    watch.join().unwrap();
    strace.wait().unwrap();
}

fn set_up_is_fail_closed(_: Tier) {
    let dir = crate::copy_for_everybody();
    let status = Command::new(dir.path().join("step")).arg(SWEEP).status().unwrap();
    assert!(status.success());
}

/// A step with something of everything.
fn world() -> World {
    let mut world = World::new();
    // So that mount points have to be made.
    fs::remove_dir(world.base("dev")).unwrap();
    let at = |name: &str| {
        let path = world.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let layers = Content::Layers {
        lowers: vec![at("low"), at("high")],
        upper: at("mount-upper"),
        work: at("mount-work"),
        path: "/".into(),
    };
    let secret = Content::File { bytes: Private(b"secret".to_vec()), uid: 1000, gid: 1001, mode: 0o400 };
    let mounts = [
        ("/m/layers", layers),
        ("/m/host", Content::Host(at("host"))),
        ("/m/memory", Content::Tmpfs { bytes: Some(1 << 20) }),
        ("/secret", secret),
    ];
    let mount = |(target, content): (&str, _)| Mount { target: target.into(), access: Access::ReadOnly, content };
    world.spec.mounts = mounts.into_iter().map(mount).collect();
    world.spec.surroundings.network = Network::None;
    world.spec.script = Some(("script".into(), "true".into()));
    world.spec.user = "app".into();
    world.spec.cwd = "/made/here".into();
    // The user may leave its mark.
    fs::set_permissions(world.upper(""), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    world
}

/// The same in one directory, with what a step there can have.
fn world_in_a_directory() -> World {
    let mut world = crate::chroot::in_a_directory();
    let aside = world.dir.path().join("aside");
    fs::create_dir(&aside).unwrap();
    if let Files::Whole(whole) = &mut world.spec.files {
        whole.aside = aside;
    }
    let host = world.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    let mounts = [("/m/host", Content::Host(host)), ("/m/memory", Content::Tmpfs { bytes: None })];
    let mount = |(target, content): (&str, _)| Mount { target: target.into(), access: Access::ReadWrite, content };
    world.spec.mounts = mounts.into_iter().map(mount).collect();
    world.spec.script = Some(("script".into(), "true".into()));
    world.spec.user = "app".into();
    world.spec.cwd = "/made/here".into();
    fs::set_permissions(world.base(""), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    world
}

/// How a step ended, what it said, whether it left its mark, and the calls of its set-up.
struct Ran {
    outcome: Result<Outcome, SandboxError>,
    said: String,
    marked: bool,
    trace: String,
}

fn run(root: Root, from: From, strike: Option<&Strike>) -> Ran {
    let mut world = if root == Root::Layers { world() } else { world_in_a_directory() };
    let program = std::env::current_exe().unwrap();
    let log = world.dir.path().join("trace");
    let mut plan = format!("{from:?}\n-o\n{}\n", log.display());
    if let Some(Strike { call, number, error, .. }) = strike {
        let delay = if BESIDE.contains(&call.as_str()) { format!(":delay_enter={DELAY}") } else { String::new() };
        plan.push_str(&format!("-e\ntrace={call},execve\n-e\ninject={call}:error={error}:when={number}{delay}\n"));
    }
    fs::write(program.with_file_name(PLAN), plan).unwrap();
    // Where numbers of processes are the machine's they are others each time.
    let look = if root == Root::Layers { LOOK.to_owned() } else { LOOK.replace("NSpid*|", "") };
    let (outcome, said) = world.try_sh(&look);
    let trace = fs::read(log).unwrap_or_default();
    let marked = world.upper("ran").exists() || world.base("ran").exists();
    Ran { outcome, said, marked, trace: String::from_utf8_lossy(&trace).into_owned() }
}

/// The calls of the set-up, by kind and by number within one process.
fn calls(trace: &str, root: Root, from: From) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    let mut steps = BTreeSet::new();
    // Before its first call of its own, the set-up process has made those of any program.
    let mut begun = from == From::Order;
    for line in trace.lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let call = rest.trim_start().split('(').next().unwrap_or_default();
        // How a process ends cannot fail, and the rest of an interrupted line is no call.
        let ends = call.starts_with("exit") || call.starts_with(['+', '-', '<', '?']);
        if steps.contains(process) || ends {
            continue;
        }
        if from == From::Start && call == "unshare" {
            break;
        }
        if from == From::Order && call == "execve" {
            // The other two watch it from then on.
            if root == Root::Directory {
                break;
            }
            steps.insert(process);
        }
        // Who answers what the step asks has set itself up.
        if call == "sendto" && rest.contains("\"ready\"") {
            steps.insert(process);
        }
        begun |= rest.contains("F_DUPFD_CLOEXEC");
        let number = counts.entry((call, process)).or_default();
        *number += 1;
        // Builds with checks look whether descriptors are open before they close them.
        if begun && !rest.contains("F_GETFD") {
            found.insert((call.to_owned(), *number));
        }
    }
    found.into_iter().collect()
}

/// Plays the waiting side of steps whose set-up is struck.
pub fn sweep(tier: Tier) {
    let mut strikes = Vec::new();
    let mut wanted = BTreeMap::new();
    let kinds = [(Root::Layers, From::Start), (Root::Layers, From::Order), (Root::Directory, From::Order)];
    for (root, from) in kinds.into_iter().filter(|(root, _)| *root == Root::Layers || tier == Tier::Root) {
        let good = run(root, from, None);
        assert!(matches!(good.outcome, Ok(Outcome::Exited(0))), "{:?} {}", good.outcome, good.said);
        assert!(good.marked && good.said.starts_with("ran\n") && good.said.contains("Seccomp:\t2"), "{}", good.said);
        wanted.insert(root, good.said);
        for (call, number) in calls(&good.trace, root, from) {
            strikes.extend(ERRORS.iter().map(|error| Strike { root, from, call: call.clone(), number, error }));
        }
    }
    let all = std::env::var("COOPER_TEST_FAULTS").is_ok_and(|value| value == "all");
    // Not a multiple of the number of errors, so that each of them has its turn.
    let stride = if all { 1 } else { (strikes.len() / SOME) | 1 };
    let (mut met, mut faults) = (0, Vec::new());
    // Always those of the processes that wait, while the one that becomes the step goes on.
    let always = |strike: &Strike| BESIDE.contains(&strike.call.as_str()) && strike.error == "EPERM";
    let chosen = |(number, strike): &(usize, &Strike)| number % stride == 0 || always(strike);
    for (_, strike) in strikes.iter().enumerate().filter(chosen) {
        let ran = run(strike.root, strike.from, Some(strike));
        if ran.trace.contains("(INJECTED)") && !(strike.root == Root::Directory && struck_later(&ran.trace)) {
            met += 1;
            faults.extend(fault(strike, &ran, wanted.get(&strike.root).map_or("", String::as_str)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(met > SOME / 2, "{met} of {} calls of the set-up were struck", strikes.len());
}

/// Was a call of the same number met only when the step had begun? Then it was none of the set-up.
fn struck_later(trace: &str) -> bool {
    let mut lines = trace.lines();
    let begun = lines.position(|line| line.contains(" execve(") && line.ends_with("= 0"));
    begun.is_some_and(|begun| !trace.lines().take(begun).any(|line| line.contains("(INJECTED)")))
}

/// What is wrong with how a struck step ended.
fn fault(strike: &Strike, ran: &Ran, wanted: &str) -> Option<String> {
    let Strike { root, call, error, .. } = strike;
    // There it is what `/proc` is answered behind, and without it nothing is.
    let without_landlock = *root == Root::Directory && call == "landlock_create_ruleset" && *error == "ENOSYS";
    let harmless =
        HARMLESS.iter().any(|(name, errors, _)| name == call && (errors.is_empty() || errors.contains(error)));
    match &ran.outcome {
        // The step has ended when it is waited for.
        Err(_) if call == "wait4" || call == "pidfd_send_signal" => None,
        // It has ended too; the end of a descriptor that strace has left open was waited for, and was ended here.
        Err(SandboxError::Lost { .. }) if call == "close" && ran.said == wanted => None,
        Err(_) if !ran.marked && !ran.said.contains("ran\n") => None,
        Err(failure) => Some(format!("{strike:?}: the step began, and then: {failure}; {}", ran.said)),
        Ok(_) if without_landlock => None,
        Ok(_) if shows_no_cgroup(&ran.said, wanted) => None,
        Ok(_) if !harmless => Some(format!("{strike:?}: the step ran{}", difference(&ran.said, wanted))),
        Ok(_) if ran.said != wanted => Some(format!("{strike:?}: in another world{}", difference(&ran.said, wanted))),
        Ok(_) => None,
    }
}

/// Where the step's own cgroup cannot be shown, it sees none: the one difference that makes its world smaller.
fn shows_no_cgroup(found: &str, wanted: &str) -> bool {
    let at = |kind: &str| format!("/sys/fs/cgroup ro,nosuid,nodev,noexec,relatime {kind}\n");
    wanted.contains(&at("cgroup2")) && found == wanted.replace(&at("cgroup2"), &at("tmpfs"))
}

fn difference(found: &str, wanted: &str) -> String {
    let lines = |text: &str, other: &str, mark: &str| -> String {
        let known: BTreeSet<&str> = other.lines().collect();
        text.lines().filter(|line| !known.contains(line)).map(|line| format!("\n  {mark}{line}")).collect()
    };
    lines(wanted, found, "-") + &lines(found, wanted, "+")
}
