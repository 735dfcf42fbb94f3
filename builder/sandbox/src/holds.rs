//! What a file system has to keep so that a root can be one directory of it: everything that a layer says of a file, and
//! what tells that one was changed.
//!
//! Takes an empty directory; leaves what it made there. Each thing is done once and looked at again: a file system that
//! answers every call with success may have kept nothing.

use crate::idmap::Tier;
use crate::sys;
use cooper_image::Owner;
use cooper_image::owner::{OWNER_CAPABILITY, OWNER_XATTR};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid, XattrFlags};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What was tried, and what came of it.
pub(crate) type Tried = Result<(), (&'static str, io::Error)>;

/// Does one thing in a directory of its own and looks at it again.
type Step = fn(&Path, Tier) -> io::Result<()>;

/// A set-id bit among others.
const MODE: u32 = 0o4751;
/// Whose a file is made; both are in every range of subordinate ids.
const OWNER: Owner = Owner { uid: 1, gid: 2 };
/// `cap_net_raw=ep`, as in `linux/capability.h` (version 2).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// An attribute as users set them, and as Cooper marks what it replaced.
const OF_USERS: &str = "user.cooper.trial";
/// What some file systems take for something else.
const ODD: &[u8] = b"a:b\\c\xff ";
/// A time in the past, in Unix seconds.
const TIME: u64 = 1_000_000_001;
/// In this time the clock of every file system goes on (`vfat` counts in twos of seconds).
const GRAIN: Duration = Duration::from_millis(2100);
const TICK: Duration = Duration::from_millis(5);

/// Tries it.
pub(crate) fn all(dir: &Path, tier: Tier) -> Tried {
    let steps: [(&'static str, Step); 7] = [
        ("owners", owners),
        ("modes, contents and attributes", attributes),
        ("times", times),
        ("links", links),
        ("pipes and sockets", nodes),
        ("names", names),
        ("the time of a change", changes),
    ];
    for (number, (what, step)) in steps.into_iter().enumerate() {
        let own = dir.join(number.to_string());
        std::fs::create_dir(&own).and_then(|()| step(&own, tier)).map_err(|error| (what, error))?;
    }
    Ok(())
}

/// Does a file's ctime tell of a write through a mapping, in a directory in which nobody else has a file `mapped`? Tmpfs
/// and overlays on it say nothing where the page was read before.
///
/// # Errors
/// When there can be no such file.
pub fn mappings_tell(dir: &Path) -> io::Result<bool> {
    let path = dir.join("mapped");
    std::fs::write(&path, "x")?;
    let file = File::options().read(true).write(true).open(&path)?;
    let changed = |file: &File| file.metadata().map(|meta| (meta.ctime(), meta.ctime_nsec()));
    let before = changed(&file)?;
    // The kernel's clock goes on meanwhile. Where that of the file system does not, this says the same: nothing is told.
    let wrote = sys::write_by_mapping(file.as_fd(), libc::timespec { tv_sec: 0, tv_nsec: 30_000_000 })?;
    let told = wrote && changed(&file)? != before;
    std::fs::remove_file(&path)?;
    Ok(told)
}

/// An error when it is not what was asked for.
fn is(kept: bool) -> io::Result<()> {
    if kept { Ok(()) } else { Err(io::Error::other("they are not kept")) }
}

fn attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?;
    let mut found = [0; 64];
    let length = rustix::fs::lgetxattr(path, name, &mut found)?;
    is(found.get(..length) == Some(value))
}

/// Gives a file or link to somebody, as steps do.
fn give(path: &Path, tier: Tier) -> io::Result<()> {
    let link = std::fs::symlink_metadata(path)?.is_symlink();
    match (tier, link) {
        (Tier::OneId, false) => attribute(path, OWNER_XATTR, OWNER.to_text().as_bytes()),
        (Tier::OneId, true) => attribute(path, OWNER_CAPABILITY, &OWNER.to_capability()),
        (Tier::Root | Tier::Rootless | Tier::Container, _) => {
            let (uid, gid) = (Some(Uid::from_raw(OWNER.uid)), Some(Gid::from_raw(OWNER.gid)));
            rustix::fs::chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            let meta = std::fs::symlink_metadata(path)?;
            is((meta.uid(), meta.gid()) == (OWNER.uid, OWNER.gid))
        }
    }
}

fn owners(dir: &Path, tier: Tier) -> io::Result<()> {
    let [file, below, link] = ["file", "dir", "link"].map(|name| dir.join(name));
    std::fs::write(&file, "")?;
    std::fs::create_dir(&below)?;
    std::os::unix::fs::symlink("file", &link)?;
    [file, below, link].iter().try_for_each(|path| give(path, tier))
}

fn attributes(dir: &Path, tier: Tier) -> io::Result<()> {
    let file = dir.join("file");
    std::fs::write(&file, "content")?;
    give(&file, tier)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(MODE))?;
    attribute(&file, OWNER_CAPABILITY, &CAPABILITY)?;
    attribute(&file, OF_USERS, b"kept")?;
    attribute(dir, OF_USERS, b"kept")?;
    is(std::fs::metadata(&file)?.mode() & 0o7777 == MODE && std::fs::read(&file)? == b"content")
}

