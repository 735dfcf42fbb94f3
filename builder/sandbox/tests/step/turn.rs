//! Steps that follow each other: the process of the next one is there before it, and gone when none comes.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{Access, Content, Mount, Next, Outcome, Standby, Tier, run_in_turn};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub const TESTS: &[(&str, Test)] = &[
    ("the_next_step_has_its_process_before", the_next_step_has_its_process_before),
    ("none_is_left_when_no_step_comes", none_is_left_when_no_step_comes),
    ("one_that_was_killed_keeps_no_step", one_that_was_killed_keeps_no_step),
];

/// What `/proc` says of a process: the letter of its state, and its parent.
fn state(pid: u32) -> Option<(char, u32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = line.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Set-up processes that this process has started and that live. By their parent: what the threads of this process list as
/// their children can be in no list while a thread ends.
fn set_ups() -> Vec<u32> {
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pids = names.filter_map(|name| name.parse().ok());
    let is_own = |pid: &u32| state(*pid).is_some_and(|(_, parent)| parent == std::process::id());
    let is_set_up = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').nth(1) == Some("__init")
    };
    pids.filter(is_own).filter(is_set_up).collect()
}

/// Waits until there are so many, and gives them.
fn until(wanted: usize) -> Vec<u32> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let found = set_ups();
        if found.len() == wanted {
            return found;
        }
        assert!(Instant::now() < limit, "{found:?} instead of {wanted}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A world of steps that go on when they have been seen.
fn world() -> World {
    let mut world = World::new();
    let host = world.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    let mount = Mount { target: "/host".into(), access: Access::ReadOnly, content: Content::Host(host) };
    world.spec.mounts.push(mount);
    let script = "echo began; while [ ! -e /host/seen ]; do sleep 0.01; done";
    world.spec.argv = ["/bin/sh", "-c", script].map(str::to_owned).into();
    world
}

/// Runs a step to its end, and gives the set-up processes that there were meanwhile.
fn step(world: &mut World, standby: &Standby, next: Next) -> Vec<u32> {
    let seen = world.dir.path().join("host/seen");
    let (mut said, mut found) = (String::new(), Vec::new());
    let mut output = |bytes: &[u8]| {
        said.push_str(&String::from_utf8_lossy(bytes));
        found = until(if next == Next::Step { 2 } else { 1 });
        fs::write(&seen, "").unwrap();
    };
    let outcome = run_in_turn(&world.spec, (standby, next), &mut output, &AtomicBool::new(false));
    assert!(matches!(outcome, Ok(Outcome::Exited(0))), "{outcome:?} {said}");
    assert_eq!(said, "began\n");
    fs::remove_file(seen).unwrap();
    // What the next step of a build would find: a new, empty work directory.
    let work = world.stack().work.clone();
    fs::remove_dir_all(&work).unwrap();
    fs::create_dir(&work).unwrap();
    found
}

fn the_next_step_has_its_process_before(_: Tier) {
    let mut world = world();
    let standby = Standby::default();
    until(0);
    let first = step(&mut world, &standby, Next::Step);
    let ready = until(1);
    assert!(first.contains(&ready[0]), "it was started beside the first step");
    assert_eq!(step(&mut world, &standby, Next::Nothing), ready);
    until(0);
}

fn none_is_left_when_no_step_comes(_: Tier) {
    let mut world = world();
    until(0);
    let standby = Standby::default();
    step(&mut world, &standby, Next::Step);
    until(1);
    drop(standby);
    assert_eq!(set_ups(), [0; 0], "they are waited for");
    // It was asked for, and no step came at all.
    let standby = Standby::default();
    standby.prepare();
    drop(standby);
    assert_eq!(set_ups(), [0; 0]);
}

fn one_that_was_killed_keeps_no_step(_: Tier) {
    let mut world = world();
    until(0);
    let standby = Standby::default();
    standby.prepare();
    let ready = until(1);
    kill_process(Pid::from_raw(ready[0] as i32).unwrap(), Signal::KILL).unwrap();
    while state(ready[0]).is_some_and(|(state, _)| state != 'Z') {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_ne!(step(&mut world, &standby, Next::Nothing), ready);
}
