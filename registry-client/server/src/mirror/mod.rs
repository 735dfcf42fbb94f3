//! A mirror: what somebody asks for is fetched from an upstream once, and served from here ever after.
//!
//! Tags are compared with the upstream's again after a while; when it cannot be reached, what is here is served, and
//! the answer says so. Only blobs that a mirrored manifest of the same repository names are fetched.

mod flight;
mod lists;
mod memory;
mod turns;
mod upstream;

use crate::api_error::{ApiError, Code};
use crate::blobs::{Reply, heading, reply, with_body};
use crate::route::Selector;
use crate::{Registry, StoreError};
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::response::{IntoResponse as _, Response};
use cooper_image::{Descriptor, Digest, Document, limits};
use cooper_store::{Repo, RepoName, Store};
use flight::{Flight, Order};
use lists::{List, Lists};
use memory::{Memory, Said, Warning};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use turns::Turns;
pub use upstream::{Coming, Manifest, Sink, Upstream, UpstreamError};

/// How long the upstream may take at most to say what a name leads to, when there is something to serve instead.
const PATIENCE: Duration = Duration::from_secs(10);
/// An upstream that failed is not asked about the same tag again for so long, while there is something to serve.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// Nor about what is not here, whatever it said: somebody may be about to push it there.
const MOMENT: Duration = Duration::from_secs(5);
/// Said with what could not be compared with the upstream.
const STALE: &str = r#"299 - "the upstream cannot be reached: this is what it said before""#;

/// What is mirrored, and how.
#[derive(Debug, Clone)]
pub struct MirrorOptions {
    /// The registry that is mirrored.
    pub upstream: Arc<dyn Upstream>,
    /// How long a tag is served before it is compared with the upstream's again.
    pub fresh: Duration,
    /// How long the upstream may take to begin to answer.
    pub patience: Duration,
    /// Whoever comes with this in the `User-Agent` is this mirror, which was told that it is its own upstream.
    pub agent: String,
}

/// Blobs on their way.
type Flights = HashMap<(RepoName, Digest), Arc<Flight>>;

/// A mirror at work.
pub struct Mirror {
    options: MirrorOptions,
    memory: Memory,
    lists: Lists,
    flights: Arc<Mutex<Flights>>,
    turns: Turns,
}

impl Mirror {
    pub fn new(options: MirrorOptions) -> Self {
        let (memory, lists, flights, turns) = Default::default();
        Self { options, memory, lists, flights, turns }
    }

    /// Refuses a request of this mirror itself. Its client then asks the next place that its registries.conf names.
    pub fn refuse_itself(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        if !self.options.agent.is_empty() && agent.contains(&self.options.agent) {
            tracing::warn!("this mirror is asked by itself: its registries.conf names it");
            return Err(ApiError::new(Code::Misdirected, "this mirror does not ask itself"));
        }
        Ok(())
    }

