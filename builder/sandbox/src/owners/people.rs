//! Ids and groups of processes: asked for, changed, and lent by programs.

use super::SLACK;
use super::identity::{Identity, Ids, MOST_GROUPS};
use super::record::Place;
use super::server::{Format, Server};
use crate::answers::{Call, Replied, Reply};
use cooper_image::Owner;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

/// The file of `/proc/PID` that says who its thread is.
const WHO: &str = "timerslack_ns";
/// Most identities of one step.
const MOST: usize = 100_000;

/// Everybody that processes of a step have been.
#[derive(Debug)]
pub(super) struct People {
    known: Vec<Identity>,
}

impl People {
    /// At first all are who the step begins as.
    pub(super) fn new(first: Identity) -> Self {
        Self { known: vec![first] }
    }

    /// Who a call's thread is.
    pub(super) fn of(&self, call: &Call<'_>) -> Result<&Identity, Errno> {
        let number = match self.known.as_slice() {
            [only] => return Ok(only),
            _ => call.read_own(WHO)?.trim().parse::<u64>().ok().and_then(|slack| slack.checked_sub(SLACK)),
        };
        // A thread that has its own number changed lies about itself to itself.
        let number = number.and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
        self.known.get(number).or(self.known.first()).ok_or(Errno::SRCH)
    }

    /// Makes a call's thread somebody else.
    fn set(&mut self, call: &Call<'_>, identity: Identity) -> Result<(), Errno> {
        let number = match self.known.iter().position(|known| *known == identity) {
            Some(number) => number,
            None if self.known.len() >= MOST => return Err(Errno::AGAIN),
            None => {
                self.known.push(identity);
                self.known.len() - 1
            }
        };
        let file = call.open_own(WHO, OFlags::WRONLY)?;
        rustix::io::write(&file, (SLACK + number as u64).to_string().as_bytes())?;
        Ok(())
    }
}

fn told(server: &Server, call: &Call<'_>, id: impl Fn(&Identity) -> u32) -> Replied {
    Ok(Reply::Done(id(server.people.of(call)?).into()))
}

pub(super) fn getuid(server: &mut Server, call: &Call<'_>) -> Replied {
    told(server, call, |who| who.users.real)
}

pub(super) fn geteuid(server: &mut Server, call: &Call<'_>) -> Replied {
    told(server, call, |who| who.users.effective)
}

pub(super) fn getgid(server: &mut Server, call: &Call<'_>) -> Replied {
    told(server, call, |who| who.groups.real)
}

pub(super) fn getegid(server: &mut Server, call: &Call<'_>) -> Replied {
    told(server, call, |who| who.groups.effective)
}

pub(super) fn getresuid(server: &mut Server, call: &Call<'_>) -> Replied {
    write_three(call, server.people.of(call)?.users)
}

pub(super) fn getresgid(server: &mut Server, call: &Call<'_>) -> Replied {
    write_three(call, server.people.of(call)?.groups)
}

fn write_three(call: &Call<'_>, ids: Ids) -> Replied {
    for (number, id) in [ids.real, ids.effective, ids.saved].into_iter().enumerate() {
        call.write(call.argument(number), &id.to_ne_bytes())?;
    }
    Ok(Reply::Done(0))
}

pub(super) fn getgroups(server: &mut Server, call: &Call<'_>) -> Replied {
    let groups = &server.people.of(call)?.more_groups;
    let room = call.word(0) as i32;
    if room != 0 {
        if usize::try_from(room).map_err(|_| Errno::INVAL)? < groups.len() {
            return Err(Errno::INVAL);
        }
        let bytes: Vec<u8> = groups.iter().copied().flat_map(u32::to_ne_bytes).collect();
        if !bytes.is_empty() {
            call.write(call.argument(1), &bytes)?;
        }
    }
    Ok(Reply::Done(groups.len() as i64))
}

fn change(server: &mut Server, call: &Call<'_>, new: impl FnOnce(Identity) -> Result<Identity, Errno>) -> Replied {
    let identity = new(server.people.of(call)?.clone())?;
    server.people.set(call, identity)?;
    Ok(Reply::Done(0))
}

fn change_users(server: &mut Server, call: &Call<'_>, new: impl FnOnce(Ids, bool) -> Result<Ids, Errno>) -> Replied {
    change(server, call, |who| {
        let users = new(who.users, who.is_privileged())?;
        Ok(who.with_users(users))
    })
}

fn change_groups(server: &mut Server, call: &Call<'_>, new: impl FnOnce(Ids, bool) -> Result<Ids, Errno>) -> Replied {
    change(server, call, |who| Ok(Identity { groups: new(who.groups, who.is_privileged())?, ..who }))
}

pub(super) fn setuid(server: &mut Server, call: &Call<'_>) -> Replied {
    change_users(server, call, |ids, privileged| ids.set(call.word(0), privileged))
}

pub(super) fn setgid(server: &mut Server, call: &Call<'_>) -> Replied {
    change_groups(server, call, |ids, privileged| ids.set(call.word(0), privileged))
}

pub(super) fn setreuid(server: &mut Server, call: &Call<'_>) -> Replied {
    change_users(server, call, |ids, privileged| ids.set_two(call.word(0), call.word(1), privileged))
}

pub(super) fn setregid(server: &mut Server, call: &Call<'_>) -> Replied {
    change_groups(server, call, |ids, privileged| ids.set_two(call.word(0), call.word(1), privileged))
}

pub(super) fn setresuid(server: &mut Server, call: &Call<'_>) -> Replied {
    change_users(server, call, |ids, privileged| ids.set_three([0, 1, 2].map(|n| call.word(n)), privileged))
}

