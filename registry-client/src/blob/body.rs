//! A file as the body of a request: one that is whole or a part of it, one that still grows, or one that comes from elsewhere while it
//! is sent. Must never read any of them on a thread of the runtime.

use super::growing::{Growing, Portion};
use crate::http::{Break, broken, silence};
use crate::options::Timeouts;
use bytes::Bytes;
use reqwest::{Body, RequestBuilder, Response};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Opens the blob; called again for each try.
pub type BlobSource = Arc<dyn Fn() -> io::Result<File> + Send + Sync>;

/// Opens a blob that is no file, such as one that another registry is asked for, at the byte with this number; called
/// again for each try, and where an upload goes on. A failure to read it of the kind
/// [`io::ErrorKind::ConnectionReset`] says that other bytes came than are wanted, and that opened once more it gives
/// right ones; one of the kind [`io::ErrorKind::InvalidData`], that nobody has those.
pub type StreamSource = Arc<dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// Bytes read from the file at once.
const PIECE: usize = 256 * 1024;
/// Pieces that wait to be sent.
const WAITING: usize = 4;

/// A body, which can be read from its beginning any number of times.
#[derive(Clone)]
pub(crate) struct Upload(Source);

#[derive(Clone)]
enum Source {
    File { open: BlobSource, from: u64, size: u64, at: Arc<AtomicU64> },
    Stream { stream: Stream, from: u64, size: u64 },
    Growing { growing: Arc<Growing>, from: u64 },
}

/// A blob that is no file. Between two parts it stays open, so that it is asked for once.
#[derive(Clone)]
struct Stream {
    open: StreamSource,
    /// Where the last part ended.
    resting: Arc<Mutex<Option<Resting>>>,
}

/// A reader, and the number of the byte that it gives next.
struct Resting {
    at: u64,
    reader: Box<dyn Read + Send>,
}

impl Stream {
    /// From this byte on.
    fn at(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner).take();
        match resting {
            Some(Resting { at, reader }) if at == from => Ok(reader),
            _ => (self.open)(from),
        }
    }

    fn rest(&self, at: u64, reader: Box<dyn Read + Send>) {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Resting { at, reader });
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File { size, .. } | Source::Stream { size, .. } => {
                f.debug_struct("Upload").field("size", size).finish_non_exhaustive()
            }
            Source::Growing { .. } => f.write_str("Upload(growing)"),
        }
    }
}

/// What the reading side tells the sending side.
#[derive(Default)]
struct Progress {
    handed: AtomicU64,
    failure: Mutex<Option<io::Error>>,
    /// Where in the blob the connection is, for who watches, and where in it this body begins.
    at: Option<(Arc<AtomicU64>, u64)>,
}

impl Progress {
    /// The connection took so many bytes more.
    fn hand(&self, bytes: u64) {
        let handed = self.handed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some((at, from)) = &self.at {
            at.store(from + handed, Ordering::Relaxed);
        }
    }
}

type Pieces = mpsc::Sender<io::Result<Bytes>>;

impl Upload {
    /// A file of known size. `at` is told which byte the connection takes next.
    pub(crate) fn file(open: BlobSource, size: u64, at: Arc<AtomicU64>) -> Self {
        Self(Source::File { open, from: 0, size, at })
    }

    /// So many bytes, beginning with the one at `from`; `None` of what still grows.
    pub(crate) fn part(&self, from: u64, size: u64) -> Option<Self> {
        match &self.0 {
            Source::File { open, at, .. } => {
                Some(Self(Source::File { open: open.clone(), from, size, at: Arc::clone(at) }))
            }
            Source::Stream { stream, .. } => Some(Self(Source::Stream { stream: stream.clone(), from, size })),
            Source::Growing { .. } => None,
        }
    }

    /// Anything of known size that can be read.
    pub(crate) fn stream(open: StreamSource, size: u64) -> Self {
        Self(Source::Stream { stream: Stream { open, resting: Arc::default() }, from: 0, size })
    }

    /// Does whoever opens it compare its bytes, which can be done from the beginning alone?
    pub(crate) fn is_compared(&self) -> bool {
        matches!(&self.0, Source::Stream { .. })
    }

    /// A file that grows while it is sent, from this byte on.
    pub(crate) fn growing(growing: &Arc<Growing>, from: u64) -> Self {
        Self(Source::Growing { growing: Arc::clone(growing), from })
    }

