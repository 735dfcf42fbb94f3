//! What the place of a store allows, for `cooper doctor`: layers on it, cheap copies, programs for other processors.
//!
//! Takes the directory of a store, which need not exist. Tries each thing in a directory of its own that is deleted again.

use crate::foreign::{self, check_foreign};
use crate::probe::Finding;
use cooper_image::Platform;
use rustix::fs::XattrFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// File systems on which overlay keeps no upper directory, by the numbers of statfs(2).
const UNFIT: [(i64, &str); 8] = [
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0x6573_5546, "fuse"),
    (0x4d44, "vfat"),
    (0x0102_1997, "9p"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0xf15f, "ecryptfs"),
];
/// Some on which it does, for their names.
const FIT: [(i64, &str); 6] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0xf2f5_2010, "f2fs"),
    (0x2fc1_2fc1, "zfs"),
];

/// Processors that run another one's programs by themselves: the processor, and the other.
const NATIVE: [(&str, &str); 2] = [("amd64", "386"), ("arm64", "arm")];

/// Looks at the place of a store.
pub fn probe_store(root: &Path) -> Vec<Finding> {
    let there = root.ancestors().find(|dir| dir.is_dir()).unwrap_or(root);
    let trial = match Trial::new(there) {
        Ok(trial) => trial,
        Err(error) => {
            let detail = format!("nothing can be written in {}: {error}", there.display());
            let hint = Some("name another place: --root DIR, or COOPER_ROOT".to_owned());
            return vec![Finding { name: "store", ok: false, detail, hint }];
        }
    };
    vec![layers(&trial), copies(&trial), emulators(&trial)]
}

/// A directory to try things in, deleted afterwards.
struct Trial(PathBuf);

impl Trial {
    fn new(place: &Path) -> io::Result<Self> {
        let dir = place.join(format!(".cooper-doctor-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self(dir))
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
    let number = rustix::fs::statfs(&trial.0).map_or(0, |fs| fs.f_type);
    // What an ordinary user's overlay writes; that of root writes others where these are refused.
    let user = rustix::fs::setxattr(&trial.0, "user.overlay.cooper", b"y", XattrFlags::empty());
    let marks = user.or_else(|_| rustix::fs::setxattr(&trial.0, "trusted.overlay.cooper", b"y", XattrFlags::empty()));
    judged(number, marks.err().map(|e| e.to_string()))
}

/// Of a file system, and what it said of an attribute.
fn judged(number: i64, refused: Option<String>) -> Finding {
    let named = |all: &[(i64, &'static str)]| all.iter().find(|(n, _)| *n == number).map(|(_, name)| *name);
    let other = || format!("type {number:#x}");
    let hint = "put the store on ext4, xfs, btrfs or tmpfs: --root DIR, or COOPER_ROOT; in a container, on a volume";
    let (ok, detail) = match (named(&UNFIT), refused) {
        (Some(name), _) => (false, format!("{name}, on which overlay cannot write")),
        (None, Some(why)) => {
            let name = named(&FIT).map_or_else(other, str::to_owned);
            (false, format!("{name}, which keeps no attributes here: {why}"))
        }
        (None, None) => (true, named(&FIT).map_or_else(other, str::to_owned)),
    };
    Finding { name: "store", ok, detail, hint: (!ok).then(|| hint.to_owned()) }
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
    let own = |name: &str| name == host.architecture || NATIVE.contains(&(host.architecture.as_str(), name));
    let others = foreign::architectures().filter(|name| !own(name));
    let known: Vec<&str> = others
        .filter(|name| {
            format!("{}/{name}", host.os).parse().is_ok_and(|platform| check_foreign(&platform, &trial.0).is_ok())
        })
        .collect();
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
        for (number, refused, ok, said) in [
            (0xef53, None, true, "ext4"),
            (0x1234, None, true, "type 0x1234"),
            (0x794c_7630, None, false, "overlay, on which overlay cannot write"),
            (0x6969, None, false, "nfs"),
            (0x0102_1994, Some("not supported"), false, "tmpfs, which keeps no attributes here: not supported"),
        ] {
            let found = judged(number, refused.map(str::to_owned));
            assert_eq!((found.ok, found.hint.is_some()), (ok, !ok), "{found:?}");
            assert!(found.detail.starts_with(said), "{found:?}");
        }
    }

    #[test]
    fn a_place_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let found = probe_store(&dir.path().join("not/yet"));
        let names: Vec<&str> = found.iter().map(|f| f.name).collect();
        assert_eq!(names, ["store", "copies of files", "other processors"]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let nowhere = probe_store(Path::new("/proc/self/cooper"));
        assert!(nowhere.len() == 1 && !nowhere[0].ok && nowhere[0].hint.is_some(), "{nowhere:?}");
    }
}
