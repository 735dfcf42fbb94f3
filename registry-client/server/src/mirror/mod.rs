//! A mirror: what somebody asks for is fetched from an upstream once, and served from here ever after.
//!
//! Tags are compared with the upstream's again after a while; when it cannot be reached, what is here is served, and
//! the answer says so. Only blobs that a mirrored manifest of the same repository names are fetched.

mod flight;
mod upstream;

use crate::answer::{Answer, CONTENT_DIGEST};
use crate::api_error::{ApiError, Code};
use crate::conditions::etag;
use crate::ranges::{Wanted, wanted};
use crate::route::Selector;
use crate::{Registry, StoreError};
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use cooper_image::{Descriptor, Digest, Document, limits};
use cooper_store::{Repo, RepoName, Store, TagName};
use flight::{Flight, Order};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
pub use upstream::{Coming, Manifest, Sink, Upstream, UpstreamError};

/// How long the upstream may take to say what a name leads to: with, and without, something to serve instead.
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_secs(60);
/// An upstream that failed is not asked about the same tag again for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// Most tags of which it is remembered when they were compared.
const TAGS: usize = 10_000;
/// Names that are asked about at once; two that fall together wait for each other.
const TURNS: usize = 64;
/// Said with what could not be compared with the upstream.
const STALE: &str = r#"299 - "the upstream cannot be reached: this is what it said before""#;

/// What is mirrored, and how.
#[derive(Debug, Clone)]
pub struct MirrorOptions {
    /// The registry that is mirrored.
    pub upstream: Arc<dyn Upstream>,
    /// How long a tag is served before it is compared with the upstream's again.
    pub fresh: Duration,
}

/// Said with an answer that could not be compared with the upstream.
type Warning = Option<&'static str>;

/// Blobs on their way.
type Flights = HashMap<(RepoName, Digest), Arc<Flight>>;

/// A mirror at work.
pub struct Mirror {
    options: MirrorOptions,
    /// Until when each tag counts as compared, and what its answers say meanwhile.
    compared: Mutex<HashMap<(RepoName, TagName), (Instant, Warning)>>,
    flights: Arc<Mutex<Flights>>,
    turns: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
}

