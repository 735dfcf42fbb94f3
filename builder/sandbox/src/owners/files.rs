//! Calls about files: whose they are, whose they become, and whose those are that are made.
//!
//! A file that is made for root needs no record, so the kernel makes it. Others are made here, where the name is free, and
//! recorded before their maker knows of them. What the kernel would ask the maker's ids for is not asked: all are the same
//! to it.

use super::calls::MAKES;
use super::place::descriptor;
use super::record::{From, Place};
use super::server::Server;
use crate::answers::{Call, Replied, Reply};
use crate::sys;
use cooper_image::Owner;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd as _;

/// An id that `chown` leaves as it is.
const UNCHANGED: u32 = u32::MAX;
/// Longest chain of links at whose end a file is made.
const LINKS: usize = 16;
pub(super) const HERE: u32 = libc::AT_FDCWD as u32;
/// The size of `struct open_how` when it was new; what is behind it are questions that nobody knows here.
const OPEN_HOW: usize = 24;

pub(super) fn fstatat(server: &mut Server, call: &Call<'_>) -> Replied {
    told(server, call, (call.word(0), 1, 2), AtFlags::from_bits_retain(call.word(3)))
}

/// Directory, and the numbers of the arguments with the path and with the place for the answer.
pub(super) fn told(
    server: &mut Server,
    call: &Call<'_>,
    (directory, path, to): (u32, usize, usize),
    flags: AtFlags,
) -> Replied {
    // What cannot be looked up here is the kernel's to explain.
    let Ok(place) = call.place_at(directory, call.argument(path), flags) else { return Ok(Reply::Kernel) };
    tell(server, call, place, to)
}

pub(super) fn fstat(server: &mut Server, call: &Call<'_>) -> Replied {
    tell(server, call, descriptor(call.word(0))?, 1)
}

fn tell(server: &mut Server, call: &Call<'_>, mut place: Place, to: usize) -> Replied {
    let Some(Owner { uid, gid }) = recorded(server, call, &mut place) else { return Ok(Reply::Kernel) };
    let stat = sys::stat_as(&place.path, place.follow, (uid, gid)).map_err(|error| errno(&error))?;
    call.write(call.argument(to), &stat)?;
    Ok(Reply::Done(0))
}

pub(super) fn statx(server: &mut Server, call: &Call<'_>) -> Replied {
    let flags = AtFlags::from_bits_retain(call.word(2));
    let Ok(mut place) = call.place_at(call.word(0), call.argument(1), flags) else { return Ok(Reply::Kernel) };
    let Some(Owner { uid, gid }) = recorded(server, call, &mut place) else { return Ok(Reply::Kernel) };
    // What an empty path stands for has a path here, which has to be followed.
    let nofollow = if place.follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let flags = flags.difference(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW) | nofollow;
    let stat = sys::statx_as(&place.path, flags.bits() as i32, call.word(3), (uid, gid));
    call.write(call.argument(4), &stat.map_err(|error| errno(&error))?)?;
    Ok(Reply::Done(0))
}

/// The owner that the kernel does not know.
fn recorded(server: &Server, call: &Call<'_>, place: &mut Place) -> Option<Owner> {
    look(server, call, place).ok().flatten().filter(|owner| *owner != Owner::ROOT)
}

/// What is recorded of a file, and its place by another way where a link leads to a descriptor of the process.
fn look(server: &Server, call: &Call<'_>, place: &mut Place) -> Result<Option<Owner>, Errno> {
    call.stand_by(server, place)?;
    match server.records.get(place) {
        Err(Errno::NOENT) if place.follow => {}
        other => return other,
    }
    for _ in 0..LINKS {
        let link = rustix::fs::readlink(&place.path, Vec::new()).map_err(|_| Errno::NOENT)?;
        *place = led_on(call, place, link)?;
        call.stand_by(server, place)?;
        if place.from == From::Descriptors {
            return server.records.get(place);
        }
    }
    Err(Errno::NOENT)
}

/// Where a link leads.
fn led_on(call: &Call<'_>, place: &Place, link: CString) -> Result<Place, Errno> {
    if link.as_bytes().starts_with(b"/") {
        return call.place(HERE, link.into_bytes(), true);
    }
    let path = [parent(&place.path)?.as_bytes(), link.as_bytes()].concat();
    Ok(Place { path: CString::new(path).map_err(|_| Errno::INVAL)?, ..place.clone() })
}

pub(super) fn fchownat(server: &mut Server, call: &Call<'_>) -> Replied {
    let flags = AtFlags::from_bits_retain(call.word(4));
    if !(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW).contains(flags) {
        return Err(Errno::INVAL);
    }
    let place = call.place_at(call.word(0), call.argument(1), flags)?;
    give(server, call, place, (call.word(2), call.word(3)))
}

