//! How far blobs are that move, told some times a second.
//!
//! Takes: blobs, and where each of them is. Gives events. Must never: tell of a blob that it moves after it has arrived.

use crate::event::{Direction, Event, How, Sink};
use crate::layers::lock;
use cooper_image::{Descriptor, Digest};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often people are told.
const EVERY: Duration = Duration::from_millis(100);
/// Of a blob that stands still, each time it was looked at so often.
const STILL: u32 = 10;
/// Of blobs of so many bytes it is told when they begin.
const LARGE: u64 = 1 << 20;

/// The blobs under way in one direction.
pub(crate) struct Meters<'a> {
    sink: &'a dyn Sink,
    direction: Direction,
    moving: Mutex<Vec<Moving>>,
}

/// Where a blob is.
type At = Box<dyn Fn() -> u64 + Send + Sync>;

struct Moving {
    digest: Digest,
    total: u64,
    at: At,
    /// What was told last.
    told: u64,
    /// How often nothing had moved since.
    still: u32,
}

/// Does something while it is told how far its blobs are.
pub(crate) fn watched<T>(sink: &dyn Sink, direction: Direction, work: impl FnOnce(&Meters<'_>) -> T) -> T {
    let meters = Meters { sink, direction, moving: Mutex::default() };
    let (end, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let meters = &meters;
        scope.spawn(move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                meters.tell();
            }
        });
        // Dropped however the work ends, so that the other thread does.
        let _end = end;
        work(meters)
    })
}

impl Meters<'_> {
    /// A blob begins to move. Where it is, is to be written there.
    pub fn begin(&self, d: &Descriptor) -> Arc<AtomicU64> {
        self.begin_at(d, 0)
    }

    /// As [`Meters::begin`], of a blob of which there is so much already.
    pub fn begin_at(&self, d: &Descriptor, done: u64) -> Arc<AtomicU64> {
        let at = Arc::new(AtomicU64::new(done));
        let read = Arc::clone(&at);
        self.watch(d, move || read.load(Ordering::Relaxed));
        at
    }

    /// A blob moves already. `at` says where it is.
    pub fn watch(&self, d: &Descriptor, at: impl Fn() -> u64 + Send + Sync + 'static) {
        let told = at();
        let moving = Moving { digest: d.digest.clone(), total: d.size, at: Box::new(at), told, still: 0 };
        let mut all = lock(&self.moving);
        all.retain(|known| known.digest != d.digest);
        if d.size >= LARGE {
            // By this a rate can be told in the end.
            self.sink.event(self.moves(&moving, told));
        }
        all.push(moving);
    }

    /// It has arrived.
    pub fn arrived(&self, d: &Descriptor, how: How) {
        lock(&self.moving).retain(|moving| moving.digest != d.digest);
        self.sink.event(Event::Arrived { direction: self.direction, digest: d.digest.clone(), size: d.size, how });
    }

    fn tell(&self) {
        // The lock is held while it is told, so that nothing arrives meanwhile.
        for moving in lock(&self.moving).iter_mut() {
            let done = (moving.at)();
            moving.still = if moving.told == done { moving.still + 1 } else { 0 };
            // That nothing moves is told too, but not as often.
            if moving.still.is_multiple_of(STILL) {
                moving.told = done;
                self.sink.event(self.moves(moving, done));
            }
        }
    }

    fn moves(&self, moving: &Moving, done: u64) -> Event {
        let (direction, digest, total) = (self.direction, moving.digest.clone(), moving.total);
        Event::Transfer { direction, digest, done, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::MediaType;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);
    impl Sink for Seen {
        fn event(&self, event: Event) {
            let text = match event {
                Event::Transfer { done, total, .. } => format!("{done} of {total}"),
                Event::Arrived { size, how, .. } => format!("{size} {how:?}"),
                other => format!("{other:?}"),
            };
            lock(&self.0).push(text);
        }
    }

    #[test]
    fn a_blob_is_told_of_while_it_moves_and_not_afterwards() {
        let (seen, d) = (Seen::default(), Descriptor::of(MediaType::OciLayer, b"four"));
        let given = watched(&seen, Direction::Push, |meters| {
            let at = meters.begin(&d);
            meters.tell();
            assert!(lock(&seen.0).is_empty(), "nothing has moved");
            (1..STILL).for_each(|_| meters.tell());
            at.store(3, Ordering::Relaxed);
            meters.tell();
            meters.tell();
            meters.arrived(&d, How::Moved);
            at.store(4, Ordering::Relaxed);
            meters.tell();
            "given"
        });
        assert_eq!((given, lock(&seen.0).join(", ").as_str()), ("given", "0 of 4, 3 of 4, 4 Moved"));
    }

    #[test]
    fn somebody_looks_while_the_work_is_done() {
        let (seen, d) = (Seen::default(), Descriptor::of(MediaType::OciLayer, b"four"));
        watched(&seen, Direction::Push, |meters| {
            meters.begin(&d).store(2, Ordering::Relaxed);
            let begun = std::time::Instant::now();
            while lock(&seen.0).is_empty() && begun.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(EVERY / 10);
            }
        });
        assert_eq!(*lock(&seen.0), ["2 of 4"]);
    }
}
