//! Manifests and indexes: kept byte for byte, and only when everything that they name is there.

use crate::Registry;
use crate::answer::{Answer, CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG};
use crate::api_error::{ApiError, Code};
use crate::body::{announced, document};
use crate::conditions::{Precondition, etag, held};
use crate::gate::Action;
use crate::route::{Params, Selector};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, ETAG, WARNING};
use axum::http::{HeaderMap, StatusCode};
use cooper_image::{Descriptor, Digest, Document, Hasher, MediaType};
use cooper_store::{NameError, Referrer, Removed, Repo, RepoName, Store, StoreError, TagName};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Told about layers that are fetched from elsewhere (distribution-spec, "Warnings").
const ELSEWHERE: &str = r#"299 - "this registry does not keep layers that may not be distributed""#;
/// Most tags that one request may give a manifest; the specification asks for ten at least.
const TAGS: usize = 100;

pub async fn head(
    registry: &Registry,
    name: RepoName,
    selector: Selector,
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    found(registry, name, selector, headers, |_, d, answer| Ok(answer.without_body(&d.media_type, d.size))).await
}

pub async fn get(
    registry: &Registry,
    name: RepoName,
    selector: Selector,
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    let whole = |store: &Store, d: &Descriptor, answer: Answer| {
        Ok(answer.body(&d.media_type, store.read_blob(d, d.size)?.into_inner()))
    };
    found(registry, name, selector, headers, whole).await
}

/// What a name leads to, as `rest` completes it, unless the client has it already.
async fn found(
    registry: &Registry,
    name: RepoName,
    selector: Selector,
    headers: &HeaderMap,
    rest: impl FnOnce(&Store, &Descriptor, Answer) -> Result<Answer, ApiError> + Send + 'static,
) -> Result<Answer, ApiError> {
    let headers = headers.clone();
    registry
        .on_disk(move |store| {
            let repository = store.repository(&name);
            let d = find(&repository, &selector)?;
            repository.note_asked(&d.digest);
            match held(&headers, &d.digest) {
                true => Ok(about(StatusCode::NOT_MODIFIED, &d.digest)),
                false => rest(store, &d, about(StatusCode::OK, &d.digest)),
            }
        })
        .await
}

/// What every answer about a manifest says.
fn about(status: StatusCode, digest: &Digest) -> Answer {
    Answer::new(status).header(CONTENT_DIGEST, digest).header(ETAG, etag(digest))
}

pub async fn put(
    registry: &Registry,
    name: RepoName,
    selector: Selector,
    params: &Params,
    request: Request,
) -> Result<Answer, ApiError> {
    let (parts, body) = request.into_parts();
    let (tags, content_type) = (tags(&params.tags)?, content_type(&parts.headers)?);
    let push = Push { name, selector, tags, content_type, precondition: Precondition::of(&parts.headers) };
    let bytes = document(announced(&parts.headers), body, registry.shared.limits).await?;
    let caller = registry.clone();
    registry.on_disk(move |store| keep(store, &caller, push, &bytes)).await
}

/// What is pushed, and under which names.
struct Push {
    name: RepoName,
    selector: Selector,
    /// Tags of the query.
    tags: Vec<TagName>,
    content_type: Option<MediaType>,
    precondition: Precondition,
}

/// The tags that a query says, each once.
fn tags(wanted: &[String]) -> Result<Vec<TagName>, ApiError> {
    if wanted.len() > TAGS {
        return Err(ApiError::new(Code::TooManyTags, format!("one request may give {TAGS} tags")));
    }
    let mut tags: Vec<TagName> = Vec::with_capacity(wanted.len());
    for tag in wanted {
        let tag = tag.parse().map_err(|e: NameError| invalid(e.to_string()))?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

pub async fn delete(registry: &Registry, name: RepoName, selector: Selector) -> Result<Answer, ApiError> {
    registry
        .on_disk(move |store| {
            let repository = store.repository(&name);
            find(&repository, &selector)?;
            let _lock = repository.lock()?;
            let removed = match &selector {
                Selector::Tag(tag) => repository.remove_tag(tag)?,
                Selector::Digest(digest) => repository.remove_manifest(digest)?,
            };
            match removed {
                Removed::Yes => Ok(Answer::new(StatusCode::ACCEPTED)),
                Removed::WasAbsent => Err(unknown(&selector)),
            }
        })
        .await
}

/// What a name leads to.
pub fn find(repository: &Repo, selector: &Selector) -> Result<Descriptor, ApiError> {
    let digest = match selector {
        Selector::Digest(digest) => Some(digest.clone()),
        Selector::Tag(tag) => repository.tag(tag)?.map(|d| d.digest),
    };
    let found = digest.map(|d| repository.manifest(&d)).transpose()?.flatten();
    found.ok_or_else(|| unknown(selector))
}

fn unknown(selector: &Selector) -> ApiError {
    let detail = match selector {
        Selector::Tag(tag) => tag.as_str().to_owned(),
        Selector::Digest(digest) => digest.to_string(),
    };
    ApiError::new(Code::ManifestUnknown, "this repository has no such manifest").about(detail)
}

/// The media type that the client states, without parameters.
fn content_type(headers: &HeaderMap) -> Result<Option<MediaType>, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().ok().and_then(|v| v.split(';').next()).unwrap_or_default().trim();
    let media_type = MediaType::from(text);
    if media_type.is_manifest() || media_type.is_index() {
        return Ok(Some(media_type));
    }
    Err(invalid(format!("{text:?} is no type of manifest that this registry keeps")))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::ManifestInvalid, message)
}

/// Fields that decide how a document is listed among the referrers of another.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referral {
    schema_version: u32,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

