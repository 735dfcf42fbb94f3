//! The routes, headers and error bodies of the distribution specification, in one place. Takes
//! names that were checked before; gives paths and words. Must never do an exchange.

use crate::redact::excerpt;
use cooper_image::{Digest, MediaType};
use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, LINK};
use serde::Deserialize;

/// The digest of what is returned (distribution-spec, "Pulling manifests").
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Each tag that was set by `?tag=`: said by registries that know the parameter (distribution-spec, "Pushing Manifests").
pub(crate) const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// The manifest that the one which was sent refers to: said by registries that note it (distribution-spec, "Pushing
/// Manifests with Subject").
pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// One route: of the registry, or below `/v2/<name>/`.
#[derive(Debug, Clone)]
pub(crate) enum Route<'a> {
    /// `GET`: is it a registry, and does it know us (end-1)?
    Base,
    /// `GET`: the repositories of the registry. Of Docker's registry, not of the specification.
    Catalog,
    /// `GET`: the tags of the repository (end-8a).
    Tags,
    /// `GET`, `HEAD`, `PUT`, `DELETE` (end-3, end-7, end-9).
    Manifest(&'a str),
    /// `GET`: what refers to a manifest (end-12a).
    Referrers(&'a Digest),
    /// `GET`, `HEAD` (end-2).
    Blob(&'a Digest),
    /// `POST` (end-4, end-11).
    Uploads,
}

impl Route<'_> {
    /// Path of the URL.
    pub(crate) fn path(&self, repository: &str) -> String {
        match self {
            Self::Base => "/v2/".to_owned(),
            Self::Catalog => "/v2/_catalog".to_owned(),
            Self::Tags => format!("/v2/{repository}/tags/list"),
            Self::Manifest(selector) => format!("/v2/{repository}/manifests/{selector}"),
            Self::Referrers(digest) => format!("/v2/{repository}/referrers/{digest}"),
            Self::Blob(digest) => format!("/v2/{repository}/blobs/{digest}"),
            Self::Uploads => format!("/v2/{repository}/blobs/uploads/"),
        }
    }
    /// The object in words, for errors.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Base => "/v2/".to_owned(),
            Self::Catalog => "list of repositories".to_owned(),
            Self::Tags => "list of tags".to_owned(),
            Self::Manifest(selector) => format!("manifest {selector}"),
            Self::Referrers(digest) => format!("referrers of {digest}"),
            Self::Blob(digest) => format!("blob {digest}"),
            Self::Uploads => "blob upload".to_owned(),
        }
    }
}

/// The `Content-Type` without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(MediaType::from(text.split(';').next().unwrap_or(text).trim()))
}

/// The length that an answer announces.
pub(crate) fn announced_length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// First byte, last byte and whole length of a `Content-Range` (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) whole: Option<u64>,
}

impl ContentRange {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let whole = if whole == "*" { None } else { Some(whole.parse().ok()?) };
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()?, whole };
        (range.first <= range.last).then_some(range)
    }
}

/// The target of the `Link` to the next page (RFC 8288, section 3), as it stands there.
pub(crate) fn next_link(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(links).find_map(|(target, parameters)| is_next(parameters).then(|| target.to_owned()))
}

/// The links of one header value: what stands between the brackets, and what follows up to the next link.
fn links(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (_, opened) = rest.split_once('<')?;
        let (target, after) = opened.split_once('>')?;
        let end = after.find('<').unwrap_or(after.len());
        let (parameters, next) = after.split_at(end);
        rest = next;
        Some((target, parameters))
    })
}

fn is_next(parameters: &str) -> bool {
    let pairs = parameters.split([';', ',']).filter_map(|p| p.split_once('='));
    let mut relations = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("rel"));
    let words = relations.next().map(|(_, value)| value.trim().trim_matches('"'));
    words.is_some_and(|w| w.split_whitespace().any(|w| w.eq_ignore_ascii_case("next")))
}

/// What an error body says: the codes and messages of the specification's form, else its beginning.
pub(crate) fn explain(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let words = |e: &Entry| if e.message.is_empty() { e.code.clone() } else { format!("{} ({})", e.message, e.code) };
    match serde_json::from_slice::<Errors>(body) {
        Ok(e) if !e.errors.is_empty() => excerpt(e.errors.iter().map(words).collect::<Vec<_>>().join("; ").as_bytes()),
        _ => excerpt(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let r = |first, last, whole| Some(ContentRange { first, last, whole });
        for (text, range) in [
            ("bytes 3-9/10", r(3, 9, Some(10))),
            ("bytes 3-9/*", r(3, 9, None)),
            ("bytes 9-3/10", None),
            ("bytes */10", None),
            ("3-9/10", None),
            ("bytes 3-9", None),
            ("bytes -3-9/10", None),
        ] {
            assert_eq!(ContentRange::parse(text), range, "{text}");
        }
    }

    #[test]
    fn links_to_the_next_page() {
        for (value, target) in [
            ("</v2/a/tags/list?last=x&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=x&n=2")),
            ("<?last=b>;REL=Next", Some("?last=b")),
            ("</first>; rel=first, </second>; title=x; rel=\"last next\"", Some("/second")),
            ("</a,b;c>; rel=next", Some("/a,b;c")),
            ("</a>; rel=prev", None),
            ("</a>; rel=first; rel=next", None),
            ("</a>", None),
            ("/a; rel=next", None),
            ("<never closed; rel=next", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, value.parse().unwrap());
            assert_eq!(next_link(&headers).as_deref(), target, "{value}");
        }
        let mut headers = HeaderMap::new();
        headers.append(LINK, "</a>; rel=prev".parse().unwrap());
        headers.append(LINK, "</b>; rel=next".parse().unwrap());
        assert_eq!(next_link(&headers).as_deref(), Some("/b"));
        assert_eq!(next_link(&HeaderMap::new()), None);
    }

    #[test]
    fn error_bodies() {
        let spec = br#"{"errors":[{"code":"DENIED","message":"no\u001b","detail":{}},{"code":"UNKNOWN"}]}"#;
        assert_eq!(explain(spec), "no\\u{1b} (DENIED); UNKNOWN");
        assert_eq!(explain(b"<html>\n"), "<html>");
        assert_eq!(explain(b""), "");
        assert!(explain(&vec![b'['; 60_000]).len() < 300);
    }
}
