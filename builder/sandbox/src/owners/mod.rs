//! Owners that are recorded and not the kernel's: for a user who has no other id than their own.
//!
//! Everything on the disk belongs to that user, who is root in the step. What a step does with owners (`chown`, `stat`,
//! `setuid`, …) is answered by a process of ours, the server: a filter of system calls has the kernel ask it. Whose a file
//! is stands beside the file (`cooper_image::owner`), where later steps and the layer find it. Who a process takes itself
//! for is told by a number that the kernel hands on from parent to child, and keeps over exec and the parent's death: the
//! slack of its timers, in nanoseconds. Everybody begins at one number, and each further one is an identity more.
//!
//! | file | concern |
//! |---|---|
//! | `calls` | which calls are answered, and by what |
//! | `place` | where the paths of a call lead |
//! | `files` | `stat`, `chown`, and files that are made for another owner than root |
//! | `older` | the same by calls that not every architecture has |
//! | `people` | ids and groups of processes |
//! | `identity` | the rules by which they change |
//! | `record` | owners beside files |
//! | `server` | the process that answers |
//!
//! Nothing that keeps a step in its place depends on the server. To files it has no right that root of the step has not;
//! beyond that it may look into processes (CAP_SYS_PTRACE) and set the slack of their timers (CAP_SYS_NICE), both in the
//! user namespace of the step alone. It looks every path up in the step's mounts, and what a step has it see between two
//! looks is a lie of the step to itself. It must never: hold a way out of those mounts that a path can take, open a file
//! that is there already (but to read how a program begins that is about to be executed), or be missing while the step
//! runs.

mod calls;
mod files;
mod identity;
#[cfg(target_arch = "x86_64")]
mod older;
mod people;
mod place;
mod record;
mod server;

pub(crate) use record::give;
pub(crate) use server::{Serving, serve};

use crate::answers::Link;
use crate::user::Identity;
use crate::{SandboxError, probe, seccomp, sys};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;

/// The slack of timers of whoever is who the step begins as, in nanoseconds: the usual one.
const SLACK: u64 = 50_000;

/// Makes this process who the step begins as, and has it and its children asked about. From here on what they do with
/// owners is answered; the calls have to be allowed by the filters that are there already.
pub(crate) fn ask_about_this_process(link: &Link, mounts: &OwnedFd, user: &Identity) -> io::Result<()> {
    rustix::thread::set_current_timer_slack(NonZeroU64::new(SLACK))?;
    let killable = probe::is_linux(5, 19);
    let listener = seccomp::install_asking(killable, calls::asked(), seccomp::Besides::KeepsSlack)?;
    server::hand_over(link, &listener, mounts, user)
}

/// The server looks into the step's processes. Sees at once, in the user namespace of steps, whether any process may.
///
/// # Errors
/// What forbids it; `lacking` is why there are no ids, with which it would not be needed.
pub(crate) fn prove_looks(lacking: &SandboxError) -> Result<(), SandboxError> {
    if sys::may_look_into_children(sys::read_memory).map_err(SandboxError::io("look into a child process"))? {
        return Ok(());
    }
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    Err(no_looks(yama.trim() == "3", lacking))
}

fn no_looks(by_yama: bool, lacking: &SandboxError) -> SandboxError {
    let (cause, hint) = if by_yama {
        ("kernel.yama.ptrace_scope is 3", "set kernel.yama.ptrace_scope=2 in /etc/sysctl.d and start the machine anew")
    } else {
        (
            "AppArmor, a seccomp profile or the kernel denies it",
            "let whatever confines this process allow `ptrace` and process_vm_readv",
        )
    };
    let more = lacking.hint().unwrap_or_default();
    SandboxError::Unavailable {
        feature: "a record of owners",
        cause: format!("no process may look into another: {cause}"),
        hint: format!("{hint}; or have more ids than one: {more}"),
    }
}

/// Whether the kernel is new enough (5.14: descriptors as answers).
pub(crate) fn are_recorded_here() -> bool {
    probe::is_linux(5, 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_forbids_looks_is_named() {
        let lacking = SandboxError::Unavailable { feature: "ids", cause: "none".into(), hint: "usermod …".into() };
        prove_looks(&lacking).unwrap();
        for (by_yama, cause, hint) in [
            (true, "no process may look into another: kernel.yama.ptrace_scope is 3", "set kernel.yama.ptrace_scope=2"),
            (false, "another: AppArmor, a seccomp profile or the kernel denies it", "let whatever confines"),
        ] {
            let error = no_looks(by_yama, &lacking);
            let said = error.hint().unwrap();
            assert!(error.to_string().ends_with(cause), "{error}");
            assert!(said.starts_with(hint) && said.ends_with("; or have more ids than one: usermod …"), "{said}");
        }
    }
}