pub(super) fn fchown(server: &mut Server, call: &Call<'_>) -> Replied {
    match give(server, call, descriptor(call.word(0))?, (call.word(1), call.word(2))) {
        // No such descriptor.
        Err(Errno::NOENT) => Err(Errno::BADF),
        other => other,
    }
}

/// As the kernel does it, to the only owner that it knows; then the record. That order is right for it takes set-id bits
/// and capabilities away, and with these the records of links.
pub(super) fn give(server: &mut Server, call: &Call<'_>, mut place: Place, (uid, gid): (u32, u32)) -> Replied {
    let now = look(server, call, &mut place)?.unwrap_or_default();
    let owner = server.people.of(call)?.chown(now, uid, gid)?;
    call.check()?;
    let given = |id: u32| (id != UNCHANGED).then_some(0);
    let (to_user, to_group) = (given(uid).map(Uid::from_raw), given(gid).map(Gid::from_raw));
    let flags = if place.follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    rustix::fs::chownat(CWD, &place.path, to_user, to_group, flags)?;
    server.records.set(&place, owner)?;
    Ok(Reply::Done(0))
}

/// Whose a new file is there; nothing when the kernel makes it as it should be.
fn maker(server: &Server, call: &Call<'_>, place: &Place) -> Result<Option<Owner>, Errno> {
    let mut owner = server.people.of(call)?.makes();
    let above = Place { from: place.from.clone(), path: parent(&place.path)?, follow: true };
    call.stand_by(server, &above)?;
    if Mode::from_raw_mode(rustix::fs::stat(&above.path)?.st_mode).contains(Mode::SGID) {
        owner.gid = server.records.get(&above)?.unwrap_or_default().gid;
    }
    Ok((owner != Owner::ROOT).then_some(owner))
}

/// The directory in which a path names something.
fn parent(path: &CString) -> Result<CString, Errno> {
    let path = path.as_bytes();
    let named = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let cut = path.get(..named).and_then(|path| path.iter().rposition(|byte| *byte == b'/'));
    let above = match (cut, path) {
        (Some(cut), _) => path.get(..=cut).unwrap_or_default(),
        (None, [b'/', ..]) => b"/",
        (None, _) => b"./",
    };
    CString::new(above).map_err(|_| Errno::INVAL)
}

/// Makes a file as the kernel would for the call: with its process's mask.
fn make(
    server: &mut Server,
    call: &Call<'_>,
    place: &Place,
    make: impl FnOnce(&CString) -> rustix::io::Result<()>,
) -> Replied {
    let owner = match maker(server, call, place) {
        Ok(Some(owner)) => owner,
        // Also when it cannot be made: the kernel says why.
        _ => return Ok(Reply::Kernel),
    };
    let mask = mask(call)?;
    call.check()?;
    let before = rustix::process::umask(mask);
    let made = make(&place.path);
    rustix::process::umask(before);
    if made.is_err() {
        return Ok(Reply::Kernel);
    }
    let itself = Place { follow: false, ..place.clone() };
    server.records.set(&itself, owner).inspect_err(|_| unmake(&place.path))?;
    Ok(Reply::Done(0))
}

/// Takes away what was just made and cannot be recorded; what is in the way of that stays.
fn unmake(path: &CString) {
    if let Err(Errno::ISDIR) = rustix::fs::unlink(path) {
        let _ = rustix::fs::rmdir(path);
    }
}

