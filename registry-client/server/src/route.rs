//! Method and path to what is asked (distribution-spec, "Endpoints").
//!
//! Every name, digest and identifier is checked here; nothing unchecked goes further.

use crate::api_error::{ApiError, Code};
use crate::gate::Action;
use crate::sessions::UploadId;
use axum::extract::Query;
use axum::http::header::ALLOW;
use axum::http::{Method, Uri};
use cooper_image::Digest;
use cooper_store::{RepoName, TagName};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Page,
    Health,
    Metrics,
    Version,
    Catalog,
    Tags(RepoName),
    Referrers(RepoName, Digest),
    BlobHead(RepoName, Digest),
    BlobGet(RepoName, Digest),
    BlobDelete(RepoName, Digest),
    UploadStart(RepoName),
    UploadStatus(RepoName, UploadId),
    UploadPatch(RepoName, UploadId),
    UploadFinish(RepoName, UploadId),
    UploadCancel(RepoName, UploadId),
    ManifestHead(RepoName, Selector),
    ManifestGet(RepoName, Selector),
    ManifestPut(RepoName, Selector),
    ManifestDelete(RepoName, Selector),
}

impl Route {
    /// The endpoint as it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Version => "base",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Referrers(..) => "referrers",
            Self::BlobHead(..) | Self::BlobGet(..) | Self::BlobDelete(..) => "blob",
            Self::UploadStart(_)
            | Self::UploadStatus(..)
            | Self::UploadPatch(..)
            | Self::UploadFinish(..)
            | Self::UploadCancel(..) => "upload",
            Self::ManifestHead(..) | Self::ManifestGet(..) | Self::ManifestPut(..) | Self::ManifestDelete(..) => {
                "manifest"
            }
        }
    }

    /// The least that it takes to ask this, when it is about a repository.
    pub fn wants(&self) -> Option<(Action, &RepoName)> {
        match self {
            Self::Page | Self::Health | Self::Metrics | Self::Version | Self::Catalog => None,
            Self::Tags(name)
            | Self::Referrers(name, _)
            | Self::BlobHead(name, _)
            | Self::BlobGet(name, _)
            | Self::ManifestHead(name, _)
            | Self::ManifestGet(name, _) => Some((Action::Read, name)),
            Self::UploadStart(name)
            | Self::UploadStatus(name, _)
            | Self::UploadPatch(name, _)
            | Self::UploadFinish(name, _)
            | Self::UploadCancel(name, _)
            | Self::ManifestPut(name, _) => Some((Action::Create, name)),
            Self::BlobDelete(name, _) | Self::ManifestDelete(name, _) => Some((Action::Delete, name)),
        }
    }
}

/// How a manifest is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    Tag(TagName),
    Digest(Digest),
}

/// Everything that a query can say. Values are checked where they are used.
#[derive(Debug, Default)]
pub struct Params {
    pub digest: Option<String>,
    /// What the digest of an upload will be one of.
    pub digest_algorithm: Option<String>,
    pub mount: Option<String>,
    pub from: Option<String>,
    pub n: Option<String>,
    pub last: Option<String>,
    pub artifact_type: Option<String>,
    /// What the page shows.
    pub repository: Option<String>,
    /// A reader of the page wants to be asked who they are.
    pub login: Option<String>,
    /// Tags that a pushed manifest gets besides; the only one that may be said several times.
    pub tags: Vec<String>,
}

impl Params {
    /// Reads a query. What it says twice has no meaning, and what nobody knows is left out.
    pub fn of(uri: &Uri) -> Result<Self, ApiError> {
        let wrong = |message: String| ApiError::new(Code::Unsupported, message);
        let malformed = |e| wrong(format!("the query is malformed: {e}"));
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(malformed)?;
        let mut params = Self::default();
        for (key, value) in pairs {
            let place = match key.as_str() {
                "digest" => &mut params.digest,
                "digest-algorithm" => &mut params.digest_algorithm,
                "mount" => &mut params.mount,
                "from" => &mut params.from,
                "n" => &mut params.n,
                "last" => &mut params.last,
                "repository" => &mut params.repository,
                "login" => &mut params.login,
                "artifactType" => &mut params.artifact_type,
                "tag" => {
                    params.tags.push(value);
                    continue;
                }
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(wrong(format!("the query says {key} twice")));
            }
        }
        Ok(params)
    }
}

/// Reads method and path.
pub fn parse(method: &Method, path: &str) -> Result<Route, ApiError> {
    match path {
        "/" => return get_only(method, Route::Page),
        "/healthz" => return get_only(method, Route::Health),
        "/metrics" => return get_only(method, Route::Metrics),
        _ => {}
    }
    // Exactly so: a rule for a path in a proxy in front must not be passed by another spelling of it.
    let Some(rest) = path.strip_prefix("/v2/").or((path == "/v2").then_some("")) else { return Err(no_such_place()) };
    match rest {
        "" => return get_only(method, Route::Version),
        "_catalog" => return get_only(method, Route::Catalog),
        _ => {}
    }
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        [name @ .., "tags", "list"] => get_only(method, Route::Tags(repository(name)?)),
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => match *method {
            Method::POST => Ok(Route::UploadStart(repository(name)?)),
            _ => Err(not_allowed(method, "POST")),
        },
        [name @ .., "blobs", "uploads", id] => upload(method, repository(name)?, id),
        [name @ .., "blobs", digest] => blob(method, repository(name)?, parse_digest(digest)?),
        [name @ .., "referrers", digest] => {
            get_only(method, Route::Referrers(repository(name)?, parse_digest(digest)?))
        }
        [name @ .., "manifests", reference] => manifest(method, repository(name)?, reference),
        _ => Err(no_such_place()),
    }
}