pub(super) fn setresgid(server: &mut Server, call: &Call<'_>) -> Replied {
    change_groups(server, call, |ids, privileged| ids.set_three([0, 1, 2].map(|n| call.word(n)), privileged))
}

/// Gives the former id, whether it changes or not.
pub(super) fn setfsuid(server: &mut Server, call: &Call<'_>) -> Replied {
    let former = server.people.of(call)?.users.files;
    change_users(server, call, |ids, privileged| Ok(ids.set_files(call.word(0), privileged)))?;
    Ok(Reply::Done(former.into()))
}

pub(super) fn setfsgid(server: &mut Server, call: &Call<'_>) -> Replied {
    let former = server.people.of(call)?.groups.files;
    // Who may change it depends on the user, as elsewhere.
    change_groups(server, call, |ids, privileged| Ok(ids.set_files(call.word(0), privileged)))?;
    Ok(Reply::Done(former.into()))
}

pub(super) fn setgroups(server: &mut Server, call: &Call<'_>) -> Replied {
    if !server.people.of(call)?.is_privileged() {
        return Err(Errno::PERM);
    }
    let count = usize::try_from(call.word(0) as i32).ok().filter(|count| *count <= MOST_GROUPS).ok_or(Errno::INVAL)?;
    let bytes = if count == 0 { Vec::new() } else { call.bytes(call.argument(1), count * size_of::<u32>())? };
    call.check()?;
    let groups = bytes.chunks_exact(size_of::<u32>()).map(|id| id.try_into().map_or(0, u32::from_ne_bytes));
    let more_groups = groups.collect();
    change(server, call, |who| Ok(Identity { more_groups, ..who }))
}

/// Whether capabilities outlast the change to another user than root. The kernel has its own idea of that, which is right
/// for a process that it takes for root throughout.
pub(super) fn prctl(server: &mut Server, call: &Call<'_>) -> Replied {
    let keeps = match call.word(0) as i32 {
        libc::PR_SET_KEEPCAPS => call.argument(1) != 0,
        _ => call.word(1) as i32 & (libc::SECBIT_KEEP_CAPS | libc::SECBIT_NO_SETUID_FIXUP) != 0,
    };
    if server.people.of(call)?.keeps != keeps {
        change(server, call, |who| Ok(Identity { keeps, ..who }))?;
    }
    Ok(Reply::Kernel)
}

pub(super) fn execve(server: &mut Server, call: &Call<'_>) -> Replied {
    let place = call.place_at(libc::AT_FDCWD as u32, call.argument(0), AtFlags::empty());
    Ok(executed(server, call, place))
}

pub(super) fn execveat(server: &mut Server, call: &Call<'_>) -> Replied {
    let flags = AtFlags::from_bits_retain(call.word(4));
    // Others do not execute (AT_EXECVE_CHECK), or are unknown here.
    if !(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW).contains(flags) {
        return Ok(Reply::Kernel);
    }
    let place = call.place_at(call.word(0), call.argument(1), flags);
    Ok(executed(server, call, place))
}

/// The kernel executes. A program with set-id bits lends its owner's rights, as elsewhere the kernel has it do.
fn executed(server: &mut Server, call: &Call<'_>, place: Result<Place, Errno>) -> Reply {
    // What cannot be found out changes nobody; whether it can be executed at all is the kernel's to say.
    place.and_then(|place| become_lent(server, call, &place)).map_or(Reply::Kernel, |()| Reply::Kernel)
}

/// Makes a call's thread who it is in the program, where the kernel will execute that as far as can be seen: nobody hears
/// of it when it does not.
fn become_lent(server: &mut Server, call: &Call<'_>, place: &Place) -> Result<(), Errno> {
    call.stand_by(server, place)?;
    let follow = if place.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    // One look at a path, so that all that follows is about one file.
    let program = rustix::fs::open(&place.path, OFlags::PATH | OFlags::CLOEXEC | follow, Mode::empty())?;
    let stat = rustix::fs::fstat(&program)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    let executable = mode.intersects(Mode::XUSR | Mode::XGRP | Mode::XOTH);
    if !executable || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    let who = server.people.of(call)?;
    let (forgets, lends) = (who.keeps || who.kept, mode.intersects(Mode::SUID | Mode::SGID));
    if !forgets && !lends {
        return Ok(());
    }
    let mount = rustix::fs::fstatvfs(&program)?.f_flag;
    let format = server.format_of(&program)?;
    if mount.contains(StatVfsMountFlags::NOEXEC) || format == Format::Other {
        return Ok(());
    }
    // Scripts lend nothing.
    let lends = lends && format == Format::Program && !mount.contains(StatVfsMountFlags::NOSUID);
    let (uid, gid) = if lends && !gains_nothing(call)? {
        let Owner { uid, gid } = server.records.get(place)?.unwrap_or_default();
        let lends_group = mode.contains(Mode::SGID | Mode::XGRP);
        (mode.contains(Mode::SUID).then_some(uid), lends_group.then_some(gid))
    } else {
        (None, None)
    };
    if !forgets && (uid, gid) == (None, None) {
        return Ok(());
    }
    let identity = server.people.of(call)?.executes(uid, gid);
    call.check()?;
    server.people.set(call, identity)
}

/// Is no_new_privs on?
fn gains_nothing(call: &Call<'_>) -> Result<bool, Errno> {
    Ok(call.read_own("status")?.lines().any(|line| line.strip_prefix("NoNewPrivs:").is_some_and(|on| on.trim() == "1")))
}
