//! Reading request bodies: documents into memory up to a bound, blobs to the disk as they come.

use crate::api_error::{ApiError, Code};
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use cooper_image::limits;
use cooper_store::{BlobWriter, StoreError};
use futures_util::StreamExt as _;
use std::io::Write as _;
use std::time::Duration;
use tokio::sync::mpsc;

/// A sender that sends nothing for so long has gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of a refused body that are read all the same, and for how long.
const UNREAD: usize = 16 * 1024 * 1024;
const UNREAD_TIME: Duration = Duration::from_secs(5);
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

/// Reads a whole document.
pub async fn document(body: Body, limit: u64) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut stream = body.into_data_stream();
    while let Some(piece) = next(&mut stream).await? {
        if bytes.len() as u64 + piece.len() as u64 > limit {
            drain(&mut stream).await;
            return Err(ApiError::new(Code::TooLarge, format!("a manifest has at most {limit} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Refuses a request whose body was not read. Closing a connection on which something is unread resets it, and what
/// was just answered gets lost on the way; so the rest is read, unless it is long.
pub async fn refuse<T>(body: Body, refusal: ApiError) -> Result<T, ApiError> {
    drain(&mut body.into_data_stream()).await;
    Err(refusal)
}

async fn drain(stream: &mut axum::body::BodyDataStream) {
    let all = async {
        let mut left = UNREAD;
        while let Some(Ok(piece)) = stream.next().await {
            match left.checked_sub(piece.len()) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    // Who sends slowly sees the connection end.
    let _ = tokio::time::timeout(UNREAD_TIME, all).await;
}

/// Appends a body to a blob. Writing and hashing happen on a thread that may block; a bounded
/// queue makes a fast sender wait for a slow disk.
pub async fn append(body: Body, writer: BlobWriter) -> Received {
    let (send, mut pieces) = mpsc::channel::<Bytes>(WAITING);
    let disk = tokio::task::spawn_blocking(move || {
        let mut writer = writer;
        while let Some(piece) = pieces.blocking_recv() {
            if let Err(error) = write(&mut writer, &piece) {
                return Received { writer: None, error: Some(error) };
            }
        }
        Received { writer: Some(writer), error: None }
    });
    let network = forward(body, send).await;
    let mut received = match disk.await {
        Ok(received) => received,
        Err(e) => Received { writer: None, error: Some(ApiError::internal(&e)) },
    };
    // A failure of the disk also stops the network; it is the one to report.
    received.error = received.error.or(network.err());
    received
}

async fn forward(body: Body, send: mpsc::Sender<Bytes>) -> Result<(), ApiError> {
    let mut stream = body.into_data_stream();
    while let Some(piece) = next(&mut stream).await? {
        if send.send(piece).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn next(stream: &mut axum::body::BodyDataStream) -> Result<Option<Bytes>, ApiError> {
    let invalid = |message: String| ApiError::new(Code::BlobUploadInvalid, message);
    match tokio::time::timeout(SILENCE, stream.next()).await {
        Err(_) => Err(invalid(format!("nothing came for {} seconds", SILENCE.as_secs()))),
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(e))) => Err(invalid(format!("the body ended early: {e}"))),
    }
}

fn write(writer: &mut BlobWriter, piece: &[u8]) -> Result<(), ApiError> {
    if writer.written() + piece.len() as u64 > limits::LAYER_BYTES {
        return Err(ApiError::new(Code::TooLarge, format!("a blob has at most {} bytes", limits::LAYER_BYTES)));
    }
    let failed = |source| StoreError::Io { action: "writing", path: "an upload".into(), source };
    writer.write_all(piece).map_err(|e| failed(e).into())
}