/// A digest as clients write it, with or without `%3A`.
pub fn parse_digest(text: &str) -> Result<Digest, ApiError> {
    let plain = text.replacen("%3A", ":", 1).replacen("%3a", ":", 1);
    plain.parse().map_err(|e| ApiError::new(Code::DigestInvalid, format!("{e}")))
}

fn repository(parts: &[&str]) -> Result<RepoName, ApiError> {
    Ok(parts.join("/").parse::<RepoName>()?)
}

fn get_only(method: &Method, route: Route) -> Result<Route, ApiError> {
    if method == Method::GET || method == Method::HEAD { Ok(route) } else { Err(not_allowed(method, "GET, HEAD")) }
}

fn blob(method: &Method, name: RepoName, digest: Digest) -> Result<Route, ApiError> {
    match *method {
        Method::HEAD => Ok(Route::BlobHead(name, digest)),
        Method::GET => Ok(Route::BlobGet(name, digest)),
        Method::DELETE => Ok(Route::BlobDelete(name, digest)),
        _ => Err(not_allowed(method, "GET, HEAD, DELETE")),
    }
}

fn upload(method: &Method, name: RepoName, id: &str) -> Result<Route, ApiError> {
    // An identifier that was never given out cannot be known.
    let id = UploadId::parse(id).ok_or_else(|| ApiError::new(Code::BlobUploadUnknown, "there is no such upload"))?;
    match *method {
        Method::GET => Ok(Route::UploadStatus(name, id)),
        Method::PATCH => Ok(Route::UploadPatch(name, id)),
        Method::PUT => Ok(Route::UploadFinish(name, id)),
        Method::DELETE => Ok(Route::UploadCancel(name, id)),
        _ => Err(not_allowed(method, "GET, PATCH, PUT, DELETE")),
    }
}

fn manifest(method: &Method, name: RepoName, reference: &str) -> Result<Route, ApiError> {
    let selector = match parse_digest(reference) {
        Ok(digest) => Selector::Digest(digest),
        // No tag has a colon: it was meant to be a digest.
        Err(e) if method == Method::PUT && reference.contains(':') => return Err(e),
        Err(_) => match reference.parse::<TagName>() {
            Ok(tag) => Selector::Tag(tag),
            Err(e) if method == Method::PUT => return Err(ApiError::new(Code::ManifestInvalid, e.to_string())),
            // What cannot be written can be asked for: it is not there.
            Err(e) => return Err(ApiError::new(Code::ManifestUnknown, e.to_string())),
        },
    };
    match *method {
        Method::HEAD => Ok(Route::ManifestHead(name, selector)),
        Method::GET => Ok(Route::ManifestGet(name, selector)),
        Method::PUT => Ok(Route::ManifestPut(name, selector)),
        Method::DELETE => Ok(Route::ManifestDelete(name, selector)),
        _ => Err(not_allowed(method, "GET, HEAD, PUT, DELETE")),
    }
}

fn no_such_place() -> ApiError {
    ApiError::new(Code::NameUnknown, "there is nothing at this path")
}

fn not_allowed(method: &Method, possible: &'static str) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("{method} is not possible here")).header(ALLOW, possible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_the_words_of_the_protocol() {
        let digest = Digest::sha256("x");
        let name = |n: &str| n.parse::<RepoName>().unwrap();
        let tag = |t: &str| Selector::Tag(t.parse().unwrap());
        for (path, route) in [
            ("/v2/".to_owned(), Route::Version),
            ("/v2".to_owned(), Route::Version),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/tags/list/tags/list".to_owned(), Route::Tags(name("tags/list"))),
            ("/v2/blobs/uploads/manifests/tags".to_owned(), Route::ManifestGet(name("blobs/uploads"), tag("tags"))),
            ("/v2/a/manifests/list".to_owned(), Route::ManifestGet(name("a"), tag("list"))),
            (format!("/v2/manifests/blobs/{digest}"), Route::BlobGet(name("manifests"), digest.clone())),
            (
                format!("/v2/a/b/manifests/{}", digest.to_string().replace(':', "%3A")),
                Route::ManifestGet(name("a/b"), Selector::Digest(digest.clone())),
            ),
        ] {
            assert_eq!(parse(&Method::GET, &path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn nothing_else_gets_through() {
        for path in [
            "/v1/",
            "/v2a/manifests/x",
            "/v2_catalog",
            "/v2//",
            "/v2//_catalog",
            "/v2//a/manifests/x",
            "/v2/a",
            "/v2/../manifests/x",
            "/v2/a/../b/manifests/x",
            "/v2/a%2fb/manifests/x",
            "/v2/A/manifests/x",
            "/v2/_tags/manifests/x",
            "/v2//manifests/x",
            "/v2/a/manifests/..",
            "/v2/a/manifests/",
            "/v2/a/blobs/sha256:..",
            "/v2/a/blobs/uploads/../x",
            "/v2/a/blobs/uploads/..",
            "/v2/a/blobs/uploads/0123456789abcdef0123456789abcdeg",
        ] {
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                assert!(parse(&method, path).is_err(), "{method} {path}");
            }
        }
    }
}
