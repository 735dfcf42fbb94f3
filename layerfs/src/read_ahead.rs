//! A reader whose bytes another thread makes: inflating and hashing go on while files are written.
//!
//! Takes: a reader. Gives: the same bytes, in the same order, and the same failure at the same place. What is read
//! ahead is bounded by [`PORTIONS`]. Must never: leave its thread behind; dropping the reader ends it at its next
//! portion.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of a portion.
const PORTION: usize = 256 * 1024;
/// Portions that wait.
const PORTIONS: usize = 8;

/// The end that is read.
pub struct ReadAhead {
    portions: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    taken: usize,
}

impl ReadAhead {
    /// Gives the end that is read, and the work of the other end, which is to be done by another thread.
    pub fn split<'r>(source: impl Read + Send + 'r) -> (Self, impl FnOnce() + Send + 'r) {
        let (sender, portions) = sync_channel(PORTIONS);
        (Self { portions, current: Vec::new(), taken: 0 }, move || produce(source, &sender))
    }
}

/// Reads to the end or to a failure, or until nobody wants more.
fn produce(mut source: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut portion = Vec::with_capacity(PORTION);
        let read = (&mut source).take(PORTION as u64).read_to_end(&mut portion);
        let more = !portion.is_empty();
        // What came before a failure is passed on first.
        if more && sender.send(Ok(portion)).is_err() {
            return;
        }
        match read {
            Ok(_) if more => {}
            Ok(_) => return,
            Err(e) => {
                let _ = sender.send(Err(e));
                return;
            }
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.current.len() {
            match self.portions.recv() {
                Ok(portion) => (self.current, self.taken) = (portion?, 0),
                // The other end is done.
                Err(_) => return Ok(0),
            }
        }
        let rest = self.current.get(self.taken..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        self.taken += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_and_the_failure_are_the_same() {
        struct Breaks(usize);
        impl Read for Breaks {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::other("broken"));
                }
                let n = buf.len().min(self.0).min(1000);
                buf[..n].fill(7);
                self.0 -= n;
                Ok(n)
            }
        }
        for length in [0, 1, PORTION - 1, PORTION, PORTION + 1, 3 * PORTION * PORTIONS] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let (mut whole, mut broken) = (Vec::new(), Vec::new());
            std::thread::scope(|scope| {
                let (mut reader, work) = ReadAhead::split(&*bytes);
                scope.spawn(work);
                reader.read_to_end(&mut whole).unwrap();
                let (mut reader, work) = ReadAhead::split(Breaks(length));
                scope.spawn(work);
                assert_eq!(reader.read_to_end(&mut broken).unwrap_err().to_string(), "broken");
            });
            assert!(whole == bytes && broken == vec![7; length], "{length}");
        }
    }

    #[test]
    fn a_reader_that_is_dropped_ends_the_work() {
        std::thread::scope(|scope| {
            let (mut reader, work) = ReadAhead::split(io::repeat(1));
            scope.spawn(work);
            reader.read_exact(&mut [0; 10]).unwrap();
        });
    }
}
