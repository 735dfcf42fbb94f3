//! The OCI image layout (image-spec, image-layout.md) in a tar.

use super::{Archive, OCI_LAYOUT, Source, index_json};
use crate::{Store, StoreError, closure};
use cooper_image::{Descriptor, Reference};
use std::collections::BTreeMap;
use std::io::Write;

/// Writes an image (a manifest or an index) with everything that it leads to.
///
/// # Errors
/// [`StoreError::MissingBlob`] and [`StoreError::DamagedBlob`] when the store does not have all of it whole,
/// [`StoreError::Archive`] when `w` fails.
pub fn write_oci_archive(
    store: &Store,
    image: &Descriptor,
    tags: &[Reference],
    w: &mut dyn Write,
) -> Result<(), StoreError> {
    let mut blobs = BTreeMap::new();
    closure::visit(store, image, &mut |d| {
        if store.blob_size(&d.digest)?.is_none() {
            return Err(StoreError::MissingBlob(d.digest.clone()));
        }
        blobs.insert(d.digest.clone(), Source::Store { size: d.size });
        Ok(())
    })?;
    let mut archive = Archive::new(w);
    archive.bytes("oci-layout", OCI_LAYOUT)?;
    archive.bytes("index.json", &index_json(image, tags)?)?;
    archive.blobs(store, &blobs)?;
    archive.finish()
}