fn keep(store: &Store, caller: &Registry, push: Push, bytes: &[u8]) -> Result<Answer, ApiError> {
    let Push { name, selector, tags, content_type, precondition } = push;
    let parsed = Document::parse(bytes, content_type.as_ref()).map_err(|e| invalid(e.to_string()))?;
    let referral: Referral = serde_json::from_slice(bytes).map_err(|e| invalid(e.to_string()))?;
    if referral.schema_version != 2 {
        return Err(invalid(format!("schemaVersion {} is not 2", referral.schema_version)));
    }
    let digest = digest(&selector, bytes)?;
    let media_type = content_type.unwrap_or_else(|| parsed.media_type());
    let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
    let subject = referral.subject.as_ref().map(|s| s.digest.clone());
    let referrer = referrer(referral, &parsed, &descriptor);

    let repository = store.repository(&name);
    // From here to the tag nobody takes away what is found to be there.
    let _lock = repository.lock()?;
    let named: Vec<&TagName> = if let Selector::Tag(tag) = &selector { vec![tag] } else { Vec::new() };
    let named = || named.iter().copied().chain(&tags);
    // Decided here, where nobody can move a tag any more.
    for tag in named() {
        let moves = repository.tag(tag)?.is_some_and(|d| d.digest != descriptor.digest);
        caller.authorise(if moves { Action::Replace } else { Action::Create }, &name)?;
    }
    precondition.check(there(&repository, &selector)?.as_ref())?;
    let sparse = caller.shared.sparse;
    let elsewhere = match &parsed {
        Document::Manifest(m) => {
            let parts = || std::iter::once(&m.config).chain(&m.layers);
            parts().try_for_each(|d| or_missing(blob(&repository, d), sparse))?;
            parts().any(|d| d.media_type.is_foreign())
        }
        Document::Index(index) => {
            index.manifests.iter().try_for_each(|d| or_missing(child(&repository, d), sparse))?;
            false
        }
    };
    if sparse {
        repository.mark_partial()?;
    }
    repository.settle()?;
    repository.put_manifest(bytes, &descriptor, referrer.as_ref())?;
    named().try_for_each(|tag| repository.set_tag(tag, &descriptor))?;
    let place = format!("/v2/{name}/manifests/{}", descriptor.digest);
    let answer = about(StatusCode::CREATED, &descriptor.digest).location(place);
    let answer = subject.into_iter().fold(answer, |a, s| a.header(OCI_SUBJECT, s));
    let answer = tags.iter().fold(answer, |a, tag| a.header(OCI_TAG, tag.as_str()));
    Ok(if elsewhere { answer.header(WARNING, ELSEWHERE) } else { answer })
}

/// What a name leads to now.
fn there(repository: &Repo, selector: &Selector) -> Result<Option<Digest>, ApiError> {
    match selector {
        Selector::Tag(tag) => Ok(repository.tag(tag)?.map(|d| d.digest)),
        Selector::Digest(digest) => Ok(repository.manifest(digest)?.map(|d| d.digest)),
    }
}

/// The digest of the bytes, in the algorithm that the client chose.
pub fn digest(selector: &Selector, bytes: &[u8]) -> Result<Digest, ApiError> {
    let Selector::Digest(promised) = selector else { return Ok(Digest::sha256(bytes)) };
    let mut hasher = Hasher::with(promised.algorithm());
    hasher.update(bytes);
    let actual = hasher.finish();
    if actual != *promised {
        return Err(ApiError::new(Code::DigestInvalid, format!("the manifest's digest is {actual}")).about(promised));
    }
    Ok(actual)
}

/// How a document is listed for its subject (distribution-spec, "Listing Referrers").
fn referrer(referral: Referral, parsed: &Document, descriptor: &Descriptor) -> Option<Referrer> {
    let subject = referral.subject?.digest;
    let stated = referral.artifact_type.filter(|t| !t.is_empty());
    let artifact_type = stated.or_else(|| match parsed {
        Document::Manifest(m) => Some(m.config.media_type.to_string()),
        Document::Index(_) => None,
    });
    let descriptor =
        Descriptor { artifact_type, annotations: referral.annotations.unwrap_or_default(), ..descriptor.clone() };
    Some(Referrer { subject, descriptor })
}

/// What is missing may be so in a registry that takes partial copies.
fn or_missing(found: Result<(), ApiError>, sparse: bool) -> Result<(), ApiError> {
    found.or_else(|e| if sparse && e.is(Code::ManifestBlobUnknown) { Ok(()) } else { Err(e) })
}

/// A configuration or a layer must be in this repository, with the size that the manifest says.
fn blob(repository: &Repo, d: &Descriptor) -> Result<(), ApiError> {
    if d.media_type.is_foreign() {
        return Ok(());
    }
    present(repository.blob(&d.digest), d)
}

/// An entry of an index must be in this repository; it may be a manifest or, for artifacts, a blob.
fn child(repository: &Repo, d: &Descriptor) -> Result<(), ApiError> {
    if d.media_type.is_manifest() || d.media_type.is_index() {
        present(repository.manifest(&d.digest).map(|found| found.map(|m| m.size)), d)
    } else {
        blob(repository, d)
    }
}

fn present(size: Result<Option<u64>, StoreError>, d: &Descriptor) -> Result<(), ApiError> {
    match size? {
        Some(size) if size == d.size => Ok(()),
        Some(size) => Err(invalid(format!("it says that {} has {} bytes, and it has {size}", d.digest, d.size))),
        None => {
            Err(ApiError::new(Code::ManifestBlobUnknown, "it names what is not in this repository").about(&d.digest))
        }
    }
}
