//! What a step leaves in its layer, and what it must not leave there or anywhere else.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{Outcome, SandboxError, Tier};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

pub const TESTS: &[(&str, Test)] = &[
    ("deletions_appear_in_the_layer", deletions_appear_in_the_layer),
    ("mount_points_do_not_stay", mount_points_do_not_stay),
    ("linked_directories_harm_nobody", linked_directories_harm_nobody),
    ("script_is_provided", script_is_provided),
    ("lowers_are_stacked_in_order", lowers_are_stacked_in_order),
    ("nothing_waits_for_the_disk", nothing_waits_for_the_disk),
    ("nothing_of_a_step_stays", nothing_of_a_step_stays),
    ("replaced_mount_points_harm_nobody", replaced_mount_points_harm_nobody),
    ("link_to_a_device_is_left_alone", link_to_a_device_is_left_alone),
    ("unreadable_user_databases_are_an_error", unreadable_user_databases_are_an_error),
];

fn deletions_appear_in_the_layer(_: Tier) {
    let mut world = World::new();
    fs::write(world.base("etc/gone"), "x").unwrap();
    fs::create_dir(world.base("etc/again")).unwrap();
    fs::write(world.base("etc/again/old"), "x").unwrap();
    world.sh("rm /etc/gone && rm -r /etc/again && mkdir /etc/again && echo new > /etc/again/new");
    let gone = fs::symlink_metadata(world.upper("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0_u8; 8];
    let opaque = ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .filter(|name| rustix::fs::getxattr(world.upper("etc/again"), **name, &mut value).is_ok())
        .count();
    assert_eq!(opaque, 1);
    assert_eq!(fs::read_to_string(world.upper("etc/again/new")).unwrap(), "new\n");
}

fn mount_points_do_not_stay(_: Tier) {
    let mut world = World::new();
    for name in ["hosts", "resolv.conf"] {
        fs::remove_file(world.base("etc").join(name)).unwrap();
    }
    for name in ["proc", "sys", "dev"] {
        fs::remove_dir(world.base(name)).unwrap();
    }
    symlink("../run/resolv/stub.conf", world.base("etc/resolv.conf")).unwrap();
    let before = fs::metadata(world.base("etc")).unwrap();
    assert!(world.sh("cat /etc/hosts /etc/resolv.conf; ls /proc/1/exe").contains("localhost"));
    for name in ["etc/hosts", "etc/resolv.conf", "proc", "sys", "dev", "run"] {
        assert!(fs::symlink_metadata(world.upper(name)).is_err(), "{name}");
    }
    let after = fs::metadata(world.upper("etc")).unwrap();
    assert_eq!(after.mtime_nsec(), before.mtime_nsec());
}

/// The store puts on the disk what is to last.
fn nothing_waits_for_the_disk(_: Tier) {
    let mut world = World::new();
    let mounts = world.sh("cat /proc/self/mountinfo");
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("it has a root");
    assert!(root.contains(" overlay ") && root.contains("volatile"), "{root}");
}

/// Neither the set-up process, which nobody waits for, nor mounts in which what it wrote could be seen.
fn nothing_of_a_step_stays(_: Tier) {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    let mut world = World::new();
    world.sh("true");
    let since = std::time::Instant::now();
    let children = || fs::read_to_string("/proc/thread-self/children").unwrap();
    let held = || {
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        open.filter(|to| to.to_string_lossy().starts_with("mnt:[")).count()
    };
    while !children().trim().is_empty() || held() > 0 {
        assert!(since.elapsed() < PATIENCE, "children {:?}, mounts {}", children(), held());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn linked_directories_harm_nobody(_: Tier) {
    for name in ["dev", "proc", "sys", "etc", "dev/shm", "proc/sys"] {
        let mut world = World::new();
        let canary = world.dir.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("hosts"), "untouched").unwrap();
        let top = name.split('/').next().unwrap();
        if name == top {
            fs::remove_dir_all(world.base(name)).unwrap();
        }
        symlink(&canary, world.base(name)).unwrap();
        let (outcome, text) = world.try_sh("echo x > /etc/y; true");
        match outcome {
            Ok(_) => {}
            Err(SandboxError::Setup { .. }) => {}
            Err(error) => panic!("{name}: {error}: {text}"),
        }
        let left: Vec<_> = fs::read_dir(&canary).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["hosts"], "{name}");
        assert_eq!(fs::read_to_string(canary.join("hosts")).unwrap(), "untouched", "{name}");
    }
}

fn script_is_provided(_: Tier) {
    let mut world = World::new();
    world.spec.script = Some(("EOF".into(), "#!/bin/sh\necho from $0\n".into()));
    world.spec.user = "app".into();
    assert_eq!(world.sh("/dev/pipes/EOF"), "from /dev/pipes/EOF\n");
    world.spec.user = String::new();
    let (outcome, _) = world.try_sh("echo x >> /dev/pipes/EOF");
    assert_ne!(outcome.unwrap(), Outcome::Exited(0));
    world.spec.script = Some(("../x".into(), String::new()));
    assert!(matches!(world.try_sh("true").0, Err(SandboxError::Setup { .. })));
}

fn lowers_are_stacked_in_order(_: Tier) {
    let mut world = World::new();
    for number in 1..40 {
        let lower = world.dir.path().join(format!("lower-with-a-rather-long-name-{number}"));
        fs::create_dir(&lower).unwrap();
        fs::write(lower.join("top"), format!("{number}\n")).unwrap();
        world.stack().lowers.push(lower);
    }
    assert_eq!(world.sh("cat /top"), "39\n");
}

/// The step swaps the directory that holds the mount points against a link out of the layer.
fn replaced_mount_points_harm_nobody(_: Tier) {
    let mut world = World::new();
    let canary = world.dir.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("hosts"), "").unwrap();
    fs::remove_dir_all(world.base("etc")).unwrap();
    world.sh(&format!("mv /etc /was && ln -s {} /etc", canary.display()));
    assert!(fs::symlink_metadata(world.upper("etc")).unwrap().is_symlink());
    assert!(canary.join("hosts").exists());
}

fn link_to_a_device_is_left_alone(_: Tier) {
    let mut world = World::new();
    fs::remove_file(world.base("etc/resolv.conf")).unwrap();
    symlink("/dev/null", world.base("etc/resolv.conf")).unwrap();
    assert_eq!(world.sh("cat /etc/resolv.conf; echo x > /dev/null; readlink /etc/resolv.conf"), "/dev/null\n");
}

fn unreadable_user_databases_are_an_error(_: Tier) {
    // What is mounted there for steps is nothing of the image's.
    for (target, is_there) in [("/proc/version", false), ("/dev/zero", false), ("/tmp", true)] {
        let mut world = World::new();
        fs::remove_file(world.base("etc/passwd")).unwrap();
        symlink(target, world.base("etc/passwd")).unwrap();
        world.spec.user = "app".into();
        let (outcome, _) = world.try_sh("touch /ran");
        let is_told = match outcome {
            Err(SandboxError::Setup { .. }) => is_there,
            Err(SandboxError::User { .. }) => !is_there,
            _ => false,
        };
        assert!(is_told, "{target}: {outcome:?}");
        assert!(!world.upper("ran").exists());
    }
}
