//! Images that go to one place at the same time.
//!
//! Takes a target that several of them have. Gives one through which no more blobs move than those of one image would, and
//! through which a blob that several images have comes once: the others find it there. Must never wait for a blob while it
//! holds another one up.

use super::origin::Origin;
use super::shipment::{Name, Put, Shipment, Target};
use crate::EngineError;
use crate::event::Direction;
use crate::layers::lock;
use cooper_image::{Descriptor, Digest};
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What is under way of all of them.
#[derive(Default)]
pub(super) struct Gate {
    moving: Mutex<BTreeSet<Digest>>,
    changed: Condvar,
}

impl Gate {
    /// Waits until the blob can come: it does not come already, and of all no more do than may.
    fn enter<'g>(&'g self, digest: &'g Digest, most: usize) -> Pass<'g> {
        let is_shut = |moving: &mut BTreeSet<Digest>| moving.len() >= most || moving.contains(digest);
        let waited = self.changed.wait_while(lock(&self.moving), is_shut);
        waited.unwrap_or_else(PoisonError::into_inner).insert(digest.clone());
        Pass { gate: self, digest }
    }
}

/// A blob is under way until it is dropped.
struct Pass<'g> {
    gate: &'g Gate,
    digest: &'g Digest,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        lock(&self.gate.moving).remove(self.digest);
        self.gate.changed.notify_all();
    }
}

/// A target to which others go as well.
pub(super) struct Together<'t> {
    target: &'t dyn Target,
    gate: &'t Gate,
}

impl<'t> Together<'t> {
    /// With those that have the same gate.
    pub(super) fn new(target: &'t dyn Target, gate: &'t Gate) -> Self {
        Self { target, gate }
    }
}

impl Target for Together<'_> {
    fn begin(&self, all: &Shipment) -> Result<(), EngineError> {
        self.target.begin(all)
    }
    fn put_blob(&self, d: &Descriptor, from: &Arc<dyn Origin>) -> Result<Put, EngineError> {
        let _pass = self.gate.enter(&d.digest, self.target.at_once());
        self.target.put_blob(d, from)
    }
    fn put_document(&self, d: &Descriptor, bytes: &[u8]) -> Result<(), EngineError> {
        self.target.put_document(d, bytes)
    }
    fn name(&self, d: &Descriptor, bytes: &[u8], names: &[Name]) -> Result<(), EngineError> {
        self.target.name(d, bytes, names)
    }
    fn finish(&self) -> Result<(), EngineError> {
        self.target.finish()
    }
    fn direction(&self) -> Direction {
        self.target.direction()
    }
    fn sends_by_name(&self) -> bool {
        self.target.sends_by_name()
    }
    fn begins_anew(&self) -> bool {
        self.target.begins_anew()
    }
    fn at_once(&self) -> usize {
        self.target.at_once()
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;
    use std::time::Duration;

    /// Keeps what comes, slowly, and counts.
    #[derive(Default)]
    struct Slow {
        has: Mutex<BTreeSet<Digest>>,
        /// How many move, the most that ever did, and how often one was sent.
        counts: Mutex<[usize; 3]>,
    }

    impl Target for Slow {
        fn put_blob(&self, d: &Descriptor, _: &Arc<dyn Origin>) -> Result<Put, EngineError> {
            {
                let [moving, most, _] = &mut *lock(&self.counts);
                *moving += 1;
                *most = (*most).max(*moving);
            }
            let is_there = lock(&self.has).contains(&d.digest);
            std::thread::sleep(Duration::from_millis(5));
            let [moving, _, sent] = &mut *lock(&self.counts);
            *moving -= 1;
            if is_there {
                return Ok(Put::Existed);
            }
            *sent += 1;
            lock(&self.has).insert(d.digest.clone());
            Ok(Put::Sent)
        }
        fn put_document(&self, _: &Descriptor, _: &[u8]) -> Result<(), EngineError> {
            Ok(())
        }
        fn name(&self, _: &Descriptor, _: &[u8], _: &[Name]) -> Result<(), EngineError> {
            Ok(())
        }
    }

    #[test]
    fn what_several_have_comes_once_and_few_blobs_move() {
        let mut place = Memory::default();
        let blobs: Vec<Descriptor> = (0..12_u8).map(|n| place.put("application/octet-stream", &[n])).collect();
        let (slow, gate, origin) = (Slow::default(), Gate::default(), place.shared());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                for blob in &blobs {
                    scope.spawn(|| Together::new(&slow, &gate).put_blob(blob, &origin).unwrap());
                }
            }
        });
        let [moving, most, sent] = *lock(&slow.counts);
        assert_eq!((moving, most, sent), (0, slow.at_once(), blobs.len()));
    }
}
