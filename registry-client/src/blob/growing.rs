//! A file that is read while it is written: how much of it there is, and whether it is whole.
//!
//! Takes: a handle of the file, the lengths to which it has grown, and in the end its name. Gives: its bytes in order,
//! to any number of readers, each of which waits for those that are not there yet. Must never: give a byte that was
//! not announced.

use cooper_image::Descriptor;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a reader waits before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(200);

/// A blob in the making.
#[derive(Debug)]
pub struct Growing {
    file: File,
    state: Mutex<State>,
    grown: Condvar,
    ended: Notify,
    sent: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    length: u64,
    end: Option<End>,
}

#[derive(Debug, Clone)]
enum End {
    Whole(Box<Descriptor>),
    GivenUp,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Portion {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing yet.
    NotYet,
    /// The blob is whole and all of it was read.
    End,
}

impl Growing {
    /// Nothing is in the file yet. Its position does not matter, and must not be the one at which is written.
    pub fn new(file: File) -> Self {
        Self { file, state: Mutex::default(), grown: Condvar::new(), ended: Notify::new(), sent: AtomicU64::new(0) }
    }

    /// The file has this many bytes, which will not change any more.
    pub fn grow(&self, length: u64) {
        self.lock().length = length;
        self.grown.notify_all();
    }

    /// The file is whole, and this is what it is.
    pub fn finish(&self, blob: Descriptor) {
        self.end(End::Whole(Box::new(blob)));
    }

    /// It will never be whole. Changes nothing when it is.
    pub fn give_up(&self) {
        self.end(End::GivenUp);
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        if let End::Whole(blob) = &end {
            state.length = blob.size;
        }
        state.end.get_or_insert(end);
        drop(state);
        self.grown.notify_all();
        self.ended.notify_one();
    }

    /// Its bytes from the beginning. Reading waits for those that are not there yet, and fails when it is given up.
    pub fn reader(self: &Arc<Self>) -> Following {
        Following { growing: Arc::clone(self), at: 0 }
    }

    /// What it became, once it is whole.
    pub(crate) fn whole(&self) -> Option<Descriptor> {
        match &self.lock().end {
            Some(End::Whole(blob)) => Some(blob.as_ref().clone()),
            _ => None,
        }
    }

    /// Are there so many bytes of it, and will there be all?
    pub(crate) fn has(&self, length: u64) -> bool {
        let state = self.lock();
        length <= state.length && !matches!(state.end, Some(End::GivenUp))
    }

    /// Waits until it is whole, or given up.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// How many bytes were handed to a connection.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many bytes of so many were not handed to a connection yet.
    pub(crate) fn left(&self, size: u64) -> u64 {
        size.saturating_sub(self.sent())
    }

    /// Are all bytes sent that there are, so that a silent connection is nobody's fault?
    pub(crate) fn is_dry(&self, sent: u64) -> bool {
        let state = self.lock();
        state.end.is_none() && state.length <= sent
    }

    /// Up to `most` bytes from `at` on; waits a little for them.
    pub(crate) fn read(&self, at: u64, most: usize) -> io::Result<Portion> {
        let waits = |state: &mut State| state.end.is_none() && state.length <= at;
        let waited = self.grown.wait_timeout_while(self.lock(), PATIENCE, waits);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (there, end) = (state.length.saturating_sub(at), state.end.clone());
        drop(state);
        match end {
            Some(End::GivenUp) => return Err(io::Error::other("the blob was given up")),
            Some(End::Whole(_)) if there == 0 => return Ok(Portion::End),
            _ if there == 0 => return Ok(Portion::NotYet),
            _ => {}
        }
        let mut bytes = vec![0; usize::try_from(there).map_or(most, |there| there.min(most))];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(Portion::Bytes(bytes))
    }

    pub(crate) fn note_sent(&self, sent: u64) {
        self.sent.store(sent, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a growing file from its beginning to its end.
#[derive(Debug)]
pub struct Following {
    growing: Arc<Growing>,
    at: u64,
}

impl Read for Following {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match self.growing.read(self.at, buf.len())? {
                Portion::End => return Ok(0),
                Portion::NotYet => {}
                Portion::Bytes(bytes) => {
                    let n = bytes.len().min(buf.len());
                    if let (Some(to), Some(from)) = (buf.get_mut(..n), bytes.get(..n)) {
                        to.copy_from_slice(from);
                    }
                    self.at += n as u64;
                    return Ok(n);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::MediaType;
    use std::io::Write as _;

    fn growing() -> (tempfile::NamedTempFile, Arc<Growing>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let growing = Arc::new(Growing::new(file.reopen().unwrap()));
        (file, growing)
    }

    #[test]
    fn a_reader_gets_what_is_announced_and_waits_for_the_rest() {
        let (mut file, growing) = growing();
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut got = Vec::new();
                growing.reader().read_to_end(&mut got).map(|_| got)
            });
            for part in bytes.chunks(70_000) {
                file.write_all(part).unwrap();
                growing.grow(file.as_file().metadata().unwrap().len());
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(!reader.is_finished());
            growing.finish(Descriptor::of(MediaType::OciLayer, &bytes));
            reader.join().unwrap()
        });
        assert!(read.unwrap() == bytes);
        // The end stays what it was.
        growing.give_up();
        assert_eq!(growing.reader().read(&mut [0; 4]).unwrap(), 4);
    }

    #[test]
    fn a_reader_of_what_is_given_up_fails() {
        let (_file, growing) = growing();
        growing.give_up();
        let error = growing.reader().read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("given up"), "{error}");
    }
}
