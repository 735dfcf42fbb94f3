//! The builder's own program, as set-up processes are executed from it.
//!
//! An image can have the set-up execute that very program as the step: by a link to `/proc/self/exe`, or by a script
//! that such a link interprets. The step's `/proc/self/exe` is then what this module gives, and never the file itself:
//! root of the step could change its mode, its owner or, once nobody executes it, its bytes (CVE-2019-5736).

use crate::mount_api::{on_host, read_only_copy_of};
use crate::sys::Reach;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

const OWN: &str = "/proc/self/exe";

/// Something to execute that nobody can change the program through.
pub(crate) fn unchangeable() -> io::Result<OwnedFd> {
    // Without the right to mount, or when the file was replaced by a newer one, memory holds the program.
    read_only_mount().or_else(|_| sealed_copy())
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
}
