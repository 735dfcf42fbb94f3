//! Pushing a blob: there already, mounted from a neighbour, or sent: a large one in `parts`, another in one streaming
//! `PUT` (distribution-spec, "Pushing blobs": POST then PUT), and in parts where the line lets that not through. Takes a
//! source that opens the file anew for each try. A blob that is still being made goes in one streaming `PATCH`, and its
//! digest after it in an empty `PUT`, as Docker, skopeo and buildah push. Must never send an authorization to another
//! host that an upload is sent to.

use super::body::Upload;
use super::growing::Growing;
use super::parts::{self, Ended, MIN_LENGTH, Parts};
use crate::api::{Route, announced_length};
use crate::http::{Payload, location};
use crate::kept::KeptUpload;
use crate::manifest::said_digest;
use crate::retry::{Budget, Failed};
use crate::session::{Call, Session, broke};
use crate::{Fault, RegistryError};
use cooper_image::{Descriptor, DigestError};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, Url};
use std::io::ErrorKind;
use std::sync::Arc;

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Uploaded,
}

/// Pushes a blob into the session's repository. `neighbour` is a repository of the same registry
/// that may have it.
pub(crate) async fn push(
    s: &Session<'_>,
    blob: &Descriptor,
    source: Upload,
    neighbour: Option<&str>,
) -> Result<Pushed, RegistryError> {
    let mut budget = s.budget();
    let head = s.call(Method::HEAD, &Route::Blob(&blob.digest));
    let answer = s.send(&head, &mut budget).await?;
    match answer.status().as_u16() {
        200 if is_of(&answer, blob) => return Ok(Pushed::Existed),
        401 | 403 | 429 | 500.. => return Err(s.refuse(&head, answer).await),
        // Registries without this route answer in many ways; the upload will tell.
        _ => {}
    }
    let mut place = match neighbour {
        Some(repository) => match mount(s, blob, repository, &mut budget).await? {
            Mount::Done => return Ok(Pushed::Mounted),
            Mount::Session(started) => Some(started),
            Mount::Refused => None,
        },
        None => None,
    };
    if let Some(parts) = Parts::of(s, blob, &source)
        && parts.send(place.take(), &mut budget).await? == Ended::Done
    {
        return Ok(Pushed::Uploaded);
    }
    let mut tried_parts = false;
    loop {
        let Started { url, .. } = match place.take() {
            Some(started) => started,
            None => start(s, &mut budget).await?,
        };
        match put(s, blob, Payload::File(source.clone()), url).await {
            Ok(()) => return Ok(Pushed::Uploaded),
            Err(e) if !is_worth_another(&e) => return Err(e),
            Err(e) => {
                let Some(wait) = budget.next(Failed::by(&e), None) else { return Err(e) };
                budget.pause(wait, &e).await;
                if is_there(s, blob, &mut budget).await {
                    return Ok(Pushed::Uploaded);
                }
                if parts::is_torn(&e)
                    && !std::mem::replace(&mut tried_parts, true)
                    && let Some(parts) = Parts::smaller(s, blob, &source)
                    && parts.send(None, &mut budget).await? == Ended::Done
                {
                    return Ok(Pushed::Uploaded);
                }
            }
        }
    }
}

/// Did the registry take the blob whose upload ended in a failure? Its answer may be all that was lost.
pub(super) async fn is_there(s: &Session<'_>, blob: &Descriptor, budget: &mut Budget) -> bool {
    let head = s.call(Method::HEAD, &Route::Blob(&blob.digest));
    let answer = s.send(&head, budget).await;
    answer.is_ok_and(|answer| answer.status().as_u16() == 200 && is_of(&answer, blob))
}

/// Can the answer be about the blob? A page of something in between is none.
fn is_of(answer: &Response, blob: &Descriptor) -> bool {
    announced_length(answer).is_none_or(|length| length == blob.size)
}

/// A lost session (404) and passing failures deserve a new session; the rest would end the same.
pub(super) fn is_worth_another(e: &RegistryError) -> bool {
    match e {
        RegistryError::Status { status, .. } => matches!(status, 404 | 408 | 429 | 500..),
        RegistryError::Local { source, .. } => source.kind() == ErrorKind::ConnectionReset,
        e => e.fault() == Fault::Network,
    }
}

