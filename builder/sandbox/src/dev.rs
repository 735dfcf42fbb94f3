//! `/dev` of a step: a fresh tmpfs with the few nodes that programs need, each verified.
//!
//! The nodes are mounted one by one; the tmpfs itself, like every other place where a step may
//! write, opens no devices. So `mknod` works for a step that may use it, but what it makes (or what
//! an image brings along) reaches no device of the host.

use crate::idmap::Tier;
use crate::mount_api::{self, INERT, attach, copy_of, new_filesystem};
use crate::overlay::Marks;
use crate::protocol::{At, Fault, Stage, StubKind};
use crate::provided::Stubs;
use crate::spec::Surroundings;
use crate::sys::Reach;
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::OwnedFd;

const HERE: Stage = Stage::Devices;

/// Name, major and minor number.
pub(crate) const NODES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Size of shared memory when that is not said, as Docker.
const SHM_BYTES: u64 = 64 << 20;
/// The last one, the group of terminals, only where there is such an id.
const PTS: &[(&str, &str)] = &[("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];

/// What was made.
pub(crate) struct Devices {
    /// The top of `/dev`.
    pub top: OwnedFd,
    /// The verified null device.
    pub null: OwnedFd,
}

/// Mounts `/dev`. The umask must be zero; `private` must allow devices.
pub(crate) fn mount_dev(
    stubs: &Stubs<'_>,
    private: &OwnedFd,
    tier: Tier,
    around: &Surroundings,
) -> Result<Devices, Fault> {
    let target = stubs.plain("dev", StubKind::Directory, HERE)?;
    let options = [("mode", "0755"), ("size", "65536k")];
    let inert = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let top = new_filesystem("tmpfs", &options, inert).at(HERE, "tmpfs")?;
    attach(&top, target).at(HERE, "/dev")?;
    for (name, major, minor) in NODES {
        let number = makedev(*major, *minor);
        provide_node(&top, private, name, number, Marks::of(tier)).at(HERE, format_args!("/dev/{name}"))?;
    }
    for (name, to) in LINKS {
        rustix::fs::symlinkat(*to, &top, *name).at(HERE, format_args!("/dev/{name}"))?;
    }
    let known = if tier == Tier::OneId { PTS.len() - 1 } else { PTS.len() };
    let pts = PTS.get(..known).unwrap_or(PTS);
    mount_below(&top, "pts", "devpts", pts, INERT - MountAttrFlags::MOUNT_ATTR_NODEV).at(HERE, "/dev/pts")?;
    let shm = around.shm_bytes.unwrap_or(SHM_BYTES).to_string();
    mount_below(&top, "shm", "tmpfs", &[("mode", "1777"), ("size", &shm)], INERT).at(HERE, "/dev/shm")?;
    mount_below(&top, "mqueue", "mqueue", &[], INERT).at(HERE, "/dev/mqueue")?;
    let null = refer(&top, "null").at(HERE, "/dev/null")?;
    Ok(Devices { top, null })
}

fn provide_node(top: &OwnedFd, private: &OwnedFd, name: &str, number: u64, marks: Marks) -> io::Result<()> {
    let source = match marks {
        // Not the host's own node: the step's root could change its mode or owner.
        Marks::Trusted => {
            let mode = Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(private, name, FileType::CharacterDevice, mode, number)?;
            refer(private, name)?
        }
        // A user namespace may not make devices; it may show those of the host, and does not own them.
        Marks::User => mount_api::on_host(format!("/dev/{name}").as_ref())?,
    };
    verify(&source, number)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(top, name, flags, Mode::from_raw_mode(0o666))?;
    attach(copy_of(&source, Reach::Mount)?, refer(top, name)?)?;
    verify(&refer(top, name)?, number)
}

/// Is it the device that it is to be?
pub(crate) fn verify(node: &OwnedFd, number: u64) -> io::Result<()> {
    let stat = rustix::fs::fstat(node)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == number {
        return Ok(());
    }
    Err(io::Error::other("not the device that its name says"))
}

fn refer(top: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(top, name, flags, Mode::empty())?)
}

fn mount_below(
    top: &OwnedFd,
    name: &str,
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<()> {
    rustix::fs::mkdirat(top, name, Mode::from_raw_mode(0o755))?;
    attach(new_filesystem(kind, options, attributes)?, refer(top, name)?)
}

/// Opens the host's null device, verified, for a stream of the step.
pub(crate) fn host_null() -> io::Result<OwnedFd> {
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    verify(&null, makedev(1, 3))?;
    Ok(null)
}
