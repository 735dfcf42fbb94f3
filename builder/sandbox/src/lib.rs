//! Runs one process isolated, from a plain specification.
//!
//! Takes a [`StepSpec`]; gives the step's output and how it ended. `supervise` is the side that
//! waits, `init` the side that builds the world and becomes the step. It never runs a step in a
//! weaker world than the one described: every error on the way ends the step before it starts.
#![deny(unsafe_code)]

mod answers;
mod apparmor;
mod bound;
mod caller;
mod caps;
mod cgroup;
mod container;
mod cwd;
mod dev;
mod error;
mod foreign;
mod gate;
mod ground;
mod holds;
mod idmap;
mod init;
mod isolated;
mod kernel_fs;
mod leftover;
mod limits;
mod mount_api;
mod mounts;
mod overlay;
mod own_program;
mod owners;
mod probe;
mod protocol;
mod provided;
mod seccomp;
mod seccomp_table;
mod set_up;
mod shell;
mod spec;
mod supervise;
mod sys;
mod trial;
mod user;

use std::process::ExitCode;

pub use caller::as_caller;
pub use container::{OWN_NAMES, check_secret_file, check_surroundings, not_in_a_chroot, unlimited_tmpfs};
pub use error::SandboxError;
pub use foreign::check_foreign;
pub use ground::{ELSEWHERE, Rooting, probe_store, rooting};
pub use holds::mappings_tell;
pub use idmap::{Tier, enter_user_namespace, lacking_ids, unmapped};
pub use isolated::check_network;
pub use probe::{Finding, Report, check_kernel, probe};
pub use protocol::Stage;
pub use provided::PROVIDED;
pub use set_up::Standby;
pub use shell::{enter, has_terminal};
pub use spec::{
    Access, Bound, Content, Files, Limit, Mount, Network, Private, Resource, Resources, Security, Stack, StepSpec,
    Streams, Surroundings, Swap, Whole,
};
pub use supervise::{Next, Outcome, check_resources, run, run_in_turn};

/// The first argument of a process that sets up a step.
const INIT_ARGUMENT: &str = "__init";
/// The first argument of a process that writes another's id map.
const IDMAP_ARGUMENT: &str = "__idmap";
/// The first argument of a process that becomes the helper of a network.
const NETWORK_ARGUMENT: &str = "__network";
/// The first argument of a process that tries the overlay file system.
const TRIAL_ARGUMENT: &str = "__trial";
/// The first argument of a process that starts a program as the caller.
const CALLER_ARGUMENT: &str = "__caller";

/// Serves the internal entry points of the executable. Every program that calls [`run`] or
/// [`enter_user_namespace`] calls this first in `main` with its whole argument list, and ends with
/// the code when there is one.
pub fn dispatch_internal(args: &[String]) -> Option<ExitCode> {
    match args.get(1).map(String::as_str) {
        Some(INIT_ARGUMENT) => Some(init::main()),
        Some(IDMAP_ARGUMENT) => Some(idmap::helper(args.get(2).map_or("", String::as_str))),
        Some(NETWORK_ARGUMENT) => Some(isolated::main(args.get(2..).unwrap_or_default())),
        Some(TRIAL_ARGUMENT) => Some(trial::main(args.get(2..).unwrap_or_default())),
        Some(CALLER_ARGUMENT) => Some(caller::main(args.get(2..).unwrap_or_default())),
        _ => None,
    }
}
