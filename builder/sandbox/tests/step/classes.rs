//! Classes of vulnerabilities that runtimes of containers have had, each with a canary outside that nothing may touch.
//! Which test is for which class is told in docs/threats.md.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{Outcome, SandboxError, Tier};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

pub const TESTS: &[(&str, Test)] = &[
    ("descriptors_do_not_leak", descriptors_do_not_leak),
    ("own_program_is_out_of_reach", own_program_is_out_of_reach),
    ("hostile_roots_reach_nothing", hostile_roots_reach_nothing),
    ("databases_of_users_are_plain_files", databases_of_users_are_plain_files),
];

/// All about a file that somebody could have changed.
fn fingerprint(path: &Path) -> Vec<i64> {
    let m = fs::symlink_metadata(path).unwrap();
    let ids = [m.mode(), m.uid(), m.gid()].map(i64::from);
    [&ids[..], &[m.size() as i64, m.nlink() as i64, m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()]].concat()
}

/// E1: a step has three descriptors, however many its parent left open (CVE-2024-21626).
fn descriptors_do_not_leak(_: Tier) {
    let open = || rustix::io::dup(fs::File::open("/").unwrap()).unwrap();
    let _leaked: Vec<_> = (0..500).map(|_| open()).collect();
    assert_eq!(World::new().sh("cd /proc/self/fd; echo *"), "0 1 2 3\n", "3 is the shell's, which reads the directory");
}

/// E2: an image can have itself executed as the builder's own program (by a link, or as what interprets a script), and
/// can do nothing to the file (CVE-2019-5736).
fn own_program_is_out_of_reach(_: Tier) {
    let own = std::env::current_exe().unwrap();
    let before = fingerprint(&own);
    for program in ["/me", "/script"] {
        let mut world = World::new();
        symlink("/proc/self/exe", world.base("me")).unwrap();
        fs::write(world.base("script"), "#!/me --deface").unwrap();
        fs::set_permissions(world.base("script"), fs::Permissions::from_mode(0o755)).unwrap();
        world.spec.argv = [program, "--deface"].map(String::from).to_vec();
        let (outcome, text) = world.try_run();
        assert_eq!(fingerprint(&own), before, "{program}: {text}");
        assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
        assert_eq!(text, "write no, mode no, owner no, times no\n", "{program}");
    }
}

/// What an image has at a place where the set-up mounts something.
#[derive(Debug, Clone, Copy)]
enum Trap {
    Link,
    LinkOfMany,
    File,
    Pipe,
}

impl Trap {
    fn set(self, at: &Path, outside: &Path) {
        let _there = fs::remove_file(at).or_else(|_| fs::remove_dir_all(at));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        match self {
            Self::Link => symlink(outside, at).unwrap(),
            Self::LinkOfMany => {
                symlink(Path::new("../../../../../../..").join(outside.strip_prefix("/").unwrap()), at).unwrap()
            }
            Self::File => fs::write(at, "").unwrap(),
            Self::Pipe => rustix::fs::mknodat(
                rustix::fs::CWD,
                at,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o666),
                0,
            )
            .unwrap(),
        }
    }
}

/// E3, E4: whatever an image has where the set-up mounts (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881,
/// CVE-2026-41579, CVE-2021-30465), the step runs with what the kernel mounted, or does not run; and outside nothing
/// is touched.
fn hostile_roots_reach_nothing(_: Tier) {
    const PLACES: &[&str] = &[
        "proc",
        "sys",
        "dev",
        "dev/null",
        "dev/pts",
        "dev/shm",
        "dev/console",
        "dev/ptmx",
        "proc/self",
        "proc/sys",
        "sys/firmware",
        "etc",
        "etc/hosts",
        "etc/resolv.conf",
        "run",
        "tmp",
    ];
    for place in PLACES {
        for trap in [Trap::Link, Trap::LinkOfMany, Trap::File, Trap::Pipe] {
            let mut world = World::new();
            let outside = world.dir.path().join("outside");
            fs::create_dir(&outside).unwrap();
            fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).unwrap();
            for name in ["hosts", "null", "resolv.conf", "fd"] {
                fs::write(outside.join(name), "canary").unwrap();
            }
            trap.set(&world.base(place), &outside);
            let all = || -> Vec<_> {
                let mut entries: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().path()).collect();
                entries.sort();
                entries.push(outside.clone());
                entries.into_iter().map(|path| (fingerprint(&path), path)).collect()
            };
            let before = all();
            let look = "echo ran; read -r l < /proc/self/mountinfo; [ -c /dev/null ] && [ -d /proc/self ] && \
                        ! echo x 2>/dev/null > /proc/sys/kernel/hostname && echo held";
            let (outcome, text) = world.try_sh(look);
            let held = text.contains("held") && matches!(outcome, Ok(Outcome::Exited(0)));
            let refused = !text.contains("ran") && matches!(outcome, Err(SandboxError::Setup { .. }));
            assert!(held || refused, "{place} {trap:?}: {outcome:?} {text}");
            assert_eq!(all(), before, "{place} {trap:?}");
        }
    }
}

/// A13: the set-up reads passwd and group of an image only as plain files of bounded size, and waits for nobody.
fn databases_of_users_are_plain_files(_: Tier) {
    for (name, trap) in [("passwd", Trap::Pipe), ("group", Trap::Pipe), ("passwd", Trap::Link), ("group", Trap::Link)] {
        let mut world = World::new();
        let outside = world.dir.path().join("outside");
        fs::write(&outside, "app:x:4321:4321::/:/bin/sh\n").unwrap();
        trap.set(&world.base("etc").join(name), &outside);
        world.spec.user = "app".into();
        let (outcome, text) = world.try_sh("id -u");
        assert!(!text.contains("4321"), "{name} {trap:?}: {text}");
        assert!(outcome.is_err() || name == "group", "{name} {trap:?}: {outcome:?}");
    }
    let mut world = World::new();
    fs::File::options().write(true).open(world.base("etc/passwd")).unwrap().set_len(1 << 30).unwrap();
    world.spec.user = "app".into();
    assert!(matches!(world.try_sh("id").0, Err(SandboxError::Setup { .. })));
}
