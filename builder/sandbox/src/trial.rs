//! A trial of what roots of steps can be where a store is to be: one is stacked by overlay and used once. Where that fails,
//! a root that is one directory is tried.
//!
//! Takes a directory that nobody else uses; leaves it empty. A process of its own does it, since that takes the rights of
//! steps and leaves the host's mounts. Its answer is the kernel's: no list of file systems knows what each of them can.

use crate::idmap::{self, Tier, enter_user_namespace};
use crate::overlay::{Layers, Marks, mount_at};
use crate::probe::check_kernel;
use crate::{TRIAL_ARGUMENT, bound, holds, mount_api, set_up, sys};
use cooper_image::Owner;
use cooper_image::owner::{OWNER_CAPABILITY, OWNER_XATTR};
use rustix::fs::XattrFlags;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tried {
    /// Steps can write here.
    Fits,
    /// They can, in a root that is one directory; overlay cannot: what failed, in the kernel's words.
    Whole(String),
    /// They cannot: what failed, in the kernel's words.
    Refused(String),
    /// There was no trial, and why; that is no fault of the place.
    NotMade(String),
    /// No step can run, wherever the store is: why, and how to get it.
    NoSteps(String, Option<String>),
}

/// Tries it in a directory.
pub(crate) fn on(directory: &Path) -> Tried {
    // As set-up processes stand: not where this one does, which root of a user namespace may not be able to search.
    let directory = match std::path::absolute(directory) {
        Ok(directory) => directory,
        Err(error) => return Tried::NotMade(error.to_string()),
    };
    let mut trial = Command::new("/proc/self/exe");
    trial.arg0("cooper").arg(TRIAL_ARGUMENT).arg(directory).env_clear().current_dir("/");
    trial.stdin(Stdio::null()).stderr(Stdio::null());
    let answer = trial.output().and_then(|ended| Ok(serde_json::from_slice(&ended.stdout)?));
    answer.unwrap_or_else(|error| Tried::NotMade(error.to_string()))
}

