//! The embedded registry: the OCI distribution specification over Cooper's store.
//!
//! Takes: a listener and a store. Gives: pushes that survive a power cut once they were answered
//! with 201, and pulls of exactly what was pushed. A blob is visible only in the repositories to
//! which it was pushed or mounted.
//! Must never: turn a name from a request into a path unchecked, hold a whole blob in memory,
//! accept a manifest of which something is missing, or tell a client a path of this machine.
#![forbid(unsafe_code)]

mod access_log;
mod answer;
mod api_error;
mod blobs;
mod body;
mod conditions;
mod counted;
mod course;
mod gate;
mod lists;
mod manifests;
mod metrics;
mod mirror;
mod options;
mod page;
mod patient;
mod ranges;
mod registry;
mod route;
mod rules;
mod serve;
mod sessions;
mod tls;
mod unread;
mod uploads;
mod users;

use answer::Answer;
use api_error::{ApiError, Code};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Version;
use axum::http::header::{HOST, HeaderValue, USER_AGENT, WARNING};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::response::{IntoResponse as _, Response};
use cooper_store::StoreError;
use counted::Counted;
use metrics::Record;
use mirror::Part;
use registry::Registry;
use route::{Params, Route};
use unread::Unread;

pub use access_log::AccessLog;
pub use gate::{Access, AccessControl};
pub use mirror::{Coming, Manifest, MirrorOptions, Sink, Upstream, UpstreamError};
pub use options::{Limits, ServerOptions};
pub use rules::Rules;
pub use serve::{ServerError, serve};
pub use tls::{Tls, TlsError};
pub use users::{LineError, Users};

/// The registry as a service, for a server of one's own.
pub fn router(options: ServerOptions) -> Router {
    service(Registry::new(options))
}

fn service(registry: Registry) -> Router {
    // Names of repositories hold slashes, which patterns of axum cannot match in the middle.
    Router::new().fallback(handle).with_state(registry)
}

/// Answers a request, and records it when the last byte of the answer has gone.
async fn handle(State(registry): State<Registry>, request: Request) -> Response {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let (method, path) = (request.method().as_str(), request.uri().path());
    let mut record = Record::begin(&registry.shared.metrics, registry.peer, method, path, agent);
    let received = std::sync::Arc::clone(&record.received);
    let request = request.map(|body| Body::new(Counted::new(body, received, ())));
    let response = match dispatch(registry, request, &mut record).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    record.status = response.status().as_u16();
    let sent = std::sync::Arc::clone(&record.sent);
    response.map(|body| Body::new(Counted::new(body, sent, record)))
}

async fn dispatch(registry: Registry, request: Request, record: &mut Record) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (unread, body) = Unread::of(&parts.headers, body);
    let answered = match admit(registry, &parts, record).await {
        Ok((registry, route, params)) => answer(registry, route, &params, Request::from_parts(parts, body)).await,
        Err(refusal) => {
            drop(body);
            Err(refusal)
        }
    };
    unread.drain().await;
    answered
}

/// Looks at who asks and what for; everything that can be refused before the body is read.
async fn admit(
    registry: Registry,
    request: &Parts,
    record: &mut Record,
) -> Result<(Registry, Route, Params), ApiError> {
    named(request)?;
    let registry = registry.identify(&request.headers).await?;
    record.user = registry.who().to_string();
    let route = route::parse(&request.method, request.uri.path())?;
    record.endpoint = route.name();
    match &route {
        Route::Health => {}
        Route::Version => registry.shared.gate.greet(registry.who())?,
        Route::Metrics => registry.shared.gate.figures(registry.who())?,
        // What they list is only what may be read.
        Route::Catalog | Route::Page => {}
        other => {
            if let Some((action, name)) = other.wants() {
                registry.authorise(action, name)?;
            }
        }
    }
    let params = Params::of(&request.uri)?;
    tracing::debug!(method = %request.method, ?route, "request");
    Ok((registry, route, params))
}

