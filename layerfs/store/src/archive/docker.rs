//! What `docker load` reads beside an OCI layout: `manifest.json`.

use super::blob_path;
use crate::{Store, StoreError};
use cooper_image::{Descriptor, Document, Manifest, Reference, limits};
use serde::{Deserialize, Serialize};

/// One image in `manifest.json` (Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// Path of the configuration.
    pub config: String,
    /// The image's names.
    #[serde(default, deserialize_with = "some")]
    pub repo_tags: Vec<String>,
    /// Paths of the layers, lowest first.
    #[serde(deserialize_with = "some")]
    pub layers: Vec<String>,
}

/// Docker writes `null` for an empty list.
fn some<'de, D: serde::Deserializer<'de>>(list: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(list)?.unwrap_or_default())
}

/// An image and the names that it has in an archive.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The image.
    pub manifest: Manifest,
    /// Its names; those with a digest are left away.
    pub names: Vec<Reference>,
}

impl Listed {
    /// An image of the store.
    pub(super) fn of(store: &Store, image: &Descriptor, names: &[Reference]) -> Result<Self, StoreError> {
        let bytes = store.read_blob(image, limits::MANIFEST_BYTES)?;
        let document = Document::parse(bytes.get(), Some(&image.media_type))
            .map_err(|source| StoreError::Document { digest: image.digest.clone(), source })?;
        match document {
            Document::Manifest(manifest) => Ok(Self { manifest, names: names.to_vec() }),
            Document::Index(_) => Err(StoreError::NotOneImage(image.digest.clone())),
        }
    }
}

/// Bytes of the `manifest.json` for images; layers may be compressed.
///
/// # Errors
/// None that can be provoked: it is what serialising gives.
pub fn listing(images: &[Listed]) -> Result<Vec<u8>, StoreError> {
    let tags = |names: &[Reference]| {
        names.iter().filter(|t| t.digest().is_none()).map(|t| t.clone().or_latest().familiar()).collect()
    };
    let entry = |image: &Listed| Entry {
        config: blob_path(&image.manifest.config.digest),
        repo_tags: tags(&image.names),
        layers: image.manifest.layers.iter().map(|b| blob_path(&b.digest)).collect(),
    };
    let listed: Vec<Entry> = images.iter().map(entry).collect();
    serde_json::to_vec(&listed).map_err(|source| StoreError::Encode { what: "the archive's manifest", source })
}
