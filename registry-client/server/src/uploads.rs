//! Pushing blobs: in one request, streamed, in chunks, or mounted from another repository
//! (distribution-spec, "Pushing blobs").

use crate::Registry;
use crate::answer::{Answer, CONTENT_DIGEST, UPLOAD_UUID};
use crate::api_error::{ApiError, Code};
use crate::body::{Received, announced, append, fits};
use crate::course::Course;
use crate::ranges::{Chunk, chunk};
use crate::route::{Params, parse_digest};
use crate::sessions::UploadId;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_RANGE, LOCATION, RANGE};
use axum::http::{HeaderMap, StatusCode};
use cooper_image::Digest;
use cooper_image::digest::Algorithm;
use cooper_store::{BlobWriter, RepoName};
use std::sync::Arc;

/// POST: mounts, takes a whole blob, or begins an upload.
pub async fn start(registry: &Registry, name: RepoName, params: &Params, request: Request) -> Result<Answer, ApiError> {
    registry.shared.sessions.expire();
    // A registry that is "unable to mount the requested blob" begins an upload instead (distribution-spec, "Mounting a
    // blob from another repository"). That is so whatever the reason: a digest that is none names no blob, just as one of
    // an algorithm that is not known here, and the client has the bytes.
    if let Some(mount) = params.mount.as_deref().and_then(|mount| parse_digest(mount).ok())
        && let Some(answer) = mounted(registry, &name, mount, params.from.as_deref()).await?
    {
        return Ok(answer);
    }
    let digest = params.digest.as_deref().map(parse_digest).transpose()?;
    // Told before the bytes come, rather than by the digest at their end.
    if let Some(name) = params.digest_algorithm.as_deref()
        && name.parse::<Algorithm>().is_err()
    {
        return Err(ApiError::new(Code::DigestInvalid, "digests are of sha256 or sha512 here").about(name));
    }
    let (shared, of) = (Arc::clone(&registry.shared), name.clone());
    match digest {
        // The client never learns the identifier: what failed cannot be continued.
        Some(digest) => {
            let id = registry.on_disk(move |store| shared.sessions.start(store, of)).await?;
            let done = receive_and_commit(registry, name, id, digest, request).await;
            done.inspect_err(|_| registry.shared.sessions.end(id))
        }
        None => {
            let id = registry.on_disk(move |store| shared.sessions.start_lasting(store, of)).await?;
            Ok(under_way(StatusCode::ACCEPTED, &name, id, 0))
        }
    }
}

/// Links a blob that another repository holds: the one that is named, else whichever it is. `None` when there is none.
async fn mounted(
    registry: &Registry,
    name: &RepoName,
    digest: Digest,
    from: Option<&str>,
) -> Result<Option<Answer>, ApiError> {
    let source = match from.map(str::parse::<RepoName>).transpose() {
        Ok(source) => source,
        Err(_) => return Ok(None),
    };
    let (name, caller) = (name.clone(), registry.clone());
    registry
        .on_disk(move |store| {
            // Whoever may not read a repository does not learn what is in it by mounting.
            let found = match source {
                Some(source) => caller.may_read(&source) && store.repository(&source).blob(&digest)?.is_some(),
                None => store.repository_with(&digest, |name| caller.may_read(name))?.is_some(),
            };
            if !found {
                return Ok(None);
            }
            store.repository(&name).link_blob(&digest)?;
            Ok(Some(created(&name, &digest)))
        })
        .await
}

/// Finds an upload that an earlier process of the server took, so that it is like one of this.
async fn find(registry: &Registry, name: &RepoName, id: UploadId) -> Result<(), ApiError> {
    if registry.shared.sessions.knows(id) {
        return Ok(());
    }
    let (shared, name) = (Arc::clone(&registry.shared), name.clone());
    registry.on_disk(move |store| shared.sessions.find(store, &name, id)).await
}

/// GET: how much has come.
pub async fn status(registry: &Registry, name: &RepoName, id: UploadId) -> Result<Answer, ApiError> {
    find(registry, name, id).await?;
    let written = registry.shared.sessions.written(name, id).await?;
    Ok(under_way(StatusCode::NO_CONTENT, name, id, written))
}

/// PATCH: more bytes.
pub async fn patch(registry: &Registry, name: RepoName, id: UploadId, request: Request) -> Result<Answer, ApiError> {
    find(registry, &name, id).await?;
    let written = receive(registry, &name, id, request).await?;
    Ok(under_way(StatusCode::ACCEPTED, &name, id, written))
}

/// PUT: perhaps the last bytes, and the digest of all.
pub async fn finish(
    registry: &Registry,
    name: RepoName,
    id: UploadId,
    params: &Params,
    request: Request,
) -> Result<Answer, ApiError> {
    let missing = || ApiError::new(Code::DigestInvalid, "the query has no digest");
    let digest = parse_digest(params.digest.as_deref().ok_or_else(missing)?)?;
    find(registry, &name, id).await?;
    receive_and_commit(registry, name, id, digest, request).await
}

