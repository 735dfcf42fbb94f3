//! Owners with a single id: whoever is not one of those users sees the same from the kernel.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{SandboxError, Tier};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

pub const TESTS: &[(&str, Test)] = &[
    ("owners_last_from_step_to_step", owners_last_from_step_to_step),
    ("nobody_is_unasked", nobody_is_unasked),
    ("paths_lead_nowhere_else", paths_lead_nowhere_else),
    ("who_executes_nothing_stays_who_they_are", who_executes_nothing_stays_who_they_are),
    ("files_that_take_no_record_are_made", files_that_take_no_record_are_made),
    ("no_step_without_its_server", no_step_without_its_server),
];

fn owners_last_from_step_to_step(tier: Tier) {
    let mut world = World::new();
    world.sh("cd /tmp; touch file; ln -s file link; mkdir dir; /bin/busybox mkfifo pipe; \
              /bin/busybox chown 5:6 file dir pipe; /bin/busybox chown -h 7:8 link; ln file hard; mv pipe moved");
    // What is on the disk is the user's own, where there is nobody else.
    let mine = fs::symlink_metadata(world.upper("tmp/file")).unwrap();
    let expected = if tier == Tier::OneId { (0, 0) } else { (5, 6) };
    assert_eq!((mine.uid(), mine.gid()), expected);
    let lower = world.dir.path().join("first");
    fs::rename(world.upper(""), &lower).unwrap();
    fs::create_dir(world.upper("")).unwrap();
    world.stack().lowers.push(lower);
    let look = "cd /tmp; stat -c '%n %u:%g' dir file hard link moved";
    let all = "dir 5:6\nfile 5:6\nhard 5:6\nlink 7:8\nmoved 5:6\n";
    assert_eq!(world.sh(look), all);
    // Whatever brings them up into the new layer.
    let touched = format!("cd /tmp; chmod 700 dir; echo x > file; mv link l; mv l link; chmod 600 moved; {look}");
    assert_eq!(world.sh(&touched), all);
    assert_eq!(
        world.sh("cd /tmp; /bin/busybox chown -h 0 link; /bin/busybox chgrp 9 dir; stat -c %u:%g link dir"),
        "0:8\n5:9\n"
    );
}

/// Programs that ask in every way that there is get the same answer.
fn nobody_is_unasked(_: Tier) {
    let mut world = World::new();
    world.spec.user = "app".into();
    world.spec.cwd = "/tmp".into();
    let script = "
        umask 077; echo x > made; mkdir dir; ln -s made soft; /bin/busybox mkfifo pipe; echo y > dir/in
        stat -c '%n %u:%g %a' made dir dir/in pipe
        stat -c '%n %u:%g' soft
        stat -L -c '%n %u:%g' soft
        ln -s /dev/stderr log; exec 2> errors; stat -L -c '%u:%g' log /proc/self/cwd/made; stat -c '%u:%g %F' /dev/stderr
        exec 2>&1; exec 5< made; stat -L -c '%u:%g' /proc/self/fd/5; stat -L -c '%u:%g' /dev/fd/5
        /bin/busybox chown 0 made 2>/dev/null || echo refused
        /bin/busybox chgrp 50 made && stat -c '%u:%g' made
        echo $(id -u) $(id -G)";
    let expected = "\
made 1000:1001 600\ndir 1000:1001 700\ndir/in 1000:1001 600\npipe 1000:1001 600\nsoft 1000:1001\nsoft 1000:1001\n\
1000:1001\n1000:1001\n0:0 symbolic link\n1000:1001\n1000:1001\nrefused\n1000:50\n1000 1001 50\n";
    assert_eq!(world.sh(script), expected);
}

/// What is answered about is what the step would find, in its root and in others that it takes.
fn paths_lead_nowhere_else(_: Tier) {
    let mut world = World::new();
    fs::write(world.dir.path().join("outside"), "").unwrap();
    let before = fs::metadata(world.dir.path().join("outside")).unwrap();
    let outside = world.dir.path().join("outside").display().to_string();
    let script = format!(
        "mkdir -p /jail/bin /jail/etc; ln /bin/busybox /jail/bin/busybox; touch /inner /jail/inner
         /bin/busybox chown 5 /inner
         /bin/busybox chroot /jail /bin/busybox chown 6:7 /inner
         /bin/busybox chroot /jail /bin/busybox stat -c %u:%g /inner ../../../inner
         stat -c %u:%g /inner /jail/inner
         for way in {outside} /proc/1/root{outside} ../../../../..{outside} /proc/self/fd/../../1/root{outside}; do
             /bin/busybox chown 9 $way 2>/dev/null && echo $way
         done; echo none"
    );
    assert_eq!(world.sh(&script), "6:7\n6:7\n5:0\n6:7\nnone\n");
    let kept = fs::metadata(&outside).unwrap();
    let all = |file: &fs::Metadata| (file.uid(), file.gid(), file.ctime(), file.ctime_nsec());
    assert_eq!(all(&kept), all(&before));
    let mut names = [0; 1024];
    let length = rustix::fs::listxattr(&outside, &mut names).unwrap();
    assert_eq!(String::from_utf8_lossy(&names[..length]), "");
}

