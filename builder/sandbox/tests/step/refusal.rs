//! Steps that must not start, and machines that cannot isolate any: the error says why.

use crate::world::World;
use crate::{Test, USER, copy_for_everybody};
use cooper_sandbox::{SandboxError, Stage, Tier};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub const TESTS: &[(&str, Test)] = &[
    ("failures_are_typed", failures_are_typed),
    ("kernel_says_why_it_mounts_no_root", kernel_says_why_it_mounts_no_root),
    ("unfit_machines_are_explained", unfit_machines_are_explained),
];

fn failures_are_typed(_: Tier) {
    let mut world = World::new();
    world.spec.argv = vec!["no-such-program".into()];
    assert!(matches!(world.try_run().0, Err(SandboxError::Exec { .. })));
    fs::write(world.base("bin/foreign"), "\x7fELFnonsense").unwrap();
    fs::set_permissions(world.base("bin/foreign"), fs::Permissions::from_mode(0o755)).unwrap();
    world.spec.argv = vec!["foreign".into()];
    assert!(matches!(world.try_run().0, Err(SandboxError::Exec { .. })));
    let absent = world.dir.path().join("absent");
    world.stack().upper = absent;
    let (outcome, _) = world.try_sh("touch /ran");
    assert!(matches!(outcome, Err(SandboxError::Setup { stage: Stage::Overlay, .. })), "{outcome:?}");
}

fn kernel_says_why_it_mounts_no_root(_: Tier) {
    let mut world = World::new();
    let busybox = world.base("bin/busybox");
    world.stack().upper = busybox;
    match world.try_sh("true").0 {
        Err(error @ SandboxError::Setup { stage: Stage::Overlay, .. }) => {
            assert!(error.to_string().contains("not a directory"), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("ext4")));
        }
        other => panic!("{other:?}"),
    }
}

/// What an ordinary user is told on machines that lack something. Only root can take it away.
fn unfit_machines_are_explained(tier: Tier) {
    if tier != Tier::Root {
        return;
    }
    let dir = copy_for_everybody();
    let program = dir.path().join("step");
    for (namespaces, preparation, expected) in [
        ("-m", "true", "Rootless"),
        (
            "-Um",
            "echo 0 > /proc/sys/user/max_user_namespaces",
            "unavailable: user namespaces not available: user.max_user_namespaces is 0; hint: sysctl",
        ),
        (
            "-m",
            "mount --bind /dev/null /usr/bin/newuidmap",
            "OneId for: newuidmap not available: not installed; hint: install the package uidmap",
        ),
        (
            "-m",
            "mount --bind /dev/null /etc/subgid",
            "OneId for: subordinate ids not available: /etc/subgid has no range for coopertest; hint: usermod",
        ),
        (
            "-m",
            "cp /usr/bin/newuidmap $D/tool && mount --bind $D/tool /usr/bin/newuidmap",
            "OneId for: newuidmap not available: /usr/bin/newuidmap is neither setuid nor has a file capability; hint: chmod",
        ),
        (
            "-m",
            "cp /bin/false $D/false && chmod 4755 $D/false && mount --bind $D/false /usr/bin/newuidmap",
            "unavailable: subordinate ids not available: ; hint: newuidmap and newgidmap must be setuid root",
        ),
    ] {
        let script = format!("{preparation} && exec runuser -u {USER} -- {} --enter", program.display());
        let mut command = Command::new("unshare");
        // The second shell is executed as a mapped user, which gives it the rights of the namespace's root.
        let shells = ["sh", "-c", "read go; exec sh -c \"$SCRIPT\""];
        command.args([namespaces, "--"]).args(shells).env("SCRIPT", &script).env("D", dir.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        if namespaces.contains('U') {
            map_all_ids(child.id());
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let stripped = text.replace(" (tried)", "");
        assert!(stripped.starts_with(expected), "{preparation}: {text}");
    }
}

/// Waits until a process has left this user namespace, and gives it all ids in its own.
fn map_all_ids(process: u32) {
    let at = |name: &str| format!("/proc/{process}/{name}");
    let here = fs::read_link("/proc/self/ns/user").unwrap();
    let limit = Instant::now() + Duration::from_secs(10);
    while fs::read_link(at("ns/user")).unwrap() == here && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(5));
    }
    for map in ["uid_map", "gid_map"] {
        fs::write(at(map), "0 0 4294967295").unwrap();
    }
}
