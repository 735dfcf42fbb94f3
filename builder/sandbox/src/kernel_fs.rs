//! `/proc` and `/sys` as a step sees them: its own processes, read-only settings, and nothing of
//! the machine that Docker hides. Every mask is attached to a descriptor below the fresh mount.

use crate::mount_api::{
    self, INERT, INERT_READ_ONLY, attach, copy_of, new_filesystem, plainly_inside, read_only_copy_of,
};
use crate::protocol::{At, Fault, Stage, StubKind};
use crate::provided::Stubs;
use crate::spec::{Network, Security, Surroundings};
use crate::sys::Reach;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

const HERE: Stage = Stage::KernelFilesystems;

/// Hidden below `/proc`: the list of moby's default profile.
const PROC_MASKED: &[&str] = &[
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "timer_stats",
    "sched_debug",
    "scsi",
];
/// Visible but unchangeable below `/proc`.
const PROC_READ_ONLY: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// Hidden below `/sys`.
const SYS_MASKED: &[&str] = &["firmware", "fs/selinux", "devices/virtual/powercap"];

/// Where control groups are mounted, below `/sys`.
const CGROUP: &str = "fs/cgroup";

/// Where the kernel shows its processors.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// What is put over the things that a step shall not see.
pub(crate) struct Masks<'a> {
    /// The verified null device, for files.
    null: &'a OwnedFd,
    /// The first empty directory put somewhere; the others are copies of it.
    nothing: Option<OwnedFd>,
}

impl<'a> Masks<'a> {
    /// Masks made from the verified null device.
    pub(crate) fn new(null: &'a OwnedFd) -> Self {
        Self { null, nothing: None }
    }

    fn hide(&mut self, base: &OwnedFd, name: &str) -> io::Result<()> {
        let target = match plainly_inside(base.as_fd(), name, OFlags::PATH) {
            // Only what does not exist needs no mask.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) {
            FileType::Directory => self.empty(&target),
            _ => attach(copy_of(self.null, Reach::Mount)?, target),
        }
    }

    fn empty(&mut self, target: &OwnedFd) -> io::Result<()> {
        if let Some(nothing) = &self.nothing {
            return attach(copy_of(nothing, Reach::Mount)?, target);
        }
        let nothing = new_filesystem("tmpfs", &[("mode", "0555")], INERT_READ_ONLY)?;
        attach(&nothing, target)?;
        self.nothing = Some(nothing);
        Ok(())
    }
}

/// Mounts `/proc`; the caller is the first process of its pid namespace.
pub(crate) fn mount_proc(stubs: &Stubs<'_>, masks: &mut Masks<'_>, security: Security) -> Result<(), Fault> {
    let target = stubs.plain("proc", StubKind::Directory, HERE)?;
    let proc = new_filesystem("proc", &[], INERT).at(HERE, "proc")?;
    attach(&proc, target).at(HERE, "/proc")?;
    if security == Security::Insecure {
        return Ok(());
    }
    for name in PROC_READ_ONLY {
        freeze(&proc, name).at(HERE, format_args!("/proc/{name}"))?;
    }
    for name in PROC_MASKED {
        masks.hide(&proc, name).at(HERE, format_args!("/proc/{name}"))?;
    }
    Ok(())
}