/// Set-id bits lend nothing where the kernel executes nothing.
fn who_executes_nothing_stays_who_they_are(_: Tier) {
    let mut world = World::new().with_probe();
    fs::create_dir(world.base("suid")).unwrap();
    let text = "echo $(id -u); echo x > /tmp/$1; stat -c %u /tmp/$1\n";
    for (name, text, mode) in
        [("text", text, 0o6755), ("script", &format!("#!/bin/sh\n{text}"), 0o6755), ("data", text, 0o4644)]
    {
        let path = world.base("suid").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(world.base("suid/dir")).unwrap();
    fs::set_permissions(world.base("suid/dir"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::copy("/bin/busybox", world.base("suid/closed")).unwrap();
    fs::set_permissions(world.base("suid/closed"), fs::Permissions::from_mode(0o4644)).unwrap();
    world.spec.user = "app".into();
    // A shell reads what the kernel takes for no program, in the process that tried to execute it.
    assert_eq!(world.sh("/suid/text a; /suid/script b"), "1000\n1000\n1000\n1000\n");
    let fail = "probe --execute /suid/data /suid/dir /suid/closed /suid/absent";
    let same = "PermissionDenied\n1000 1000 1001 1001\n";
    assert_eq!(world.sh(fail), format!("{}NotFound\n1000 1000 1001 1001\n", same.repeat(3)));
    // What is kept for the next change of users is kept still.
    world.spec.user = String::new();
    assert_eq!(world.sh("probe --keep /suid/absent; probe --keep /suid/closed"), "1000 5\n1000 5\n");
}

/// Queues of messages are files that can have no attributes.
fn files_that_take_no_record_are_made(_: Tier) {
    let mut world = World::new();
    world.spec.user = "app".into();
    let script = "cd /dev/mqueue; : > q; echo $?; stat -c '%n %u:%g' q; rm q; ls; : > again; echo $?; rm again";
    assert_eq!(world.sh(script), "0\nq 1000:1001\n0\n");
}

/// It ends when nobody would answer it any more.
fn no_step_without_its_server(tier: Tier) {
    if tier != Tier::OneId {
        return;
    }
    let mut world = World::new();
    let began = Instant::now();
    let killer = std::thread::spawn(kill_the_server);
    let (outcome, text) = world.try_sh("echo runs; /bin/busybox sleep 60; touch /ran");
    assert!(killer.join().unwrap(), "there was no server: {text}");
    assert!(!world.upper("ran").exists() && began.elapsed() < Duration::from_secs(30), "{text}");
    assert!(matches!(outcome, Err(SandboxError::Setup { .. })), "{outcome:?}");
}

/// Of two set-up processes, of which one is the other's child, the child is the server once the step has begun.
pub fn kill_the_server() -> bool {
    set_up_and_server().is_some_and(|(_, server)| kill(&server))
}

/// At once, and whatever it does.
pub fn kill(pid: &str) -> bool {
    std::process::Command::new("kill").args(["-9", pid]).status().is_ok_and(|s| s.success())
}

/// Both, of a step that says `sleep 60`.
pub fn set_up_and_server() -> Option<(String, String)> {
    let says = |pid: &String, word: &str| {
        let line = fs::read(Path::new("/proc").join(pid).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(word)
    };
    for _ in 0..200 {
        for set_up in children(&std::process::id().to_string()).iter().filter(|pid| says(pid, "__init")) {
            let below = children(set_up);
            // Its sibling, or its child.
            let runs =
                below.iter().any(|pid| says(pid, "sleep 60") || children(pid).iter().any(|pid| says(pid, "sleep 60")));
            if let Some(server) = below.iter().find(|pid| runs && says(pid, "__init")) {
                return Some((set_up.clone(), server.clone()));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

/// Of all its threads.
fn children(pid: &str) -> Vec<String> {
    let Ok(threads) = fs::read_dir(Path::new("/proc").join(pid).join("task")) else { return Vec::new() };
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// How many files are looked at, and how many are made.
const LOOKED_AT: u32 = 10_000;
const MADE: u32 = 2_000;
const ROUNDS: usize = 9;

/// Says what a step pays for owners: for a look at a file, for one that it makes, and for a program that it starts. For a
/// person to read, with a release build; not a test.
pub fn time(tier: Tier) {
    let mut world = World::new();
    for number in 0..LOOKED_AT {
        let dir = world.base("many").join((number / 200).to_string());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(number.to_string()), "").unwrap();
    }
    let programs = 200;
    for (what, count, script) in [
        ("look at a file", LOOKED_AT, "/bin/busybox find /many -user 99999".to_owned()),
        (
            "file made",
            MADE,
            format!("mkdir /new; cd /new; i=0; while [ $i -lt {MADE} ]; do : > $i; i=$((i+1)); done; rm -r /new"),
        ),
        ("program started", programs, format!("i=0; while [ $i -lt {programs} ]; do /bin/true; i=$((i+1)); done")),
    ] {
        let mut times: Vec<u128> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                world.sh("true");
                let empty = began.elapsed();
                let began = Instant::now();
                world.sh(&script);
                (began.elapsed().saturating_sub(empty)).as_nanos() / u128::from(count)
            })
            .collect();
        times.sort_unstable();
        println!("{tier:?}: {what}: median {} ns of {ROUNDS} rounds", times[ROUNDS / 2]);
    }
}
