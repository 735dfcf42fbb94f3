//! What a step can see of the machine, and what it may do to it.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{Network, Outcome, Tier};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

pub const TESTS: &[(&str, Test)] = &[
    ("environment_is_what_was_given", environment_is_what_was_given),
    ("is_first_process_with_three_descriptors", is_first_process_with_three_descriptors),
    ("capabilities_and_seccomp", capabilities_and_seccomp),
    ("kernel_settings_are_hidden", kernel_settings_are_hidden),
    ("mounting_and_namespaces_are_denied", mounting_and_namespaces_are_denied),
    ("root_is_left_behind", root_is_left_behind),
    ("devices_are_exactly_these", devices_are_exactly_these),
    ("network_none_has_only_loopback", network_none_has_only_loopback),
    ("device_nodes_lead_nowhere", device_nodes_lead_nowhere),
    ("set_up_leaves_the_devices_of_the_host_alone", set_up_leaves_the_devices_of_the_host_alone),
    ("abstract_sockets_of_the_host_are_out_of_reach", abstract_sockets_of_the_host_are_out_of_reach),
    ("packets_of_others_are_out_of_reach", packets_of_others_are_out_of_reach),
    ("output_can_be_opened_by_name", output_can_be_opened_by_name),
];

fn environment_is_what_was_given(_: Tier) {
    let mut world = World::new();
    world.spec.env.push(("A".into(), "b=c d".into()));
    world.spec.argv = vec!["env".into()];
    let (outcome, text) = world.try_run();
    assert_eq!(outcome.unwrap(), Outcome::Exited(0));
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=b=c d", "HOME=/root", "PATH=/bin"]);
    assert_eq!(world.sh("hostname; umask; ulimit -c"), "cooper\n0022\n0\n");
}

fn is_first_process_with_three_descriptors(_: Tier) {
    let mut world = World::new();
    // A descriptor that an ill-behaved parent left open for its children.
    let leaked = rustix::io::dup(fs::File::open("/").unwrap()).unwrap();
    let text = world.sh("echo $$; ls /proc/1/fd; readlink /proc/1/fd/0; true");
    assert_eq!(text, "1\n0\n1\n2\n/dev/null\n");
    drop(leaked);
    assert_eq!(world.sh("cd /proc; echo [0-9]*"), "1\n");
}

