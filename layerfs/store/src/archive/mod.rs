//! Images as one file: the OCI image layout in a tar, and what `docker load` reads.
//!
//! Takes descriptors of what the store has, gives bytes that depend on nothing else: entries in a
//! fixed order, no times, no owners. Blobs are compared with their digests while they are copied.

mod docker;
mod oci;

pub use docker::write_docker_archive;
pub use oci::write_oci_archive;

use crate::{Store, StoreError};
use cooper_image::{Descriptor, Digest, DigestError, Hasher, Index, Reference};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// Full image name, as containerd and BuildKit note it.
const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// Tag (image-spec, annotations.md).
const TAG_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// The `oci-layout` file (image-spec, image-layout.md).
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A tar in the making, with entries as plain as they can be.
struct Archive<'a> {
    tar: tar::Builder<&'a mut dyn Write>,
}

impl<'a> Archive<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self { tar: tar::Builder::new(out) }
    }

    fn dir(&mut self, path: &str) -> Result<(), StoreError> {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        self.tar.append_data(&mut header, path, std::io::empty()).map_err(StoreError::Archive)
    }

    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes).map_err(StoreError::Archive)
    }

    /// Copies blobs, each once, in the order of their digests, below `blobs/`.
    fn blobs(&mut self, store: &Store, blobs: &BTreeMap<Digest, Source<'_>>) -> Result<(), StoreError> {
        self.dir("blobs/")?;
        let mut directory = String::new();
        for (digest, source) in blobs {
            let wanted = format!("blobs/{}/", digest.algorithm().name());
            if directory != wanted {
                self.dir(&wanted)?;
                directory = wanted;
            }
            match source {
                Source::Bytes(bytes) => self.bytes(&blob_path(digest), bytes)?,
                Source::Store { size } => self.stored(store, digest, *size)?,
            }
        }
        Ok(())
    }

    fn stored(&mut self, store: &Store, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let damaged = |source| StoreError::DamagedBlob { digest: digest.clone(), source };
        let file = store.open_blob(digest)?;
        let actual = store.blob_size(digest)?.unwrap_or_default();
        if actual != size {
            return Err(damaged(DigestError::Size { expected: size, actual }));
        }
        let mut source = Hashed { inner: file.take(size), hasher: Hasher::with(digest.algorithm()) };
        let mut header = header(tar::EntryType::Regular, 0o644, size);
        self.tar.append_data(&mut header, blob_path(digest), &mut source).map_err(StoreError::Archive)?;
        let actual = source.hasher.finish();
        if actual != *digest {
            return Err(damaged(DigestError::Mismatch { expected: digest.clone(), actual }));
        }
        Ok(())
    }

    fn finish(self) -> Result<(), StoreError> {
        let out = self.tar.into_inner().map_err(StoreError::Archive)?;
        out.flush().map_err(StoreError::Archive)
    }
}

/// Where the bytes of an archived blob come from.
enum Source<'a> {
    /// The store's blob of this many bytes.
    Store { size: u64 },
    /// Made for the archive.
    Bytes(&'a [u8]),
}

struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
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

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// The layout's `index.json`: the image once for each tag, or once without a name.
fn index_json(image: &Descriptor, tags: &[Reference]) -> Result<Vec<u8>, StoreError> {
    let named = |tag: &Reference| {
        let tag = tag.clone().or_latest();
        let mut d = image.clone();
        d.annotations.insert(TAG_ANNOTATION.to_owned(), tag.tag().unwrap_or("latest").to_owned());
        d.annotations.insert(NAME_ANNOTATION.to_owned(), tag.to_string());
        d
    };
    let manifests = if tags.is_empty() { vec![image.clone()] } else { tags.iter().map(named).collect() };
    let index = Index::of(manifests);
    serde_json::to_vec(&index).map_err(|source| StoreError::Encode { what: "the archive's index", source })
}
