//! Runs real steps in a tiny root made from busybox, as root and as an ordinary user.
//! A program of its own, because steps start by executing the program that asks for them; for the
//! same reason it plays the parts that tests need: the caller that is killed, the probe in a step.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod beside;
mod chroot;
mod classes;
mod ending;
mod faults;
mod isolation;
mod layer;
mod limits;
mod looks;
mod mounts;
mod owners;
mod people;
mod probe;
mod proc;
mod refusal;
mod secrets;
mod turn;
mod world;

use cooper_sandbox::Tier;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitCode};
use tempfile::TempDir;

const USER: &str = "coopertest";
/// One who has no subordinate ids.
const OTHER_USER: &str = "nobody";

/// A test; it fails by panicking.
type Test = fn(Tier);
const GROUPS: &[&[(&str, Test)]] = &[
    chroot::TESTS,
    proc::TESTS,
    secrets::TESTS,
    isolation::TESTS,
    ending::TESTS,
    layer::TESTS,
    limits::TESTS,
    mounts::TESTS,
    owners::TESTS,
    people::TESTS,
    refusal::TESTS,
    turn::TESTS,
    faults::TESTS,
    classes::TESTS,
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(code) = faults::dispatch(&args) {
        return code;
    }
    if let Some(code) = cooper_sandbox::dispatch_internal(&args).or_else(|| probe::dispatch(&args)) {
        return code;
    }
    let tier = match cooper_sandbox::enter_user_namespace() {
        Ok(tier) => tier,
        Err(error) => {
            println!("FAILED: no sandbox: {error}; {}", error.hint().unwrap_or_default());
            return ExitCode::FAILURE;
        }
    };
    if args.get(1).is_some_and(|arg| arg == ending::CALLER) {
        ending::play_the_caller(args.get(2).unwrap());
        return ExitCode::SUCCESS;
    }
    if args.get(1).is_some_and(|arg| arg == faults::SWEEP) {
        faults::sweep(tier);
        return ExitCode::SUCCESS;
    }
    let measure = match args.get(1).map(String::as_str) {
        Some("--time") => Some(beside::alone as fn()),
        Some("--time-beside") => Some(beside::beside_peers as fn()),
        Some("--time-proc") => Some(proc::time as fn()),
        _ => None,
    };
    if let Some(measure) = measure {
        measure();
        return ExitCode::SUCCESS;
    }
    if args.get(1).is_some_and(|arg| arg == "--time-owners") {
        owners::time(tier);
        return ExitCode::SUCCESS;
    }
    let wanted = args.get(1).filter(|arg| !arg.starts_with('-')).cloned().unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in GROUPS.iter().copied().flatten().filter(|(name, _)| name.contains(&wanted)) {
        match std::panic::catch_unwind(|| test(tier)) {
            Ok(()) => passed += 1,
            Err(_) => {
                println!("FAILED ({tier:?}): {name}");
                failed += 1;
            }
        }
    }
    println!("{tier:?}: {passed} passed; {failed} failed");
    let again = tier == Tier::Root && !args.iter().any(|arg| arg == "--only-this-user");
    // Both, whatever becomes of the first.
    let ordinary = !again || [USER, OTHER_USER].map(|user| as_ordinary_user(user, &wanted)) == [true; 2];
    if failed == 0 && passed > 0 && ordinary { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all again without privileges.
fn as_ordinary_user(user: &str, wanted: &str) -> bool {
    let dir = copy_for_everybody();
    // As a program in a home is: its owner is root in the steps.
    assert!(Command::new("chown").arg(user).arg(dir.path().join("step")).status().unwrap().success());
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--"]).arg(dir.path().join("step")).arg(wanted).env_remove("TMPDIR").current_dir("/");
    command.status().unwrap().success()
}

/// A copy of this program that the ordinary user, who exists afterwards, may execute.
fn copy_for_everybody() -> TempDir {
    let known = Command::new("id").arg(USER).output().is_ok_and(|id| id.status.success());
    if !known {
        assert!(Command::new("useradd").args(["-m", USER]).status().unwrap().success());
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("step");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}
