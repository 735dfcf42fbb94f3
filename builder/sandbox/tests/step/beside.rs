//! What an empty step costs, beside runc, crun and bubblewrap that make the same world for the same program: one by itself,
//! and one of several, whose process was started beside the one before. For a person to read, with a release build; not a
//! test.

use crate::world::World;
use cooper_sandbox::{Next, Standby};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tempfile::TempDir;

/// How often each does it.
const ROUNDS: usize = 200;
/// Docker's default filter, as Debian's containers-common has it.
const FILTER: &str = "/usr/share/containers/seccomp.json";
/// Docker's default capabilities.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];
/// Kernel files that no step sees: what Cooper masks.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Kernel files that no step writes.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Times of one way to run `/bin/true`, in microseconds.
struct Times {
    name: &'static str,
    rounds: Vec<u128>,
}

impl Times {
    fn new(name: &'static str) -> Self {
        Self { name, rounds: Vec::with_capacity(ROUNDS) }
    }

    fn add(&mut self, run: impl FnOnce()) {
        let began = Instant::now();
        run();
        self.rounds.push(began.elapsed().as_micros());
    }

    fn median(&mut self) -> u128 {
        self.rounds.sort_unstable();
        self.rounds[self.rounds.len() / 2]
    }
}

/// One step after the other; prints the fastest and the median.
pub fn alone() {
    let mut world = World::new();
    world.spec.argv = vec!["/bin/true".into()];
    let mut times = own_times();
    for _ in 0..ROUNDS {
        let [first, _] = &mut times;
        first.add(|| first_step(&world));
        renew(&world.stack().work);
    }
    let standby = Standby::default();
    for _ in 0..ROUNDS {
        let [_, next] = &mut times;
        next.add(|| next_step(&world, &standby));
        renew(&world.stack().work);
    }
    for times in &mut times {
        print(times);
    }
}

fn own_times() -> [Times; 2] {
    ["cooper", "next step"].map(Times::new)
}

fn first_step(world: &World) {
    cooper_sandbox::run(&world.spec, &mut |_| {}, &AtomicBool::new(false)).unwrap();
}

/// Follows one, and is followed by one.
fn next_step(world: &World, standby: &Standby) {
    cooper_sandbox::run_in_turn(&world.spec, (standby, Next::Step), &mut |_| {}, &AtomicBool::new(false)).unwrap();
}

/// Each of the four in turn, round by round; prints the medians, and how many times as fast as the best peer Cooper is.
pub fn beside_peers() {
    let mut world = World::new();
    world.spec.argv = vec!["/bin/true".into()];
    let root = Root::new(&world);
    let runtimes = ["runc", "crun"].map(|name| (name, Bundle::new(&root)));
    let bubble = Bubble::new(&root);
    let (mut own, standby) = (own_times(), Standby::default());
    let mut peers = ["runc", "crun", "bwrap"].map(Times::new);
    for round in 0..ROUNDS {
        let [first, next] = &mut own;
        first.add(|| first_step(&world));
        renew(&world.stack().work);
        next.add(|| next_step(&world, &standby));
        renew(&world.stack().work);
        for times in &mut peers {
            let runtime = runtimes.iter().find(|(name, _)| *name == times.name);
            times.add(|| {
                root.mount();
                match runtime {
                    Some((name, bundle)) => bundle.run(name, round),
                    None => bubble.run(),
                }
                root.unmount();
            });
            root.empty();
        }
    }
    let best = peers.iter_mut().map(print).min().unwrap();
    for times in &mut own {
        let median = print(times);
        println!("{:.2} times as fast as the best of the others", best as f64 / median as f64);
    }
}

fn print(times: &mut Times) -> u128 {
    let median = times.median();
    println!("{:9} fastest {:6} us, median {median:6} us", times.name, times.rounds[0]);
    median
}

/// Overlay leaves a directory in its work directory that only its owner may delete.
fn renew(work: &Path) {
    fs::remove_dir_all(work).unwrap();
    fs::create_dir(work).unwrap();
}

/// An overlay of the same base as Cooper's step has, for the peers, which do not make one.
struct Root {
    dir: TempDir,
    base: PathBuf,
}

impl Root {
    fn new(world: &World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["upper", "work", "merged", "provided"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["hosts", "resolv.conf"] {
            fs::write(dir.path().join("provided").join(name), "provided\n").unwrap();
        }
        Self { base: world.dir.path().join("base"), dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mount(&self) {
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            self.base.display(),
            self.at("upper").display(),
            self.at("work").display()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", self.at("merged"), "overlay", none, Some(options.as_c_str())).unwrap();
    }

    fn unmount(&self) {
        rustix::mount::unmount(self.at("merged"), rustix::mount::UnmountFlags::empty()).unwrap();
    }

    fn empty(&self) {
        renew(&self.at("upper"));
        renew(&self.at("work"));
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Only mounted still when a round failed.
        let _ = rustix::mount::unmount(self.at("merged"), rustix::mount::UnmountFlags::DETACH);
    }
}

/// What runc and crun are told.
struct Bundle(TempDir);

impl Bundle {
    fn new(root: &Root) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            json!({ "destination": format!("/etc/{name}"), "type": "bind", "source": root.at("provided").join(name),
                    "options": ["bind", "ro"] })
        };
        let tmpfs = |at: &str, options: &[&str]| json!({ "destination": at, "type": "tmpfs", "options": options });
        let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024 }]);
        let sets = ["bounding", "effective", "permitted"].map(|set| (set.to_owned(), json!(CAPABILITIES)));
        let namespaces = ["pid", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"], "env": ["PATH=/bin"],
                "cwd": "/", "noNewPrivileges": false, "rlimits": limits,
                "capabilities": serde_json::Map::from_iter(sets),
            },
            "root": { "path": root.at("merged"), "readonly": false },
            "hostname": "cooper",
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                tmpfs("/dev", &["nosuid", "mode=755", "size=65536k"]),
                { "destination": "/dev/pts", "type": "devpts",
                  "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
                tmpfs("/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
                { "destination": "/dev/mqueue", "type": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
                { "destination": "/sys", "type": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
                file("hosts"), file("resolv.conf"),
            ],
            "linux": {
                "namespaces": namespaces,
                "maskedPaths": MASKED, "readonlyPaths": READ_ONLY, "seccomp": filter(),
            },
        });
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        Self(dir)
    }

    fn run(&self, runtime: &str, round: usize) {
        let state = self.0.path().join("state");
        let name = format!("cooper-beside-{}-{round}", std::process::id());
        let mut command = Command::new(runtime);
        command.arg("--root").arg(state);
        if runtime == "crun" {
            // Cooper's step has no control group without limits; runc cannot do without one.
            command.arg("--cgroup-manager=disabled");
        }
        succeed(command.args(["run", "--bundle"]).arg(self.0.path()).arg(name));
    }
}

