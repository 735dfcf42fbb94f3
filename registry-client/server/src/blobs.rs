//! Blobs of a repository: is it there, its bytes or a part of them, take it away.

use crate::answer::{Answer, CONTENT_DIGEST};
use crate::api_error::{ApiError, Code};
use crate::conditions::{etag, held, part_fits};
use crate::ranges::{Wanted, wanted};
use crate::{Registry, StoreError};
use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use cooper_image::Digest;
use cooper_store::{Removed, RepoName};
use std::io::{Seek as _, SeekFrom};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

/// What is read from the disk at once, in bytes.
const PIECE: usize = 256 * 1024;
/// Blobs are bytes: their media type is in the manifest.
const MEDIA_TYPE: &str = "application/octet-stream";

pub async fn head(
    registry: &Registry,
    name: RepoName,
    digest: Digest,
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    let headers = headers.clone();
    registry
        .on_disk(move |store| {
            let size = store.repository(&name).blob(&digest)?.ok_or_else(|| unknown(&digest))?;
            Ok(heading(&headers, &digest, size))
        })
        .await
}

pub async fn get(
    registry: &Registry,
    name: RepoName,
    digest: Digest,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let headers = headers.clone();
    registry
        .on_disk(move |store| {
            let size = store.repository(&name).blob(&digest)?.ok_or_else(|| unknown(&digest))?;
            let (answer, first, end) = match reply(&headers, &digest, size)? {
                Reply::Head(answer) => return Ok(answer.into_response()),
                Reply::Bytes { answer, first, end } => (answer, first, end),
            };
            let mut file = store.open_blob(&digest)?;
            let failed = |source| StoreError::Io { action: "reading", path: "a blob".into(), source };
            file.seek(SeekFrom::Start(first)).map_err(failed)?;
            let reader = tokio::fs::File::from_std(file).take(end - first);
            let body = Body::from_stream(ReaderStream::with_capacity(reader, PIECE));
            Ok(with_body(answer, body, end - first))
        })
        .await
}

/// What a client gets of a blob.
pub enum Reply {
    /// Nothing but this: it has the bytes, or wants some that there are not.
    Head(Answer),
    /// The bytes from `first` up to before `end`.
    Bytes { answer: Answer, first: u64, end: u64 },
}

/// What a request with these headers gets of a blob of so many bytes, wherever they come from.
pub fn reply(headers: &HeaderMap, digest: &Digest, size: u64) -> Result<Reply, ApiError> {
    let answer = heading(headers, digest, size);
    if held(headers, digest) {
        return Ok(Reply::Head(answer));
    }
    let range = headers.get(RANGE).filter(|_| part_fits(headers, digest));
    match wanted(range.and_then(|range| range.to_str().ok()), size) {
        Wanted::All => Ok(Reply::Bytes { answer, first: 0, end: size }),
        Wanted::Part { first, last } => {
            let answer = about(StatusCode::PARTIAL_CONTENT, digest)
                .without_body(MEDIA_TYPE, last - first + 1)
                .header(CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
            Ok(Reply::Bytes { answer, first, end: last + 1 })
        }
        // No code of the specification is about this; the status and the size say it all.
        Wanted::Outside => Ok(Reply::Head(
            about(StatusCode::RANGE_NOT_SATISFIABLE, digest).header(CONTENT_RANGE, format!("bytes */{size}")),
        )),
    }
}

/// What HEAD answers, and GET before the whole blob.
pub fn heading(headers: &HeaderMap, digest: &Digest, size: u64) -> Answer {
    match held(headers, digest) {
        true => about(StatusCode::NOT_MODIFIED, digest),
        false => about(StatusCode::OK, digest).without_body(MEDIA_TYPE, size),
    }
}

/// What every answer about a blob says.
fn about(status: StatusCode, digest: &Digest) -> Answer {
    Answer::new(status).header(CONTENT_DIGEST, digest).header(ETAG, etag(digest)).header(ACCEPT_RANGES, "bytes")
}

/// An answer with a body of so many bytes.
pub fn with_body(answer: Answer, body: Body, length: u64) -> Response {
    let mut response = answer.into_response();
    *response.body_mut() = body;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

pub async fn delete(registry: &Registry, name: RepoName, digest: Digest) -> Result<Answer, ApiError> {
    registry
        .on_disk(move |store| {
            let repository = store.repository(&name);
            if repository.blob(&digest)?.is_none() {
                return Err(unknown(&digest));
            }
            let _lock = repository.lock()?;
            match repository.unlink_blob(&digest)? {
                Removed::Yes => Ok(Answer::new(StatusCode::ACCEPTED)),
                Removed::WasAbsent => Err(unknown(&digest)),
            }
        })
        .await
}

pub fn unknown(digest: &Digest) -> ApiError {
    ApiError::new(Code::BlobUnknown, "this repository has no such blob").about(digest)
}
