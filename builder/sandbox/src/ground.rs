//! What the place of a store allows: layers on it, cheap copies, programs for other processors.
//!
//! Takes the directory of a store, which need not exist. Tries each thing in a directory of its own that is deleted again.
//! `cooper doctor` tells what a build finds: both ask here.

use crate::foreign::{self, check_foreign};
use crate::probe::{self, Finding};
use crate::trial::{self, Tried};
use crate::{SandboxError, Tier};
use cooper_image::Platform;
use rustix::fs::{StatVfsMountFlags, XattrFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Some file systems by the numbers of statfs(2), for their names; what they can is tried.
const NAMES: [(i64, &str); 13] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (TMPFS, "tmpfs"),
    (0xf2f5_2010, "f2fs"),
    (0x2fc1_2fc1, "zfs"),
    (0x794c_7630, "overlay"),
    (0x6573_5546, "fuse"),
    (0x4d44, "vfat"),
    (0x0102_1997, "9p"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0xf15f, "ecryptfs"),
];
/// The one that is refused untried: what is deleted while it is open stays there under another name, in the middle of a
/// layer, and others may change it at any time.
const NFS: i64 = 0x6969;
/// The one that keeps what root says, and what ordinary users say only on newer kernels.
const TMPFS: i64 = 0x0102_1994;

/// How many names of a trial are tried: another doctor may have the same number, in a container with the same volume.
const ATTEMPTS: u32 = 100;

/// What the root of a step can be on the file system of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rooting {
    /// Layers, stacked by overlay.
    Stacked,
    /// One directory into which they are copied: why overlay cannot be used, for people.
    Whole(String),
    /// Nothing: why.
    Unfit(String),
    /// Nobody knows: there was no trial, which is no fault of the place.
    NotTried,
}

/// Where a store is better placed.
pub const ELSEWHERE: &str =
    "put the store on ext4, xfs or btrfs: --root DIR, or COOPER_ROOT; in a container, on a volume";

/// Tries which roots steps can have in an empty directory that nobody else uses; leaves it empty.
pub fn rooting(directory: &Path) -> Rooting {
    match judge(directory) {
        // What prevents steps elsewhere too is told when one is to run.
        Judged::NotTried(_) | Judged::NoSteps(..) => Rooting::NotTried,
        Judged::Stacked(_) => Rooting::Stacked,
        Judged::Whole(why) => Rooting::Whole(why),
        Judged::Unfit(why) => Rooting::Unfit(why),
    }
}

/// Looks at the place of a store, for steps that run so.
pub fn probe_store(root: &Path, tier: Option<Tier>) -> Vec<Finding> {
    // What is no directory is not passed over: nothing can be made below it.
    let here = |place: &'_ Path| if place.as_os_str().is_empty() { PathBuf::from(".") } else { place.to_owned() };
    let there = root.ancestors().map(here).find(|place| place.symlink_metadata().is_ok());
    let there = there.as_deref().unwrap_or(root);
    let unfit =
        |detail: String, hint: &str| vec![Finding { name: "store", ok: false, detail, hint: Some(hint.into()) }];
    let trial = match Trial::new(there) {
        Ok(trial) => trial,
        Err(error) => {
            let detail = format!("nothing can be written in {}: {error}", there.display());
            return unfit(detail, "name another place: --root DIR, or COOPER_ROOT");
        }
    };
    if tier != Some(Tier::Container) {
        return vec![probe::overlay(), layers(&trial), copies(&trial), emulators(&trial)];
    }
    // Nothing is stacked there: the root of a step is a directory of the store.
    let flags = rustix::fs::statvfs(&trial.0).map_or(StatVfsMountFlags::empty(), |fs| fs.f_flag);
    let named = [(StatVfsMountFlags::NODEV, "nodev"), (StatVfsMountFlags::NOEXEC, "noexec")];
    match named.into_iter().find(|(flag, _)| flags.contains(*flag)) {
        Some((_, name)) => unfit(
            format!("{} is mounted with {name}, and steps have their devices and programs there", there.display()),
            "put it on a volume, or on a tmpfs with the options exec and dev",
        ),
        None => Vec::new(),
    }
}

/// A directory to try things in, deleted afterwards.
struct Trial(PathBuf);

