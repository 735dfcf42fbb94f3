//! What all processes of a step together may use.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{Outcome, Resources, SandboxError, Swap, Tier, check_resources};

pub const TESTS: &[(&str, Test)] =
    &[("limits_are_kept_or_refused", limits_are_kept_or_refused), ("root_can_limit", root_can_limit)];

const MEMORY: Resources = Resources {
    memory_bytes: Some(64 << 20),
    swap: Swap::None,
    cpu_period_share: None,
    cpu_shares: None,
    processes: None,
};
const PROCESSES: Resources = Resources { memory_bytes: None, swap: Swap::Usual, processes: Some(16), ..MEMORY };

/// Either the limit holds, or the step does not begin.
fn limits_are_kept_or_refused(_: Tier) {
    let mut world = World::new();
    for (resources, script, expected, said) in [
        (MEMORY, "x=a; while :; do x=$x$x; done", Outcome::OutOfMemory, ""),
        (MEMORY, "sh -c 'x=a; while :; do x=$x$x; done'; echo on", Outcome::DoneWithoutMemory, "on"),
        // The shell and fifteen that it starts.
        (
            PROCESSES,
            "i=1; while [ $i -lt 40 ]; do sleep 100 & echo $i; i=$((i+1)); done",
            Outcome::Exited(2),
            "can't fork",
        ),
    ] {
        world.spec.surroundings.resources = resources;
        let can = check_resources(&resources);
        let (ended, text) = world.try_sh(&format!(": > /began; {script}"));
        let began = std::fs::remove_file(world.upper("began")).is_ok();
        match can {
            Ok(()) => {
                assert_eq!(ended.unwrap(), expected, "{text}");
                assert!(began && text.contains(said), "{text}");
                let started: Vec<&str> = text.lines().filter(|line| line.parse::<u8>().is_ok()).collect();
                assert_eq!(started.len(), if resources == PROCESSES { 15 } else { 0 }, "{text}");
            }
            Err(error) => match ended {
                Err(refusal @ SandboxError::Unavailable { .. }) => {
                    assert_eq!((refusal.to_string(), refusal.hint()), (error.to_string(), error.hint()));
                    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
                    assert!(!began && text.is_empty(), "{text}");
                }
                other => panic!("{other:?}"),
            },
        }
    }
    // The same without a limit is not ended by one.
    world.spec.surroundings.resources = Resources::default();
    assert_eq!(world.sh("i=1; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done; echo $i"), "40\n");
    // What has no limits is as every step.
    assert_eq!(world.sh("cat /proc/self/cgroup | grep -c cooper-step; echo all"), "0\nall\n");
}

/// Where the machine's root may write to control groups, it can have each limit.
fn root_can_limit(tier: Tier) {
    let writable = std::fs::metadata("/sys/fs/cgroup/memory/cgroup.procs").is_ok();
    if tier != Tier::Root || !writable {
        return;
    }
    let all = Resources { cpu_period_share: Some(500_000), cpu_shares: Some(512), processes: Some(16), ..MEMORY };
    check_resources(&all).unwrap();
    let mut world = World::new();
    world.spec.surroundings.resources = all;
    world.sh("true");
}
