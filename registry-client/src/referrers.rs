//! What refers to a manifest: signatures, bills of materials, attestations (distribution-spec, "Listing Referrers").
//!
//! Takes a subject; gives descriptors, from the registry's own list, else from the index under the referrers tag, which
//! clients keep for registries that have no such list. Must never take a list of another place, nor drop an entry of
//! something that is there.

use crate::RegistryError;
use crate::api::{Route, next_link};
use crate::client::Client;
use crate::endpoint::for_pull;
use crate::list::followed;
use crate::manifest::{self, accept, get};
use crate::rewriting::{TRIES, if_match, in_the_way, is_written, until_read};
use crate::session::{Access, Session};
use cooper_image::{Descriptor, Digest, Document, Index, MediaType, Reference, limits};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue, IF_NONE_MATCH};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};

/// Most pages of one list, and most bytes of them together.
const PAGES: usize = 1000;
const BYTES: u64 = 16 * limits::MANIFEST_BYTES;

/// A manifest that refers to another one.
#[derive(Debug)]
pub(crate) struct Referrer {
    /// What it refers to.
    subject: Digest,
    /// How lists describe it.
    entry: Descriptor,
}

impl Referrer {
    /// `None` for manifests that refer to nothing.
    pub(crate) fn read(bytes: &[u8], digest: &Digest, media_type: &MediaType) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            subject: Option<Descriptor>,
            artifact_type: Option<String>,
            config: Option<Descriptor>,
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        let shape: Shape = serde_json::from_slice(bytes).ok()?;
        let kind = shape.artifact_type.filter(|t| !t.is_empty());
        let entry = Descriptor {
            annotations: shape.annotations,
            artifact_type: kind.or_else(|| shape.config.map(|c| c.media_type.to_string())),
            ..Descriptor::new(media_type.clone(), digest.clone(), bytes.len() as u64)
        };
        Some(Self { subject: shape.subject?.digest, entry })
    }
}

