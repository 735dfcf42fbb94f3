//! The store as the keeper of uploads that outlive a process. What it cannot keep is told to the log: the push goes on
//! without, and a later one begins anew.

use cooper_registry::{KeptUpload, Uploads};
use cooper_store::{Store, UploadEntry};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Keeps uploads in a store.
#[derive(Debug)]
pub struct InStore(pub Store);

impl Uploads for InStore {
    fn take(&self, name: &str) -> Option<Box<dyn KeptUpload>> {
        match self.0.upload(name) {
            Ok(entry) => Some(Box::new(Entry(entry?))),
            Err(error) => {
                tracing::debug!(%error, "an upload cannot be kept");
                None
            }
        }
    }
}

/// Keeps uploads in a store that is opened for the first of them: most commands that send to registries send none that
/// is worth it, and need no store.
#[derive(Debug)]
pub struct InStoreLater {
    root: PathBuf,
    store: OnceLock<Option<InStore>>,
}

impl InStoreLater {
    /// In the store in this directory.
    pub fn at(root: PathBuf) -> Self {
        Self { root, store: OnceLock::new() }
    }

    fn open(&self) -> Option<InStore> {
        let opened = Store::open(&self.root);
        opened.inspect_err(|error| tracing::debug!(%error, "uploads cannot be kept")).ok().map(InStore)
    }
}

impl Uploads for InStoreLater {
    fn take(&self, name: &str) -> Option<Box<dyn KeptUpload>> {
        self.store.get_or_init(|| self.open()).as_ref()?.take(name)
    }
}

struct Entry(UploadEntry);

impl KeptUpload for Entry {
    fn place(&self) -> Option<String> {
        self.0.place().map(str::to_owned)
    }
    fn keep(&mut self, place: &str) {
        if let Err(error) = self.0.keep(place) {
            tracing::debug!(%error, "an upload cannot be kept");
        }
    }
    fn forget(&mut self) {
        if let Err(error) = self.0.forget() {
            tracing::debug!(%error, "an upload that is over cannot be forgotten");
        }
    }
}
