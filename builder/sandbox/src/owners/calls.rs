//! The calls that are answered here, as one table for the filter and for the server.

#[cfg(target_arch = "x86_64")]
use super::older;
use super::server::Server;
use super::{files, people};
use crate::answers::{Asks, Call, Replied, Table};

/// Answers one kind of call.
pub(super) type Handler = fn(&mut Server, &Call<'_>) -> Replied;

/// O_CREAT, and the bit of O_TMPFILE that O_DIRECTORY has not.
pub(super) const MAKES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

const EVERYWHERE: Table<Handler> = &[
    (libc::SYS_newfstatat, Asks::Always, files::fstatat),
    (libc::SYS_fstat, Asks::Always, files::fstat),
    (libc::SYS_statx, Asks::Always, files::statx),
    (libc::SYS_fchownat, Asks::Always, files::fchownat),
    (libc::SYS_fchown, Asks::Always, files::fchown),
    (libc::SYS_openat, Asks::Bits(2, MAKES), files::openat),
    (libc::SYS_openat2, Asks::Always, files::openat2),
    (libc::SYS_mkdirat, Asks::Always, files::mkdirat),
    (libc::SYS_mknodat, Asks::Always, files::mknodat),
    (libc::SYS_symlinkat, Asks::Always, files::symlinkat),
    (libc::SYS_execve, Asks::Always, people::execve),
    (libc::SYS_execveat, Asks::Always, people::execveat),
    (libc::SYS_chroot, Asks::Always, files::chroot),
    (libc::SYS_getuid, Asks::Always, people::getuid),
    (libc::SYS_geteuid, Asks::Always, people::geteuid),
    (libc::SYS_getgid, Asks::Always, people::getgid),
    (libc::SYS_getegid, Asks::Always, people::getegid),
    (libc::SYS_getresuid, Asks::Always, people::getresuid),
    (libc::SYS_getresgid, Asks::Always, people::getresgid),
    (libc::SYS_getgroups, Asks::Always, people::getgroups),
    (libc::SYS_setuid, Asks::Always, people::setuid),
    (libc::SYS_setgid, Asks::Always, people::setgid),
    (libc::SYS_setreuid, Asks::Always, people::setreuid),
    (libc::SYS_setregid, Asks::Always, people::setregid),
    (libc::SYS_setresuid, Asks::Always, people::setresuid),
    (libc::SYS_setresgid, Asks::Always, people::setresgid),
    (libc::SYS_setfsuid, Asks::Always, people::setfsuid),
    (libc::SYS_setfsgid, Asks::Always, people::setfsgid),
    (libc::SYS_setgroups, Asks::Always, people::setgroups),
    (libc::SYS_prctl, Asks::Is(0, libc::PR_SET_KEEPCAPS as u32), people::prctl),
    (libc::SYS_prctl, Asks::Is(0, libc::PR_SET_SECUREBITS as u32), people::prctl),
];

/// The older ones of this architecture.
#[cfg(target_arch = "x86_64")]
const HERE: Table<Handler> = &[
    (libc::SYS_stat, Asks::Always, older::stat),
    (libc::SYS_lstat, Asks::Always, older::lstat),
    (libc::SYS_chown, Asks::Always, older::chown),
    (libc::SYS_lchown, Asks::Always, older::lchown),
    (libc::SYS_open, Asks::Bits(1, MAKES), older::open),
    (libc::SYS_creat, Asks::Always, older::creat),
    (libc::SYS_mkdir, Asks::Always, older::mkdir),
    (libc::SYS_mknod, Asks::Always, older::mknod),
    (libc::SYS_symlink, Asks::Always, older::symlink),
];
#[cfg(not(target_arch = "x86_64"))]
const HERE: Table<Handler> = &[];

/// What the filter asks about.
pub(super) fn asked() -> impl Iterator<Item = (i64, Asks)> {
    EVERYWHERE.iter().chain(HERE).map(|(number, asks, _)| (*number, *asks))
}

/// What answers a call.
pub(super) fn handler(number: i64) -> Option<Handler> {
    EVERYWHERE.iter().chain(HERE).find(|(known, ..)| *known == number).map(|(.., handler)| *handler)
}
