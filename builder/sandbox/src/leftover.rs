//! What is left of steps that have ended: their mounts, and the set-up process on its way out. The kernel takes half a
//! millisecond and more to take a namespace of mounts apart, and some more for a process, for which nobody has to wait: no
//! process of the step is left, and what steps write goes through these mounts to where it is to be at once. An insecure
//! step can have made others; theirs are not left to this.
//!
//! Must never: let a step of this process begin before the mounts of all earlier ones are gone. What was written into an
//! overlay is a lower layer of the next step, and the kernel warns of one that is another overlay's upper: a line in its
//! log, which a second Cooper that stacks the same tree at that very moment can cause too.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread::Builder;

/// What is left of one step.
pub(crate) struct Leftover {
    /// A namespace in which no process is left, but for the one that is ending.
    pub mounts: OwnedFd,
    /// The set-up process, which has said how the step ended.
    pub process: Child,
}

impl Leftover {
    /// Calls `apart` once the mounts are gone.
    fn end(mut self, apart: impl FnOnce()) {
        drop(self.mounts);
        apart();
        // It has nothing more to say.
        let _status = self.process.wait();
    }
}

/// Of how many the mounts were left here, and of how many of these they are gone: one after the other, in this order.
struct Count {
    begun: u64,
    ended: u64,
}

static COUNT: Mutex<Count> = Mutex::new(Count { begun: 0, ended: 0 });
static ENDED: Condvar = Condvar::new();

fn count() -> std::sync::MutexGuard<'static, Count> {
    COUNT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one thread that ends what is left, from the first step on; nothing where there can be none.
fn worker() -> Option<&'static Sender<Leftover>> {
    static WORKER: OnceLock<Option<Sender<Leftover>>> = OnceLock::new();
    let start = || {
        let (sender, receiver) = channel();
        Builder::new().name("leftover".to_owned()).spawn(move || work(&receiver)).ok().map(|_runs_for_ever| sender)
    };
    WORKER.get_or_init(start).as_ref()
}

fn work(receiver: &Receiver<Leftover>) {
    while let Ok(left) = receiver.recv() {
        left.end(|| {
            count().ended += 1;
            ENDED.notify_all();
        });
    }
}

/// Ends what is left of a step, beside whoever calls.
pub(crate) fn end(left: Leftover) {
    let Some(worker) = worker() else { return left.end(|| {}) };
    // Both at once, so that they are ended in the order in which they are counted.
    let mut count = count();
    match worker.send(left) {
        Ok(()) => count.begun += 1,
        Err(unsent) => {
            drop(count);
            unsent.0.end(|| {});
        }
    }
}

/// Waits until the mounts of all steps that have ended so far are gone.
pub(crate) fn wait() {
    let mut now = count();
    let wanted = now.begun;
    while now.ended < wanted {
        now = ENDED.wait(now).unwrap_or_else(PoisonError::into_inner);
    }
}
