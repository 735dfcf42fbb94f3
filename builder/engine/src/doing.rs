//! Which steps the threads of one build are doing, by their keys.
//!
//! Two stages, or the same stage for two platforms, often come to the same step: one does it, the other waits and
//! takes the result.

use crate::layers::lock;
use cooper_image::Digest;
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Steps in work and steps done.
#[derive(Debug, Default)]
pub struct Doing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    now: HashSet<Digest>,
    done: HashSet<Digest>,
    found: HashSet<Digest>,
}

/// The right to do one step, given back on drop.
#[derive(Debug)]
pub struct Claim {
    of: Arc<Doing>,
    key: Digest,
    was_done: bool,
}

impl Doing {
    /// Waits until nobody else does the step.
    pub fn claim(self: &Arc<Self>, key: &Digest) -> Claim {
        let mut state = lock(&self.state);
        while !state.now.insert(key.clone()) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Claim { of: Arc::clone(self), key: key.clone(), was_done: state.done.contains(key) }
    }

    /// The step's result is known from now on.
    pub fn done(&self, key: &Digest) {
        lock(&self.state).done.insert(key.clone());
    }

    /// The step's result was there.
    pub fn found(&self, key: &Digest) {
        lock(&self.state).found.insert(key.clone());
    }

    /// Is it a step of this build, done or found there?
    pub fn has(&self, key: &Digest) -> bool {
        let state = lock(&self.state);
        state.done.contains(key) || state.found.contains(key)
    }
}

impl Claim {
    /// Was the step done in this build before the claim was given?
    pub fn was_done(&self) -> bool {
        self.was_done
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.of.state).now.remove(&self.key);
        self.of.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_does_it_and_the_others_take_the_result() {
        let (doing, key, did) = (Arc::new(Doing::default()), Digest::sha256(b"step"), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let claim = doing.claim(&key);
                    if !claim.was_done() {
                        did.fetch_add(1, Ordering::SeqCst);
                        doing.done(&key);
                    }
                });
            }
        });
        assert_eq!(did.load(Ordering::SeqCst), 1);
        assert!(!doing.claim(&Digest::sha256(b"other")).was_done());
    }
}