enum Mount {
    Done,
    Session(Started),
    Refused,
}

/// An upload that the registry has begun.
pub(super) struct Started {
    pub(super) url: Url,
    /// The smallest part that it takes, in bytes, when it says one.
    pub(super) least_part: Option<u64>,
}

async fn mount(
    s: &Session<'_>,
    blob: &Descriptor,
    repository: &str,
    budget: &mut Budget,
) -> Result<Mount, RegistryError> {
    let both = s.reading(repository);
    let mut call = both.call(Method::POST, &Route::Uploads);
    call.url.query_pairs_mut().append_pair("mount", &blob.digest.to_string()).append_pair("from", repository);
    let answer = both.send(&call, budget).await;
    match answer {
        Ok(r) if r.status().as_u16() == 201 => Ok(Mount::Done),
        Ok(r) if r.status().as_u16() == 202 => started(s, &call, &r).map(Mount::Session),
        // A mount is a favour; without the right to read the neighbour the blob is sent.
        Ok(_) => Ok(Mount::Refused),
        Err(e) if e.fault() == Fault::Auth => Ok(Mount::Refused),
        Err(e) => Err(e),
    }
}

pub(super) async fn start(s: &Session<'_>, budget: &mut Budget) -> Result<Started, RegistryError> {
    let call = s.call(Method::POST, &Route::Uploads);
    let answer = s.send(&call, budget).await?;
    if answer.status().as_u16() != 202 {
        return Err(s.refuse(&call, answer).await);
    }
    started(s, &call, &answer)
}

/// Begins an upload and gives it up: what says whether anything may be pushed.
pub(crate) async fn check(s: &Session<'_>) -> Result<(), RegistryError> {
    let Started { url, .. } = start(s, &mut s.budget()).await?;
    give_up(s, url).await;
    Ok(())
}

/// The registry tidies up by itself in time; this only spares it the wait.
pub(super) async fn give_up(s: &Session<'_>, upload: Url) {
    let _ = s.send(&s.call_at(Method::DELETE, upload, "blob upload".to_owned()), &mut s.single()).await;
}

fn started(s: &Session<'_>, call: &Call, answer: &Response) -> Result<Started, RegistryError> {
    let least = answer.headers().get(MIN_LENGTH).and_then(|least| least.to_str().ok());
    let least_part = least.and_then(|least| least.trim().parse().ok());
    Ok(Started { url: upload_url(s, call, answer)?, least_part })
}

fn upload_url(s: &Session<'_>, call: &Call, answer: &Response) -> Result<Url, RegistryError> {
    location(answer, &call.url).map_err(|b| broke(b, &s.asked(call)))
}

/// Sends a blob while it grows. When that breaks, the registry is asked what it has, and the rest is sent. Where it
/// cannot say, it is over: whoever made the blob has it whole by then, and pushes it.
pub(crate) async fn stream(s: &Session<'_>, growing: &Arc<Growing>) -> Result<Pushed, RegistryError> {
    let mut budget = s.budget();
    let mut way = Way { growing, kept: None, asked: false };
    let Started { url, .. } = start(s, &mut budget).await?;
    let (mut call, mut from) = (way.call(s, url, 0), 0);
    let url = loop {
        let failure = match way.rest(s, &call, &mut budget).await {
            Ok(Some(url)) => break url,
            Ok(None) => {
                give_up(s, call.url).await;
                way.forget();
                return Ok(Pushed::Existed);
            }
            Err(e) if !is_worth_another(&e) => return Err(e),
            Err(e) => e,
        };
        let Some(wait) = budget.next(Failed::by(&failure), None) else { return Err(failure) };
        budget.pause(wait, &failure).await;
        let Some((url, has)) = parts::standing(s, call.url, &mut budget).await.filter(|(_, has)| growing.has(*has))
        else {
            return Err(failure);
        };
        way.keep(&url);
        if growing.whole().is_some_and(|blob| blob.size == has) {
            break url;
        }
        if has > from {
            budget.progressed();
        }
        (call, from) = (way.call(s, url, has), has);
    };
    // It ends before the body does only when there is a digest, or the upload has failed.
    let blob = growing.whole().ok_or_else(|| local(s, &way.call(s, url.clone(), from)))?;
    put(s, &blob, Payload::Empty, url).await?;
    way.forget();
    Ok(Pushed::Uploaded)
}

