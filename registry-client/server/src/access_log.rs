//! The access log: a line of JSON for each request, after its last byte.
//!
//! Must never: hold a query, a header but the client's name for itself, or anything of a body; wait for whoever reads
//! it. Lines that find no place are counted instead.

use serde::Serialize;
use std::fmt;
use std::io::Write;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Lines that wait for the disk at most.
const WAITING: usize = 1024;
/// Longest text of a client that is kept, in characters.
const CLIP: usize = 256;

/// Where lines go.
pub struct AccessLog {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
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
    pub fn new(mut out: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let writer = std::thread::spawn(move || {
            for line in waiting {
                if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
                    tracing::warn!(%error, "the access log cannot be written, and ends");
                    return;
                }
            }
        });
        Self { lines: Some(lines), writer: Some(writer) }
    }

    /// Adds a line, unless too many wait.
    pub(crate) fn add(&self, entry: &Entry<'_>) -> Result<(), Lost> {
        // A struct of texts and numbers can always be written.
        let mut line = serde_json::to_string(entry).unwrap_or_default();
        line.push('\n');
        match self.lines.as_ref().map(|lines| lines.try_send(line)) {
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) => Err(Lost),
            _ => Ok(()),
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // Without a sender the thread ends once everything is written.
        drop(self.lines.take());
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::warn!("the access log ended badly");
        }
    }
}

/// A line found no place.
#[derive(Debug)]
pub struct Lost;

/// A client's text, as long as it may be. JSON escapes what is in it.
pub fn clipped(text: &str) -> String {
    text.chars().take(CLIP).collect()
}
