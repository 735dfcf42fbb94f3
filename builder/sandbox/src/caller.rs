//! Programs that run as the user who started the process, although it became root of a user namespace.
//!
//! Such programs look the user up by number: ssh finds its configuration and known hosts in that user's home, whatever
//! HOME says. Takes a program; gives a command that starts it in a namespace of its own, where the number is the user's
//! again. No right is gained: what may be read and written stays the same.

use crate::{CALLER_ARGUMENT, sys};
use rustix::thread::UnshareFlags;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

/// User and group that this process had before it entered a namespace.
static CALLER: OnceLock<(u32, u32)> = OnceLock::new();

/// Keeps who the process is; to be called before it enters a namespace.
pub(crate) fn remember() {
    CALLER.get_or_init(|| (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()));
}

/// A command that starts a program as the user who started this process.
pub fn as_caller(program: impl AsRef<OsStr>) -> Command {
    let Some((uid, gid)) = CALLER.get() else { return Command::new(program) };
    let mut command = Command::new("/proc/self/exe");
    command.arg0("cooper").arg(CALLER_ARGUMENT).arg(uid.to_string()).arg(gid.to_string()).arg(program);
    command
}

/// The internal entry point: `UID GID PROGRAM ARGUMENT…`. Returns only when it fails.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let [uid, gid, program, arguments @ ..] = arguments else { return ExitCode::FAILURE };
    let failed = match become_caller(uid, gid) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(e) => e,
    };
    // Whoever waits reads what the program says; there is nobody else to tell.
    let _ = writeln!(io::stderr(), "starting {program} as user {uid}: {failed}");
    ExitCode::FAILURE
}

fn become_caller(uid: &str, gid: &str) -> io::Result<()> {
    let (own, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(UnshareFlags::NEWUSER)?;
    // Without it the kernel lets nobody map a group who has no rights outside.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{uid} {own} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {group} 1"))
}
