//! The access log: a line of JSON for each request, after its last byte.
//!
//! Must never: hold a query, a header but the client's name for itself, or anything of a body; wait for whoever reads
//! it. Lines that find no place are counted instead.

use serde::Serialize;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait for the disk at most.
const WAITING: usize = 1024;
/// How long an end waits for the lines that are left: whoever reads them may have stopped to.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Longest text of a client that is kept, in characters.
const CLIP: usize = 256;

/// Where lines go.
pub struct AccessLog {
    lines: Option<SyncSender<String>>,
    /// Says nothing, and is closed when the writer has ended.
    ended: Receiver<()>,
    lost: Arc<AtomicU64>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}

/// One request.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// When it ended, RFC 3339.
    pub time: String,
    /// `address:port` of the client.
    pub client: String,
    /// The user, or `anonymous`.
    pub user: &'a str,
    pub method: &'a str,
    pub path: String,
    pub status: u16,
    /// Bytes of the body that came.
    pub received: u64,
    /// Bytes of the body that went.
    pub sent: u64,
    /// From the head of the request to the last byte of the answer.
    pub milliseconds: u64,
    pub agent: String,
}

impl AccessLog {
    /// Writes to this from a thread of its own, which ends with the log.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let (end, ended) = sync_channel(0);
        let lost = Arc::<AtomicU64>::default();
        let of_writer = Arc::clone(&lost);
        std::thread::spawn(move || {
            write(Pen { out, torn: false }, waiting, &of_writer);
            drop::<SyncSender<()>>(end);
        });
        Self { lines: Some(lines), ended, lost }
    }

    /// Adds a line, unless too many wait.
    pub(crate) fn add(&self, entry: &Entry<'_>) {
        // A struct of texts and numbers can always be written.
        let mut line = serde_json::to_string(entry).unwrap_or_default();
        line.push('\n');
        if self.lines.as_ref().is_some_and(|lines| lines.try_send(line).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines found no place, or could not be written.
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // Without a sender the thread ends once everything is written.
        drop(self.lines.take());
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(LAST_LINES) {
            tracing::warn!("nobody reads the access log; its last lines are lost");
        }
    }
}

/// Writes lines until there is no log any more. A disk that is full for a while costs the lines of that while.
fn write(mut pen: Pen<impl Write>, lines: Receiver<String>, lost: &AtomicU64) {
    let mut failing = false;
    for line in lines {
        match pen.line(&line) {
            Ok(()) => failing = false,
            Err(error) => {
                lost.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the access log cannot be written");
                }
            }
        }
    }
}

struct Pen<W> {
    out: W,
    /// It broke off in the middle of a line.
    torn: bool,
}

impl<W: Write> Pen<W> {
    /// Writes a line, which begins as one also after another that broke off.
    fn line(&mut self, line: &str) -> io::Result<()> {
        if self.torn {
            self.out.write_all(b"\n")?;
        }
        let mut rest = line.as_bytes();
        self.torn = false;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.torn = !rest.is_empty();
        }
        self.out.flush()
    }
}

/// A client's text, as long as it may be. JSON escapes what is in it.
pub fn clipped(text: &str) -> String {
    text.chars().take(CLIP).collect()
}
