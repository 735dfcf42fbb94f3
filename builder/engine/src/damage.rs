//! Whose fault it is when bytes of the store turn out to be wrong.
//!
//! Takes: a failure of whoever used them. Gives: the blob that the disk has damaged, where it was that. Blobs are not
//! compared with their digests each time they are used, so this looks only after something went wrong.

use crate::layers::Layer;
use crate::{Engine, EngineError, ErrorClass};
use cooper_image::Digest;
use cooper_store::StoreError;

impl Engine {
    /// Says whose fault it is that a layer cannot be used: the disk's, when a blob of it is damaged, else whoever made
    /// it.
    pub(crate) fn of_layer(&self, layer: &Layer, error: EngineError) -> EngineError {
        let error = error.of_layer(layer.name());
        if !matches!(error, EngineError::Layer { .. }) || error.class() != ErrorClass::Input {
            return error;
        }
        let known = self.store.layer(&layer.diff).map(|forms| forms.blobs).unwrap_or_default();
        let blobs = known.iter().chain(&layer.claimed).map(|blob| &blob.digest).chain([&layer.diff.0]);
        self.damage(blobs).unwrap_or(error)
    }

    /// What is wrong with the first of the blobs that the disk has damaged.
    pub(crate) fn damage<'d>(&self, blobs: impl IntoIterator<Item = &'d Digest>) -> Option<EngineError> {
        let found = blobs.into_iter().find_map(|digest| match self.store.check_blob(digest) {
            Err(error @ StoreError::DamagedBlob { .. }) => Some(error),
            _ => None,
        });
        found.map(EngineError::from)
    }
}