/// Refuses a request that does not say once, and in the form of one, which host it is for (RFC 9112, section 3.2).
fn named(request: &Parts) -> Result<(), ApiError> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let well_formed = |host: &HeaderValue| {
        // Nothing at all is the name of a target without a host.
        host.is_empty()
            || host.to_str().is_ok_and(|host| host.parse::<Authority>().is_ok_and(|a| !a.as_str().contains('@')))
    };
    match (first, second) {
        (None, _) if request.version < Version::HTTP_11 => Ok(()),
        (Some(host), None) if well_formed(host) => Ok(()),
        _ => Err(ApiError::new(Code::Unsupported, "the request does not say which host it is for")),
    }
}

async fn answer(registry: Registry, route: Route, params: &Params, request: Request) -> Result<Response, ApiError> {
    let mut warning = None;
    if let Some(mirror) = &registry.shared.mirror {
        mirror.refuse_itself(request.headers())?;
        match &route {
            Route::ManifestHead(name, selector) | Route::ManifestGet(name, selector) => {
                warning = mirror.bring(&registry, name, selector).await?;
            }
            Route::BlobHead(name, digest) | Route::BlobGet(name, digest) => {
                let (repository, wanted) = (registry.shared.store.repository(name), digest.clone());
                if registry.on_disk(move |_| Ok(repository.blob(&wanted)?.is_none())).await? {
                    let part = if matches!(route, Route::BlobHead(..)) { Part::Head } else { Part::Body };
                    if let Some(response) = mirror.blob(&registry, name, digest, request.headers(), part).await? {
                        return Ok(response);
                    }
                } else {
                    registry.shared.metrics.mirrored("blob", "hit");
                }
            }
            _ => {}
        }
    }
    let answer = match route {
        Route::Page => page::show(&registry, params).await?,
        Route::Health => health(&registry).await?,
        Route::Metrics => metrics_text(&registry),
        Route::Version => Answer::ok().json(b"{}".to_vec()),
        Route::Catalog => lists::catalog(&registry, params).await?,
        Route::Tags(name) => lists::tags(&registry, name, params).await?,
        Route::Referrers(name, digest) => lists::referrers(&registry, name, digest, params).await?,
        Route::BlobHead(name, digest) => blobs::head(&registry, name, digest, request.headers()).await?,
        Route::BlobGet(name, digest) => return blobs::get(&registry, name, digest, request.headers()).await,
        Route::BlobDelete(name, digest) => blobs::delete(&registry, name, digest).await?,
        Route::UploadStart(name) => uploads::start(&registry, name, params, request).await?,
        Route::UploadStatus(name, id) => uploads::status(&registry, &name, id).await?,
        Route::UploadPatch(name, id) => uploads::patch(&registry, name, id, request).await?,
        Route::UploadFinish(name, id) => uploads::finish(&registry, name, id, params, request).await?,
        Route::UploadCancel(name, id) => uploads::cancel(&registry, &name, id).await?,
        Route::ManifestHead(name, selector) => manifests::head(&registry, name, selector, request.headers()).await?,
        Route::ManifestGet(name, selector) => manifests::get(&registry, name, selector, request.headers()).await?,
        Route::ManifestPut(name, selector) => manifests::put(&registry, name, selector, params, request).await?,
        Route::ManifestDelete(name, selector) => manifests::delete(&registry, name, selector).await?,
    };
    Ok(warning.into_iter().fold(answer, |answer, text| answer.header(WARNING, text)).into_response())
}

/// Well is a registry that can look into its store.
async fn health(registry: &Registry) -> Result<Answer, ApiError> {
    registry
        .on_disk(|store| match std::fs::metadata(store.root()) {
            Ok(_) => Ok(Answer::ok().body("text/plain; charset=utf-8", b"ok\n".to_vec())),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store is not there");
                Err(ApiError::new(Code::Unavailable, "the registry cannot look into its store"))
            }
        })
        .await
}

fn metrics_text(registry: &Registry) -> Answer {
    let text = registry.shared.metrics.text(registry.shared.sessions.count());
    Answer::ok().body("text/plain; version=0.0.4; charset=utf-8", text.into_bytes())
}