impl Trial {
    fn new(place: &Path) -> io::Result<Self> {
        for attempt in 0..ATTEMPTS {
            let dir = place.join(format!(".cooper-doctor-{}-{attempt}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(dir)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "what was tried could not be deleted");
        }
    }
}

fn layers(trial: &Trial) -> Finding {
    told(judge(&trial.0))
}

/// What came of a place, in words that begin with the file system's name.
enum Judged {
    Stacked(String),
    Whole(String),
    Unfit(String),
    /// No fault of the place.
    NotTried(String),
    /// No step can run anywhere, and how to change that.
    NoSteps(String, Option<String>),
}

fn judge(directory: &Path) -> Judged {
    let number = rustix::fs::statfs(directory).map_or(0, |fs| fs.f_type);
    let attributes = attributes_of(|name| rustix::fs::setxattr(directory, name, b"y", XattrFlags::empty()));
    judged(number, attributes.err().map(|error| error.to_string()), || trial::on(directory))
}

/// Can overlay keep its marks? Tells of the first kind of them, since only root of the machine may write the other.
fn attributes_of<E>(mut set: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    // What an ordinary user's overlay writes; that of root writes others where these are refused.
    set("user.overlay.cooper").or_else(|first| set("trusted.overlay.cooper").map_err(|_| first))
}

/// Of a file system, what it said of an attribute, and what came of a trial.
fn judged(number: i64, no_attributes: Option<String>, tried: impl FnOnce() -> Tried) -> Judged {
    let name = NAMES.iter().find(|(known, _)| *known == number);
    let name = name.map_or_else(|| format!("type {number:#x}"), |(_, name)| (*name).to_owned());
    match no_attributes {
        _ if number == NFS => Judged::Unfit("nfs, which does not keep layers as they are".to_owned()),
        Some(why) if number == TMPFS => {
            Judged::Unfit(format!("{name}, which keeps no attributes here (those of users from Linux 6.6 on): {why}"))
        }
        Some(why) => Judged::Unfit(format!("{name}, which keeps no attributes here: {why}")),
        None => match tried() {
            Tried::Fits => Judged::Stacked(name),
            Tried::Whole(why) => Judged::Whole(format!("{name}, on which overlay cannot write: {why}")),
            Tried::Refused(why) => Judged::Unfit(format!("{name}, on which overlay cannot write: {why}")),
            Tried::NotMade(why) => Judged::NotTried(format!("{name}; overlay was not tried on it: {why}")),
            // Found by trying alone: what is there to be looked at may all seem right.
            Tried::NoSteps(why, how) => Judged::NoSteps(format!("{name}; no step can run: {why}"), how),
        },
    }
}

fn told(judged: Judged) -> Finding {
    let (ok, detail, hint) = match judged {
        Judged::Stacked(detail) | Judged::NotTried(detail) => (true, detail, None),
        Judged::Whole(detail) => {
            let cost = "the root of each stage that runs something is a copy";
            (true, format!("{detail}; {cost}"), Some(format!("for less work {ELSEWHERE}")))
        }
        Judged::Unfit(detail) => (false, detail, Some(ELSEWHERE.to_owned())),
        Judged::NoSteps(detail, how) => (false, detail, Some(how.unwrap_or_default())),
    };
    Finding { name: "store", ok, detail, hint }
}

/// Copies that share their blocks: only faster, so their absence is no hindrance.
fn copies(trial: &Trial) -> Finding {
    let shared = || -> io::Result<()> {
        let from = trial.0.join("from");
        std::fs::write(&from, [0; 4096])?;
        Ok(rustix::fs::ioctl_ficlone(File::create(trial.0.join("to"))?, File::open(&from)?)?)
    };
    let detail = match shared() {
        Ok(()) => "share their blocks (reflink)".to_owned(),
        Err(_) => "are read and written: this file system has no reflink".to_owned(),
    };
    Finding { name: "copies of files", ok: true, detail, hint: None }
}

/// Only for `--platform` of another processor.
fn emulators(trial: &Trial) -> Finding {
    let host = Platform::host();
    let others = foreign::architectures().filter(|name| *name != host.architecture);
    let mut known = Vec::new();
    for name in others {
        let tried = format!("{}/{name}", host.os).parse().map(|platform| check_foreign(&platform, &trial.0));
        match tried {
            Ok(Ok(())) => known.push(name),
            Ok(Err(SandboxError::Unavailable { cause, hint, .. })) => {
                return Finding { name: "other processors", ok: true, detail: cause, hint: Some(hint) };
            }
            _ => {}
        }
    }
    let none = known.is_empty();
    let detail = if none { "no programs for other processors run here".to_owned() } else { known.join(", ") };
    let hint = none.then(|| {
        "for RUN with --platform of another processor, as root: apt-get install qemu-user-static, or docker run \
         --privileged --rm tonistiigi/binfmt --install all"
            .to_owned()
    });
    Finding { name: "other processors", ok: true, detail, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_judged() {
        let fits = Tried::Fits;
        let whole = Tried::Whole("mounting: no".to_owned());
        let refused = Tried::Refused("mounting: no".to_owned());
        let not_made = Tried::NotMade("no namespaces".to_owned());
        let no_steps = Tried::NoSteps("no ids".to_owned(), Some("get some".to_owned()));
        for (number, no_attributes, tried, ok, said) in [
            (0xef53, None, &fits, true, "ext4"),
            (0x1234, None, &fits, true, "type 0x1234"),
            (0x6573_5546, None, &fits, true, "fuse"),
            (
                0x794c_7630,
                None,
                &whole,
                true,
                "overlay, on which overlay cannot write: mounting: no; the root of each stage that runs something is \
                 a copy",
            ),
            (0x794c_7630, None, &refused, false, "overlay, on which overlay cannot write: mounting: no"),
            (0xef53, None, &not_made, true, "ext4; overlay was not tried on it: no namespaces"),
            (0xef53, None, &no_steps, false, "ext4; no step can run: no ids"),
            (0x6969, None, &fits, false, "nfs, which does not keep layers as they are"),
            (0x8584_58f6, Some("no"), &fits, false, "type 0x858458f6, which keeps no attributes here: no"),
            (
                0x0102_1994,
                Some("not supported"),
                &fits,
                false,
                "tmpfs, which keeps no attributes here (those of users from Linux 6.6 on): not supported",
            ),
        ] {
            let found = told(judged(number, no_attributes.map(str::to_owned), || tried.clone()));
            let more = matches!(tried, Tried::Whole(_)) || !ok;
            assert_eq!((found.ok, found.hint.is_some()), (ok, more), "{found:?}");
            assert_eq!(found.detail, said);
            assert_eq!(found.hint.as_deref() == Some("get some"), matches!(tried, Tried::NoSteps(..)), "{found:?}");
        }
    }

    #[test]
    fn the_first_attribute_that_is_refused_is_told() {
        let refusing = |refused: &[(&str, i32)]| {
            attributes_of(|name| match refused.iter().find(|(kind, _)| name.starts_with(kind)) {
                Some((_, error)) => Err(*error),
                None => Ok(()),
            })
        };
        assert_eq!(refusing(&[]), Ok(()));
        assert_eq!(refusing(&[("user.", libc::EOPNOTSUPP)]), Ok(()));
        let both = [("user.", libc::EOPNOTSUPP), ("trusted.", libc::EPERM)];
        assert_eq!(refusing(&both), Err(libc::EOPNOTSUPP));
    }

    #[test]
    fn two_doctors_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| Trial::new(dir.path()).unwrap());
        assert_ne!(first.0, second.0);
        drop(first);
        assert!(second.0.is_dir());
        drop(second);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let found = probe_store(&dir.path().join("not/yet"), None);
        let names: Vec<&str> = found.iter().map(|f| f.name).collect();
        assert_eq!(names, ["overlay file system", "store", "copies of files", "other processors"]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(probe_store(dir.path(), Some(Tier::Container)).is_empty());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for place in [Path::new("/proc/self/cooper"), &file, &file.join("below"), Path::new("/dev/null/x/y")] {
            for tier in [None, Some(Tier::Container)] {
                let nowhere = probe_store(place, tier);
                assert!(nowhere.len() == 1 && !nowhere[0].ok && nowhere[0].hint.is_some(), "{place:?}: {nowhere:?}");
            }
        }
    }
}
