//! Each way to open a file and to look at it, for a step: what came of it, in one line.

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags, accessat, fstat, lstat, openat,
    openat2, stat, statat, statx,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

type Tried = Result<String, Errno>;

/// At a file, and at a link that leads to it.
pub fn at(path: &str, link: &str) -> String {
    let file = Path::new(path);
    let directory = File::open(file.parent().unwrap()).unwrap();
    let name = file.file_name().unwrap();
    let open = |flags: OFlags| openat(CWD, path, flags, Mode::from_raw_mode(0o600));
    let text = |flags| open(flags).and_then(content);
    let by_number = |flags: OFlags, how: OFlags| {
        let held = open(flags)?;
        openat(CWD, format!("/proc/self/fd/{}", held.as_raw_fd()), how, Mode::empty()).and_then(content)
    };
    let may = |access| accessat(CWD, path, access, AtFlags::EACCESS).map(|()| "yes".to_owned());
    let extended = |told: Result<rustix::fs::Statx, Errno>| {
        told.map(|told| shown(u32::from(told.stx_mode), told.stx_size, told.stx_nlink))
    };
    let look = StatxFlags::BASIC_STATS;
    let unopened = open(OFlags::PATH).unwrap();
    let lines: [(&str, Tried); 29] = [
        ("read", text(OFlags::RDONLY)),
        ("again", text(OFlags::RDONLY)),
        (
            "from the end",
            open(OFlags::RDONLY).map(|file| {
                let mut file = File::from(file);
                file.seek(SeekFrom::End(-6)).unwrap();
                content(file.into()).unwrap()
            }),
        ),
        ("by threads", Ok(by_threads(path).to_string())),
        ("from its directory", openat(&directory, name, OFlags::RDONLY, Mode::empty()).and_then(content)),
        ("write", text(OFlags::WRONLY)),
        ("read and write", text(OFlags::RDWR)),
        ("truncate", text(OFlags::WRONLY | OFlags::TRUNC)),
        ("append", text(OFlags::WRONLY | OFlags::APPEND)),
        ("make", text(OFlags::RDONLY | OFlags::CREATE)),
        ("make anew", text(OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL)),
        ("as a directory", text(OFlags::RDONLY | OFlags::DIRECTORY)),
        ("the link itself", openat(CWD, link, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()).and_then(content)),
        ("write by number", by_number(OFlags::RDONLY, OFlags::WRONLY)),
        ("may be read", may(Access::READ_OK)),
        ("may be written", may(Access::WRITE_OK)),
        ("may be executed", may(Access::EXEC_OK)),
        ("openat2", openat2(CWD, path, OFlags::RDONLY, Mode::empty(), ResolveFlags::empty()).and_then(content)),
        ("execute", execute(path)),
        ("stat", stat(link).map(|told| told_of(&told))),
        ("lstat", lstat(path).map(|told| told_of(&told))),
        ("of the link", lstat(link).map(|told| told_of(&told))),
        ("fstat", open(OFlags::RDONLY).and_then(fstat).map(|told| told_of(&told))),
        ("from its directory", statat(&directory, name, AtFlags::empty()).map(|told| told_of(&told))),
        ("statx", extended(statx(CWD, link, AtFlags::empty(), look))),
        ("unopened", fstat(&unopened).map(|told| told_of(&told))),
        ("unopened, statx", extended(statx(&unopened, "", AtFlags::EMPTY_PATH, look))),
        ("unopened, opened by number", by_number(OFlags::PATH, OFlags::RDONLY)),
        ("one file", Ok(is_one(path).to_string())),
    ];
    let line = |(name, tried): (&str, Tried)| format!("{name}: {}", tried.unwrap_or_else(named));
    lines.map(line).join("\n")
}

fn content(file: OwnedFd) -> Tried {
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).map_err(|error| Errno::from_io_error(&error).unwrap())?;
    Ok(text)
}

/// How many of many readers at once read all of it.
fn by_threads(path: &str) -> usize {
    let whole = std::fs::read(path).unwrap();
    let read = || (0..8).filter(|_| std::fs::read(path).is_ok_and(|text| text == whole)).count();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    })
}

fn execute(path: &str) -> Tried {
    match Command::new(path).spawn() {
        Ok(_) => Ok("started".to_owned()),
        Err(error) => Err(Errno::from_io_error(&error).unwrap()),
    }
}

/// Do looks before and after it is opened say that it is the same?
fn is_one(path: &str) -> bool {
    let (named, opened) = (stat(path).unwrap(), fstat(File::open(path).unwrap()).unwrap());
    (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
}

fn told_of(told: &Stat) -> String {
    shown(told.st_mode, told.st_size as u64, told.st_nlink)
}

fn shown(mode: u32, bytes: u64, names: impl std::fmt::Display) -> String {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => format!("file {bytes} {:o} {names}", mode & 0o7777),
        FileType::Symlink => "link".to_owned(),
        other => format!("{other:?}"),
    }
}

fn named(error: Errno) -> String {
    let known = [
        (Errno::ROFS, "EROFS"),
        (Errno::ACCESS, "EACCES"),
        (Errno::EXIST, "EEXIST"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::LOOP, "ELOOP"),
        (Errno::NXIO, "ENXIO"),
    ];
    known.iter().find(|(one, _)| *one == error).map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
}
