//! What steps in a chroot are told of their own processes, in place of `/proc`, and that they hear of nobody else.

use crate::Test;
use crate::chroot::{as_root, sh, step};
use crate::owners::kill_the_server;
use crate::world::World;
use cooper_sandbox::SandboxError;
use std::fs;
use std::time::{Duration, Instant};

pub const TESTS: &[(&str, Test)] = &[
    ("chroot_tells_where_a_process_is", |tier| as_root(tier, tells_where_a_process_is)),
    ("chroot_tells_of_nobody_else", |tier| as_root(tier, tells_of_nobody_else)),
    ("chroot_no_step_without_answers", |tier| as_root(tier, no_step_without_answers)),
];

fn tells_where_a_process_is(world: &mut World) {
    world.spec.cwd = "/made/for/it".into();
    for user in ["", "app", "0:5"] {
        world.spec.user = user.into();
        let script = "cd /proc; readlink self/exe; for link in exe root cwd; do readlink /proc/self/$link; done; \
                      cd /tmp; readlink /proc/thread-self/cwd; readlink //proc/./self//cwd; readlink /proc/self/fd/0; \
                      exec 5</etc/passwd; readlink /proc/self/fd/5; readlink /dev/fd/5; readlink /proc/$$/fd/5; \
                      readlink /proc/self/fd/77";
        let wanted = "/bin/busybox\n/\n/proc\n/tmp\n/tmp\n/dev/null\n/etc/passwd\n/etc/passwd\n/etc/passwd\n";
        assert_eq!(step(world, script).1, wanted, "{user:?}");
    }
    world.spec.user = String::new();
    // What has no place in any root, and what lost its own.
    let text = sh(
        world,
        "readlink /proc/self/fd/1; echo x > /tmp/gone; exec 6< /tmp/gone; rm /tmp/gone; readlink /proc/self/fd/6",
    );
    assert!(text.starts_with("pipe:[") && text.ends_with("\n/tmp/gone (deleted)\n"), "{text}");
    // Itself and its processes are links and directories, as realpath finds out.
    let text = sh(world, "readlink /proc/self; readlink /proc/thread-self; readlink /proc/$$ || echo none");
    let lines: Vec<&str> = text.lines().collect();
    let [own, thread, none] = lines.as_slice() else { panic!("{text}") };
    assert!(own.parse::<u32>().is_ok() && *none == "none", "{text}");
    let (group, number) = thread.split_once("/task/").unwrap();
    assert!(group == number && number.parse::<u32>().is_ok(), "{text}");
    // A child's, also when its parent is gone, and room for a part of the answer.
    sh(world, "cd /tmp; setsid sleep 100 & child=$!; cd /; test $(readlink /proc/$child/cwd) = /tmp");
}

fn tells_of_nobody_else(world: &mut World) {
    let me = std::process::id();
    let script = format!(
        "for pid in 1 2 {me} $PPID $(seq 1 400); do for link in exe cwd root fd/0 fd/3; do \
         readlink /proc/$pid/$link && echo told of $pid/$link; done; done; \
         readlink /proc/self/../{me}/exe && echo climbed; readlink /proc/self/root/../proc/{me}/exe && echo climbed; true"
    );
    for user in ["", "app"] {
        world.spec.user = user.into();
        let text = sh(world, &script);
        // Numbers of the step's own processes are among them at most by chance.
        assert!(!text.contains("told of") && !text.contains("climbed"), "{user:?}: {text}");
    }
}

fn no_step_without_answers(world: &mut World) {
    let began = Instant::now();
    let killer = std::thread::spawn(kill_the_server);
    let (outcome, text) = step(world, "echo runs; /bin/busybox sleep 60; touch /ran");
    assert!(killer.join().unwrap(), "there was no server: {text}");
    assert!(!world.base("ran").exists() && began.elapsed() < Duration::from_secs(30), "{text}");
    assert!(matches!(outcome, Err(SandboxError::Setup { .. })), "{outcome:?}");
    assert!(fs::read_dir(world.base("proc")).is_err());
}
