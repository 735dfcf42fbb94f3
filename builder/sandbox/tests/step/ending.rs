//! How steps end, by themselves and by force: nothing of them may stay alive.

use crate::Test;
use crate::world::{World, processes_with};
use cooper_sandbox::{Access, Content, Mount, Outcome, SandboxError, Tier, run};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The argument that makes this program run one long step and nothing else.
pub const CALLER: &str = "--caller";

pub const TESTS: &[(&str, Test)] = &[
    ("exit_code_is_carried", exit_code_is_carried),
    ("daemon_does_not_outlive_the_step", daemon_does_not_outlive_the_step),
    ("cancel_kills_everything", cancel_kills_everything),
    ("death_of_the_set_up_process_kills_everything", death_of_the_set_up_process_kills_everything),
    ("death_of_the_caller_kills_everything", death_of_the_caller_kills_everything),
    ("threads_run_steps_side_by_side", threads_run_steps_side_by_side),
];

fn exit_code_is_carried(_: Tier) {
    let mut world = World::new();
    for code in [0, 1, 42, 255] {
        let (outcome, text) = world.try_sh(&format!("echo out; echo err >&2; exit {code}"));
        assert_eq!(outcome.unwrap(), Outcome::Exited(code));
        assert_eq!(text, "out\nerr\n");
    }
    let large = world.sh("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done");
    assert_eq!(large.len(), 220_000);
}

fn daemon_does_not_outlive_the_step(_: Tier) {
    let mut world = World::new();
    let mark = format!("98{:07}", std::process::id());
    let began = Instant::now();
    world.sh(&format!("setsid sleep {mark} & setsid sh -c 'sleep {mark}' & exit 0"));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(processes_with(&mark), 0);
}

fn cancel_kills_everything(_: Tier) {
    let mut world = World::new();
    let mark = format!("97{:07}", std::process::id());
    world.spec.argv =
        ["/bin/sh", "-c", &format!("trap '' TERM; sleep {mark} & sleep {mark}")].map(String::from).to_vec();
    let cancel = Arc::new(AtomicBool::new(false));
    let signal = Arc::clone(&cancel);
    let other = mark.clone();
    let thread = std::thread::spawn(move || {
        let limit = Instant::now() + Duration::from_secs(10);
        while processes_with(&other) < 2 && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(20));
        }
        let running = processes_with(&other);
        signal.store(true, Ordering::Relaxed);
        (running, Instant::now())
    });
    let outcome = run(&world.spec, &mut |_| {}, &cancel);
    let (running, asked) = thread.join().unwrap();
    assert!(running >= 2, "{running}");
    assert!(matches!(outcome, Err(SandboxError::Cancelled)), "{outcome:?}");
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert_eq!(processes_with(&mark), 0);
}

fn death_of_the_set_up_process_kills_everything(_: Tier) {
    let mut world = World::new();
    let mark = format!("96{:07}", std::process::id());
    let other = mark.clone();
    let thread = std::thread::spawn(move || {
        let limit = Instant::now() + Duration::from_secs(10);
        while processes_with(&other) < 2 && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(20));
        }
        let me = format!("PPid:\t{}\n", std::process::id());
        let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let status = fs::read_to_string(path.join("status")).ok()?;
            let pid = path.file_name()?.to_str()?.parse().ok()?;
            status.contains(&me).then_some(pid)
        });
        let children: Vec<i32> = children.collect();
        assert_eq!(children.len(), 1);
        let pid = rustix::process::Pid::from_raw(children[0]).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    });
    let (outcome, _) = world.try_sh(&format!("sleep {mark} & sleep {mark}"));
    thread.join().unwrap();
    assert!(matches!(outcome, Err(SandboxError::Lost { .. })), "{outcome:?}");
    let limit = Instant::now() + Duration::from_secs(1);
    while processes_with(&mark) > 0 && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(processes_with(&mark), 0);
}

/// Runs a step whose first program is setuid: at that, the kernel forgets the parent death signal.
pub fn play_the_caller(mark: &str) {
    let mut world = World::new();
    world.with_setuid("sleep");
    world.spec.user = "app".into();
    world.spec.argv = ["/suid/sleep", mark].map(String::from).to_vec();
    let (outcome, text) = world.try_run();
    println!("{outcome:?} {text}");
}

fn death_of_the_caller_kills_everything(_: Tier) {
    let dir = tempfile::tempdir().unwrap();
    let mark = format!("95{:07}", std::process::id());
    let mut caller = Command::new("/proc/self/exe");
    caller.args([CALLER, &mark]).env("TMPDIR", dir.path()).stdout(Stdio::null());
    let mut caller = caller.spawn().unwrap();
    // The caller has the mark among its arguments too; this is only the step, after its start.
    let step = format!("/suid/sleep\0{mark}");
    wait_until(|| processes_with(&step) == 1);
    let was_running = processes_with(&step);
    caller.kill().unwrap();
    caller.wait().unwrap();
    assert_eq!(was_running, 1);
    wait_until(|| processes_with(&mark) == 0);
    assert_eq!(processes_with(&mark), 0);
}

fn wait_until(condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(10);
    while !condition() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn threads_run_steps_side_by_side(_: Tier) {
    // The long step ends when the test says so, by a file in a directory that both see.
    let shared = tempfile::tempdir().unwrap();
    let content = Content::Host(shared.path().to_path_buf());
    let long = std::thread::spawn(move || {
        let mut world = World::new();
        world.spec.mounts.push(Mount { target: "/shared".into(), access: Access::ReadOnly, content });
        world.sh("until [ -e /shared/end ]; do sleep 0.02; done; echo long; cd /proc; echo [0-9]*")
    });
    for _ in 0..4 {
        // Each ends with its thread, while the other step runs.
        let short = std::thread::spawn(|| World::new().sh("echo short"));
        assert_eq!(short.join().unwrap(), "short\n");
    }
    assert!(!long.is_finished());
    std::fs::write(shared.path().join("end"), "").unwrap();
    assert_eq!(long.join().unwrap(), "long\n1\n");
}
