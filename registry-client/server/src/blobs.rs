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
use std::fs::File;
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
    let held = held(headers, &digest);
    registry
        .on_disk(move |store| {
            let size = store.repository(&name).blob(&digest)?.ok_or_else(|| unknown(&digest))?;
            if held {
                return Ok(about(StatusCode::NOT_MODIFIED, &digest));
            }
            Ok(about(StatusCode::OK, &digest).without_body(MEDIA_TYPE, size))
        })
        .await
}

pub async fn get(
    registry: &Registry,
    name: RepoName,
    digest: Digest,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let held = held(headers, &digest);
    let range = headers.get(RANGE).filter(|_| part_fits(headers, &digest));
    let range = range.and_then(|v| v.to_str().ok()).map(str::to_owned);
    registry
        .on_disk(move |store| {
            let size = store.repository(&name).blob(&digest)?.ok_or_else(|| unknown(&digest))?;
            if held {
                return Ok(about(StatusCode::NOT_MODIFIED, &digest).into_response());
            }
            let mut file = store.open_blob(&digest)?;
            match wanted(range.as_deref(), size) {
                Wanted::All => Ok(stream(about(StatusCode::OK, &digest).without_body(MEDIA_TYPE, size), file, size)),
                Wanted::Part { first, last } => {
                    let failed = |source| StoreError::Io { action: "reading", path: "a blob".into(), source };
                    file.seek(SeekFrom::Start(first)).map_err(failed)?;
                    let length = last - first + 1;
                    let answer = about(StatusCode::PARTIAL_CONTENT, &digest)
                        .without_body(MEDIA_TYPE, length)
                        .header(CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
                    Ok(stream(answer, file, length))
                }
                Wanted::Outside => Err(ApiError::new(Code::RangeInvalid, "the blob has no such bytes")
                    .about(&digest)
                    .header(CONTENT_RANGE, format!("bytes */{size}"))),
            }
        })
        .await
}

/// What every answer about a blob says.
fn about(status: StatusCode, digest: &Digest) -> Answer {
    Answer::new(status).header(CONTENT_DIGEST, digest).header(ETAG, etag(digest)).header(ACCEPT_RANGES, "bytes")
}

fn stream(answer: Answer, file: File, length: u64) -> Response {
    let reader = tokio::fs::File::from_std(file).take(length);
    let mut response = answer.into_response();
    *response.body_mut() = Body::from_stream(ReaderStream::with_capacity(reader, PIECE));
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