    /// Sends the file; silence is measured from the last byte that the connection took.
    pub(crate) async fn send(&self, builder: RequestBuilder, timeouts: Timeouts) -> Result<Response, Break> {
        let at = match &self.0 {
            Source::File { at, from, .. } => Some((Arc::clone(at), *from)),
            Source::Stream { .. } | Source::Growing { .. } => None,
        };
        let progress = Arc::new(Progress { at, ..Progress::default() });
        let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(WAITING);
        let (source, seen) = (self.0.clone(), progress.clone());
        tokio::task::spawn_blocking(move || {
            let read = match &source {
                Source::File { open, from, size, .. } => {
                    let seek = |mut file: File| file.seek(SeekFrom::Start(*from)).map(|_| file);
                    open().and_then(seek).and_then(|file| whole(file, *size, (&sender, &seen), drop))
                }
                Source::Stream { stream, from, size } => {
                    let rest = |reader| stream.rest(from + size, reader);
                    stream.at(*from).and_then(|reader| whole(reader, *size, (&sender, &seen), rest))
                }
                Source::Growing { growing, from } => follow(growing, *from, &sender, &seen),
            };
            if let Err(e) = read {
                let kind = e.kind();
                // Before it is announced: whoever hears of it looks here at once.
                *seen.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                let _ = sender.blocking_send(Err(io::Error::from(kind)));
            }
        });
        let body = Body::wrap_stream(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
        let answer = builder.body(body).send();
        tokio::pin!(answer);
        let mut last = 0;
        loop {
            let limit = if self.is_sent(last) { timeouts.commit } else { timeouts.idle + timeouts.connect };
            match tokio::time::timeout(limit, &mut answer).await {
                Ok(done) => return done.map_err(|e| failure(&progress).unwrap_or_else(|| broken(e))),
                Err(_) => {
                    let now = progress.handed.load(Ordering::Relaxed);
                    if now == last && !self.is_dry(now) {
                        return Err(silence(limit));
                    }
                    last = now;
                }
            }
        }
    }

    /// Was everything handed to the connection, so that only the answer is awaited?
    fn is_sent(&self, handed: u64) -> bool {
        match &self.0 {
            Source::File { size, .. } | Source::Stream { size, .. } => handed >= *size,
            Source::Growing { growing, .. } => growing.whole().is_some_and(|blob| handed >= blob.size),
        }
    }

    /// Is there nothing that could be sent now?
    fn is_dry(&self, handed: u64) -> bool {
        matches!(&self.0, Source::Growing { growing, .. } if growing.is_dry(handed))
    }
}

fn failure(progress: &Progress) -> Option<Break> {
    progress.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map(Break::Source)
}

/// Reads exactly the announced bytes, at the pace at which they are taken. What they are read from is given back before
/// the last of them are, after which it can be wanted for the next part.
fn whole<R: Read>(
    from: R,
    size: u64,
    (pieces, progress): (&Pieces, &Progress),
    give_back: impl FnOnce(R),
) -> io::Result<()> {
    let hand = |piece: Vec<u8>| {
        let n = piece.len() as u64;
        let taken = pieces.blocking_send(Ok(Bytes::from(piece))).is_ok();
        if taken {
            progress.hand(n);
        }
        taken
    };
    let mut file = from.take(size);
    let mut left = size;
    let mut last = None;
    while left > 0 {
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file ends {left} bytes early")));
        }
        piece.truncate(n);
        left -= n as u64;
        if left == 0 {
            last = Some(piece);
        } else if !hand(piece) {
            // The request is over; nobody wants the rest.
            return Ok(());
        }
    }
    give_back(file.into_inner());
    if let Some(piece) = last {
        hand(piece);
    }
    Ok(())
}

/// Reads what is announced from a byte on, until the file is whole or the request is over.
fn follow(growing: &Growing, from: u64, pieces: &Pieces, progress: &Progress) -> io::Result<()> {
    let mut at = from;
    progress.handed.store(at, Ordering::Relaxed);
    loop {
        match growing.read(at, PIECE)? {
            Portion::End => return Ok(()),
            Portion::NotYet if pieces.is_closed() => return Ok(()),
            Portion::NotYet => {}
            Portion::Bytes(piece) => {
                at += piece.len() as u64;
                if pieces.blocking_send(Ok(Bytes::from(piece))).is_err() {
                    return Ok(());
                }
                progress.handed.store(at, Ordering::Relaxed);
                growing.note_sent(at);
            }
        }
    }
}