    /// Brings what a name leads to here, if it can be. Gives a warning when it could not be compared.
    pub async fn bring(&self, registry: &Registry, name: &RepoName, selector: &Selector) -> Result<Warning, ApiError> {
        let reference = match selector {
            Selector::Tag(tag) => tag.as_str().to_owned(),
            Selector::Digest(digest) => digest.to_string(),
        };
        // What was compared once is not compared again.
        let here = |compared: Option<Descriptor>| async {
            let (repository, wanted) = (registry.shared.store.repository(name), selector.clone());
            registry.on_disk(move |store| here(&repository, store, &wanted, compared.as_ref())).await
        };
        let settled = |here: Option<&Descriptor>| match (selector, here) {
            // What a digest names never changes.
            (Selector::Digest(_), Some(_)) => Some(Said::Serve(None)),
            _ => self.memory.recall(name, &reference, here.is_some()),
        };
        let known = here(None).await?;
        if let Some(said) = settled(known.as_ref()) {
            return answer(registry, name, said, "hit");
        }
        let patience = if known.is_some() { PATIENCE.min(self.options.patience) } else { self.options.patience };
        let end = Instant::now() + patience;
        // One after the other: whoever comes second finds what the first has brought, or heard.
        let mut turn = self.turns.of(name, &reference, end).await;
        let known = here(known).await?;
        if let Some(said) = settled(known.as_ref()) {
            return answer(registry, name, said, "hit");
        }
        let asked = self.options.upstream.manifest(name.as_str(), &reference, known.as_ref().map(|d| &d.digest));
        let in_time = match turn.question().await {
            Some(_room) => tokio::time::timeout_at(end, asked).await.ok(),
            None => None,
        };
        let heard = match in_time {
            Some(heard) => heard,
            None if !turn.has_waited() => Err(late()),
            // The time went by while others waited for an answer, perhaps to something else. It says nothing about the
            // upstream, and is not remembered.
            None => {
                let said = if known.is_some() { Said::Serve(Some(STALE)) } else { Said::Failed };
                return answer(registry, name, said, "failed");
            }
        };
        let (said, time, result) = match heard {
            Ok(Manifest::Unchanged) => (Said::Serve(None), self.options.fresh, "hit"),
            Ok(Manifest::Changed { bytes, digest, media_type }) => {
                let (owned, wanted) = (name.clone(), selector.clone());
                let said = Descriptor::new(media_type, digest, bytes.len() as u64);
                registry.on_disk(move |store| keep(store, &owned, &wanted, &bytes, said)).await?;
                (Said::Serve(None), self.options.fresh, "fetched")
            }
            Err(UpstreamError::Absent) => {
                if let (Selector::Tag(tag), Some(_)) = (selector, &known) {
                    let (repository, tag) = (registry.shared.store.repository(name), tag.clone());
                    let gone = move |_: &Store| Ok(repository.lock().and_then(|_lock| repository.remove_tag(&tag))?);
                    registry.on_disk(gone).await?;
                }
                (Said::Absent, MOMENT.min(self.options.fresh), "absent")
            }
            Err(error) => {
                tracing::warn!(%error, repository = %name, "the upstream could not be asked");
                match (&known, error) {
                    (Some(_), _) => (Said::Serve(Some(STALE)), AFTER_FAILURE, "stale"),
                    (None, UpstreamError::Refused(_)) => (Said::Refused, MOMENT, "failed"),
                    (None, _) => (Said::Failed, MOMENT, "failed"),
                }
            }
        };
        // What a digest names and is here needs no remembering: it never changes.
        if !matches!((selector, said), (Selector::Digest(_), Said::Serve(_))) {
            self.memory.note(name, &reference, time, said);
        }
        answer(registry, name, said, result)
    }

    /// Everything that refers to a manifest, as the upstream says: what is known here may be only some. Never an empty
    /// list because the upstream could not be asked, since whoever looks for signatures must not be told that there are
    /// none.
    pub async fn referrers(
        &self,
        registry: &Registry,
        name: &RepoName,
        subject: &Digest,
    ) -> Result<Arc<List>, ApiError> {
        let count = |result| registry.shared.metrics.mirrored("referrers", result);
        // No tag has a space.
        let (reference, patience) = (format!("referrers {subject}"), self.options.patience);
        let refused = |said| {
            count("failed");
            let (code, why) = match said {
                Said::Refused => (Code::Denied, "the upstream does not let us"),
                _ => (Code::BadGateway, "the upstream cannot be reached"),
            };
            ApiError::new(code, why).about(name)
        };
        let known = || match self.lists.recall(name, subject) {
            Some(list) => Some(Ok(list)),
            None => self.memory.recall(name, &reference, false).map(Err),
        };
        let found = match known() {
            Some(found) => found,
            None => {
                let end = Instant::now() + patience;
                let mut turn = self.turns.of(name, &reference, end).await;
                match known() {
                    Some(found) => found,
                    None => {
                        let asked = self.options.upstream.referrers(name.as_str(), subject);
                        let in_time = match turn.question().await {
                            Some(_room) => tokio::time::timeout_at(end, asked).await.ok(),
                            None => None,
                        };
                        let list = match in_time {
                            // The time went by for somebody else's question, and is nothing to remember.
                            None if turn.has_waited() => return Err(refused(Said::Failed)),
                            heard => heard.unwrap_or_else(|| Err(late())),
                        };
                        let list = match list {
                            Ok(all) => all,
                            Err(UpstreamError::Absent) => Vec::new(),
                            Err(error) => {
                                tracing::warn!(%error, repository = %name, "the upstream could not be asked");
                                let refuses = matches!(error, UpstreamError::Refused(_));
                                let said = if refuses { Said::Refused } else { Said::Failed };
                                self.memory.note(name, &reference, MOMENT, said);
                                return Err(refused(said));
                            }
                        };
                        let list = Arc::new(List::of(list));
                        self.lists.note(name, subject, self.options.fresh, &list);
                        count("fetched");
                        return Ok(list);
                    }
                }
            }
        };
        found.inspect(|_| count("hit")).map_err(refused)
    }

