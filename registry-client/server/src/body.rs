//! Reading request bodies: documents into memory up to a bound, blobs to the disk as they come.

use crate::Limits;
use crate::api_error::{ApiError, Code};
use crate::course::Course;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use cooper_store::{BlobWriter, StoreError};
use futures_util::StreamExt as _;
use std::io::Write as _;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Pieces that wait between the network and the disk.
const WAITING: usize = 16;

/// What became of receiving a blob.
pub struct Received {
    /// The blob, with what came; absent when the disk failed.
    pub writer: Option<BlobWriter>,
    /// Why not everything came.
    pub error: Option<ApiError>,
}

/// The length that the request announces.
pub fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a whole document of the length that is announced, if any is.
pub async fn document(announced: Option<u64>, body: Body, limits: Limits) -> Result<Vec<u8>, ApiError> {
    let limit = limits.manifest_bytes;
    let too_large = || ApiError::new(Code::TooLarge, format!("a manifest has at most {limit} bytes"));
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut stream = Paced::new(body, limits);
    while let Some(piece) = stream.next().await? {
        if bytes.len() as u64 + piece.len() as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Appends a body to a blob. Writing and hashing happen on a thread that may block; a bounded
/// queue makes a fast sender wait for a slow disk.
pub async fn append(body: Body, writer: BlobWriter, course: &Course, limits: Limits) -> Received {
    let (send, mut pieces) = mpsc::channel::<Bytes>(WAITING);
    let disk = tokio::task::spawn_blocking(move || {
        let mut writer = writer;
        let mut written = Ok(());
        while let Some(piece) = pieces.blocking_recv() {
            written = write(&mut writer, &piece, limits.blob_bytes);
            if written.is_err() {
                break;
            }
        }
        // What a client is told to have come is with the system, and there for the next process.
        match written.and_then(|()| writer.flush().map_err(failed)) {
            Ok(()) => Received { writer: Some(writer), error: None },
            Err(error) => {
                writer.discard();
                Received { writer: None, error: Some(error) }
            }
        }
    });
    let network = forward(Paced::new(body, limits), course, send).await;
    let mut received = match disk.await {
        Ok(received) => received,
        Err(e) => Received { writer: None, error: Some(ApiError::internal(&e)) },
    };
    // A failure of the disk also stops the network; it is the one to report.
    received.error = received.error.or(network.err());
    received
}

async fn forward(mut stream: Paced, course: &Course, send: mpsc::Sender<Bytes>) -> Result<(), ApiError> {
    let ended = || Err(ApiError::new(Code::Conflict, "another request goes on with this upload"));
    while let Some(piece) = course.wait(stream.next()).await.unwrap_or_else(ended)? {
        if send.send(piece).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A body that has to keep coming.
struct Paced {
    stream: axum::body::BodyDataStream,
    limits: Limits,
    /// How long was waited for it.
    waited: Duration,
    bytes: u64,
}

impl Paced {
    fn new(body: Body, limits: Limits) -> Self {
        Self { stream: body.into_data_stream(), limits, waited: Duration::ZERO, bytes: 0 }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let invalid = |message: String| ApiError::new(Code::BlobUploadInvalid, message);
        let Limits { silence, slowest, .. } = self.limits;
        let asked = Instant::now();
        match tokio::time::timeout(silence, self.stream.next()).await {
            Err(_) => Err(invalid(format!("nothing came for {} seconds", silence.as_secs()))),
            Ok(None) => Ok(None),
            Ok(Some(Err(e))) => Err(invalid(format!("the body ended early: {e}"))),
            Ok(Some(Ok(piece))) => {
                self.bytes += piece.len() as u64;
                self.waited += asked.elapsed();
                // Only the time counts in which we waited: a slow disk is not the sender's fault.
                if self.waited > silence && (self.bytes as f64) < self.waited.as_secs_f64() * slowest as f64 {
                    return Err(invalid(format!("less than {slowest} bytes came in a second")));
                }
                Ok(Some(piece))
            }
        }
    }
}

/// Has a blob of `written` bytes room for so many more?
pub fn fits(written: u64, more: u64, limit: u64) -> Result<(), ApiError> {
    if written.saturating_add(more) > limit {
        return Err(ApiError::new(Code::TooLarge, format!("a blob has at most {limit} bytes")));
    }
    Ok(())
}

fn write(writer: &mut BlobWriter, piece: &[u8], limit: u64) -> Result<(), ApiError> {
    fits(writer.written(), piece.len() as u64, limit)?;
    writer.write_all(piece).map_err(failed)
}

fn failed(source: std::io::Error) -> ApiError {
    StoreError::Io { action: "writing", path: "an upload".into(), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_only_trickles_is_given_up() {
        let limits = Limits { silence: Duration::from_millis(400), ..Limits::default() };
        // Never silent for long: the one sends a byte at a time, the other more than it has to.
        let stream = |size: usize| {
            futures_util::stream::unfold(0, move |n| async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                (n < 60).then(|| (Ok::<_, std::io::Error>(Bytes::from(vec![0; size])), n + 1))
            })
        };
        let error = document(None, Body::from_stream(stream(1)), limits).await.unwrap_err();
        assert!(format!("{error:?}").contains("less than 1024 bytes"), "{error:?}");
        assert_eq!(document(None, Body::from_stream(stream(20_000)), limits).await.unwrap().len(), 1_200_000);
    }
}
