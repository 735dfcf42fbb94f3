//! Pushing a blob: there already, mounted from a neighbour, or sent in one streaming `PUT`
//! (distribution-spec, "Pushing blobs": POST then PUT). Takes a source that opens the file anew for
//! each try. Must never read a file on a thread of the runtime, or send an authorization to another
//! host that an upload is sent to.

use crate::api::Route;
use crate::http::{Break, Payload, broken, location, silence};
use crate::manifest::said_digest;
use crate::options::Timeouts;
use crate::retry::Budget;
use crate::session::{Call, Session, broke};
use crate::{Fault, RegistryError};
use bytes::Bytes;
use cooper_image::{Descriptor, DigestError};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, RequestBuilder, Response, Url};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Opens the blob; called again for each try.
pub type BlobSource = Arc<dyn Fn() -> io::Result<File> + Send + Sync>;

/// Bytes read from the file at once.
const PIECE: usize = 256 * 1024;
/// Pieces that wait to be sent.
const WAITING: usize = 4;

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
    source: BlobSource,
    neighbour: Option<&str>,
) -> Result<Pushed, RegistryError> {
    let mut budget = Budget::new(s.policy());
    let head = s.call(Method::HEAD, &Route::Blob(&blob.digest));
    let answer = s.send(&head, &mut budget).await?;
    match answer.status().as_u16() {
        200 => return Ok(Pushed::Existed),
        401 | 403 | 429 | 500.. => return Err(s.refuse(&head, answer).await),
        // Registries without this route answer in many ways; the upload will tell.
        _ => {}
    }
    let mut place = match neighbour {
        Some(repository) => match mount(s, blob, repository, &mut budget).await? {
            Mount::Done => return Ok(Pushed::Mounted),
            Mount::Session(url) => Some(url),
            Mount::Refused => None,
        },
        None => None,
    };
    loop {
        let url = match place.take() {
            Some(url) => url,
            None => start(s, &mut budget).await?,
        };
        match put(s, blob, source.clone(), url).await {
            Ok(()) => return Ok(Pushed::Uploaded),
            Err(e) if !is_worth_another(&e) => return Err(e),
            Err(e) => {
                let wait = budget.next(None).ok_or(e)?;
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// A lost session (404) and passing failures deserve a new session; the rest would end the same.
fn is_worth_another(e: &RegistryError) -> bool {
    match e {
        RegistryError::Status { status, .. } => matches!(status, 404 | 408 | 429 | 500..),
        e => e.fault() == Fault::Network,
    }
}

enum Mount {
    Done,
    Session(Url),
    Refused,
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
        Ok(r) if r.status().as_u16() == 202 => upload_url(s, &call, &r).map(Mount::Session),
        // A mount is a favour; without the right to read the neighbour the blob is sent.
        Ok(_) => Ok(Mount::Refused),
        Err(e) if e.fault() == Fault::Auth => Ok(Mount::Refused),
        Err(e) => Err(e),
    }
}

async fn start(s: &Session<'_>, budget: &mut Budget) -> Result<Url, RegistryError> {
    let call = s.call(Method::POST, &Route::Uploads);
    let answer = s.send(&call, budget).await?;
    if answer.status().as_u16() != 202 {
        return Err(s.refuse(&call, answer).await);
    }
    upload_url(s, &call, &answer)
}

fn upload_url(s: &Session<'_>, call: &Call, answer: &Response) -> Result<Url, RegistryError> {
    location(answer, &call.url).map_err(|b| broke(b, &s.asked(call)))
}

async fn put(s: &Session<'_>, blob: &Descriptor, source: BlobSource, mut url: Url) -> Result<(), RegistryError> {
    // The registry's own query stays as it is, byte for byte; it can be signed.
    let digest = blob.digest.to_string().replace(':', "%3A");
    let query = url.query().filter(|q| !q.is_empty()).map(|q| format!("{q}&")).unwrap_or_default();
    url.set_query(Some(&format!("{query}digest={digest}")));
    let mut call = s.call_at(Method::PUT, url, format!("blob {}", blob.digest));
    call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    call.headers.insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
    call.payload = Payload::File(Upload { source, size: blob.size });
    let answer = s.send(&call, &mut Budget::single()).await?;
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

/// A file as the body of a request.
#[derive(Clone)]
pub(crate) struct Upload {
    source: BlobSource,
    size: u64,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("size", &self.size).finish_non_exhaustive()
    }
}

/// What the reading side tells the sending side.
#[derive(Default)]
struct Progress {
    handed: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

impl Upload {
    /// Sends the file; silence is measured from the last byte that the connection took.
    pub(crate) async fn send(&self, builder: RequestBuilder, timeouts: Timeouts) -> Result<Response, Break> {
        let progress = Arc::new(Progress::default());
        let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(WAITING);
        let (source, size, seen) = (self.source.clone(), self.size, progress.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(e) = read(&source, size, &sender, &seen) {
                let _ = sender.blocking_send(Err(io::Error::from(e.kind())));
                *seen.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            }
        });
        let body = Body::wrap_stream(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
        let answer = builder.body(body).send();
        tokio::pin!(answer);
        let mut last = 0;
        loop {
            let limit = if last >= self.size { timeouts.commit } else { timeouts.idle + timeouts.connect };
            match tokio::time::timeout(limit, &mut answer).await {
                Ok(done) => return done.map_err(|e| failure(&progress).unwrap_or_else(|| broken(e))),
                Err(_) => {
                    let now = progress.handed.load(Ordering::Relaxed);
                    if now == last {
                        return Err(silence(limit));
                    }
                    last = now;
                }
            }
        }
    }
}

fn failure(progress: &Progress) -> Option<Break> {
    progress.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map(Break::Source)
}

/// Reads exactly the announced bytes, at the pace at which they are taken.
fn read(
    source: &BlobSource,
    size: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    progress: &Progress,
) -> io::Result<()> {
    let mut file = source()?.take(size);
    let mut left = size;
    while left > 0 {
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file ends {left} bytes early")));
        }
        piece.truncate(n);
        left -= n as u64;
        if sender.blocking_send(Ok(Bytes::from(piece))).is_err() {
            // The request is over; nobody wants the rest.
            return Ok(());
        }
        progress.handed.fetch_add(n as u64, Ordering::Relaxed);
    }
    Ok(())
}