impl Client {
    /// What refers to a manifest of the name's repository; with `kind` only artifacts of that type. Mirrors are not
    /// asked: they may know only some.
    ///
    /// # Errors
    /// As [`Client::tags`].
    pub async fn referrers(
        &self,
        name: &Reference,
        subject: &Digest,
        kind: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let endpoints = for_pull(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        let mut found = Vec::new();
        // The primary one is the last.
        if let Some(endpoint) = endpoints.last() {
            found = list(&Session::open(&self.shared, endpoint, Access::Pull).await?, name, subject, kind).await?;
        }
        found.retain(|d| kind.is_none_or(|kind| d.artifact_type.as_deref() == Some(kind)));
        Ok(found)
    }
}

async fn list(
    s: &Session<'_>,
    name: &Reference,
    subject: &Digest,
    kind: Option<&str>,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut call = s.call(Method::GET, &Route::Referrers(subject));
    if let Some(kind) = kind {
        call.url.query_pairs_mut().append_pair("artifactType", kind);
    }
    accept(&mut call, None);
    let (mut found, mut asked_for) = (Vec::new(), HashSet::new());
    let mut budget = s.budget();
    let mut left = BYTES;
    for _ in 0..PAGES {
        let (response, body) = match s.document(&call, limits::MANIFEST_BYTES, &mut budget).await {
            Ok(page) => page,
            Err(RegistryError::Status { status: 404 | 405 | 501, .. }) if found.is_empty() => {
                return Ok(tagged(s, name, subject).await?.index.manifests);
            }
            Err(e) => return Err(e),
        };
        let asked = || Box::new(s.asked(&call));
        match Document::parse(&body, Some(&MediaType::OciIndex)) {
            Ok(Document::Index(index)) => found.extend(index.manifests),
            Ok(Document::Manifest(_)) => {
                let cause = "the answer is no list of referrers".to_owned();
                return Err(RegistryError::Protocol { asked: asked(), cause });
            }
            Err(source) => return Err(RegistryError::Document { asked: asked(), source }),
        }
        let Some(link) = next_link(response.headers()) else { return Ok(found) };
        let Some(less) = left.checked_sub(body.len() as u64) else { break };
        left = less;
        let next = followed(s, &call, &link)?;
        asked_for.insert(std::mem::replace(&mut call.url, next));
        if asked_for.contains(&call.url) {
            break;
        }
        budget.progressed();
    }
    let cause = "its list of referrers does not end".to_owned();
    Err(RegistryError::Protocol { asked: Box::new(s.asked(&call)), cause })
}

/// The tag under which clients keep the list (distribution-spec, "Referrers Tag Schema").
fn tag_of(subject: &Digest) -> String {
    let clipped = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    format!("{}-{}", clipped(subject.algorithm().name(), 32), clipped(subject.hex(), 64))
}

/// The list under the tag, and what has to hold for it to be replaced: that it is this one still.
struct Tagged {
    index: Index,
    condition: Option<(HeaderName, HeaderValue)>,
}

/// The index under the tag; an empty one when there is none.
async fn tagged(s: &Session<'_>, name: &Reference, subject: &Digest) -> Result<Tagged, RegistryError> {
    let tag = tag_of(subject);
    let mut call = get(s, &tag);
    accept(&mut call, None);
    let (answer, body) = match s.document(&call, limits::MANIFEST_BYTES, &mut s.budget()).await {
        Ok(found) => found,
        Err(e) if e.is_absence() => {
            let condition = Some((IF_NONE_MATCH, HeaderValue::from_static("*")));
            return Ok(Tagged { index: Index::of(Vec::new()), condition });
        }
        Err(e) => return Err(e),
    };
    match Document::parse(&body, None) {
        Ok(Document::Index(index)) => Ok(Tagged { index, condition: if_match(answer.headers()) }),
        _ => {
            let cause = format!("the tag {tag} of {name} is no list of referrers");
            Err(RegistryError::Protocol { asked: Box::new(s.asked(&call)), cause })
        }
    }
}

/// Enters a referrer in the list under its subject's tag (distribution-spec, "Pushing Manifests with Subject").
pub(crate) async fn note(s: &Session<'_>, name: &Reference, referrer: &Referrer) -> Result<(), RegistryError> {
    rewrite(s, name, &referrer.subject, |entries| {
        let is_new = entries.iter().all(|d| d.digest != referrer.entry.digest);
        if is_new {
            entries.push(referrer.entry.clone());
        }
        is_new
    })
    .await
}

/// Takes a referrer that was deleted out of the list under its subject's tag, unless the registry has a list of its own
/// (distribution-spec, "Deleting Manifests").
pub(crate) async fn forget(s: &Session<'_>, name: &Reference, referrer: &Referrer) -> Result<(), RegistryError> {
    let mut call = s.call(Method::GET, &Route::Referrers(&referrer.subject));
    accept(&mut call, None);
    match s.document(&call, limits::MANIFEST_BYTES, &mut s.budget()).await {
        Err(RegistryError::Status { status: 404 | 405 | 501, .. }) => {}
        other => return other.map(|_| ()),
    }
    rewrite(s, name, &referrer.subject, |entries| {
        let before = entries.len();
        entries.retain(|d| d.digest != referrer.entry.digest);
        entries.len() != before
    })
    .await
}

/// Changes the list under a subject's tag until there is nothing more to `change` in it. The list is replaced only when
/// it is the one that was read. Not every registry looks at that: what was written is read again after a while in which
/// others could have replaced it by what they had read before, and changed again when they have.
async fn rewrite(
    s: &Session<'_>,
    name: &Reference,
    subject: &Digest,
    change: impl Fn(&mut Vec<Descriptor>) -> bool,
) -> Result<(), RegistryError> {
    let _one_of_ours = s.shared.noting.lock().await;
    let at = tag_name(name, subject);
    let patience = &s.shared.patience;
    // Once more than it is written: the last write is read again as well.
    for n in 0..=TRIES {
        let begun = patience.now();
        let Tagged { mut index, condition } = tagged(s, name, subject).await?;
        if !change(&mut index.manifests) {
            return Ok(());
        }
        if n == TRIES {
            break;
        }
        let bytes = serde_json::to_vec(&index).unwrap_or_default();
        let wrote = is_written(manifest::push(s, &at, &bytes, &MediaType::OciIndex, condition).await)?;
        patience.sleep(until_read(wrote, patience.now().saturating_sub(begun), n)).await;
    }
    let call = get(s, &tag_of(subject));
    Err(RegistryError::Protocol { asked: Box::new(s.asked(&call)), cause: in_the_way("the list of referrers") })
}

fn tag_name(name: &Reference, subject: &Digest) -> Reference {
    name.with_tag(&tag_of(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_say_what_the_manifest_says() {
        let subject = Descriptor::of(MediaType::OciManifest, b"image");
        let config = Descriptor::of(MediaType::Other("application/vnd.test.config".to_owned()), b"{}");
        let manifest = |kind: Option<&str>, subject: Option<&Descriptor>| {
            let document = serde_json::json!({
                "schemaVersion": 2, "artifactType": kind, "config": config, "layers": [], "subject": subject,
                "annotations": {"a": "b"},
            });
            let bytes = serde_json::to_vec(&document).unwrap();
            Referrer::read(&bytes, &Digest::sha256(&bytes), &MediaType::OciManifest)
        };
        assert!(manifest(Some("x/y"), None).is_none());
        for (kind, says) in
            [(Some("x/y"), "x/y"), (Some(""), "application/vnd.test.config"), (None, "application/vnd.test.config")]
        {
            let referrer = manifest(kind, Some(&subject)).unwrap();
            assert_eq!(referrer.subject, subject.digest);
            assert_eq!(referrer.entry.artifact_type.as_deref(), Some(says));
            assert_eq!(referrer.entry.annotations.get("a").map(String::as_str), Some("b"));
        }
        assert_eq!(tag_of(&subject.digest), format!("sha256-{}", subject.digest.hex()));
    }
}