fn mask(call: &Call<'_>) -> Result<Mode, Errno> {
    let status = call.read_own("status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let mask = mask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    mask.map(Mode::from_raw_mode).ok_or(Errno::SRCH)
}

pub(super) fn mkdirat(server: &mut Server, call: &Call<'_>) -> Replied {
    made_directory(server, call, (call.word(0), 1))
}

pub(super) fn made_directory(server: &mut Server, call: &Call<'_>, (directory, path): (u32, usize)) -> Replied {
    let place = call.place_at(directory, call.argument(path), AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(call.word(path + 1));
    make(server, call, &place, |path| rustix::fs::mkdir(path, mode))
}

pub(super) fn mknodat(server: &mut Server, call: &Call<'_>) -> Replied {
    made_node(server, call, (call.word(0), 1))
}

pub(super) fn made_node(server: &mut Server, call: &Call<'_>, (directory, path): (u32, usize)) -> Replied {
    let bits = call.word(path + 1);
    // Devices are the kernel's to refuse.
    let kind = match bits & libc::S_IFMT {
        0 | libc::S_IFREG => FileType::RegularFile,
        libc::S_IFIFO => FileType::Fifo,
        libc::S_IFSOCK => FileType::Socket,
        _ => return Ok(Reply::Kernel),
    };
    let place = call.place_at(directory, call.argument(path), AtFlags::SYMLINK_NOFOLLOW)?;
    make(server, call, &place, |path| rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(bits), 0))
}

pub(super) fn symlinkat(server: &mut Server, call: &Call<'_>) -> Replied {
    made_link(server, call, (call.word(1), 2))
}

pub(super) fn made_link(server: &mut Server, call: &Call<'_>, (directory, path): (u32, usize)) -> Replied {
    let target = CString::new(call.string(call.argument(0))?).map_err(|_| Errno::INVAL)?;
    let place = call.place_at(directory, call.argument(path), AtFlags::SYMLINK_NOFOLLOW)?;
    make(server, call, &place, |path| rustix::fs::symlink(&target, path))
}

/// How a file is opened that may have to be made.
pub(super) struct Opening {
    pub flags: OFlags,
    pub mode: Mode,
}

pub(super) fn openat(server: &mut Server, call: &Call<'_>) -> Replied {
    let place = call.place_at(call.word(0), call.argument(1), AtFlags::empty())?;
    let flags = OFlags::from_bits_retain(call.word(2));
    opened(server, call, place, &Opening { flags, mode: Mode::from_raw_mode(call.word(3)) })
}

/// One that confines the look-up is left to the kernel: what it makes is root's.
pub(super) fn openat2(server: &mut Server, call: &Call<'_>) -> Replied {
    let how = call.bytes(call.argument(2), OPEN_HOW)?;
    let mut words = how.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
    let (flags, mode, resolve) = (words.next(), words.next(), words.next());
    let flags = flags.and_then(|flags| u32::try_from(flags).ok()).unwrap_or_default();
    if call.argument(3) != OPEN_HOW as u64 || flags & MAKES == 0 || resolve != Some(0) {
        return Ok(Reply::Kernel);
    }
    let mode = Mode::from_raw_mode(mode.unwrap_or_default() as u32);
    let place = call.place_at(call.word(0), call.argument(1), AtFlags::empty())?;
    opened(server, call, place, &Opening { flags: OFlags::from_bits_retain(flags), mode })
}

pub(super) fn opened(server: &mut Server, call: &Call<'_>, mut place: Place, how: &Opening) -> Replied {
    if how.flags.contains(OFlags::PATH) || place.from == From::Descriptors {
        return Ok(Reply::Kernel);
    }
    if how.flags.bits() & MAKES & !OFlags::CREATE.bits() != 0 {
        // Of a file without a name the path is its directory.
        place.path = CString::new([place.path.as_bytes(), b"/."].concat()).map_err(|_| Errno::INVAL)?;
        return open_new(server, call, &place, how);
    }
    for _ in 0..LINKS {
        match open_new(server, call, &place, how) {
            // A link to where nothing is: the file is made there.
            Err(Errno::EXIST) => {
                let Ok(link) = rustix::fs::readlink(&place.path, Vec::new()) else { return Ok(Reply::Kernel) };
                // What these are depends on whose they are, and they are there.
                if link.as_bytes().starts_with(b"/proc/") {
                    return Ok(Reply::Kernel);
                }
                place = led_on(call, &place, link)?;
            }
            other => return other,
        }
    }
    Ok(Reply::Kernel)
}

/// Makes a file that is not there, records it and hands it out. One that is there is never opened here: `EEXIST` where a
/// link may lead further, else the kernel opens it, or says why it cannot be made.
fn open_new(server: &mut Server, call: &Call<'_>, place: &Place, how: &Opening) -> Replied {
    let owner = match maker(server, call, place) {
        Ok(Some(owner)) => owner,
        _ => return Ok(Reply::Kernel),
    };
    let mask = mask(call)?;
    call.check()?;
    let only_new = OFlags::EXCL | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    // Of a file without a name EXCL says something else.
    let only_new = if how.flags.contains(OFlags::CREATE) { only_new } else { OFlags::CLOEXEC };
    let before = rustix::process::umask(mask);
    let file = rustix::fs::open(&place.path, how.flags | only_new, how.mode);
    rustix::process::umask(before);
    let file = match file {
        Ok(file) => file,
        Err(Errno::EXIST) if !how.flags.intersects(OFlags::EXCL | OFlags::NOFOLLOW) => return Err(Errno::EXIST),
        Err(_) => return Ok(Reply::Kernel),
    };
    let named = how.flags.contains(OFlags::CREATE);
    server.records.give(file.as_fd(), owner).inspect_err(|_| {
        if named {
            unmake(&place.path)
        }
    })?;
    call.give(file.as_fd(), how.flags.contains(OFlags::CLOEXEC))
}

/// From now on processes have roots of their own.
pub(super) fn chroot(server: &mut Server, _: &Call<'_>) -> Replied {
    server.expect_other_roots();
    Ok(Reply::Kernel)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_paths() {
        for (path, above) in [
            ("/a", "/"),
            ("/a/b", "/a/"),
            ("/a/b/", "/a/"),
            ("/a//b//", "/a//"),
            ("x", "./"),
            ("x/", "./"),
            ("x/y", "x/"),
            ("../x", "../"),
            ("/a/.", "/a/"),
            ("/", "/"),
        ] {
            assert_eq!(parent(&CString::new(path).unwrap()), Ok(CString::new(above).unwrap()), "{path}");
        }
    }
}
