//! An archive as a tar: first the small documents by which readers find their way, then the blobs.

use super::{Content, OCI_LAYOUT, Stored, blob_path, index_json};
use crate::{Store, StoreError};
use cooper_image::Digest;
use std::collections::BTreeSet;
use std::io::{Read, Write};

/// Writes all of it.
pub(super) fn write(store: &Store, content: &Content, out: &mut dyn Write) -> Result<(), StoreError> {
    let mut archive = Tarball::new(out);
    archive.bytes("oci-layout", OCI_LAYOUT)?;
    archive.bytes("index.json", &index_json(content.index.clone())?)?;
    if let Some(listed) = &content.listed {
        archive.bytes("manifest.json", listed)?;
    }
    for (digest, size) in &content.blobs {
        let mut blob = Stored::open(store, digest, *size)?;
        archive.blob(digest, *size, &mut blob)?;
        blob.check()?;
    }
    archive.finish().map(drop)
}

/// A tar in the making, with entries as plain as they can be.
pub struct Tarball<W: Write> {
    tar: tar::Builder<W>,
    dirs: BTreeSet<String>,
}

impl<W: Write> Tarball<W> {
    /// An empty one.
    pub fn new(out: W) -> Self {
        Self { tar: tar::Builder::new(out), dirs: BTreeSet::new() }
    }

    fn dir(&mut self, path: &str) -> Result<(), StoreError> {
        if !self.dirs.insert(path.to_owned()) {
            return Ok(());
        }
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        self.tar.append_data(&mut header, path, std::io::empty()).map_err(StoreError::Archive)
    }

    /// Adds a small file.
    ///
    /// # Errors
    /// [`StoreError::Archive`] when writing fails.
    pub fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes).map_err(StoreError::Archive)
    }

    /// Adds a blob of a layout, of exactly this size; the directories above it once.
    ///
    /// # Errors
    /// [`StoreError::Archive`] when reading or writing fails.
    pub fn blob(&mut self, digest: &Digest, size: u64, blob: &mut dyn Read) -> Result<(), StoreError> {
        self.dir("blobs/")?;
        self.dir(&format!("blobs/{}/", digest.algorithm().name()))?;
        let mut header = header(tar::EntryType::Regular, 0o644, size);
        self.tar.append_data(&mut header, blob_path(digest), blob).map_err(StoreError::Archive)
    }

    /// Writes the end, and gives back where it was written to.
    ///
    /// # Errors
    /// [`StoreError::Archive`] when writing fails.
    pub fn finish(self) -> Result<W, StoreError> {
        let mut out = self.tar.into_inner().map_err(StoreError::Archive)?;
        out.flush().map_err(StoreError::Archive)?;
        Ok(out)
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
