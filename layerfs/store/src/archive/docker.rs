//! What `docker load` reads: `manifest.json` beside an OCI layout that holds the same image.

use super::{Archive, OCI_LAYOUT, Source, blob_path, index_json};
use crate::{Store, StoreError};
use cooper_image::{Descriptor, Manifest, MediaType, Reference};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

/// One image in `manifest.json` (Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes an image from its configuration and its layers, lowest first; layers may be compressed.
///
/// # Errors
/// [`StoreError::MissingBlob`] and [`StoreError::DamagedBlob`] when the store does not have all of it whole,
/// [`StoreError::Archive`] when `w` fails.
pub fn write_docker_archive(
    store: &Store,
    config: &Descriptor,
    blobs: &[Descriptor],
    tags: &[Reference],
    w: &mut dyn Write,
) -> Result<(), StoreError> {
    let manifest = manifest(config, blobs)?;
    let image = Descriptor::of(MediaType::DockerManifest, &manifest);
    let mut entries: BTreeMap<_, _> =
        std::iter::once(config).chain(blobs).map(|d| (d.digest.clone(), Source::Store { size: d.size })).collect();
    entries.insert(image.digest.clone(), Source::Bytes(&manifest));
    for digest in std::iter::once(config).chain(blobs).map(|d| &d.digest) {
        if store.blob_size(digest)?.is_none() {
            return Err(StoreError::MissingBlob(digest.clone()));
        }
    }
    let listed = [Entry {
        config: blob_path(&config.digest),
        repo_tags: tags.iter().filter(|t| t.digest().is_none()).map(|t| t.clone().or_latest().familiar()).collect(),
        layers: blobs.iter().map(|b| blob_path(&b.digest)).collect(),
    }];
    let listed =
        serde_json::to_vec(&listed).map_err(|source| StoreError::Encode { what: "the archive's manifest", source })?;
    let mut archive = Archive::new(w);
    archive.bytes("oci-layout", OCI_LAYOUT)?;
    archive.bytes("index.json", &index_json(&image, tags)?)?;
    archive.bytes("manifest.json", &listed)?;
    archive.blobs(store, &entries)?;
    archive.finish()
}

/// The manifest by which readers of OCI layouts find the image.
fn manifest(config: &Descriptor, blobs: &[Descriptor]) -> Result<Vec<u8>, StoreError> {
    let docker = |layer: &Descriptor| {
        let media_type = match &layer.media_type {
            MediaType::OciLayer => MediaType::DockerLayer,
            MediaType::OciLayerGzip => MediaType::DockerLayerGzip,
            other => other.clone(),
        };
        Descriptor::new(media_type, layer.digest.clone(), layer.size)
    };
    serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: Some(MediaType::DockerManifest),
        artifact_type: None,
        config: Descriptor::new(MediaType::DockerConfig, config.digest.clone(), config.size),
        layers: blobs.iter().map(docker).collect(),
        subject: None,
        annotations: BTreeMap::new(),
    })
    .map_err(|source| StoreError::Encode { what: "the archive's manifest", source })
}