/// DELETE: forget it.
pub async fn cancel(registry: &Registry, name: &RepoName, id: UploadId) -> Result<Answer, ApiError> {
    find(registry, name, id).await?;
    registry.shared.sessions.seize(name, id).await?.0.discard();
    registry.shared.sessions.end(id);
    Ok(Answer::new(StatusCode::NO_CONTENT))
}

async fn receive_and_commit(
    registry: &Registry,
    name: RepoName,
    id: UploadId,
    digest: Digest,
    request: Request,
) -> Result<Answer, ApiError> {
    receive(registry, &name, id, request).await?;
    let (writer, _) = registry.shared.sessions.take(&name, id)?;
    registry.shared.sessions.end(id);
    registry
        .on_disk(move |store| {
            let size = writer.written();
            let _held = writer.commit_held(Some((&digest, size)))?;
            store.repository(&name).link_blob(&digest)?;
            Ok(created(&name, &digest))
        })
        .await
}

/// Appends a request's body to an upload and gives the number of bytes that it has then.
async fn receive(registry: &Registry, name: &RepoName, id: UploadId, request: Request) -> Result<u64, ApiError> {
    let (parts, body) = request.into_parts();
    // Only who says where the bytes belong may end another request: what that brings until then counts.
    let (writer, course) = match parts.headers.contains_key(CONTENT_RANGE) {
        true => registry.shared.sessions.seize(name, id).await?,
        false => registry.shared.sessions.take(name, id)?,
    };
    let chunk = match expected(&parts.headers, name, id, writer.written(), registry.shared.limits.blob_bytes) {
        Ok(chunk) => chunk,
        Err(e) => {
            if e.is(Code::TooLarge) {
                registry.shared.sessions.end(id);
                writer.discard();
            } else {
                registry.shared.sessions.give_back(id, writer);
            }
            return Err(e);
        }
    };
    // A task of its own: when the client goes away this request is forgotten, and the blob must
    // come back all the same, for the client to continue.
    let task = tokio::spawn(store_body(registry.clone(), id, (writer, course), body, chunk));
    task.await.map_err(|e| ApiError::internal(&e))?
}

async fn store_body(
    registry: Registry,
    id: UploadId,
    (writer, course): (BlobWriter, Arc<Course>),
    body: Body,
    chunk: Option<Chunk>,
) -> Result<u64, ApiError> {
    let before = writer.written();
    let Received { writer, error } = append(body, writer, &course, registry.shared.limits).await;
    let Some(writer) = writer else {
        registry.shared.sessions.end(id);
        return Err(error.unwrap_or_else(|| ApiError::new(Code::BlobUploadInvalid, "the upload failed")));
    };
    let written = writer.written();
    if error.is_none()
        && let Some(chunk) = chunk
        && written - before != chunk.len()
    {
        // What is hashed cannot be taken back.
        registry.shared.sessions.end(id);
        writer.discard();
        return Err(ApiError::new(Code::SizeInvalid, "the chunk is not as long as its Content-Range"));
    }
    registry.shared.sessions.give_back(id, writer);
    error.map_or(Ok(written), Err)
}

/// Compares what the headers announce with what the upload has, and with the `limit` of a blob in bytes.
fn expected(
    headers: &HeaderMap,
    name: &RepoName,
    id: UploadId,
    written: u64,
    limit: u64,
) -> Result<Option<Chunk>, ApiError> {
    fits(written, announced(headers).unwrap_or_default(), limit)?;
    let Some(header) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let malformed = || ApiError::new(Code::BlobUploadInvalid, "the Content-Range is malformed");
    let chunk = header.to_str().ok().and_then(chunk).ok_or_else(malformed)?;
    if chunk.first != written {
        let message = format!("the next byte is {written}, and the chunk begins with {}", chunk.first);
        return Err(ApiError::new(Code::RangeInvalid, message)
            .header(LOCATION, place(name, id))
            .header(RANGE, range(written)));
    }
    if announced(headers).is_some_and(|length| length != chunk.len()) {
        return Err(ApiError::new(Code::SizeInvalid, "Content-Length and Content-Range differ"));
    }
    Ok(Some(chunk))
}

fn under_way(status: StatusCode, name: &RepoName, id: UploadId, written: u64) -> Answer {
    Answer::new(status).location(place(name, id)).header(RANGE, range(written)).header(UPLOAD_UUID, id)
}

fn created(name: &RepoName, digest: &Digest) -> Answer {
    Answer::new(StatusCode::CREATED).location(format!("/v2/{name}/blobs/{digest}")).header(CONTENT_DIGEST, digest)
}

fn place(name: &RepoName, id: UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// The bytes that are there. An empty upload has `0-0` too: the protocol has no word for none.
fn range(written: u64) -> String {
    format!("0-{}", written.saturating_sub(1))
}
