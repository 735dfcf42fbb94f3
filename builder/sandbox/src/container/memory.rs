//! Files that are in memory alone, and that nobody can change.

use rustix::fs::{Gid, MemfdFlags, Mode, SealFlags, Uid};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

/// Who may do what with such a file.
pub(super) struct Owned {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// For everybody to read.
pub(super) const READABLE: Owned = Owned { uid: 0, gid: 0, mode: 0o444 };
const ANY_MAY_EXECUTE: u32 = 0o111;

/// A file with these bytes. What holds it may also open it to write, and then writes nothing.
pub(super) fn sealed(name: &str, bytes: &[u8], owned: &Owned) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // What is not executable when it is made never becomes so.
    let kind = if owned.mode & ANY_MAY_EXECUTE == 0 { MemfdFlags::NOEXEC_SEAL } else { MemfdFlags::EXEC };
    let memory = match rustix::fs::memfd_create(name, flags | kind) {
        // Kernels before 6.3 know no kinds.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    rustix::fs::fchown(&memory, Some(Uid::from_raw(owned.uid)), Some(Gid::from_raw(owned.gid)))?;
    rustix::fs::fchmod(&memory, Mode::from_raw_mode(owned.mode))?;
    let mut memory = File::from(memory);
    memory.write_all(bytes).map_err(|error| errno(&error))?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory.into())
}

pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