/// Mounts `/sys`, read-only but for an insecure step.
pub(crate) fn mount_sys(stubs: &Stubs<'_>, masks: &mut Masks<'_>, around: &Surroundings) -> Result<(), Fault> {
    let Surroundings { network, security, .. } = around;
    let attributes = match security {
        Security::Sandbox => INERT_READ_ONLY,
        Security::Insecure => INERT,
    };
    let target = stubs.plain("sys", StubKind::Directory, HERE)?;
    let (sys, mounts) = match new_filesystem("sysfs", &[], attributes) {
        Ok(sys) => (sys, String::new()),
        // A user namespace that does not own the network namespace may not have a sysfs of its
        // own; the host's, read-only throughout, is what it may see anyway.
        Err(error)
            if *network == Network::Host
                && *security == Security::Sandbox
                && error.raw_os_error() == Some(libc::EPERM) =>
        {
            let host = mount_api::on_host("/sys".as_ref()).at(HERE, "/sys of the host")?;
            let sys = read_only_copy_of(&host, INERT, Reach::Tree).at(HERE, "/sys of the host")?;
            // A sysfs of its own has none of what lies below; the kernel makes no copy without it.
            let mounts = std::fs::read("/proc/self/mountinfo").at(HERE, "what is mounted on the host")?;
            (sys, String::from_utf8_lossy(&mounts).into_owned())
        }
        Err(error) => return Err(error).at(HERE, "sysfs"),
    };
    attach(&sys, target).at(HERE, "/sys")?;
    if *security == Security::Insecure {
        return mount_cgroup(&sys, masks, attributes).at(HERE, "/sys/fs/cgroup");
    }
    for name in mounted_below_sys(&mounts).into_iter().chain(SYS_MASKED.iter().copied()) {
        masks.hide(&sys, name).at(HERE, format_args!("/sys/{name}"))?;
    }
    for name in thermal_throttle().at(HERE, PROCESSORS)? {
        masks.hide(&sys, &name).at(HERE, format_args!("/sys/{name}"))?;
    }
    mount_cgroup(&sys, masks, attributes).at(HERE, "/sys/fs/cgroup")
}

/// What is mounted below the host's `/sys` (proc_pid_mountinfo(5)), but control groups, which have another place, and what
/// system containers have there for a part of `/sys` itself: the same, or what a file system of theirs says of processors.
fn mounted_below_sys(mountinfo: &str) -> Vec<&str> {
    let is_sys = |line: &str| line.split_once(" - ").is_some_and(|(_, what)| what.starts_with("sysfs "));
    let points = mountinfo.lines().filter(|line| !is_sys(line));
    let points = points.filter_map(|line| line.split(' ').nth(4)?.strip_prefix("/sys/"));
    let stays = |name: &str| name == CGROUP || name.starts_with("fs/cgroup/") || name.starts_with("devices/system/");
    let mut points: Vec<&str> = points.filter(|name| !stays(name)).collect();
    // What is mounted within another is hidden with that one, which this user may not be able to look into.
    points.sort_unstable();
    points
}

/// The step's own cgroup, where the unified hierarchy is in use; otherwise nothing.
fn mount_cgroup(sys: &OwnedFd, masks: &mut Masks<'_>, attributes: MountAttrFlags) -> io::Result<()> {
    let target = match plainly_inside(sys.as_fd(), CGROUP, OFlags::PATH) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let unified = rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == libc::CGROUP2_SUPER_MAGIC);
    let shown = if unified { new_filesystem("cgroup2", &[], attributes).ok() } else { None };
    match shown {
        Some(cgroup) => attach(cgroup, target),
        None => masks.empty(&target),
    }
}

/// What would have to be hidden of each processor. Only where there is no such directory is there nothing.
fn thermal_throttle() -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(PROCESSORS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut places = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
        if let Some(number) = number.filter(|n| n.bytes().all(|b| b.is_ascii_digit())) {
            places.push(format!("devices/system/cpu/cpu{number}/thermal_throttle"));
        }
    }
    Ok(places)
}

fn freeze(base: &OwnedFd, name: &str) -> io::Result<()> {
    let target = match plainly_inside(base.as_fd(), name, OFlags::PATH) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    attach(read_only_copy_of(&target, MountAttrFlags::empty(), Reach::Tree)?, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_sys_is_found() {
        let mounts = "23 27 0:22 / /sys rw - sysfs sysfs rw\n24 23 0:6 / /sys/kernel/security rw - securityfs securityfs rw\n\
            31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            33 23 0:30 / /sys/fs/bpf rw shared:4 - bpf bpf rw\n34 23 0:22 /devices/virtual/net /sys/devices/virtual/net rw - sysfs sysfs rw\n\
            35 23 0:31 / /sys/devices/system/cpu rw - fuse.lxcfs lxcfs rw\n40 27 0:40 / /system rw - tmpfs tmpfs rw\n";
        assert_eq!(mounted_below_sys(mounts), ["fs/bpf", "kernel/security"]);
    }
}