/// The rules of Docker's filter that hold for these capabilities and this processor, as a runtime reads them.
fn filter() -> Value {
    let whole: Value = serde_json::from_slice(&fs::read(FILTER).unwrap()).unwrap();
    let strings = |rule: &Value, kind: &str, of: &str| -> Vec<String> {
        let named = rule[kind][of].as_array().cloned().unwrap_or_default();
        named.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let has = |name: &String| CAPABILITIES.contains(&name.as_str());
    let holds = |rule: &&Value| {
        let arches = strings(rule, "includes", "arches");
        strings(rule, "includes", "caps").iter().all(has)
            && !strings(rule, "excludes", "caps").iter().any(has)
            && (arches.is_empty() || arches.iter().any(|arch| arch == "amd64"))
    };
    let rules: Vec<Value> = whole["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(holds)
        .map(|rule| {
            let mut plain = json!({ "names": rule["names"], "action": rule["action"] });
            if let Some(arguments) = rule["args"].as_array().filter(|arguments| !arguments.is_empty()) {
                plain["args"] = json!(arguments);
            }
            plain
        })
        .collect();
    assert!(rules.len() > 5, "{FILTER} is not what it was");
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules })
}

/// Compiles a filter as its program is loaded into the kernel: what bubblewrap takes.
const COMPILE: &str = "\
import json, seccomp, sys
rules = json.load(sys.stdin)
filter = seccomp.SyscallFilter(seccomp.ERRNO(1))
compare = {name: getattr(seccomp, name[9:]) for name in
           ('SCMP_CMP_NE', 'SCMP_CMP_LT', 'SCMP_CMP_LE', 'SCMP_CMP_EQ', 'SCMP_CMP_GE', 'SCMP_CMP_GT', 'SCMP_CMP_MASKED_EQ')}
for rule in rules['syscalls']:
    action = {'SCMP_ACT_ALLOW': seccomp.ALLOW, 'SCMP_ACT_ERRNO': seccomp.ERRNO(1)}[rule['action']]
    arguments = [seccomp.Arg(a['index'], compare[a['op']], a['value'], a.get('valueTwo', 0)) for a in rule.get('args', [])]
    for name in rule['names']:
        if action == seccomp.ALLOW and seccomp.resolve_syscall(seccomp.Arch(), name) >= 0:
            filter.add_rule(action, name, *arguments)
filter.export_bpf(sys.stdout)
";

/// What bubblewrap is told.
struct Bubble {
    options: Vec<String>,
    filter: PathBuf,
}

impl Bubble {
    /// The same world as the others make. Some kernel files it makes read-only by itself.
    fn new(root: &Root) -> Self {
        let filter = root.at("filter");
        let mut compile = Command::new("/usr/bin/python3");
        compile.args(["-c", COMPILE]).stdin(Stdio::piped()).stdout(fs::File::create(&filter).unwrap());
        let mut compiling = compile.spawn().unwrap();
        serde_json::to_writer(compiling.stdin.take().unwrap(), &self::filter()).unwrap();
        assert!(compiling.wait().unwrap().success() && fs::metadata(&filter).unwrap().len() > 100);
        let mut options: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| options.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["--bind", root.at("merged").to_str().unwrap(), "/", "--proc", "/proc", "--dev", "/dev"]);
        add(&["--tmpfs", "/dev/shm", "--mqueue", "/dev/mqueue", "--ro-bind", "/sys", "/sys"]);
        for masked in MASKED.into_iter().filter(|path| Path::new(path).exists()) {
            match Path::new(masked).is_dir() {
                true => add(&["--tmpfs", masked]),
                false => add(&["--ro-bind", "/dev/null", masked]),
            }
        }
        add(&["--ro-bind", "/proc/fs", "/proc/fs"]);
        for name in ["hosts", "resolv.conf"] {
            let provided = root.at("provided").join(name);
            add(&["--ro-bind", provided.to_str().unwrap(), &format!("/etc/{name}")]);
        }
        add(&["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--hostname", "cooper"]);
        add(&["--new-session", "--die-with-parent", "--cap-drop", "ALL"]);
        CAPABILITIES.iter().for_each(|capability| add(&["--cap-add", capability]));
        // Its standard input.
        add(&["--seccomp", "0", "/bin/true"]);
        Self { options, filter }
    }

    fn run(&self) {
        finish(Command::new("bwrap").args(&self.options).stdin(fs::File::open(&self.filter).unwrap()));
    }
}

fn succeed(command: &mut Command) {
    finish(command.stdin(Stdio::null()));
}

fn finish(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