fn times(dir: &Path, _: Tier) -> io::Result<()> {
    let (file, time) = (dir.join("file"), UNIX_EPOCH + Duration::from_secs(TIME));
    for path in [&file, dir] {
        std::fs::write(&file, "content")?;
        File::open(path)?.set_modified(time)?;
        is(std::fs::metadata(path)?.modified()? == time)?;
    }
    Ok(())
}

/// A file is the same under each of its names, and under a new one; only so can it be told from others.
fn links(dir: &Path, _: Tier) -> io::Result<()> {
    let [first, second, third] = ["first", "second", "third"].map(|name| dir.join(name));
    std::fs::write(&first, "")?;
    let open = File::open(&first)?;
    std::fs::hard_link(&first, &second)?;
    std::fs::rename(&first, &third)?;
    let number = |meta: std::fs::Metadata| (meta.dev(), meta.ino(), meta.nlink());
    let known = number(open.metadata()?);
    is(known.2 == 2 && number(std::fs::metadata(second)?) == known && number(std::fs::metadata(third)?) == known)?;
    std::os::unix::fs::symlink("/to/somewhere", dir.join("link"))?;
    is(std::fs::read_link(dir.join("link"))? == Path::new("/to/somewhere"))
}

fn nodes(dir: &Path, _: Tier) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    for (name, kind) in [("pipe", FileType::Fifo), ("socket", FileType::Socket)] {
        rustix::fs::mknodat(CWD, dir.join(name), kind, Mode::empty(), 0)?;
        let meta = std::fs::symlink_metadata(dir.join(name))?;
        let found = if kind == FileType::Fifo { meta.file_type().is_fifo() } else { meta.file_type().is_socket() };
        // What nobody may open is the mark of a deletion.
        is(found && meta.mode() & 0o7777 == 0)?;
    }
    Ok(())
}

fn names(dir: &Path, _: Tier) -> io::Result<()> {
    let odd = std::ffi::OsStr::from_bytes(ODD);
    for name in [odd, "case".as_ref(), "Case".as_ref()] {
        File::create_new(dir.join(name))?;
    }
    is(std::fs::read_dir(dir)?.count() == 3 && std::fs::read_dir(dir)?.any(|e| e.is_ok_and(|e| e.file_name() == odd)))
}

/// Each change sets a file's ctime to the clock.
fn changes(dir: &Path, _: Tier) -> io::Result<()> {
    let file = dir.join("file");
    std::fs::write(&file, "")?;
    let changed = |meta: std::fs::Metadata| (meta.ctime(), meta.ctime_nsec());
    let before = changed(std::fs::metadata(&file)?);
    let since = Instant::now();
    while since.elapsed() < GRAIN {
        std::thread::sleep(TICK);
        std::fs::write(&file, "other")?;
        // A program may set this time, and the other one all the same says that there was a change.
        File::open(&file)?.set_modified(SystemTime::UNIX_EPOCH)?;
        if changed(std::fs::metadata(&file)?) != before {
            return Ok(());
        }
    }
    is(false)
}
