//! The files in `/proc` of a step in a chroot that are about no process: plain copies of the container's, made when the step
//! begins, and thrown away with all that a step puts beside them.

use crate::mount_api::plainly_inside;
use crate::protocol::{At, Fault, Stage};
use rustix::fs::{Mode, OFlags, major, minor};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

/// Where those are that are the same for all processes of a step.
const OWN: &str = "self";
const HERE: Stage = Stage::KernelFilesystems;
/// What tools and language runtimes look at to find out about processors and memory, often after a look whether it is
/// there. What only says settings of the kernel is told when it is opened (`named`): files take time to be made.
const COPIES: [&str; 7] = ["cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "uptime", "version"];
/// The most that is copied of one.
const MOST_BYTES: u64 = 16 << 20;

/// Fills the directory, whose root is the step's. The umask must be zero.
pub(super) fn fill(proc: &OwnedFd, root: &OwnedFd) -> Result<(), Fault> {
    let object = |name: &str| format!("/proc/{name}");
    for name in COPIES {
        if let Some(text) = read(name).at(HERE, object(name))? {
            write(proc, name, &text).at(HERE, object(name))?;
        }
    }
    rustix::fs::mkdirat(proc, OWN, Mode::from_raw_mode(0o755)).at(HERE, object(OWN))?;
    let own = plainly_inside(proc.as_fd(), OWN, OFlags::RDONLY | OFlags::DIRECTORY).at(HERE, object(OWN))?;
    for (name, text) in of_one_root(root).at(HERE, object(OWN))? {
        write(&own, name, text.as_bytes()).at(HERE, format_args!("/proc/{OWN}/{name}"))?;
    }
    rustix::fs::symlinkat("self/mounts", proc, "mounts").at(HERE, object("mounts"))?;
    rustix::fs::symlinkat(OWN, proc, "thread-self").at(HERE, object("thread-self"))
}

/// What all processes of a step would be told of mounts and control groups, where they see one of each.
fn of_one_root(root: &OwnedFd) -> io::Result<[(&'static str, String); 3]> {
    let device = rustix::fs::fstat(root)?.st_dev;
    let device = format!("{}:{}", major(device), minor(device));
    Ok([
        ("cgroup", "0::/\n".to_owned()),
        ("mountinfo", format!("2 1 {device} / / rw,relatime - overlay overlay rw\n")),
        ("mounts", "overlay / overlay rw,relatime 0 0\n".to_owned()),
    ])
}

/// What the container's says; nothing where it has none.
fn read(name: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(format!("/proc/{name}")) {
        // Not every kernel has all, and containers hide some.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EACCES)) => return Ok(None),
        other => other?,
    };
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(Some(text))
}

fn write(directory: &OwnedFd, name: &str, text: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o444))?;
    File::from(file).write_all(text)
}
