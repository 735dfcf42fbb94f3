//! Deletes a directory whatever a build step left in it: modes without permission, deep nesting.
//!
//! Takes the path of a directory that nobody else changes (its lock is held). Works on descriptors,
//! follows no symbolic link and leaves nothing outside the directory touched.

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmodat, fchmod, fstat, openat, renameat, unlinkat};
use rustix::io::{Errno, Result};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Levels that are followed by recursion. What lies deeper is moved up first, so that neither the
/// stack nor the number of open files grows with what a step made.
const DEPTH: usize = 48;

/// Deletes a directory and everything in it. One that is not there is no error.
pub fn remove_tree(path: &Path) -> std::io::Result<()> {
    match remove(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn remove(path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
    let top = Top { fd: open_dir(rustix::fs::CWD, &name)?, moved: 0 };
    let mut top = top;
    loop {
        let entries = list(&top.fd)?;
        if entries.is_empty() {
            return unlinkat(rustix::fs::CWD, &name, AtFlags::REMOVEDIR);
        }
        for entry in entries {
            let dir = top.fd.try_clone().map_err(|_| Errno::MFILE)?;
            top.remove_entry(&dir, &entry, 1)?;
        }
    }
}

/// The directory that is deleted, to which deep ones are moved.
struct Top {
    fd: OwnedFd,
    moved: u64,
}

impl Top {
    fn remove_entry(&mut self, dir: &OwnedFd, name: &CStr, depth: usize) -> Result<()> {
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Some file systems say EPERM for a directory; if it is none, opening it as one fails.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(e) => return Err(e),
        }
        let inner = open_dir(dir, name)?;
        if depth >= DEPTH {
            return self.move_up(dir, name);
        }
        for entry in list(&inner)? {
            self.remove_entry(&inner, &entry, depth + 1)?;
        }
        unlinkat(dir, name, AtFlags::REMOVEDIR)
    }

    fn move_up(&mut self, dir: &OwnedFd, name: &CStr) -> Result<()> {
        loop {
            self.moved += 1;
            match renameat(dir, name, &self.fd, format!(".moved-up-{}", self.moved)) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => return other,
            }
        }
    }
}

/// Opens a directory, giving its owner the permissions that deleting needs.
fn open_dir(at: impl std::os::fd::AsFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(&at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(&at, name, Mode::RWXU, AtFlags::empty())?;
            openat(&at, name, flags, Mode::empty())?
        }
        other => other?,
    };
    if !Mode::from_raw_mode(fstat(&fd)?.st_mode).contains(Mode::RWXU) {
        // When this is refused, so will be what needs it, and that error says more.
        let _ = fchmod(&fd, Mode::RWXU);
    }
    Ok(fd)
}

fn list(dir: &OwnedFd) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn nothing_is_too_deep_or_too_closed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("canary"), "x").unwrap();
        let victim = dir.path().join("victim");
        fs::create_dir_all(victim.join("work/work")).unwrap();
        fs::write(victim.join("work/f"), "x").unwrap();
        symlink(&outside, victim.join("link")).unwrap();
        // A file that has the name to which deep directories are moved.
        fs::write(victim.join(".moved-up-1"), "x").unwrap();
        let mut deep = victim.join("deep");
        for _ in 0..DEPTH * 3 {
            fs::create_dir(&deep).unwrap();
            deep.push("d");
        }
        for closed in ["work/work", "work"] {
            fs::set_permissions(victim.join(closed), fs::Permissions::from_mode(0o0)).unwrap();
        }
        remove_tree(&victim).unwrap();
        assert!(!victim.exists());
        assert!(outside.join("canary").exists());
        remove_tree(&victim).unwrap();
    }
}
