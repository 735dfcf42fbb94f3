//! Manifests: from a name and a platform to the verified bytes of one image, and pushing them.
//! Must never give out bytes whose digest was not computed here, nor guess between two meanings.

use crate::RegistryError;
use crate::api::{CONTENT_DIGEST, Route, SUBJECT, TAG, announced_length, content_type};
use crate::http::Payload;
use crate::retry::Budget;
use crate::session::{Call, Session};
use bytes::Bytes;
use cooper_image::index::DocumentError;
use cooper_image::{
    Descriptor, Digest, DigestError, Document, Leaf, Leaves, Manifest, MediaType, Platform, Reference, Verified, limits,
};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Response};

/// The image that a name and a platform lead to.
#[derive(Debug, Clone)]
pub struct ResolvedManifest {
    /// The image manifest's bytes, as the registry has them.
    pub manifest: Verified<Vec<u8>>,
    /// Describes these bytes.
    pub descriptor: Descriptor,
    /// These bytes, parsed.
    pub document: Manifest,
    /// The index that the name itself leads to, when it does.
    pub index: Option<Verified<Vec<u8>>>,
}

/// What a name itself leads to: an image's manifest or an index of several.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bytes, as the registry has them.
    pub bytes: Verified<Vec<u8>>,
    /// These bytes, parsed.
    pub document: Document,
    /// What they are.
    pub media_type: MediaType,
}

impl Fetched {
    /// Describes the bytes.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.bytes.digest().clone(), self.bytes.get().len() as u64)
    }
}

/// Fetches what a name itself leads to.
pub(crate) async fn top(s: &Session<'_>, name: &Reference) -> Result<Fetched, RegistryError> {
    fetch(s, &name.selector(), name.digest(), None, &mut s.budget()).await
}

/// Describes what a name leads to without fetching it, where the registry can do that.
pub(crate) async fn describe(s: &Session<'_>, name: &Reference) -> Result<Descriptor, RegistryError> {
    let mut call = s.call(Method::HEAD, &Route::Manifest(&name.selector()));
    accept(&mut call, None);
    let mut budget = s.budget();
    let response = s.send(&call, &mut budget).await?;
    if !response.status().is_success() {
        // Registries that know no HEAD say so in several ways; what these mean, all understand alike.
        return match response.status().as_u16() {
            401 | 403 | 404 | 429 => Err(s.refuse(&call, response).await),
            // Who is away for one request is away for the other: the tries are those of both.
            _ => Ok(fetch(s, &name.selector(), name.digest(), None, &mut budget).await?.descriptor()),
        };
    }
    let said = said_digest(s, &call, &response)?;
    let (Some(digest), Some(size), Some(media_type)) = (said, head_length(&response), content_type(response.headers()))
    else {
        return Ok(top(s, name).await?.descriptor());
    };
    match name.digest() {
        Some(wanted) if wanted.algorithm() == digest.algorithm() && *wanted != digest => Err(RegistryError::Digest {
            asked: Box::new(s.asked(&call)),
            source: DigestError::Mismatch { expected: wanted.clone(), actual: digest },
        }),
        Some(wanted) => Ok(Descriptor::new(media_type, wanted.clone(), size)),
        None => Ok(Descriptor::new(media_type, digest, size)),
    }
}

/// The length that an answer without a body announces for one.
fn head_length(response: &Response) -> Option<u64> {
    announced_length(response).filter(|n| *n > 0)
}

/// Follows a name to the image of a platform, through as many indexes as it takes.
pub(crate) async fn resolve(
    s: &Session<'_>,
    name: &Reference,
    platform: &Platform,
) -> Result<ResolvedManifest, RegistryError> {
    let mut budget = s.budget();
    let top = fetch(s, &name.selector(), name.digest(), None, &mut budget).await?;
    let Document::Index(index) = top.document else { return resolved(s, name, top, None) };
    let malformed = |source| RegistryError::Document { asked: Box::new(s.asked(&get(s, &name.selector()))), source };
    let mut leaves = Leaves::satisfying(index, platform);
    let mut lost = None;
    loop {
        let Some(leaf) = leaves.step().map_err(malformed)? else {
            return Err(lost.unwrap_or_else(|| RegistryError::Platform {
                asked: Box::new(s.asked(&get(s, &name.selector()))),
                wanted: platform.to_string(),
                available: platforms(leaves.passed()),
            }));
        };
        let (Leaf::Image(entry) | Leaf::Index(entry)) = &leaf;
        let next = match fetch(s, &entry.digest.to_string(), Some(&entry.digest), Some(entry), &mut budget).await {
            // As where only a part was copied: what is in the others is what it was.
            Err(absent) if matches!(leaf, Leaf::Index(_)) && absent.is_absence() => {
                lost.get_or_insert(absent);
                continue;
            }
            next => next?,
        };
        match (leaf, next.document) {
            (Leaf::Index(_), Document::Index(index)) => leaves.enter(index),
            (_, document) => return resolved(s, name, Fetched { document, ..next }, Some(top.bytes)),
        }
    }
}

