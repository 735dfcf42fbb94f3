//! An archive as a tar: first the small documents by which readers find their way, then the blobs.

use super::{Content, OCI_LAYOUT, Stored, blob_path, index_json};
use crate::{Store, StoreError};
use std::io::Write;

/// Writes all of it.
pub(super) fn write(store: &Store, content: &Content, out: &mut dyn Write) -> Result<(), StoreError> {
    let mut archive = Tarball { tar: tar::Builder::new(out) };
    archive.bytes("oci-layout", OCI_LAYOUT)?;
    archive.bytes("index.json", &index_json(content.index.clone())?)?;
    if let Some(listed) = &content.listed {
        archive.bytes("manifest.json", listed)?;
    }
    archive.dir("blobs/")?;
    let mut directory = String::new();
    for (digest, size) in &content.blobs {
        let wanted = format!("blobs/{}/", digest.algorithm().name());
        if directory != wanted {
            archive.dir(&wanted)?;
            directory = wanted;
        }
        let mut blob = Stored::open(store, digest, *size)?;
        let mut header = header(tar::EntryType::Regular, 0o644, *size);
        archive.tar.append_data(&mut header, blob_path(digest), &mut blob).map_err(StoreError::Archive)?;
        blob.check()?;
    }
    let out = archive.tar.into_inner().map_err(StoreError::Archive)?;
    out.flush().map_err(StoreError::Archive)
}

/// A tar in the making, with entries as plain as they can be.
struct Tarball<'a> {
    tar: tar::Builder<&'a mut dyn Write>,
}

impl Tarball<'_> {
    fn dir(&mut self, path: &str) -> Result<(), StoreError> {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        self.tar.append_data(&mut header, path, std::io::empty()).map_err(StoreError::Archive)
    }

    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes).map_err(StoreError::Archive)
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}
