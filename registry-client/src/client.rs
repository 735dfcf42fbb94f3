//! The door of the room: one client for all registries, cheap to clone. Takes names, descriptors,
//! sources and sinks; asks the endpoints of a name one after the other.

use crate::api::Route;
use crate::blob::body::{BlobSource, StreamSource, Upload};
use crate::blob::growing::Growing;
use crate::blob::pull::{Arriving, Begun};
use crate::blob::push::Pushed;
use crate::endpoint::{Endpoint, Role, for_pull, for_push, for_registry};
use crate::error::chain;
use crate::manifest::{Fetched, ResolvedManifest};
use crate::options::ClientOptions;
use crate::referrers::{self, Referrer};
use crate::session::{Access, Session, Shared};
use crate::{Asked, RegistryError, blob, list, manifest};
use cooper_image::digest::Algorithm;
use cooper_image::{Descriptor, Digest, MediaType, Platform, Reference};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How a registry met us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// It asked who we are, and took the answer.
    Known,
    /// It did not ask, so whatever credentials there are have proved nothing.
    Open,
}

/// A client for all registries.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`RegistryError::Config`] when an authority or a proxy is malformed.
    pub fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        Ok(Self { shared: Arc::new(Shared::new(options)?) })
    }

    /// Asks a registry, `host[:port]`, whether it is one and whether it takes our credentials.
    ///
    /// # Errors
    /// [`RegistryError::Auth`] and [`RegistryError::Status`] when it does not, and when credentials exist that were
    /// not sent because its token server is another host.
    pub async fn ping(&self, host: &str) -> Result<Greeting, RegistryError> {
        let endpoint = for_registry(&self.shared.options.registries, &self.shared.options.insecure, host)?;
        let session = Session::within(&self.shared, &endpoint, Vec::new()).await?;
        let call = session.call(Method::GET, &Route::Base);
        let response = session.send(&call, &mut session.budget()).await?;
        if !response.status().is_success() {
            return Err(session.refuse(&call, response).await);
        }
        // An anonymous token opens this route, and proves nothing.
        match session.withheld(&call, "the credentials were not sent") {
            Some(error) => Err(error),
            None => Ok(if session.is_known() { Greeting::Known } else { Greeting::Open }),
        }
    }

    /// The tags of a name's repository, in the registry's order. Mirrors are not asked: they may know only some.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`] and [`RegistryError::Protocol`] for lists that do not end or lead elsewhere, and what
    /// the registry said.
    pub async fn tags(&self, name: &Reference) -> Result<Vec<String>, RegistryError> {
        self.first_tags(name, usize::MAX).await
    }

    /// As [`Client::tags`], but no more than so many: no page is asked for that is not needed.
    ///
    /// # Errors
    /// As [`Client::tags`].
    pub async fn first_tags(&self, name: &Reference, most: usize) -> Result<Vec<String>, RegistryError> {
        let endpoints = for_pull(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        let mut found = Err(RegistryError::Endpoints { name: name.to_string(), failures: Vec::new() });
        // The primary one is the last.
        if let Some(endpoint) = endpoints.last() {
            found = list::tags(&Session::open(&self.shared, endpoint, Access::Pull).await?, most).await;
        }
        found
    }

    /// The repositories of a registry, `host[:port]`, that we may see, in its order. Many registries do not tell them.
    ///
    /// # Errors
    /// As [`Client::tags`].
    pub async fn catalog(&self, host: &str) -> Result<Vec<String>, RegistryError> {
        self.first_repositories(host, usize::MAX).await
    }

    /// As [`Client::catalog`], but no more than so many.
    ///
    /// # Errors
    /// As [`Client::tags`].
    pub async fn first_repositories(&self, host: &str, most: usize) -> Result<Vec<String>, RegistryError> {
        let endpoint = for_registry(&self.shared.options.registries, &self.shared.options.insecure, host)?;
        let session = Session::within(&self.shared, &endpoint, vec!["registry:catalog:*".to_owned()]).await?;
        list::catalog(&session, most).await
    }

    /// Describes what a name itself leads to, an image or an index, and fetches it only where the registry cannot say
    /// it otherwise. Without fetching, digest and size are the registry's word.
    ///
    /// # Errors
    /// As [`Client::resolve`]; [`RegistryError::is_absence`] tells when there is nothing.
    pub async fn describe(&self, name: &Reference) -> Result<Descriptor, RegistryError> {
        self.first(name, async |session| manifest::describe(session, name).await).await
    }

    /// Fetches what a name itself leads to, an image's manifest or an index.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn top(&self, name: &Reference) -> Result<Fetched, RegistryError> {
        self.first(name, async |session| manifest::top(session, name).await).await
    }

    /// The image that a name leads to on a platform. A digest in the name wins over its tag, and
    /// `latest` stands in for both.
    ///
    /// # Errors
    /// What the one endpoint said, or [`RegistryError::Endpoints`] with what each of them said.
    pub async fn resolve(&self, name: &Reference, platform: &Platform) -> Result<ResolvedManifest, RegistryError> {
        self.first(name, async |session| manifest::resolve(session, name, platform).await).await
    }

    /// A small blob of the name's repository whole, as a configuration is: no larger than `limit`, in bytes.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`] before anything is asked, else as [`Client::blob`].
    pub async fn small_blob(
        &self,
        name: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        if descriptor.size > limit {
            let request = format!("GET blob {}", descriptor.digest);
            let (registry, repository) = (name.host().to_owned(), name.repository().to_owned());
            let asked = Box::new(Asked { registry, repository, request, led_to: None });
            return Err(RegistryError::TooLarge { asked, limit: format!("{limit} bytes") });
        }
        loop {
            let mut bytes = Vec::new();
            let mut sink = |piece: &[u8]| {
                bytes.extend_from_slice(piece);
                Ok(())
            };
            match self.blob(name, descriptor, &mut sink).await {
                Ok(()) => return Ok(bytes),
                // Each of them is so once.
                Err(RegistryError::Mirror(_)) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// How many bytes a blob of the name's repository has, by the registry's word; `None` when it is not there.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn blob_size(&self, name: &Reference, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        match self.first(name, async |session| blob::pull::size(session, digest).await).await {
            Ok(size) => Ok(Some(size)),
            Err(e) if e.is_absence() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What the first endpoint that can do it gives.
    pub(crate) async fn first<T>(
        &self,
        name: &Reference,
        ask: impl AsyncFn(&Session<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut failures = Vec::new();
        for endpoint in for_pull(&self.shared.options.registries, &self.shared.options.insecure, name)? {
            let found = match Session::open(&self.shared, &endpoint, Access::Pull).await {
                Ok(session) => ask(&session).await,
                Err(e) => Err(e),
            };
            match found {
                Ok(found) => return Ok(found),
                Err(e) => failures.push(e),
            }
        }
        Err(verdict(name, failures))
    }

    /// Streams a blob of the name's repository into a sink, each byte once and in order. After an
    /// error the sink holds a part, or, when the digest differs, wrong bytes: throw it away.
    ///
    /// # Errors
    /// [`RegistryError::Digest`] for other bytes than promised, [`RegistryError::Mirror`] when asking again can help
    /// against that, [`RegistryError::Local`] when the sink fails, else as [`Client::resolve`].
    pub async fn blob(
        &self,
        name: &Reference,
        descriptor: &Descriptor,
        sink: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
    ) -> Result<(), RegistryError> {
        self.arrive(name, Arriving::new(descriptor, None, sink)).await
    }

    /// As [`Client::blob`], of which the sink has the beginning already: only the rest is asked for. It is compared with
    /// the digest as a whole.
    ///
    /// # Errors
    /// As [`Client::blob`]; [`RegistryError::Digest`] also when the beginning was wrong.
    pub async fn rest_of_blob(
        &self,
        name: &Reference,
        descriptor: &Descriptor,
        begun: Begun,
        sink: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
    ) -> Result<(), RegistryError> {
        self.arrive(name, Arriving::new(descriptor, Some(begun), sink)).await
    }

    /// The end of a blob, from this byte on, as an upload needs it that goes on. Its size is looked at, but its bytes are
    /// compared with nothing: whoever gets the whole does that.
    ///
    /// # Errors
    /// As [`Client::blob`].
    pub async fn end_of_blob(
        &self,
        name: &Reference,
        descriptor: &Descriptor,
        from: u64,
        sink: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
    ) -> Result<(), RegistryError> {
        self.arrive(name, Arriving::end(descriptor, from, sink)).await
    }

    async fn arrive(&self, name: &Reference, mut arriving: Arriving<'_>) -> Result<(), RegistryError> {
        let (mut failures, mut givers) = (Vec::new(), Vec::new());
        let blob = arriving.digest().clone();
        for endpoint in for_pull(&self.shared.options.registries, &self.shared.options.insecure, name)? {
            // A mirror can be the same place as the registry, which is asked in any case.
            if endpoint.role == Role::Mirror && !self.shared.may_have(&endpoint, &blob) {
                continue;
            }
            let before = arriving.delivered();
            let done = match Session::open(&self.shared, &endpoint, Access::Pull).await {
                Ok(session) => arriving.from(&session).await,
                Err(e) => Err(e),
            };
            match done {
                Ok(()) => return Ok(()),
                Err(e) if arriving.is_lost(&e) => {
                    givers.extend((arriving.delivered() > before).then_some(endpoint));
                    return Err(self.blamed(&givers, &arriving, e));
                }
                Err(e) => failures.push(e),
            }
            givers.extend((arriving.delivered() > before).then_some(endpoint));
        }
        Err(verdict(name, failures))
    }

    /// The error for other bytes than promised: of the mirrors that gave some of them none is believed again. What an
    /// earlier process left can be wrong itself, and then nobody is blamed.
    fn blamed(&self, givers: &[Endpoint], arriving: &Arriving<'_>, error: RegistryError) -> RegistryError {
        let mirrors: Vec<&Endpoint> = givers.iter().filter(|e| e.role == Role::Mirror).collect();
        if mirrors.is_empty() || arriving.came_earlier() || !matches!(error, RegistryError::Digest { .. }) {
            return error;
        }
        mirrors.iter().for_each(|mirror| self.shared.gave_wrong(mirror, arriving.digest()));
        let places: Vec<String> = mirrors.iter().map(|mirror| mirror.place()).collect();
        let places = places.join(" and ");
        tracing::warn!("{}: what {places} gave is not used, and is not asked for there again", chain(&error));
        RegistryError::Mirror(Box::new(error))
    }

    /// Sends a blob to the name's repository, unless it is there. `mount_from` is a name of the
    /// same registry whose repository may have it; a name elsewhere is of no use and not asked.
    ///
    /// # Errors
    /// [`RegistryError::Local`] when the source fails, and what the registry said.
    pub async fn push_blob(
        &self,
        name: &Reference,
        descriptor: &Descriptor,
        source: BlobSource,
        mount_from: Option<&Reference>,
    ) -> Result<Pushed, RegistryError> {
        self.push_watched(name, descriptor, source, mount_from, Arc::default()).await
    }

    /// As [`Client::push_blob`]; `at` is told which byte of the blob the connection takes next.
    ///
    /// # Errors
    /// As [`Client::push_blob`].
    pub async fn push_watched(
        &self,
        name: &Reference,
        descriptor: &Descriptor,
        source: BlobSource,
        mount_from: Option<&Reference>,
        at: Arc<AtomicU64>,
    ) -> Result<Pushed, RegistryError> {
        self.push_from(name, descriptor, Upload::file(source, descriptor.size, at), mount_from).await
    }

    /// As [`Client::push_blob`], for a blob that is no file here: it is opened only when the registry wants its bytes,
    /// and once more for each further try, there where it goes on.
    ///
    /// # Errors
    /// As [`Client::push_blob`].
    pub async fn push_stream(
        &self,
        name: &Reference,
        descriptor: &Descriptor,
        source: StreamSource,
        mount_from: Option<&Reference>,
    ) -> Result<Pushed, RegistryError> {
        self.push_from(name, descriptor, Upload::stream(source, descriptor.size), mount_from).await
    }

    async fn push_from(
        &self,
        name: &Reference,
        descriptor: &Descriptor,
        upload: Upload,
        mount_from: Option<&Reference>,
    ) -> Result<Pushed, RegistryError> {
        let endpoint = for_push(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        let session = Session::open(&self.shared, &endpoint, Access::Push).await?;
        let near = mount_from.filter(|m| m.host() == name.host() && m.repository() != name.repository());
        blob::push::push(&session, descriptor, upload, near.map(Reference::repository)).await
    }

    /// Asks whether anything may be pushed to the name's repository, by an upload that is begun and given up.
    ///
    /// # Errors
    /// What the registry said.
    pub async fn may_push(&self, name: &Reference) -> Result<(), RegistryError> {
        let endpoint = for_push(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        blob::push::check(&Session::open(&self.shared, &endpoint, Access::Push).await?).await
    }

    /// Sends a blob to the name's repository while it is being made, once and without asking first whether it is
    /// there: nobody knows yet what it will be. When it is whole, and the registry turns out to have it, the rest is
    /// not sent. After a failure, [`Client::push_blob`] sends it anew.
    ///
    /// # Errors
    /// [`RegistryError::Local`] when it was given up or cannot be read, and what the registry said.
    pub async fn stream_blob(&self, name: &Reference, growing: &Arc<Growing>) -> Result<Pushed, RegistryError> {
        let endpoint = for_push(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        let session = Session::open(&self.shared, &endpoint, Access::Push).await?;
        blob::push::stream(&session, growing).await
    }

    /// Sends a manifest under the name's tag, else under its digest, and gives its digest. The
    /// bytes go out as they are. When they refer to another manifest and the registry does not note that by itself,
    /// they are entered in the referrers tag too (distribution-spec, "Pushing Manifests with Subject").
    ///
    /// # Errors
    /// [`RegistryError::Digest`] when the name or the registry gives the bytes another digest, and
    /// what the registry said.
    pub async fn push_manifest(
        &self,
        name: &Reference,
        bytes: &[u8],
        media_type: &MediaType,
    ) -> Result<Digest, RegistryError> {
        let endpoint = for_push(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        let session = Session::open(&self.shared, &endpoint, Access::Push).await?;
        self.put(&session, name, bytes, media_type, None).await
    }

    /// Sends a manifest under tags of the name's repository, as [`Client::push_manifest`] does under one: in one request
    /// where the registry takes several, else in one for each. Its digest is the one that is given: where that is no
    /// SHA-256, a request for a tag alone would have the registry compute another one.
    ///
    /// # Errors
    /// As [`Client::push_manifest`], and [`RegistryError::NoTag`] where the registry cannot give a tag to such a digest.
    /// Tags that came before have the manifest then.
    pub async fn push_manifest_tagged(
        &self,
        name: &Reference,
        tags: &[&str],
        bytes: &[u8],
        (media_type, digest): (&MediaType, &Digest),
    ) -> Result<(), RegistryError> {
        let endpoint = for_push(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        let session = Session::open(&self.shared, &endpoint, Access::Push).await?;
        let mut wanted = Vec::new();
        for tag in tags.iter().copied() {
            if !wanted.contains(&tag) {
                wanted.push(tag);
            }
        }
        let is_usual = digest.algorithm() == Algorithm::Sha256;
        while wanted.len() > usize::from(is_usual) {
            let (put, given) = manifest::push_tagged(&session, &wanted, bytes, (media_type, digest)).await?;
            let before = wanted.len();
            wanted.retain(|tag| !given.iter().any(|given| given == tag));
            if wanted.len() == before {
                break;
            }
            if wanted.is_empty() {
                return self.noted(&session, name, put, bytes, media_type).await.map(drop);
            }
        }
        if !is_usual && let Some(tag) = wanted.first() {
            return Err(manifest::untagged(&session, tag, digest));
        }
        for tag in wanted {
            self.put(&session, &name.with_tag(tag), bytes, media_type, None).await?;
        }
        Ok(())
    }

    /// As [`Client::push_manifest`], in one conversation and under a condition where there is one.
    pub(crate) async fn put(
        &self,
        session: &Session<'_>,
        name: &Reference,
        bytes: &[u8],
        media_type: &MediaType,
        condition: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Digest, RegistryError> {
        let put = manifest::push(session, name, bytes, media_type, condition).await?;
        self.noted(session, name, put, bytes, media_type).await
    }

    /// Enters a manifest that was sent in the referrers tag, where it refers to another and the registry has not noted
    /// that.
    async fn noted(
        &self,
        session: &Session<'_>,
        name: &Reference,
        put: manifest::Put,
        bytes: &[u8],
        media_type: &MediaType,
    ) -> Result<Digest, RegistryError> {
        if !put.subject_noted
            && let Some(referrer) = Referrer::read(bytes, &put.digest, media_type)
        {
            referrers::note(session, name, &referrer).await?;
        }
        Ok(put.digest)
    }
}

fn verdict(name: &Reference, mut failures: Vec<RegistryError>) -> RegistryError {
    match failures.pop() {
        Some(only) if failures.is_empty() => only,
        last => {
            failures.extend(last);
            RegistryError::Endpoints { name: name.to_string(), failures }
        }
    }
}