fn resolved(
    s: &Session<'_>,
    name: &Reference,
    found: Fetched,
    index: Option<Verified<Vec<u8>>>,
) -> Result<ResolvedManifest, RegistryError> {
    let descriptor = found.descriptor();
    match found.document {
        Document::Manifest(document) => Ok(ResolvedManifest { manifest: found.bytes, descriptor, document, index }),
        Document::Index(_) => Err(RegistryError::Document {
            asked: Box::new(s.asked(&get(s, &name.selector()))),
            source: DocumentError::Ambiguous("it is an index, and an image was looked for"),
        }),
    }
}

/// Platforms, each once.
fn platforms(of: &[Platform]) -> Vec<String> {
    let mut names: Vec<String> = of.iter().map(|p| crate::redact::excerpt(p.to_string().as_bytes())).collect();
    names.dedup();
    names.truncate(64);
    names
}

pub(crate) fn get(s: &Session<'_>, selector: &str) -> Call {
    s.call(Method::GET, &Route::Manifest(selector))
}

/// Without this, registries give what the oldest clients understand. `besides` is a type that is known to be there.
pub(crate) fn accept(call: &mut Call, besides: Option<&MediaType>) {
    let known = MediaType::accepted();
    let other = besides.filter(|m| !known.contains(m));
    let all: Vec<String> = known.iter().chain(other).map(ToString::to_string).collect();
    call.headers.extend(HeaderValue::from_str(&all.join(", ")).ok().map(|v| (ACCEPT, v)));
}

async fn fetch(
    s: &Session<'_>,
    selector: &str,
    wanted: Option<&Digest>,
    entry: Option<&Descriptor>,
    budget: &mut Budget,
) -> Result<Fetched, RegistryError> {
    let mut call = get(s, selector);
    accept(&mut call, None);
    let (response, body) = s.document(&call, limits::MANIFEST_BYTES, budget).await?;
    let bytes = verify(s, &call, &response, body, wanted, entry.map(|e| e.size))?;
    let said = content_type(response.headers());
    let parse = |as_type: Option<&MediaType>| {
        Document::parse(bytes.get(), as_type)
            .map_err(|source| RegistryError::Document { asked: Box::new(s.asked(&call)), source })
    };
    if let Some(old) =
        said.as_ref().filter(|m| m.as_str().starts_with("application/vnd.docker.distribution.manifest.v1"))
    {
        return Err(RegistryError::Document {
            asked: Box::new(s.asked(&call)),
            source: DocumentError::Type(old.to_string()),
        });
    }
    let document = parse(said.as_ref())?;
    if let Some(entry) = entry {
        parse(Some(&entry.media_type))?;
    }
    let own = match &document {
        Document::Manifest(m) => m.media_type.clone(),
        Document::Index(i) => i.media_type.clone(),
    };
    let known = said.filter(|m| m.is_manifest() || m.is_index());
    let media_type = own.or(known).unwrap_or_else(|| document.media_type());
    Ok(Fetched { bytes, document, media_type })
}

/// Compares the body with the digest that was asked for and with that of the header; where neither says one, it is the
/// SHA-256.
pub(crate) fn verify(
    s: &Session<'_>,
    call: &Call,
    response: &Response,
    body: Vec<u8>,
    wanted: Option<&Digest>,
    size: Option<u64>,
) -> Result<Verified<Vec<u8>>, RegistryError> {
    let wrong = |source| RegistryError::Digest { asked: Box::new(s.asked(call)), source };
    let said = said_digest(s, call, response)?;
    if let Some(said) = &said {
        Verified::check(body.as_slice(), said, None).map_err(wrong)?;
    }
    let digest = wanted.cloned().or(said).unwrap_or_else(|| Digest::sha256(&body));
    Verified::check(body, &digest, size).map_err(wrong)
}

/// The digest that the answer's header names.
pub(crate) fn said_digest(s: &Session<'_>, call: &Call, response: &Response) -> Result<Option<Digest>, RegistryError> {
    let Some(value) = response.headers().get(CONTENT_DIGEST) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    text.parse().map(Some).map_err(|source| RegistryError::Digest { asked: Box::new(s.asked(call)), source })
}

