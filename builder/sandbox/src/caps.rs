//! The capabilities of a step: Docker's fourteen in the bounding set, nothing inheritable or
//! ambient, and effective ones only for uid 0.

use rustix::io::{Errno, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// What a step's root may have: enough for package managers, nothing that reaches the host.
pub(crate) const STEP: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// What it may have in a chroot: nothing that leads out of one, and no device nodes. Other steps may make nodes, since no
/// file system of theirs opens them; here whatever the container may use would open.
pub(crate) const CHROOT_STEP: CapabilitySet =
    STEP.difference(CapabilitySet::SYS_CHROOT).difference(CapabilitySet::MKNOD);

/// The last one that every kernel knows which can run steps (Linux 5.9: checkpoint and restore).
const KNOWN_EVERYWHERE: u32 = 40;

/// Takes everything but these out of the bounding set.
pub(crate) fn limit_bounding_set(kept: CapabilitySet) -> Result<()> {
    for number in 0..64_u32 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // The first number that this kernel does not know.
            Err(Errno::INVAL) if number > KNOWN_EVERYWHERE => break,
            other => other?,
        }
    }
    Ok(())
}

/// Gives the process, and what it executes, every capability that it has, whoever it is.
pub(crate) fn keep_all(all: CapabilitySet) -> Result<()> {
    set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable: all })?;
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if all.contains(capability) {
            configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}

/// Sets the process's own sets for a step with this uid. The bounding set stays, so that setuid
/// programs work.
pub(crate) fn limit_own(uid: u32, most: CapabilitySet) -> Result<()> {
    clear_ambient_capability_set()?;
    let now = capabilities(None)?;
    let kept = if uid == 0 { now.permitted & most } else { CapabilitySet::empty() };
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn fourteen_as_docker() {
        assert_eq!(super::STEP.bits(), 0xa804_25fb);
        assert_eq!(super::CHROOT_STEP.bits(), 0xa000_25fb);
    }
}