/// The internal entry point: `DIRECTORY`. Says what came of it on standard output.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let [directory] = arguments else { return ExitCode::FAILURE };
    let tried = match check_kernel().and_then(|()| enter_user_namespace()) {
        Err(error) => Tried::NoSteps(error.to_string(), error.hint()),
        Ok(Tier::Container) => Tried::NotMade("nothing can be mounted here".to_owned()),
        Ok(tier @ (Tier::Root | Tier::Rootless | Tier::OneId)) => stack_in(Path::new(directory), tier),
    };
    match crate::protocol::write_line(&mut io::stdout(), &tried) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn stack_in(directory: &Path, tier: Tier) -> Tried {
    if let Err(denied) = idmap::prove_namespaces() {
        return Tried::NoSteps(denied.to_string(), denied.hint());
    }
    let leave = || -> io::Result<()> {
        sys::unshare(UnshareFlags::NEWNS)?;
        Ok(rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
    };
    if let Err(error) = leave() {
        let denied = idmap::mounts_denied(&error);
        return Tried::NoSteps(denied.to_string(), denied.hint());
    }
    // No setting tells of a profile of AppArmor that denies it.
    if let Err(denied) = set_up::may_start() {
        return Tried::NoSteps(denied.to_string(), denied.hint());
    }
    let names = ["lower", "upper", "work", "root"];
    let tried = use_overlay(&names.map(|name| directory.join(name)), tier);
    clear(directory, &names);
    let Err((what, error)) = tried else { return Tried::Fits };
    let why = format!("{what}: {error}");
    let names = ["whole", "root"];
    let tried = use_whole(&names.map(|name| directory.join(name)), tier);
    clear(directory, &names);
    match tried {
        Ok(()) => Tried::Whole(why),
        Err((what, error)) => Tried::Refused(format!("{why}; nor can a root be one directory of it: {what}: {error}")),
    }
}

/// Deletes what was tried. What root of a user namespace has made the user may not be able to delete; the mounts have
/// ended with their use.
fn clear(directory: &Path, names: &[&str]) {
    for name in names {
        let _left_to_whoever_asked = std::fs::remove_dir_all(directory.join(name));
    }
}

fn use_whole([whole, root]: &[PathBuf; 2], tier: Tier) -> Step {
    for directory in [whole, root] {
        std::fs::create_dir(directory).map_err(at("a directory"))?;
    }
    let open = |path: &Path| mount_api::on_host(path).map_err(io::Error::from).map_err(at("a directory"));
    bound::mount_at(&open(whole)?, &open(root)?).map_err(at("mounting"))?;
    let held = holds::all(root, tier);
    rustix::mount::unmount(root, UnmountFlags::DETACH).map_err(io::Error::from).map_err(at("unmounting"))?;
    held
}

type Step = holds::Tried;

fn at(what: &'static str) -> impl Fn(io::Error) -> (&'static str, io::Error) {
    move |error| (what, error)
}

fn use_overlay([lower, upper, work, root]: &[PathBuf; 4], tier: Tier) -> Step {
    for directory in [lower, upper, work, root] {
        std::fs::create_dir(directory).map_err(at("a directory"))?;
    }
    std::fs::create_dir(lower.join("replaced")).map_err(at("a directory"))?;
    std::fs::create_dir(lower.join("emptied")).map_err(at("a directory"))?;
    for name in ["changed", "emptied/gone"] {
        std::fs::write(lower.join(name), "lower").map_err(at("a file"))?;
    }
    let marks = Marks::of(tier);
    let open = |path: &Path| mount_api::on_host(path).map_err(io::Error::from).map_err(at("a directory"));
    let layers = Layers { lowers_top_first: vec![open(lower)?], upper: open(upper)?, work: open(work)? };
    mount_at(&layers, marks, &open(root)?).map_err(at("mounting"))?;
    let mut used = use_root(root).and_then(|()| is_marked(upper, marks));
    if tier == Tier::OneId {
        used = used.and_then(|()| record(root));
    }
    rustix::mount::unmount(root, UnmountFlags::DETACH).map_err(io::Error::from).map_err(at("unmounting"))?;
    used
}

/// What steps do: a new file, one that is changed, one that is gone, and a directory in another's place.
fn use_root(root: &Path) -> Step {
    std::fs::write(root.join("new"), "new").map_err(at("a new file"))?;
    std::fs::write(root.join("changed"), "upper").map_err(at("a changed file"))?;
    is_gone(&root.join("emptied")).map_err(at("a deleted file"))?;
    std::fs::remove_dir(root.join("replaced")).map_err(at("a deleted directory"))?;
    std::fs::create_dir(root.join("replaced")).map_err(at("a replaced directory"))
}

/// Deletes what a lower directory holds. Where the file system does not tell kinds of files with names (xfs with ftype=0),
/// the kernel only warns, and lists the mark of the deletion.
fn is_gone(emptied: &Path) -> io::Result<()> {
    std::fs::remove_file(emptied.join("gone"))?;
    if std::fs::read_dir(emptied)?.next().is_some() {
        return Err(io::Error::other("it is still listed: kinds of files are not told with their names"));
    }
    Ok(())
}

/// What owners are recorded by, of a file and of a link.
fn record(root: &Path) -> Step {
    let (owner, link, none) = (Owner { uid: 1, gid: 2 }, root.join("link"), XattrFlags::empty());
    let recorded = || -> io::Result<()> {
        std::os::unix::fs::symlink("new", &link)?;
        rustix::fs::setxattr(root.join("new"), OWNER_XATTR, owner.to_text().as_bytes(), none)?;
        Ok(rustix::fs::lsetxattr(&link, OWNER_CAPABILITY, &owner.to_capability(), none)?)
    };
    recorded().map_err(at("a recorded owner"))
}

/// Is what was written there, with the attribute of a directory that hides the one below?
fn is_marked(upper: &Path, marks: Marks) -> Step {
    for (name, content) in [("new", "new"), ("changed", "upper")] {
        let found = std::fs::read(upper.join(name)).map_err(at("a written file"))?;
        if found != content.as_bytes() {
            return Err(("a written file", io::ErrorKind::InvalidData.into()));
        }
    }
    let name = match marks {
        Marks::Trusted => "trusted.overlay.opaque",
        Marks::User => "user.overlay.opaque",
    };
    let found = rustix::fs::getxattr(upper.join("replaced"), name, &mut [0_u8; 8]);
    found.map(drop).map_err(io::Error::from).map_err(at("an attribute"))
}
