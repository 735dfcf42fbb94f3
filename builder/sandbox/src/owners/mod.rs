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
mod people;
mod place;
mod record;
mod server;

pub(crate) use record::give;
pub(crate) use server::{Serving, serve};

use crate::answers::Link;
use crate::user::Identity;
use crate::{probe, seccomp};
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

/// Whether the kernel is new enough (5.14: descriptors as answers).
pub(crate) fn are_recorded_here() -> bool {
    probe::is_linux(5, 14)
}
