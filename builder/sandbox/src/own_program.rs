//! The builder's own program, as set-up processes are executed from it.
//!
//! An image can have the set-up execute that very program as the step: by a link to `/proc/self/exe`, or by a script
//! that such a link interprets. The step's `/proc/self/exe` is then what this module gives, and never the file itself:
//! root of the step could change its mode, its owner or, once nobody executes it, its bytes (CVE-2019-5736).

use crate::mount_api::{on_host, read_only_copy_of};
use crate::spec::Files;
use crate::sys::Reach;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

const OWN: &str = "/proc/self/exe";

/// Something to execute that nobody can change the program through.
pub(crate) fn unchangeable(files: &Files) -> io::Result<OwnedFd> {
    static COPY: OnceLock<OwnedFd> = OnceLock::new();
    match files {
        Files::Layers(_) | Files::Bound(_) => mounted(),
        // Nothing can be mounted. Steps have no `/proc` by which they could execute it, and who answers for that tells of
        // no set-up process, so that one copy is enough for all.
        Files::Whole(_) => made_once(&COPY, sealed_copy),
    }
}

/// The same, for steps that have mounts.
pub(crate) fn mounted() -> io::Result<OwnedFd> {
    static MOUNT: OnceLock<OwnedFd> = OnceLock::new();
    // When the file was replaced by a newer one, memory holds the program. Owner and mode of what is in memory cannot be
    // sealed: a step that comes to it would change them for the next one, so each has its own. A mount cannot be changed by
    // whoever executes from it, and the last one to close it waits for all processors.
    made_once(&MOUNT, read_only_mount).or_else(|_| sealed_copy())
}

/// What this process made when the first step needed it.
fn made_once(made: &OnceLock<OwnedFd>, make: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    match made.get() {
        Some(made) => made.try_clone(),
        None => {
            let new = make()?;
            made.get_or_init(|| new).try_clone()
        }
    }
}

fn read_only_mount() -> io::Result<OwnedFd> {
    let own = on_host(OWN.as_ref())?;
    let none = MountAttrFlags::empty();
    match read_only_copy_of(&own, none, Reach::Mount) {
        // It was executed from a mount of another namespace; here the same file has another.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        other => return other,
    }
    let here = on_host(&std::fs::read_link(OWN)?)?;
    let [same, found] = [rustix::fs::fstat(&own)?, rustix::fs::fstat(&here)?];
    if (same.st_dev, same.st_ino) != (found.st_dev, found.st_ino) {
        return Err(io::ErrorKind::NotFound.into());
    }
    read_only_copy_of(&here, none, Reach::Mount)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create("cooper", flags | MemfdFlags::EXEC) {
        // Kernels before 6.3 know no other kind.
        Err(Errno::INVAL) => rustix::fs::memfd_create("cooper", flags)?,
        other => other?,
    };
    let mut memory = File::from(memory);
    io::copy(&mut File::open(Path::new(OWN))?, &mut memory)?;
    let all = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, all)?;
    Ok(memory.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Whole;
    use std::io::{Read, Seek, Write};

    #[test]
    fn the_copy_is_the_program_and_stays_so() {
        let mut copy = File::from(sealed_copy().unwrap());
        assert!(copy.write_all(b"x").is_err() && copy.set_len(1).is_err());
        let mut bytes = Vec::new();
        copy.rewind().unwrap();
        copy.read_to_end(&mut bytes).unwrap();
        assert!(bytes == std::fs::read(OWN).unwrap());
    }

    #[test]
    fn only_those_share_a_copy_who_cannot_come_to_it() {
        let inode = |copy: OwnedFd| rustix::fs::fstat(&copy).unwrap().st_ino;
        let whole = Files::Whole(Whole { root: "/nowhere".into(), aside: "/nowhere".into() });
        let [first, second] = [(); 2].map(|()| unchangeable(&whole).unwrap());
        let sealed = rustix::fs::fcntl_get_seals(&first).unwrap();
        assert!(sealed.contains(SealFlags::WRITE | SealFlags::SEAL), "{sealed:?}");
        assert_eq!(inode(first), inode(second));
        let whole = unchangeable(&whole).unwrap();
        assert_ne!(inode(sealed_copy().unwrap()), inode(whole));
    }
}
