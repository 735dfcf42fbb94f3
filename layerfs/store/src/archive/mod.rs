//! Images for others: the OCI image layout and what `docker load` reads, each in a tar or as a directory.
//!
//! Takes a descriptor of what the store has, gives bytes that depend on nothing else: entries in a fixed order, no
//! times, no owners. Blobs are compared with their digests while they are copied. Must never: leave half an archive
//! in a directory, or write into a directory that holds something else.

pub mod directory;
pub mod docker;
pub mod reader;
pub mod tarball;
pub mod whole_file;

use crate::{Store, StoreError, closure};
use cooper_image::{Descriptor, Digest, DigestError, Hasher, Index, Reference};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Take, Write};
use std::path::Path;

/// Full image name, as containerd and BuildKit note it.
pub const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// Tag (image-spec, annotations.md).
pub const TAG_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// The `oci-layout` file (image-spec, image-layout.md).
pub const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An OCI image layout.
    Oci,
    /// The same, with the `manifest.json` that `docker load` reads; one image, no index.
    Docker,
}

/// Where it goes.
pub enum Place<'a> {
    /// As a tar.
    Tar(&'a mut dyn Write),
    /// As files in a directory, which is made when it is not there. An OCI layout that is there already keeps its
    /// other images; anything else that is there is refused.
    Dir(&'a Path),
}

/// Writes an image (a manifest or an index) with everything that it leads to, under each of the names.
///
/// # Errors
/// [`StoreError::MissingBlob`] and [`StoreError::DamagedBlob`] when the store does not have all of it whole,
/// [`StoreError::NotOneImage`] for an index that `docker load` is to read, [`StoreError::NotALayout`],
/// [`StoreError::Archive`] when writing fails.
pub fn write(
    store: &Store,
    kind: Kind,
    image: &Descriptor,
    tags: &[Reference],
    place: Place<'_>,
) -> Result<(), StoreError> {
    let mut blobs = BTreeMap::new();
    closure::visit(store, image, &mut |d| {
        if store.blob_size(&d.digest)?.is_none() {
            return Err(StoreError::MissingBlob(d.digest.clone()));
        }
        blobs.insert(d.digest.clone(), d.size);
        Ok(())
    })?;
    let listed = match kind {
        Kind::Oci => None,
        Kind::Docker => Some(docker::listing(&[docker::Listed::of(store, image, tags)?])?),
    };
    let content = Content { blobs, index: entries(image, tags), listed };
    match place {
        Place::Tar(out) => tarball::write(store, &content, out),
        Place::Dir(dir) => directory::write(store, &content, dir),
    }
}

/// What an archive holds.
struct Content {
    /// Sizes of the blobs; the order of an archive is that of the digests.
    blobs: BTreeMap<Digest, u64>,
    /// The entries of `index.json`.
    index: Vec<Descriptor>,
    /// `manifest.json`, when there is one.
    listed: Option<Vec<u8>>,
}

/// The entries of the layout's `index.json`: the image once for each tag, or once without a name.
fn entries(image: &Descriptor, tags: &[Reference]) -> Vec<Descriptor> {
    if tags.is_empty() { vec![image.clone()] } else { tags.iter().map(|tag| named(image, tag)).collect() }
}

/// An entry of `index.json` for something with a full name.
pub fn named(d: &Descriptor, name: &Reference) -> Descriptor {
    let name = name.clone().or_latest();
    let mut entry = tagged(d, name.tag().unwrap_or("latest"));
    entry.annotations.insert(NAME_ANNOTATION.to_owned(), name.to_string());
    entry
}

/// An entry for something with a tag alone.
pub fn tagged(d: &Descriptor, tag: &str) -> Descriptor {
    let mut entry = d.clone();
    entry.annotations.insert(TAG_ANNOTATION.to_owned(), tag.to_owned());
    entry
}

/// The full name of an entry, where it has one.
pub fn full_name(entry: &Descriptor) -> Option<&str> {
    // skopeo writes whole names where tags stand.
    let whole = || entry.annotations.get(TAG_ANNOTATION).filter(|t| t.contains([':', '/']));
    entry.annotations.get(NAME_ANNOTATION).or_else(whole).map(String::as_str)
}

/// The name of an entry as its archive has it: the full one, else the tag.
pub fn label(entry: &Descriptor) -> Option<&str> {
    full_name(entry).or_else(|| entry.annotations.get(TAG_ANNOTATION).map(String::as_str))
}

/// Bytes of a layout's `index.json`.
///
/// # Errors
/// None that can be provoked: it is what serialising gives.
pub fn index_json(manifests: Vec<Descriptor>) -> Result<Vec<u8>, StoreError> {
    let index = Index::of(manifests);
    serde_json::to_vec(&index).map_err(|source| StoreError::Encode { what: "the archive's index", source })
}

/// Where a layout has a blob.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A blob of the store that is hashed while it is read.
struct Stored {
    digest: Digest,
    inner: Take<File>,
    hasher: Hasher,
}

impl Stored {
    fn open(store: &Store, digest: &Digest, size: u64) -> Result<Self, StoreError> {
        let file = store.open_blob(digest)?;
        let actual = store.blob_size(digest)?.unwrap_or_default();
        if actual != size {
            let source = DigestError::Size { expected: size, actual };
            return Err(StoreError::DamagedBlob { digest: digest.clone(), source });
        }
        Ok(Self { digest: digest.clone(), inner: file.take(size), hasher: Hasher::with(digest.algorithm()) })
    }

    /// After everything was read: was it what its name says?
    fn check(self) -> Result<(), StoreError> {
        let actual = self.hasher.finish();
        if actual == self.digest {
            return Ok(());
        }
        let source = DigestError::Mismatch { expected: self.digest.clone(), actual };
        Err(StoreError::DamagedBlob { digest: self.digest, source })
    }
}

impl Read for Stored {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}
