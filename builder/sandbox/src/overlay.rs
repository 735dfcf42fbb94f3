//! The root of a step: the layers stacked by the kernel's overlay file system.
//!
//! Layers are named to the kernel by descriptors, as `/proc/self/fd/N` or `N`: that is short enough for any depth and
//! shows nothing of the host's paths in the step's mount table. The root opens no devices (see `dev`).

use crate::idmap::Tier;
use crate::mount_api;
use crate::probe;
use crate::protocol::{At, Fault, Stage};
use crate::spec::Stack;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, mount,
};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Where overlay keeps its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// `trusted.overlay.*`: only for the host's root.
    Trusted,
    /// `user.overlay.*`: inside a user namespace.
    User,
}

impl Marks {
    /// The kind that may be written.
    pub(crate) fn of(tier: Tier) -> Self {
        match tier {
            Tier::Root => Self::Trusted,
            Tier::Rootless | Tier::OneId | Tier::Container => Self::User,
        }
    }
}

/// What is stacked.
pub(crate) struct Layers {
    /// The topmost first.
    pub lowers_top_first: Vec<OwnedFd>,
    /// Takes what is written.
    pub upper: OwnedFd,
    /// Overlay's own.
    pub work: OwnedFd,
}

/// Mounts the root on the specification's mount point; gives a descriptor of its top.
pub(crate) fn mount_root(stack: &Stack, marks: Marks) -> Result<OwnedFd, Fault> {
    let open = |path: &std::path::PathBuf| mount_api::on_host(path).at(Stage::Overlay, path.display());
    let layers = Layers {
        lowers_top_first: stack.lowers.iter().rev().map(open).collect::<Result<_, _>>()?,
        upper: open(&stack.upper)?,
        work: open(&stack.work)?,
    };
    mount_at(&layers, marks, &open(&stack.mountpoint)?).at(Stage::Overlay, "overlay")?;
    open(&stack.mountpoint)
}

/// Stacks the layers on what `target` refers to.
pub(crate) fn mount_at(layers: &Layers, marks: Marks, target: &OwnedFd) -> io::Result<()> {
    // Kernels before 6.5 would write a line about `lowerdir+` into their log, for each step.
    if !probe::is_linux(6, 5) {
        return Ok(stack_in_one_string(layers, marks, target)?);
    }
    match stack(layers, marks) {
        Ok(root) => mount_api::attach(&root, target),
        // Kernels before 6.8 have no `lowerdir+`.
        Err(Refusal { error: Errno::INVAL, reason }) => stack_in_one_string(layers, marks, target)
            .map_err(|error| io::Error::other(Refusal { error, reason }.to_string())),
        Err(refusal) => Err(io::Error::other(refusal.to_string())),
    }
}

/// A refused mount, with the kernel's own words for it (empty when it said nothing).
struct Refusal {
    error: Errno,
    reason: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.error)?;
        if self.reason.is_empty() { Ok(()) } else { write!(out, " ({})", self.reason) }
    }
}

fn stack(layers: &Layers, marks: Marks) -> Result<OwnedFd, Refusal> {
    let silent = |error| Refusal { error, reason: String::new() };
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(silent)?;
    configure(&context, layers, marks).map_err(|error| {
        let mut message = [0; 512];
        let length = rustix::io::read(&context, &mut message).unwrap_or(0);
        let reason = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
        Refusal { error, reason: reason.trim().to_owned() }
    })?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV).map_err(silent)
}

fn configure(context: &OwnedFd, layers: &Layers, marks: Marks) -> rustix::io::Result<()> {
    fsconfig_set_string(context, "source", "overlay")?;
    for lower in &layers.lowers_top_first {
        fsconfig_set_string(context, "lowerdir+", by_descriptor(lower))?;
    }
    fsconfig_set_string(context, "upperdir", by_descriptor(&layers.upper))?;
    fsconfig_set_string(context, "workdir", by_descriptor(&layers.work))?;
    for (key, value) in FEATURES {
        fsconfig_set_string(context, *key, *value)?;
    }
    for flag in flags(marks) {
        fsconfig_set_flag(context, flag)?;
    }
    fsconfig_create(context)
}

/// Where descriptors have names.
const DESCRIPTORS: &str = "/proc/self/fd";

/// How much of the options mount(2) reads.
const OPTIONS_BYTES: usize = 4095;

/// All that could leave something in the upper layer that is not plain files and whiteouts is off. So are numbers of files
/// that tell file systems apart, of which there is one: where a kernel has them by default, as Ubuntu's, it writes a line
/// into its log for each step of an ordinary user, who cannot have them.
const FEATURES: &[(&str, &str)] =
    &[("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"), ("xino", "off")];

/// Nothing is written to the disk for the step's sake, neither when it asks for it nor at its end: the store puts what
/// steps made on the disk before it tells of success, and believes nothing of what was made before the machine went down.
/// Such an overlay is mounted once with its work directory, which is what it is here. Linux 5.10.
const VOLATILE: &str = "volatile";

fn flags(marks: Marks) -> impl Iterator<Item = &'static str> {
    let user = (marks == Marks::User).then_some("userxattr");
    let volatile = probe::is_linux(5, 10).then_some(VOLATILE);
    user.into_iter().chain(volatile)
}

fn stack_in_one_string(layers: &Layers, marks: Marks, target: &OwnedFd) -> rustix::io::Result<()> {
    let number = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    let lowers: Vec<_> = layers.lowers_top_first.iter().map(number).collect();
    let options = in_one_string(&lowers, &number(&layers.upper), &number(&layers.work), marks)?;
    let former = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::chdir(DESCRIPTORS)?;
    let mounted = mount("overlay", by_descriptor(target), "overlay", MountFlags::NODEV, options.as_c_str());
    rustix::process::fchdir(&former)?;
    mounted
}

/// The options for directories named from [`DESCRIPTORS`], so that as many as overlay takes have room.
fn in_one_string(lowers: &[String], upper: &str, work: &str, marks: Marks) -> rustix::io::Result<CString> {
    let mut options = format!("lowerdir={},upperdir={upper},workdir={work}", lowers.join(":"));
    for (key, value) in FEATURES {
        options.push_str(&format!(",{key}={value}"));
    }
    for flag in flags(marks) {
        options.push(',');
        options.push_str(flag);
    }
    // What is behind that the kernel leaves out without a word, and with it layers.
    if options.len() > OPTIONS_BYTES {
        return Err(Errno::TOOBIG);
    }
    CString::new(options).map_err(|_| Errno::INVAL)
}

fn by_descriptor(fd: &OwnedFd) -> String {
    format!("{DESCRIPTORS}/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_layers_as_overlay_takes_have_room_in_one_string() {
        // What overlay takes (OVL_MAX_STACK), by the numbers that descriptors have then.
        let lowers: Vec<String> = (600..1100).map(|number: u32| number.to_string()).collect();
        let options = in_one_string(&lowers, "1100", "1101", Marks::User).unwrap();
        assert!(options.to_bytes().ends_with(
            b":1099,upperdir=1100,workdir=1101,redirect_dir=nofollow,metacopy=off,index=off,xino=off,userxattr,volatile"
        ));
        let more: Vec<String> = (600..1600).map(|number: u32| number.to_string()).collect();
        assert_eq!(in_one_string(&more, "1100", "1101", Marks::User), Err(Errno::TOOBIG));
    }
}
