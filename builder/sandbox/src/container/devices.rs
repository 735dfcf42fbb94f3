//! `/dev` of a step in a chroot: a few verified nodes in a plain directory, and pipes for its streams.
//!
//! `/dev/stdout` and `/dev/stderr` lead elsewhere through `/proc/self/fd`, which is not there. Who opens them by these very
//! names gets their own streams (`opening`); for all others they are named pipes: what is written to them is passed on to
//! the step's output. `/proc` has a few plain files (`machine`), `/sys` nothing.

use super::machine;
use crate::dev::{self, NODES};
use crate::mount_api::plainly_inside;
use crate::protocol::{At, Fault, Stage};
use crate::provided;
use crate::spec::StepSpec;
use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};

const HERE: Stage = Stage::Devices;
/// Pipes for what is written to these names.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Makes the directories; what has their names goes aside. Gives the reading ends of the pipes. The umask must be zero.
pub(super) fn make(root: &OwnedFd, aside: &OwnedFd, spec: &StepSpec) -> Result<[File; 2], Fault> {
    let [dev, kernels @ ..] = super::OWN_NAMES;
    for name in kernels {
        let top = fresh(root, aside, name, "before").at(Stage::KernelFilesystems, format_args!("/{name}"))?;
        if name == "proc" {
            machine::fill(&top, root)?;
        }
    }
    let top = fresh(root, aside, dev, "before").at(HERE, "/dev")?;
    for (name, major, minor) in NODES {
        node(&top, name, makedev(*major, *minor)).at(HERE, format_args!("/dev/{name}"))?;
    }
    rustix::fs::symlinkat("null", &top, "stdin").at(HERE, "/dev/stdin")?;
    rustix::fs::mkdirat(&top, "shm", Mode::from_raw_mode(0o1777)).at(HERE, "/dev/shm")?;
    let [out, err] = STREAMS.map(|name| stream(&top, name).at(HERE, format_args!("/dev/{name}")));
    if let Some((name, content)) = provided::script(spec)? {
        script(&top, name, content).at(Stage::Files, format_args!("/dev/pipes/{name}"))?;
    }
    Ok([out?, err?])
}

/// Leaves nothing of the step in the directories.
pub(super) fn take_away(root: &OwnedFd, aside: &OwnedFd) -> io::Result<()> {
    for name in super::OWN_NAMES {
        move_aside(root, aside, name, "after")?;
    }
    Ok(())
}

/// A new, empty directory.
fn fresh(root: &OwnedFd, aside: &OwnedFd, name: &str, when: &str) -> io::Result<OwnedFd> {
    move_aside(root, aside, name, when)?;
    rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755))?;
    Ok(plainly_inside(root.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY)?)
}

fn move_aside(root: &OwnedFd, aside: &OwnedFd, name: &str, when: &str) -> io::Result<()> {
    match rustix::fs::renameat(root, name, aside, format!("{name}-{when}")) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

fn node(top: &OwnedFd, name: &str, number: u64) -> io::Result<()> {
    rustix::fs::mknodat(top, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number)?;
    dev::verify(&plainly_inside(top.as_fd(), name, OFlags::PATH)?, number)
}

fn stream(top: &OwnedFd, name: &str) -> io::Result<File> {
    rustix::fs::mknodat(top, name, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
    // Open for both: so it neither waits for a writer nor ends with the last one.
    let flags = OFlags::RDWR | OFlags::NONBLOCK;
    Ok(File::from(plainly_inside(top.as_fd(), name, flags)?))
}

fn script(top: &OwnedFd, name: &str, content: &str) -> io::Result<()> {
    rustix::fs::mkdirat(top, "pipes", Mode::from_raw_mode(0o755))?;
    let pipes = plainly_inside(top.as_fd(), "pipes", OFlags::PATH | OFlags::DIRECTORY)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&pipes, name, flags, Mode::from_raw_mode(0o755))?;
    File::from(file).write_all(content.as_bytes())
}
