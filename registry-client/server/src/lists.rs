//! Lists: repositories, tags, referrers. Each answer is bounded; a `Link` leads to the rest.

use crate::Registry;
use crate::answer::{Answer, OCI_FILTERS};
use crate::api_error::{ApiError, Code};
use crate::route::{Params, parse_digest};
use axum::http::header::LINK;
use cooper_image::{Digest, Index, MediaType};
use cooper_store::{RepoName, Store, TagName};
use serde::Serialize;

/// Most entries of one answer, whatever the client asks for.
const MOST: usize = 10_000;
/// Most bytes of descriptors in one answer that lists referrers: with what stands around them as many as a manifest has.
const LIST_BYTES: u64 = 4 * 1024 * 1024 - 1024;

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: &'a [String],
}

pub async fn tags(registry: &Registry, name: RepoName, params: &Params) -> Result<Answer, ApiError> {
    let wanted = name.clone();
    let all = registry
        .on_disk(move |store| {
            let repository = store.repository(&wanted);
            if !repository.exists()? {
                return Err(ApiError::new(Code::NameUnknown, "there is no such repository").about(&wanted));
            }
            Ok(repository.tags()?.iter().map(TagName::as_str).map(str::to_owned).collect())
        })
        .await?;
    let page = Page::of(all, params)?;
    let answer = json(&Tags { name: name.as_str(), tags: &page.entries })?;
    Ok(page.link(answer, &format!("/v2/{name}/tags/list")))
}

pub async fn catalog(registry: &Registry, params: &Params) -> Result<Answer, ApiError> {
    let caller = registry.clone();
    let readable = move |store: &Store| {
        let all = store.repositories()?.into_iter();
        Ok(all.filter(|name| caller.may_read(name)).map(|name| name.to_string()).collect())
    };
    let all = registry.on_disk(readable).await?;
    let page = Page::of(all, params)?;
    let answer = json(&Catalog { repositories: &page.entries })?;
    Ok(page.link(answer, "/v2/_catalog"))
}

/// Manifests whose subject is `digest`, as an index. A subject that nobody refers to has an empty one.
pub async fn referrers(
    registry: &Registry,
    name: RepoName,
    digest: Digest,
    params: &Params,
) -> Result<Answer, ApiError> {
    let last = params.last.as_deref().map(parse_digest).transpose()?;
    let path = format!("/v2/{name}/referrers/{digest}");
    let page = match &registry.shared.mirror {
        Some(mirror) => mirror.referrers(registry, &name, &digest).await?.piece(last.as_ref(), LIST_BYTES),
        None => {
            let here =
                move |store: &Store| Ok(store.repository(&name).referrers(&digest, last.as_ref(), LIST_BYTES)?);
            registry.on_disk(here).await?
        }
    };
    let mut manifests = page.descriptors;
    // No media type has a space: who wrote `+json` as it is, and not as %2B, meant the plus.
    let wanted = params.artifact_type.as_ref().map(|kind| kind.replace(' ', "+"));
    if let Some(wanted) = &wanted {
        manifests.retain(|d| d.artifact_type.as_ref() == Some(wanted));
    }
    let index = Index::of(manifests);
    let bytes = serde_json::to_vec(&index).map_err(|e| ApiError::internal(&e))?;
    let mut answer = Answer::ok().body(MediaType::OciIndex, bytes);
    if let Some(last) = page.more {
        let kind = wanted.as_deref().map(|t| format!("&artifactType={}", in_query(t))).unwrap_or_default();
        answer = answer.header(LINK, format!("<{path}?last={last}{kind}>; rel=\"next\""));
    }
    Ok(if wanted.is_some() { answer.header(OCI_FILTERS, "artifactType") } else { answer })
}

/// A client's text as the value of a query (RFC 3986, section 2.1).
fn in_query(text: &str) -> String {
    let escaped = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(escaped).collect()
}

fn json(value: &impl Serialize) -> Result<Answer, ApiError> {
    Ok(Answer::ok().json(serde_json::to_vec(value).map_err(|e| ApiError::internal(&e))?))
}

/// A piece of a list that is sorted by its bytes: of the two orders that there may be (distribution-spec, "Listing Tags")
/// the one in which clients sort too, who find the end of a list by their own last entry.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    entries: Vec<String>,
    /// Size of the page, when there is more after it.
    more: Option<usize>,
}

impl Page {
    /// The entries after `last`, at most `n` of them.
    fn of(mut all: Vec<String>, params: &Params) -> Result<Self, ApiError> {
        let wrong = || ApiError::new(Code::Unsupported, "n is no number of entries");
        let size = params.n.as_deref().map(|n| n.parse::<u32>().map_err(|_| wrong())).transpose()?;
        let size = size.map_or(MOST, |n| usize::try_from(n).unwrap_or(MOST).min(MOST));
        if let Some(last) = &params.last {
            all.retain(|entry| entry > last);
        }
        all.sort();
        let more = (size > 0 && all.len() > size).then_some(size);
        all.truncate(size);
        Ok(Self { entries: all, more })
    }

    /// Adds the way to the next page. Entries are names of the grammar and need no escaping.
    fn link(&self, answer: Answer, path: &str) -> Answer {
        match (self.more, self.entries.last()) {
            (Some(n), Some(last)) => answer.header(LINK, format!("<{path}?n={n}&last={last}>; rel=\"next\"")),
            _ => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded_and_join() {
        let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let page = |n: Option<&str>, last: Option<&str>| {
            let params = Params { n: n.map(str::to_owned), last: last.map(str::to_owned), ..Params::default() };
            Page::of(all.clone(), &params).map(|p| (p.entries.join(""), p.more)).ok()
        };
        for (n, last, expected) in [
            (None, None, Some(("abc", None))),
            (Some("2"), None, Some(("ab", Some(2)))),
            (Some("2"), Some("b"), Some(("c", None))),
            (Some("3"), None, Some(("abc", None))),
            (Some("0"), None, Some(("", None))),
            (Some("4294967295"), Some("aa"), Some(("bc", None))),
            (Some("-1"), None, None),
            (Some("99999999999"), None, None),
            (Some("x"), None, None),
        ] {
            assert_eq!(page(n, last), expected.map(|(e, m)| (e.to_owned(), m)), "{n:?} {last:?}");
        }
        let mixed: Vec<String> = ["B", "a", "C", "b", "_", "1"].map(str::to_owned).to_vec();
        for (last, expected) in [(None, "1BC_ab"), (Some("a"), "b"), (Some("B"), "C_ab"), (Some("A"), "BC_ab")] {
            let params = Params { last: last.map(str::to_owned), ..Params::default() };
            assert_eq!(Page::of(mixed.clone(), &params).unwrap().entries.join(""), expected, "{last:?}");
        }
        let many = (0..MOST + 1).map(|n| format!("{n:08}")).collect();
        let page = Page::of(many, &Params { n: Some("20000".to_owned()), ..Params::default() }).unwrap();
        assert_eq!((page.entries.len(), page.more), (MOST, Some(MOST)));
    }
}