    /// A blob that is not here: its head, or its bytes as they come. Nothing when no manifest here names it.
    pub async fn blob(
        &self,
        registry: &Registry,
        name: &RepoName,
        digest: &Digest,
        headers: &HeaderMap,
        part: Part,
    ) -> Result<Option<Response>, ApiError> {
        let (owned, wanted) = (name.clone(), digest.clone());
        let find = move |store: &Store| named(&store.repository(&owned), store, &wanted);
        let Some(blob) = registry.on_disk(find).await? else { return Ok(None) };
        let (answer, first, end) = match part {
            Part::Head => return Ok(Some(heading(headers, digest, blob.size).into_response())),
            Part::Body => match reply(headers, digest, blob.size)? {
                Reply::Head(answer) => return Ok(Some(answer.into_response())),
                Reply::Bytes { answer, first, end } => (answer, first, end),
            },
        };
        let flight = self.flight(registry, name, &blob)?;
        if !tokio::time::timeout(self.options.patience, flight.comes()).await.unwrap_or(false) {
            return Err(ApiError::new(Code::BadGateway, "the upstream does not give this blob").about(digest));
        }
        Ok(Some(with_body(answer, flight.body(first, end), end - first)))
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
}

/// What of a blob is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Head,
    Body,
}

/// The answer to what the upstream said, now or a short while ago, counted as `result` when it is served.
fn answer(registry: &Registry, name: &RepoName, said: Said, result: &'static str) -> Result<Warning, ApiError> {
    let (result, answer) = match said {
        Said::Serve(warning) => (if warning.is_some() { "stale" } else { result }, Ok(warning)),
        Said::Absent => ("absent", Ok(None)),
        // So says Docker Hub of repositories that do not exist.
        Said::Refused => ("failed", Err(ApiError::new(Code::ManifestUnknown, "the upstream does not let us"))),
        Said::Failed => ("failed", Err(ApiError::new(Code::BadGateway, "the upstream cannot be reached"))),
    };
    registry.shared.metrics.mirrored("manifest", result);
    answer.map_err(|error| error.about(name))
}

fn late() -> UpstreamError {
    UpstreamError::Failed("the upstream does not answer".to_owned())
}

/// What a name leads to here, when its bytes are here too, and are not damaged: then it comes again. The bytes of
/// `compared` were found so just before.
fn here(
    repository: &Repo,
    store: &Store,
    selector: &Selector,
    compared: Option<&Descriptor>,
) -> Result<Option<Descriptor>, ApiError> {
    let d = match crate::manifests::find(repository, selector) {
        Ok(d) => d,
        Err(error) if error.is(Code::ManifestUnknown) => return Ok(None),
        Err(error) => return Err(error),
    };
    if compared == Some(&d) {
        return Ok(Some(d));
    }
    match store.read_blob(&d, limits::MANIFEST_BYTES) {
        Ok(_) => Ok(Some(d)),
        Err(StoreError::MissingBlob(_)) => Ok(None),
        Err(error @ StoreError::DamagedBlob { .. }) => {
            tracing::warn!(%error, "a manifest of the mirror is asked for again");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Keeps a manifest as it was asked for, and for a tag as the upstream describes it: what the tag leads to has one digest
/// here and there. The bytes are compared with it.
fn keep(store: &Store, name: &RepoName, selector: &Selector, bytes: &[u8], said: Descriptor) -> Result<(), ApiError> {
    let digest = match selector {
        Selector::Tag(_) => said.digest,
        Selector::Digest(_) => crate::manifests::digest(selector, bytes)?,
    };
    let descriptor = Descriptor { digest, ..said };
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
        let read = repository.manifest(&manifest).and_then(|d| match d {
            Some(d) => store.read_blob(&d, limits::MANIFEST_BYTES).map(|bytes| Some((d, bytes))),
            None => Ok(None),
        });
        let (d, bytes) = match read {
            Ok(Some(found)) => found,
            Ok(None) | Err(StoreError::MissingBlob(_)) => continue,
            // Another manifest may name it as well.
            Err(
                error @ (StoreError::DamagedBlob { .. } | StoreError::DamagedFile { .. } | StoreError::TooLarge { .. }),
            ) => {
                tracing::warn!(%error, %manifest, "a manifest of the mirror cannot be read");
                continue;
            }
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
