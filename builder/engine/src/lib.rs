//! The corridor between the rooms: resolve bases, solve the plan, run steps, commit, export.
//!
//! Takes a [`request::BuildRequest`], gives a [`request::BuildResult`] and a stream of
//! [`event::Event`]s. Must never print, exit, or read the environment.
#![forbid(unsafe_code)]

pub mod context;
pub mod error;
pub mod event;
pub mod fetch;
pub mod images;
pub mod journal;
pub mod kept;
pub mod output;
pub mod output_file;
pub mod request;
pub mod run_request;
pub mod shell;
pub mod toolkit;

pub mod agent;
mod ahead;
mod arrive;
mod checks;
mod claims;
mod commit;
mod damage;
mod deliver;
mod doing;
mod export;
mod history;
mod layers;
mod meters;
mod neighbours;
mod product;
mod read;
mod resolve;
mod rooting;
mod solve;
mod step;
mod targets;
mod transfer;
mod unlike;
mod uplink;
mod why;

use cooper_registry::{Client, ClientOptions, ProxyOptions};
use cooper_sandbox::Tier;
use cooper_store::Store;
pub use error::{EngineError, ErrorClass};
pub use fetch::GitSurroundings;
pub use product::{Described, Shape};
pub use read::Outlook;
use rooting::Rooting;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// What an engine is made of.
pub struct EngineOptions {
    /// Where layers, images and records are kept.
    pub store: Store,
    /// How registries are reached.
    pub client: ClientOptions,
    /// What the sandbox can do here.
    pub tier: Tier,
    /// Runs transfers; steps and files never block it.
    pub runtime: tokio::runtime::Handle,
    /// What git is given of the environment, which fetches repositories.
    pub git: GitSurroundings,
}

/// Builds, pulls and pushes over one store.
pub struct Engine {
    store: Store,
    client: Client,
    tier: Tier,
    runtime: tokio::runtime::Handle,
    git: GitSurroundings,
    proxies: ProxyOptions,
    /// One lock for each layer whose tree is being made, so that two stages make it once.
    making: Mutex<HashMap<cooper_image::DiffId, Arc<Mutex<()>>>>,
    /// What roots of steps are, once it is known.
    rooting: OnceLock<Rooting>,
    /// Does every write change a file's ctime in the store? Asked where roots are compared.
    ctimes_tell: OnceLock<bool>,
}

impl Engine {
    /// Joins the parts.
    ///
    /// # Errors
    /// When the registry client refuses its configuration.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let EngineOptions { store, mut client, tier, runtime, git } = options;
        let proxies = client.proxies.clone();
        client.uploads = Some(Arc::new(kept::InStore(store.clone())));
        let client = Client::new(client)?;
        let (making, rooting, ctimes_tell) = (Mutex::default(), OnceLock::new(), OnceLock::new());
        Ok(Self { store, client, tier, runtime, git, proxies, making, rooting, ctimes_tell })
    }

    /// The way to places of images, the store among them.
    pub fn reach(&self) -> toolkit::Reach {
        toolkit::Reach::with_store(self.client.clone(), self.runtime.clone(), self.store.clone())
    }

    /// Makes sure that an image of the store has a manifest, so that it can be read as a place: layers that were never
    /// compressed are.
    ///
    /// # Errors
    /// [`EngineError::NoImage`], storage.
    pub fn make_readable(&self, name: &cooper_image::Reference) -> Result<(), EngineError> {
        self.finished(name, None).map(drop)
    }

    /// The store that it works on.
    pub fn store(&self) -> &Store {
        &self.store
    }
}
