//! The mounts of steps that have ended. The kernel takes half a millisecond and more to take a namespace of them apart, the
//! longer the more the disk has to write, for which nobody has to wait: no process is left in it, and what steps write goes
//! through these mounts to where it is to be at once. An insecure step can have made others; theirs are not left to this.
//!
//! Must never: let a step of this process begin before those of all earlier ones are gone. What was written into an overlay
//! is a lower layer of the next step, and the kernel warns of one that is another overlay's upper: a line in its log, which
//! a second Cooper that stacks the same tree at that very moment can cause too.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// What is at work.
static ENDING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Takes apart the mounts of a namespace in which no process is left.
pub(crate) fn take_apart(namespace: OwnedFd) {
    // Where there can be no thread, it is done here: what was to run is dropped.
    if let Ok(thread) = Builder::new().name("mounts".to_owned()).spawn(move || drop(namespace)) {
        ENDING.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
}

/// Waits until no mount of an earlier step is left.
pub(crate) fn wait() {
    // Held until they have ended: another thread that asks meanwhile waits for the same ones.
    let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
    for thread in ending.drain(..) {
        // It does nothing that panics.
        let _ended = thread.join();
    }
}