/// A manifest that the registry has taken.
pub(crate) struct Put {
    pub(crate) digest: Digest,
    /// Has the registry noted that the manifest refers to another one (`OCI-Subject`)?
    pub(crate) subject_noted: bool,
}

/// So many tags every registry takes in one request that takes several.
const TAGS: usize = 10;

/// Sends a manifest under tags of one repository, and gives those that it got: several in one request (distribution-spec,
/// "Pushing Manifests": `?tag=`). A registry that knows no such request, or refuses it, may give none; the manifest is
/// wanted under each of the others then.
pub(crate) async fn push_tagged(
    s: &Session<'_>,
    tags: &[&str],
    bytes: &[u8],
    (media_type, digest): (&MediaType, &Digest),
) -> Result<(Put, Vec<String>), RegistryError> {
    let mut call = s.call(Method::PUT, &Route::Manifest(&digest.to_string()));
    Verified::check(bytes, digest, None)
        .map_err(|source| RegistryError::Digest { asked: Box::new(s.asked(&call)), source })?;
    let digest = digest.clone();
    call.url.query_pairs_mut().extend_pairs(tags.iter().take(TAGS).map(|tag| ("tag", *tag)));
    fill(s, &mut call, bytes, media_type, None)?;
    let response = s.send(&call, &mut s.budget()).await?;
    match response.status().as_u16() {
        200..300 => {}
        // What is wrong with each tag by itself is said then.
        401 | 403 | 429 | 500.. => return Err(s.refuse(&call, response).await),
        _ => return Ok((Put { digest, subject_noted: false }, Vec::new())),
    }
    compare(s, &call, &response, bytes)?;
    let given = response.headers().get_all(TAG).iter().filter_map(|value| value.to_str().ok());
    // One header with a list says the same as one for each.
    let given = given.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect();
    Ok((Put { digest, subject_noted: response.headers().contains_key(SUBJECT) }, given))
}

/// No registry can be told in another way under which digest a tag has a manifest.
pub(crate) fn untagged(s: &Session<'_>, tag: &str, digest: &Digest) -> RegistryError {
    let asked = Box::new(s.asked(&s.call(Method::PUT, &Route::Manifest(tag))));
    RegistryError::NoTag { asked, digest: digest.clone() }
}

/// Sends a manifest, under a condition where there is one.
pub(crate) async fn push(
    s: &Session<'_>,
    name: &Reference,
    bytes: &[u8],
    media_type: &MediaType,
    condition: Option<(HeaderName, HeaderValue)>,
) -> Result<Put, RegistryError> {
    let selector = name.tag().map_or_else(|| name.selector(), str::to_owned);
    let mut call = s.call(Method::PUT, &Route::Manifest(&selector));
    let digest = name.digest().cloned().unwrap_or_else(|| Digest::sha256(bytes));
    Verified::check(bytes, &digest, None)
        .map_err(|source| RegistryError::Digest { asked: Box::new(s.asked(&call)), source })?;
    fill(s, &mut call, bytes, media_type, condition)?;
    let response = s.send(&call, &mut s.budget()).await?;
    if !response.status().is_success() {
        return Err(s.refuse(&call, response).await);
    }
    compare(s, &call, &response, bytes)?;
    Ok(Put { digest, subject_noted: response.headers().contains_key(SUBJECT) })
}

/// Puts a manifest into a request.
fn fill(
    s: &Session<'_>,
    call: &mut Call,
    bytes: &[u8],
    media_type: &MediaType,
    condition: Option<(HeaderName, HeaderValue)>,
) -> Result<(), RegistryError> {
    let value = HeaderValue::from_str(media_type.as_str()).map_err(|_| RegistryError::Document {
        asked: Box::new(s.asked(call)),
        source: DocumentError::Type(media_type.to_string()),
    })?;
    call.headers.insert(CONTENT_TYPE, value);
    call.headers.extend(condition);
    call.payload = Payload::Bytes(Bytes::copy_from_slice(bytes));
    Ok(())
}

/// Compares what was sent with the digest that the answer gives it.
fn compare(s: &Session<'_>, call: &Call, response: &Response, bytes: &[u8]) -> Result<(), RegistryError> {
    let Some(said) = said_digest(s, call, response)? else { return Ok(()) };
    let checked = Verified::check(bytes, &said, None);
    checked.map(drop).map_err(|source| RegistryError::Digest { asked: Box::new(s.asked(call)), source })
}
