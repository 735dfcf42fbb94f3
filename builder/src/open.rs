//! Opens what commands work with: store, runtime, engine, registries.

use crate::cmd::Place;
use crate::failure::{Exit, Failure};
use crate::flags::login::TokenServer;
use crate::signals::{Manner, Signals};
use crate::source::{Found, Source};
use crate::{certificates, settings};
use cooper_engine::context::Behalf;
use cooper_engine::kept::InStoreLater;
use cooper_engine::request::BuildRequest;
use cooper_engine::toolkit::Reach;
use cooper_engine::{Engine, EngineError, EngineOptions};
use cooper_registry::{Client, ClientOptions, RegistryError, TrustedRealm, Uploads};
use cooper_sandbox::Tier;
use cooper_store::Store;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// An engine and the runtime that carries its transfers.
pub struct Session {
    /// Does the work.
    pub engine: Engine,
    /// Dropped last.
    pub runtime: Runtime,
}

impl Session {
    /// Opens everything, for work: what it finds in the store stays there until it ends. From here on the process has
    /// threads.
    ///
    /// # Errors
    /// When the store cannot be opened, or when a file about registries is malformed.
    pub fn open(place: &Place, root: &Path, tier: Tier) -> Result<Self, Failure> {
        Self::over(place, store(place, root)?.holding(), tier)
    }

    /// Opens everything, only to look at what is there, however much that is.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn look(place: &Place, root: &Path) -> Result<Self, Failure> {
        Self::over(place, store(place, root)?, unchanged_tier())
    }

    fn over(place: &Place, store: Store, tier: Tier) -> Result<Self, Failure> {
        let client = client(place)?;
        let runtime = runtime()?;
        let (handle, git) = (runtime.handle().clone(), place.env.git().clone());
        let engine = Engine::new(EngineOptions { store, client, tier, runtime: handle, git })?;
        Ok(Self { engine, runtime })
    }
}

/// A client for registries and the runtime that carries it, for commands that need no store.
pub struct Remote {
    /// Asks the registries.
    pub client: Client,
    runtime: Runtime,
}

impl Remote {
    /// Reads the files about registries and makes a client; nothing is sent yet. The store is opened once there is a
    /// large upload, which a later process may go on with.
    ///
    /// # Errors
    /// When a file about registries is malformed.
    pub fn open(place: &Place) -> Result<Self, Failure> {
        // Where nothing says where a store would be, uploads are not kept.
        let uploads = place.root().ok().map(|root| Arc::new(InStoreLater::at(root)) as Arc<dyn Uploads>);
        Self::over(ClientOptions { uploads, ..client(place)? })
    }

    /// The same with other options than those of the files.
    ///
    /// # Errors
    /// When the options cannot be used.
    pub fn over(options: ClientOptions) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(options).map_err(EngineError::from)?, runtime: runtime()? })
    }

    /// The threads.
    pub fn handle(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    /// The way to places of images that are in no store.
    pub fn reach(&self) -> Reach {
        Reach::without_store(self.client.clone(), self.handle().clone())
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// What the registry said.
    pub fn wait<T>(&self, answer: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
        self.runtime.block_on(answer)
    }
}

/// The Dockerfile and the context of a command that builds nothing. Only a context that has to be unpacked or fetched
/// opens a store, and `request` says on whose behalf.
///
/// # Errors
/// When the context cannot be used, or has no Dockerfile.
pub fn source(
    place: &Place,
    found: Found,
    request: impl FnOnce() -> Result<BuildRequest, Failure>,
) -> Result<Source, Failure> {
    let later = match found {
        Found::Ready(source) => return Ok(source),
        Found::Later(later) => later,
    };
    let request = request()?;
    let session = Session::open(place, &place.root()?, unchanged_tier())?;
    let signals = Signals::listen(session.runtime.handle(), Manner::End)?;
    later.open(&session.engine, Behalf { request: &request, cancel: &signals.cancel() })
}

/// The store.
///
/// # Errors
/// When it cannot be opened or made.
pub fn store(place: &Place, root: &Path) -> Result<Store, Failure> {
    place.note(|| format!("store {}", root.display()));
    Ok(Store::open(root).map_err(EngineError::from)?)
}

/// Threads for transfers and signals.
///
/// # Errors
/// When the system grants none.
pub fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|e| Failure::file("starting threads", Exit::Storage, e))
}

/// How registries are reached.
///
/// # Errors
/// When a file about registries is malformed.
pub fn client(place: &Place) -> Result<ClientOptions, Failure> {
    Ok(ClientOptions {
        registries: place.registries()?.clone(),
        credentials: settings::credentials(place)?,
        certificates: certificates::certificates(place)?,
        insecure: place.global.insecure_registries.clone(),
        trusted_realms: place.global.token_servers.iter().map(trusted).collect(),
        proxies: place.env.proxies().clone(),
        ..ClientOptions::default()
    })
}

fn trusted(both: &TokenServer) -> TrustedRealm {
    TrustedRealm { registry: both.registry.name().to_owned(), realm: both.server.clone() }
}

/// The tier of a command that enters no user namespace, since it neither runs steps nor touches
/// what they left.
pub fn unchanged_tier() -> Tier {
    match crate::env::user() {
        crate::env::User::Root => Tier::Root,
        crate::env::User::Ordinary => Tier::Rootless,
    }
}

/// The tier of a command that touches what steps left where it can enter no user namespace. It is that of the builds which
/// could run here: the store remembers with which rights it was used.
pub fn tier_without_namespace() -> Tier {
    match unchanged_tier() {
        Tier::Rootless if cooper_sandbox::lacking_ids().is_some() => Tier::OneId,
        tier => tier,
    }
}

/// A tier as people know it.
pub fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Root => "root",
        Tier::Rootless => "rootless",
        Tier::OneId => "rootless-one-id",
        Tier::Container => "container",
    }
}

/// How steps run in a tier that is not a good one, for people.
pub fn lesser_tier(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::Root | Tier::Rootless => None,
        Tier::OneId => Some("rootless with one id"),
        Tier::Container => Some("root in a container (chroot)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_servers_are_trusted_by_who_said_so() {
        let mut place = Place::bare();
        assert!(client(&place).unwrap().trusted_realms.is_empty());
        place.global.token_servers = vec!["registry.example=auth.example".parse().unwrap()];
        let realm = TrustedRealm { registry: "registry.example".to_owned(), realm: "auth.example".to_owned() };
        assert_eq!(client(&place).unwrap().trusted_realms, [realm]);
    }
}
