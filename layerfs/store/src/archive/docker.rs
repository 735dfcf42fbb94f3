//! What `docker load` reads beside an OCI layout: `manifest.json`.

use super::blob_path;
use crate::{Store, StoreError};
use cooper_image::{Descriptor, Document, Reference, limits};
use serde::Serialize;

/// One image in `manifest.json` (Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Bytes of the `manifest.json` for one image; layers may be compressed.
pub(super) fn listing(store: &Store, image: &Descriptor, tags: &[Reference]) -> Result<Vec<u8>, StoreError> {
    let bytes = store.read_blob(image, limits::MANIFEST_BYTES)?;
    let document = Document::parse(bytes.get(), Some(&image.media_type))
        .map_err(|source| StoreError::Document { digest: image.digest.clone(), source })?;
    let Document::Manifest(manifest) = document else { return Err(StoreError::NotOneImage(image.digest.clone())) };
    let listed = [Entry {
        config: blob_path(&manifest.config.digest),
        repo_tags: tags.iter().filter(|t| t.digest().is_none()).map(|t| t.clone().or_latest().familiar()).collect(),
        layers: manifest.layers.iter().map(|b| blob_path(&b.digest)).collect(),
    }];
    serde_json::to_vec(&listed).map_err(|source| StoreError::Encode { what: "the archive's manifest", source })
}