/// The way of a blob that grows.
struct Way<'a> {
    growing: &'a Arc<Growing>,
    /// Once it is whole, a later process can go on with it.
    kept: Option<Box<dyn KeptUpload>>,
    /// Was the registry asked whether it has the blob, once it was whole?
    asked: bool,
}

impl Way<'_> {
    fn call(&self, s: &Session<'_>, url: Url, from: u64) -> Call {
        let mut call = s.call_at(Method::PATCH, url, "blob upload".to_owned());
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.payload = Payload::File(Upload::growing(self.growing, from));
        call
    }

    /// Sends what is missing, and gives the place where the digest is wanted; nothing when the registry turns out to
    /// have the blob.
    async fn rest(&mut self, s: &Session<'_>, call: &Call, budget: &mut Budget) -> Result<Option<Url>, RegistryError> {
        let sent = patch(s, call);
        if self.asked {
            return sent.await.map(Some);
        }
        tokio::pin!(sent);
        tokio::select! {
            sent = &mut sent => sent.map(Some),
            // All bytes are known, and not all are sent: perhaps none of the rest needs to be.
            () = self.growing.ended() => {
                self.asked = true;
                self.kept = self.growing.whole().and_then(|blob| parts::keep(s, &blob, &call.url));
                match already(s, self.growing, budget).await {
                    true => Ok(None),
                    false => sent.await.map(Some),
                }
            }
        }
    }

    fn keep(&mut self, url: &Url) {
        self.kept.iter_mut().for_each(|kept| kept.keep(url.as_str()));
    }

    fn forget(&mut self) {
        self.kept.iter_mut().for_each(|kept| kept.forget());
    }
}

async fn patch(s: &Session<'_>, call: &Call) -> Result<Url, RegistryError> {
    let answer = s.send(call, &mut s.single()).await?;
    if answer.status().as_u16() != 202 {
        return Err(s.refuse(call, answer).await);
    }
    upload_url(s, call, &answer)
}

/// Does the registry have the blob that has just become whole? Not asked for the little that is under way anyhow.
async fn already(s: &Session<'_>, growing: &Growing, budget: &mut Budget) -> bool {
    const WORTH_ASKING: u64 = 1 << 20;
    let Some(blob) = growing.whole().filter(|blob| growing.left(blob.size) > WORTH_ASKING) else { return false };
    let head = s.call(Method::HEAD, &Route::Blob(&blob.digest));
    s.send(&head, budget).await.is_ok_and(|answer| answer.status().as_u16() == 200)
}

fn local(s: &Session<'_>, call: &Call) -> RegistryError {
    let source = std::io::Error::other("it was given up");
    RegistryError::Local { asked: Box::new(s.asked(call)), what: "the blob cannot be read", source }
}

pub(super) async fn put(
    s: &Session<'_>,
    blob: &Descriptor,
    payload: Payload,
    mut url: Url,
) -> Result<(), RegistryError> {
    // The registry's own query stays as it is, byte for byte; it can be signed.
    let digest = blob.digest.to_string().replace(':', "%3A");
    let query = url.query().filter(|q| !q.is_empty()).map(|q| format!("{q}&")).unwrap_or_default();
    url.set_query(Some(&format!("{query}digest={digest}")));
    let mut call = s.call_at(Method::PUT, url, format!("blob {}", blob.digest));
    call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let length = if matches!(payload, Payload::Empty) { 0 } else { blob.size };
    call.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    call.payload = payload;
    let answer = s.send(&call, &mut s.single()).await?;
    if !answer.status().is_success() {
        return Err(s.refuse(&call, answer).await);
    }
    match said_digest(s, &call, &answer)? {
        Some(said) if said != blob.digest && said.algorithm() == blob.digest.algorithm() => {
            let source = DigestError::Mismatch { expected: blob.digest.clone(), actual: said };
            Err(RegistryError::Digest { asked: Box::new(s.asked(&call)), source })
        }
        _ => Ok(()),
    }
}
