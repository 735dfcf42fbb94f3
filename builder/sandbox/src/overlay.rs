//! The root of a step: the layers stacked by the kernel's overlay file system.
//!
//! Layers are named to the kernel as `/proc/self/fd/N`: that is short enough for any depth and
//! shows nothing of the host's paths in the step's mount table. The root opens no devices (see `dev`).

use crate::idmap::Tier;
use crate::mount_api;
use crate::protocol::{At, Fault, Stage};
use crate::spec::Stack;
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
    if marks == Marks::User {
        fsconfig_set_flag(context, "userxattr")?;
    }
    fsconfig_create(context)
}

/// All that could leave something in the upper layer that is not plain files and whiteouts is off.
const FEATURES: &[(&str, &str)] = &[("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

fn stack_in_one_string(layers: &Layers, marks: Marks, target: &OwnedFd) -> rustix::io::Result<()> {
    let lowers: Vec<_> = layers.lowers_top_first.iter().map(by_descriptor).collect();
    let mut options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lowers.join(":"),
        by_descriptor(&layers.upper),
        by_descriptor(&layers.work)
    );
    for (key, value) in FEATURES {
        options.push_str(&format!(",{key}={value}"));
    }
    if marks == Marks::User {
        options.push_str(",userxattr");
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount("overlay", by_descriptor(target), "overlay", MountFlags::NODEV, options.as_c_str())
}

fn by_descriptor(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
