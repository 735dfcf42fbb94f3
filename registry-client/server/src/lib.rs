//! The embedded registry: the OCI distribution specification over Cooper's store.
//!
//! Takes: a listener and a store. Gives: pushes that survive a power cut once they were answered
//! with 201, and pulls of exactly what was pushed. A blob is visible only in the repositories to
//! which it was pushed or mounted.
//! Must never: turn a name from a request into a path unchecked, hold a whole blob in memory,
//! accept a manifest of which something is missing, or tell a client a path of this machine.
#![forbid(unsafe_code)]

mod answer;
mod api_error;
mod blobs;
mod body;
mod conditions;
mod lists;
mod manifests;
mod ranges;
mod route;
mod serve;
mod sessions;
mod uploads;

use answer::Answer;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use cooper_store::{Store, StoreError};
use std::sync::Arc;

use api_error::ApiError;
use route::{Params, Route};
pub use serve::{ServerError, serve};
use sessions::Sessions;

/// What a registry is made of.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where blobs, manifests and tags are kept.
    pub store: Store,
}

/// Shared by all requests.
#[derive(Clone)]
struct Registry {
    store: Store,
    sessions: Arc<Sessions>,
}

impl Registry {
    fn new(options: ServerOptions) -> Self {
        Self { store: options.store, sessions: Arc::new(Sessions::default()) }
    }

    /// Runs what touches the disk where it may block.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(|e| ApiError::internal(&e))?
    }
}

/// The registry as a service, for a server of one's own.
pub fn router(options: ServerOptions) -> Router {
    service(Registry::new(options))
}

fn service(registry: Registry) -> Router {
    // Names of repositories hold slashes, which patterns of axum cannot match in the middle.
    Router::new().fallback(handle).with_state(registry)
}

async fn handle(State(registry): State<Registry>, request: Request) -> Response {
    match dispatch(registry, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn dispatch(registry: Registry, request: Request) -> Result<Response, ApiError> {
    let asked = route::parse(request.method(), request.uri().path())
        .and_then(|route| Params::of(request.uri()).map(|params| (route, params)));
    let (route, params) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return body::refuse(request.into_body(), refusal).await,
    };
    tracing::debug!(method = %request.method(), ?route, "request");
    let answer = match route {
        Route::Version => Answer::ok().json(b"{}".to_vec()),
        Route::Catalog => lists::catalog(&registry, &params).await?,
        Route::Tags(name) => lists::tags(&registry, name, &params).await?,
        Route::Referrers(name, digest) => lists::referrers(&registry, name, digest, &params).await?,
        Route::BlobHead(name, digest) => blobs::head(&registry, name, digest, request.headers()).await?,
        Route::BlobGet(name, digest) => return blobs::get(&registry, name, digest, request.headers()).await,
        Route::BlobDelete(name, digest) => blobs::delete(&registry, name, digest).await?,
        Route::UploadStart(name) => uploads::start(&registry, name, &params, request).await?,
        Route::UploadStatus(name, id) => uploads::status(&registry, &name, id)?,
        Route::UploadPatch(name, id) => uploads::patch(&registry, name, id, request).await?,
        Route::UploadFinish(name, id) => uploads::finish(&registry, name, id, &params, request).await?,
        Route::UploadCancel(name, id) => uploads::cancel(&registry, &name, id)?,
        Route::ManifestHead(name, selector) => manifests::head(&registry, name, selector, request.headers()).await?,
        Route::ManifestGet(name, selector) => manifests::get(&registry, name, selector, request.headers()).await?,
        Route::ManifestPut(name, selector) => manifests::put(&registry, name, selector, &params, request).await?,
        Route::ManifestDelete(name, selector) => manifests::delete(&registry, name, selector).await?,
    };
    Ok(answer.into_response())
}