impl Mirror {
    pub fn new(options: MirrorOptions) -> Self {
        let turns = (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect();
        Self { options, compared: Mutex::default(), flights: Arc::default(), turns, hasher: RandomState::new() }
    }

    /// Brings what a name leads to here, if it can be. Gives a warning when it could not be compared.
    pub async fn bring(&self, registry: &Registry, name: &RepoName, selector: &Selector) -> Result<Warning, ApiError> {
        let count = |result| registry.shared.metrics.mirrored("manifest", result);
        let here = || async {
            let (repository, wanted) = (registry.shared.store.repository(name), selector.clone());
            registry.on_disk(move |_| here(&repository, &wanted)).await
        };
        let hit = |warning: Warning| count(if warning.is_some() { "stale" } else { "hit" });
        if here().await?.is_some()
            && let Some(warning) = self.compared(name, selector)
        {
            hit(warning);
            return Ok(warning);
        }
        let reference = match selector {
            Selector::Tag(tag) => tag.as_str().to_owned(),
            Selector::Digest(digest) => digest.to_string(),
        };
        // One after the other: whoever comes second finds what the first has brought.
        let turn = self.hasher.hash_one((name, &reference)) as usize % TURNS;
        let _turn = self.turns[turn].lock().await;
        let here = here().await?;
        if here.is_some()
            && let Some(warning) = self.compared(name, selector)
        {
            hit(warning);
            return Ok(warning);
        }
        let known = here.as_ref().map(|d| &d.digest);
        let patience = if known.is_some() { PATIENCE } else { LONG_PATIENCE };
        let asked = self.options.upstream.manifest(name.as_str(), &reference, known);
        let late = || Err(UpstreamError::Failed("the upstream does not answer".to_owned()));
        match tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| late()) {
            Ok(Manifest::Unchanged) => {
                self.note(name, selector, self.options.fresh, None);
                count("hit");
                Ok(None)
            }
            Ok(Manifest::Changed { bytes, media_type }) => {
                let (owned, wanted) = (name.clone(), selector.clone());
                let keep = move |store: &Store| keep(store, &owned, &wanted, &bytes, media_type);
                registry.on_disk(keep).await?;
                self.note(name, selector, self.options.fresh, None);
                count("fetched");
                Ok(None)
            }
            Err(UpstreamError::Absent) => {
                count("absent");
                if let (Selector::Tag(tag), Some(_)) = (selector, known) {
                    let (repository, tag) = (registry.shared.store.repository(name), tag.clone());
                    let gone = move |_: &Store| Ok(repository.lock().and_then(|_lock| repository.remove_tag(&tag))?);
                    registry.on_disk(gone).await?;
                }
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%error, repository = %name, "the upstream could not be asked");
                if known.is_none() {
                    count("failed");
                    return Err(match error {
                        // So says Docker Hub of repositories that do not exist.
                        UpstreamError::Refused(_) => {
                            ApiError::new(Code::ManifestUnknown, "the upstream does not let us")
                        }
                        _ => ApiError::new(Code::BadGateway, "the upstream cannot be reached"),
                    }
                    .about(name));
                }
                count("stale");
                self.note(name, selector, AFTER_FAILURE, Some(STALE));
                Ok(Some(STALE))
            }
        }
    }

    /// A blob that is not here: its head, or its bytes as they come. Nothing when no manifest here names it.
    pub async fn blob(
        &self,
        registry: &Registry,
        name: &RepoName,
        digest: &Digest,
        range: Option<&str>,
        head: bool,
    ) -> Result<Option<Response>, ApiError> {
        let (owned, wanted_digest) = (name.clone(), digest.clone());
        let find = move |store: &Store| named(&store.repository(&owned), store, &wanted_digest);
        let Some(blob) = registry.on_disk(find).await? else { return Ok(None) };
        let about = |status| {
            let answer = Answer::new(status).header(CONTENT_DIGEST, digest).header(ETAG, etag(digest));
            answer.header(ACCEPT_RANGES, "bytes")
        };
        let whole = || about(StatusCode::OK).without_body("application/octet-stream", blob.size);
        if head {
            return Ok(Some(whole().into_response()));
        }
        let flight = self.flight(registry, name, &blob)?;
        if !flight.comes().await {
            return Err(ApiError::new(Code::BadGateway, "the upstream does not give this blob").about(digest));
        }
        let (answer, first, end) = match wanted(range, blob.size) {
            Wanted::All => (whole(), 0, blob.size),
            Wanted::Part { first, last } => {
                let answer = about(StatusCode::PARTIAL_CONTENT)
                    .without_body("application/octet-stream", last + 1 - first)
                    .header(CONTENT_RANGE, format!("bytes {first}-{last}/{}", blob.size));
                (answer, first, last + 1)
            }
            Wanted::Outside => {
                return Err(ApiError::new(Code::RangeInvalid, "the blob has no such bytes")
                    .header(CONTENT_RANGE, format!("bytes */{}", blob.size)));
            }
        };
        let mut response = answer.into_response();
        *response.body_mut() = flight.body(first, end);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(end - first));
        Ok(Some(response))
    }

    /// The one that is under way, else a new one.
    fn flight(&self, registry: &Registry, name: &RepoName, blob: &Descriptor) -> Result<Arc<Flight>, ApiError> {
        let key = (name.clone(), blob.digest.clone());
        let mut all = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = all.get(&key) {
            return Ok(Arc::clone(flight));
        }
        if all.len() >= registry.shared.limits.uploads {
            return Err(ApiError::busy("too many blobs are being fetched"));
        }
        let order = Order {
            upstream: Arc::clone(&self.options.upstream),
            store: registry.shared.store.clone(),
            metrics: Arc::clone(&registry.shared.metrics),
            name: name.clone(),
            blob: blob.clone(),
        };
        let (flights, done) = (Arc::clone(&self.flights), key.clone());
        let landed = move || {
            flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&done);
        };
        let flight = Arc::new(Flight::begin(order, landed)?);
        all.insert(key, Arc::clone(&flight));
        Ok(flight)
    }

    /// What is to be said with it when it need not be compared now. What a digest names never changes.
    fn compared(&self, name: &RepoName, selector: &Selector) -> Option<Warning> {
        let Selector::Tag(tag) = selector else { return Some(None) };
        let all = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, warning) = *all.get(&(name.clone(), tag.clone()))?;
        (Instant::now() < until).then_some(warning)
    }

    fn note(&self, name: &RepoName, selector: &Selector, time: Duration, warning: Warning) {
        let Selector::Tag(tag) = selector else { return };
        let now = Instant::now();
        let mut all = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= TAGS {
            all.retain(|_, (until, _)| now < *until);
        }
        if all.len() < TAGS {
            all.insert((name.clone(), tag.clone()), (now + time, warning));
        }
    }
}

/// What a name leads to here, when its bytes are here too.
fn here(repository: &Repo, selector: &Selector) -> Result<Option<Descriptor>, ApiError> {
    match crate::manifests::find(repository, selector) {
        Ok(d) => Ok(repository.holds_bytes(&d)?.then_some(d)),
        Err(error) if error.is(Code::ManifestUnknown) => Ok(None),
        Err(error) => Err(error),
    }
}

fn keep(
    store: &Store,
    name: &RepoName,
    selector: &Selector,
    bytes: &[u8],
    media_type: cooper_image::MediaType,
) -> Result<(), ApiError> {
    let digest = crate::manifests::digest(selector, bytes)?;
    let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
    let repository = store.repository(name);
    let _lock = repository.lock()?;
    // The mark first: whoever looks in between must not think that something is lost.
    repository.mark_partial()?;
    repository.put_manifest(bytes, &descriptor, None)?;
    if let Selector::Tag(tag) = selector {
        repository.set_tag(tag, &descriptor)?;
    }
    Ok(())
}

/// The descriptor by which a manifest of the repository names a blob.
fn named(repository: &Repo, store: &Store, digest: &Digest) -> Result<Option<Descriptor>, ApiError> {
    if !repository.is_partial()? {
        return Ok(None);
    }
    for manifest in repository.manifests()? {
        let Some(d) = repository.manifest(&manifest)? else { continue };
        let bytes = match store.read_blob(&d, limits::MANIFEST_BYTES) {
            Ok(bytes) => bytes,
            // It comes again when somebody asks for it.
            Err(StoreError::MissingBlob(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        let parts = match Document::parse(bytes.get(), Some(&d.media_type)) {
            Ok(Document::Manifest(m)) => std::iter::once(m.config).chain(m.layers).collect(),
            // For artifacts, which may name a blob right there.
            Ok(Document::Index(index)) => index.manifests,
            Err(_) => Vec::new(),
        };
        if let Some(found) = parts.into_iter().find(|part| part.digest == *digest) {
            return Ok((found.size <= limits::LAYER_BYTES).then_some(found));
        }
    }
    Ok(None)
}
