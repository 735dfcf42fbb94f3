//! What all requests share, and who asks one.

use crate::api_error::{ApiError, Code};
use crate::gate::{Action, Closed, Gate, Who};
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::sessions::Sessions;
use crate::{Limits, ServerOptions};
use axum::http::HeaderMap;
use cooper_store::{RepoName, Store};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Shared by all requests.
pub struct Shared {
    pub store: Store,
    pub sessions: Sessions,
    pub gate: Gate,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    pub mirror: Option<Mirror>,
    pub sparse: bool,
}

/// The registry as one client sees it.
#[derive(Clone)]
pub struct Registry {
    pub shared: Arc<Shared>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// Who asks; nobody until their credentials were looked at.
    who: Who,
}

impl Registry {
    /// Everything but the log and the certificate, which belong to the server around it.
    pub fn new(options: ServerOptions) -> Self {
        let ServerOptions { store, read_only, sparse, access, access_log, limits, mirror, tls: _ } = options;
        let shared = Shared {
            store,
            sessions: Sessions::new(limits),
            gate: Gate::new(closed(read_only, mirror.is_some()), access),
            mirror: mirror.map(Mirror::new),
            sparse,
            limits,
            metrics: Arc::new(Metrics::new(access_log)),
        };
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self { shared: Arc::new(shared), peer: nowhere, who: Who::Anonymous }
    }

    /// As a connection from there sees it.
    pub fn from(&self, peer: SocketAddr) -> Self {
        Self { peer, ..self.clone() }
    }

    /// As the one sees it who sent these headers.
    ///
    /// # Errors
    /// For credentials that are wrong: they never count as none.
    pub async fn identify(mut self, headers: &HeaderMap) -> Result<Self, ApiError> {
        let identified = self.shared.gate.identify(headers).await;
        // Whoever has to come again later was not wrong.
        if identified.as_ref().is_err_and(|error| error.is(Code::Unauthorized)) {
            self.shared.metrics.login_failed();
        }
        self.who = identified?;
        Ok(self)
    }

    /// Who asks.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// May who asks do this? The one question about permission; what decides the action is looked at under the lock
    /// of the repository.
    pub fn authorise(&self, action: Action, name: &RepoName) -> Result<(), ApiError> {
        self.shared.gate.authorise(&self.who, action, name)
    }

    /// May who asks read this repository?
    pub fn may_read(&self, name: &RepoName) -> bool {
        self.authorise(Action::Read, name).is_ok()
    }

    /// Runs what touches the disk where it may block.
    pub async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = self.shared.store.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(|e| ApiError::internal(&e))?
    }
}

fn closed(read_only: bool, mirror: bool) -> Closed {
    match (read_only, mirror) {
        (true, _) => Closed::Changes,
        (false, true) => Closed::Pushes,
        (false, false) => Closed::Nothing,
    }
}