fn capabilities_and_seccomp(_: Tier) {
    let mut world = World::new();
    let status = world.sh("cat /proc/self/status");
    let line = |status: &str, name: &str| {
        let found = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        found.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    for (name, value) in [
        ("CapInh:", "0000000000000000"),
        ("CapPrm:", "00000000a80425fb"),
        ("CapEff:", "00000000a80425fb"),
        ("CapBnd:", "00000000a80425fb"),
        ("CapAmb:", "0000000000000000"),
        ("Seccomp:", "2"),
        ("NoNewPrivs:", "0"),
    ] {
        assert_eq!(line(&status, name), value, "{name}");
    }
    world.spec.user = "app".into();
    let status = world.sh("cat /proc/self/status");
    for (name, value) in
        [("CapPrm:", "0000000000000000"), ("CapEff:", "0000000000000000"), ("CapBnd:", "00000000a80425fb")]
    {
        assert_eq!(line(&status, name), value, "{name}");
    }
}

fn kernel_settings_are_hidden(_: Tier) {
    let mut world = World::new();
    let masked = "for name in acpi asound interrupts kcore keys latency_stats timer_list scsi; do \
                  [ -d /proc/$name ] && ls -A /proc/$name || cat /proc/$name; done 2>&1 \
                  | grep -v 'No such file' || true";
    assert_eq!(world.sh(masked), "");
    assert!(Path::new("/proc/interrupts").exists(), "nothing to hide on this machine");
    assert_eq!(world.sh("ls -A /sys/firmware"), "");
    for write in [
        "echo 1 > /sys/kernel/mm/ksm/run",
        "echo x > /proc/sys/kernel/hostname",
        "echo x > /proc/sysrq-trigger",
        "mkdir /sys/fs/cgroup/x",
        "touch /sys/firmware/x",
        "echo x >> /etc/resolv.conf",
        "echo x >> /etc/hosts",
    ] {
        let (outcome, text) = world.try_sh(&format!("{write} && echo WRITTEN"));
        assert_ne!(outcome.unwrap(), Outcome::Exited(0), "{write}: {text}");
        assert!(!text.contains("WRITTEN"), "{write}: {text}");
    }
}

fn mounting_and_namespaces_are_denied(_: Tier) {
    let mut world = World::new();
    for attempt in [
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /sys",
        "umount /proc/kcore",
        "unshare -U true",
        "unshare -m true",
        "hostname other",
    ] {
        let (outcome, text) = world.try_sh(attempt);
        assert_ne!(outcome.unwrap(), Outcome::Exited(0), "{attempt}");
        let refused = text.contains("not permitted") || text.contains("ermission denied");
        assert!(refused, "{attempt}: {text}");
    }
}

fn root_is_left_behind(_: Tier) {
    let mut world = World::new();
    assert_eq!(world.sh("cd ..; pwd; ls -d bin"), "/\nbin\n");
    let mounts = world.sh("cat /proc/self/mountinfo");
    let outside = world.dir.path().to_string_lossy().into_owned();
    assert!(!mounts.contains(&outside), "{mounts}");
    world.spec.cwd = "/etc".into();
    assert_eq!(world.sh("pwd; readlink /proc/self/cwd"), "/etc\n/etc\n");
}

fn devices_are_exactly_these(tier: Tier) {
    let mut world = World::new();
    assert_eq!(
        world.sh("cd /dev; echo *"),
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n"
    );
    world.sh("echo x > /dev/null && echo x > /dev/shm/x && cat /dev/zero | head -c1 || true");
    let (outcome, text) = world.try_sh("mknod /tmp/mem c 1 1 && cat /tmp/mem");
    assert_ne!(outcome.unwrap(), Outcome::Exited(0), "{tier:?}: {text}");
}

fn network_none_has_only_loopback(_: Tier) {
    let mut world = World::new();
    world.spec.surroundings.network = Network::None;
    assert_eq!(world.sh("ls /sys/class/net; cat /proc/net/unix | grep -c @ || true"), "lo\n0\n");
    assert_eq!(world.sh("cat /proc/net/route | grep -vc Iface || true"), "0\n");
    // Up, loopback.
    assert_eq!(world.sh("cat /sys/class/net/lo/flags"), "0x9\n");
}

/// A device that everybody may read on the host, so that only the sandbox can be what refuses it.
const RANDOM: (u32, u32) = (1, 8);

fn device_nodes_lead_nowhere(tier: Tier) {
    let mut world = World::new();
    if tier == Tier::Root {
        let (major, minor) = RANDOM;
        let node = world.base("random");
        mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor)).unwrap();
        assert!(fs::File::open(&node).is_ok());
        let (outcome, text) = world.try_sh("head -c1 /random");
        assert_ne!(outcome.unwrap(), Outcome::Exited(0), "from the image: {text}");
        // The node itself may be made, as in Docker.
        world.sh("mknod /tmp/made c 1 8");
    }
    for place in ["/tmp", "/dev", "/dev/shm", "/dev/pts", "/dev/mqueue"] {
        let (outcome, text) = world.try_sh(&format!("mknod {place}/x c 1 8 && head -c1 {place}/x"));
        assert_ne!(outcome.unwrap(), Outcome::Exited(0), "{place}: {text}");
    }
    world.sh("head -c1 /dev/random > /dev/null");
}

fn set_up_leaves_the_devices_of_the_host_alone(_: Tier) {
    let mut world = World::new();
    let before = fs::metadata("/dev/null").unwrap().permissions();
    let (_, text) = world.try_sh("chmod 600 /dev/null; stat -c %a /dev/null");
    assert_eq!(fs::metadata("/dev/null").unwrap().permissions(), before, "{text}");
}

fn abstract_sockets_of_the_host_are_out_of_reach(_: Tier) {
    let mut world = World::new().with_probe();
    let name = format!("cooper-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let probe = format!("probe --abstract {name}");
    world.spec.surroundings.network = Network::None;
    assert_eq!(world.sh(&probe), "ConnectionRefused\n");
    world.spec.surroundings.network = Network::Host;
    let findings = cooper_sandbox::probe().findings;
    let finding = findings.iter().find(|finding| finding.name == "abstract sockets").unwrap();
    let expected = if finding.detail.starts_with("hidden") { "PermissionDenied\n" } else { "connected\n" };
    assert_eq!(world.sh(&probe), expected, "{finding:?}");
}

fn packets_of_others_are_out_of_reach(_: Tier) {
    let mut world = World::new().with_probe();
    for network in [Network::Host, Network::None] {
        world.spec.surroundings.network = network;
        assert_eq!(world.sh("probe --sockets"), "packet no, tcp packets no, tcp yes, netlink yes\n");
    }
}

fn output_can_be_opened_by_name(_: Tier) {
    let mut world = World::new();
    for user in ["", "app"] {
        world.spec.user = user.into();
        assert_eq!(world.sh("echo out > /dev/stdout; echo err > /dev/stderr"), "out\nerr\n", "{user:?}");
    }
}
