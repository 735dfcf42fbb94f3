//! What the server may do to files and processes while it does something for a process of the step: what that one may.
//!
//! The kernel lets a process look into others with the same ids alone (`ptrace(2)`, PTRACE_MODE_FSCREDS), as long as it
//! has no CAP_SYS_PTRACE, and the server has none. Must never: go on with rights that it could not change.

use crate::sys;
use rustix::fs::Gid;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups};
use std::io;

/// Does something with these ids. They are those of a process that is looked into because it asks for it itself, so that
/// no other right of this one matters.
///
/// # Errors
/// Of the change itself: this process has rights then that it should not.
pub(super) fn with_ids<T>((uid, gid): (u32, u32), run: impl FnOnce() -> T) -> io::Result<T> {
    if (uid, gid) == (0, 0) {
        return Ok(run());
    }
    sys::use_files_as(uid, gid)?;
    let done = run();
    sys::use_files_as(0, 0)?;
    Ok(done)
}

/// Everything of a process that the kernel looks at when it opens a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rights {
    ids: (u32, u32),
    groups: Vec<u32>,
    capabilities: CapabilitySet,
}

impl Rights {
    /// By `/proc/PID/status`. Nothing of a process that is between two users.
    pub(super) fn read(status: &str) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let numbers = |name| field(name)?.split_whitespace().map(|id| id.parse().ok()).collect::<Option<Vec<u32>>>();
        // Real, effective, saved, and for files.
        let only = |name| match numbers(name)?.as_slice() {
            [id, others @ ..] if others == [*id; 3] => Some(*id),
            _ => None,
        };
        let bits = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
        Some(Self {
            ids: (only("Uid:")?, only("Gid:")?),
            groups: numbers("Groups:")?,
            capabilities: CapabilitySet::from_bits_retain(bits),
        })
    }

    /// Does something with these rights, and no others.
    ///
    /// # Errors
    /// As of [`with_ids`].
    pub(super) fn with<T>(&self, run: impl FnOnce() -> T) -> io::Result<T> {
        let groups = |groups: &[u32]| set_thread_groups(&groups.iter().copied().map(Gid::from_raw).collect::<Vec<_>>());
        let own = capabilities(None)?;
        groups(&self.groups)?;
        let (uid, gid) = self.ids;
        sys::use_files_as(uid, gid)?;
        set_capabilities(None, CapabilitySets { effective: self.capabilities & own.permitted, ..own })?;
        let done = run();
        set_capabilities(None, own)?;
        sys::use_files_as(0, 0)?;
        groups(&[])?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read() {
        let status = |uid: &str| {
            format!(
                "Name:\tUid: 7\nUid:\t{uid}\nGid:\t5\t5\t5\t5\nGroups:\t5 50 \nCapPrm:\t0\nCapEff:\t00000000000000c0\n"
            )
        };
        let capabilities = CapabilitySet::SETGID | CapabilitySet::SETUID;
        let app = Rights { ids: (1000, 5), groups: vec![5, 50], capabilities };
        assert_eq!(Rights::read(&status("1000\t1000\t1000\t1000")), Some(app));
        for between in ["0\t1000\t0\t1000", "1000\t1000\t0\t1000", "1000\t1000\t1000\t0", "", "x"] {
            assert_eq!(Rights::read(&status(between)), None, "{between}");
        }
        assert_eq!(Rights::read("Uid:\t0\t0\t0\t0\n"), None);
    }
}
