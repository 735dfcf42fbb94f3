//! How places are reached.

use super::archive::{ArchiveOrigin, listed};
use super::layout::LayoutOrigin;
use super::origin::Origin;
use super::place::Place;
use super::registry::RegistryOrigin;
use super::store::StoreOrigin;
use crate::EngineError;
use crate::context::LayoutName;
use crate::context::layout::Layout;
use cooper_image::{Descriptor, Reference};
use cooper_registry::{Client, RegistryError};
use cooper_store::Store;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The way to registries, and to a store where somebody needs one.
#[derive(Clone)]
pub struct Reach {
    client: Client,
    runtime: Handle,
    store: Option<Store>,
}

impl Reach {
    /// To registries, layouts and archives alone.
    pub fn without_store(client: Client, runtime: Handle) -> Self {
        Self { client, runtime, store: None }
    }

    /// To all places.
    pub(crate) fn with_store(client: Client, runtime: Handle, store: Store) -> Self {
        Self { client, runtime, store: Some(store) }
    }

    /// The registries.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The store, where somebody needs one.
    pub(super) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits for an answer; never to be called on a thread of the runtime.
    ///
    /// # Errors
    /// What the registry said.
    pub fn wait<T>(&self, answer: impl Future<Output = Result<T, RegistryError>>) -> Result<T, EngineError> {
        Ok(self.runtime.block_on(answer)?)
    }

    /// Opens a place to read from. Only archives are looked at already.
    ///
    /// # Errors
    /// When it cannot be opened, or is no such place.
    pub fn origin(&self, place: &Place) -> Result<Arc<dyn Origin>, EngineError> {
        Ok(match place {
            Place::Registry(name) => Arc::new(RegistryOrigin::new(self.clone(), name.clone())),
            Place::Layout(name) => Arc::new(LayoutOrigin::new(name.clone())),
            Place::Archive { path, name, .. } => Arc::new(ArchiveOrigin::open(path, name.clone())?),
            Place::Store(name) => match &self.store {
                Some(store) => Arc::new(StoreOrigin::new(store.clone(), name.clone())),
                None => return Err(EngineError::NoImage(name.clone())),
            },
        })
    }

    /// Opens an archive, or the directory of an OCI layout, and lists its images with their full names.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn archive(path: &Path) -> Result<Listing, EngineError> {
        if path.join("oci-layout").exists() {
            let name = LayoutName { path: path.to_owned(), tag: None, digest: None };
            let layout = Layout::open_at(&name)?;
            let images = listed(&layout.images(&layout.index()?));
            return Ok(Listing { origin: Arc::new(LayoutOrigin::new(name)), images });
        }
        let archive = ArchiveOrigin::open(path, None)?;
        let images = archive.listed();
        Ok(Listing { origin: Arc::new(archive), images })
    }
}

/// What is in an archive.
pub struct Listing {
    /// The archive.
    pub origin: Arc<dyn Origin>,
    /// Its images and their names.
    pub images: Vec<(Descriptor, Vec<Reference>)>,
}
