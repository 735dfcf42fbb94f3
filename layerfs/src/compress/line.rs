//! The assembly line: one thread makes bytes and cuts them, several compress chunks, one puts the pieces in order.
//!
//! What comes out depends on what went in and on the method alone: not on the number of threads, nor on which chunks
//! were known. Memory is bounded by the chunks that are under way. Must never: give a known chunk's bytes for another.

use super::cut::Cutter;
use super::piece::Press;
use super::{ChunkId, Chunks, Known, Method, Placed, written};
use crate::LayerfsError;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Most threads that compress.
const THREADS: usize = 8;
/// Chunks that wait beside those that are being compressed.
const WAITING: usize = 2;

/// Memory of chunks that are written, for chunks that come.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, memory: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// A chunk, and where its compressed form is awaited.
struct Job {
    chunk: Vec<u8>,
    done: SyncSender<Result<Pressed, LayerfsError>>,
}

/// A compressed chunk.
struct Pressed {
    chunk: ChunkId,
    known: Known,
    fresh: bool,
}

/// Runs `produce` on this thread, with a writer whose bytes reach `out` compressed. Gives what `produce` gave, and
/// where every chunk went.
pub fn run<R, E: From<LayerfsError>>(
    method: Method,
    chunks: &dyn Chunks,
    out: &mut (dyn Write + Send),
    produce: impl FnOnce(&mut dyn Write) -> Result<R, E>,
) -> Result<(R, Vec<Placed>), E> {
    // Large chunks are fewer, so that memory stays bounded.
    let most = match method {
        Method::Zstd(_) => THREADS / 2,
        Method::Plain | Method::Gzip(_) => THREADS,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(most);
    let (jobs, waiting) = sync_channel::<Job>(WAITING);
    let (order, ordered) = sync_channel(threads + WAITING);
    let waiting = Mutex::new(waiting);
    let spare = &Spare::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| compress(method, chunks, &waiting, spare));
        }
        let collector = scope.spawn(move || collect(&ordered, out, spare));
        let mut feed = Feed { cutter: Cutter::new(method.sizes()), sent: false, jobs, order, spare };
        let produced = produce(&mut feed).and_then(|made| feed.finish().map(|()| made).map_err(|e| written(e).into()));
        let collected = collector.join().map_err(|_| written(io::ErrorKind::Other.into())).flatten();
        // When the output fails, the producer fails for that reason and cannot say it.
        match (produced, collected) {
            (Ok(made), Ok(placed)) => Ok((made, placed)),
            (Err(e), Ok(_)) => Err(e),
            (_, Err(e)) => Err(e.into()),
        }
    })
}

/// Cuts what is written to it and sends the chunks off.
struct Feed<'s> {
    spare: &'s Spare,
    cutter: Cutter,
    sent: bool,
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<Result<Pressed, LayerfsError>>>,
}

impl Feed<'_> {
    fn send(&mut self, chunk: Vec<u8>) -> io::Result<()> {
        self.sent = true;
        let (done, awaited) = sync_channel(1);
        self.order.send(awaited).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.jobs.send(Job { chunk, done }).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn finish(mut self) -> io::Result<()> {
        if !self.sent && self.cutter.is_empty() {
            // No bytes at all are one empty piece: an empty file is no compressed stream.
            return self.send(Vec::new());
        }
        while let Some(chunk) = self.cutter.rest() {
            self.send(chunk)?;
        }
        Ok(())
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.cutter.take(bytes);
        self.cutter.reuse(|| self.spare.take());
        if let Some(chunk) = self.cutter.chunk() {
            self.send(chunk)?;
        }
        Ok(taken)
    }
    /// Chunks end where the bytes say so; flushing makes none.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses chunks until no more come.
fn compress(method: Method, chunks: &dyn Chunks, waiting: &Mutex<Receiver<Job>>, spare: &Spare) {
    let mut press = None;
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { chunk, done }) = job else { return };
        // Nobody awaits it only when the whole has failed already.
        let _ = done.send(one(method, chunks, &mut press, chunk, spare));
    }
}

fn one(
    method: Method,
    chunks: &dyn Chunks,
    press: &mut Option<Press>,
    chunk: Vec<u8>,
    spare: &Spare,
) -> Result<Pressed, LayerfsError> {
    let id = ChunkId(blake3::hash(&chunk).into());
    if let Some(known) = chunks.find(&id) {
        spare.give(chunk);
        return Ok(Pressed { chunk: id, known, fresh: false });
    }
    let press = match press {
        Some(press) => press,
        None => press.insert(Press::new(method)?),
    };
    let bytes = press.press(chunk)?;
    let sum = blake3::hash(&bytes).into();
    Ok(Pressed { chunk: id, known: Known { bytes, sum }, fresh: true })
}

/// Writes the pieces in the order of their chunks.
fn collect(
    ordered: &Receiver<Receiver<Result<Pressed, LayerfsError>>>,
    out: &mut (dyn Write + Send),
    spare: &Spare,
) -> Result<Vec<Placed>, LayerfsError> {
    let mut placed = Vec::new();
    let mut offset = 0;
    while let Ok(awaited) = ordered.recv() {
        let Pressed { chunk, known, fresh } =
            awaited.recv().map_err(|_| written(io::ErrorKind::Other.into())).flatten()?;
        out.write_all(&known.bytes).map_err(written)?;
        let length = known.bytes.len() as u64;
        placed.push(Placed { chunk, offset, length, sum: known.sum, fresh });
        offset += length;
        // What was found lies in memory of its own; as much as is used is kept, and no more.
        if fresh {
            spare.give(known.bytes);
        }
    }
    out.flush().map_err(written)?;
    Ok(placed)
}
