//! An OCI layout to read from.

use super::origin::{Checked, Origin, Reader};
use crate::EngineError;
use crate::context::LayoutName;
use crate::context::layout::{Layout, blob_path};
use crate::layers::io;
use cooper_image::{Descriptor, Digest, Document, MediaType, limits};
use std::io::{Seek as _, SeekFrom};

/// Most entries of `index.json` that are looked at for referrers.
const ENTRIES: usize = 10_000;

/// Reads from a directory.
pub(super) struct LayoutOrigin {
    name: LayoutName,
}

impl LayoutOrigin {
    pub(super) fn new(name: LayoutName) -> Self {
        Self { name }
    }

    /// The entry of `index.json` that the name leads to and that is to be changed, with its names.
    pub(super) fn entry_to_change(&self) -> Result<Descriptor, EngineError> {
        let layout = Layout::open_at(&self.name)?;
        layout.entry_to_change(&layout.index()?).cloned()
    }
}

impl Origin for LayoutOrigin {
    fn place(&self) -> String {
        self.name.to_string()
    }

    fn top(&self) -> Result<Descriptor, EngineError> {
        let layout = Layout::open_at(&self.name)?;
        let Some(digest) = &self.name.digest else { return layout.entry_of(&layout.index()?, None).map(bare) };
        let bytes = layout.document(digest)?;
        Ok(Descriptor::new(type_of(&bytes), digest.clone(), bytes.len() as u64))
    }

    fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError> {
        super::small(self, d, limits::MANIFEST_BYTES)
    }

    fn open(&self, d: &Descriptor) -> Result<Reader, EngineError> {
        let file = Layout::open_at(&self.name)?.open(&blob_path(&d.digest))?;
        Ok(Box::new(Checked::new(file, d, self.place())))
    }

    fn open_at(&self, d: &Descriptor, from: u64) -> Result<Reader, EngineError> {
        let mut file = Layout::open_at(&self.name)?.open(&blob_path(&d.digest))?;
        file.seek(SeekFrom::Start(from)).map_err(|e| io(format!("reading {} of {}", d.digest, self.name), e))?;
        Ok(Box::new(file))
    }

    fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError> {
        Layout::open_at(&self.name)?.size(&blob_path(&d.digest))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, EngineError> {
        let index = Layout::open_at(&self.name)?.index()?;
        referring(self, &index.manifests, subject)
    }
}

/// The entry without what only the index says of it.
pub(super) fn bare(entry: &Descriptor) -> Descriptor {
    Descriptor::new(entry.media_type.clone(), entry.digest.clone(), entry.size)
}

/// The type of a document, by its word or its shape.
pub(super) fn type_of(bytes: &[u8]) -> MediaType {
    Document::parse(bytes, None).map_or(MediaType::OciManifest, |document| document.media_type())
}

/// The manifests among these that refer to the subject.
pub(super) fn referring(
    origin: &dyn Origin,
    entries: &[Descriptor],
    subject: &Digest,
) -> Result<Vec<Descriptor>, EngineError> {
    let mut found: Vec<Descriptor> = Vec::new();
    for entry in entries.iter().take(ENTRIES).filter(|d| d.media_type.is_manifest()) {
        let Ok(Document::Manifest(manifest)) = Document::parse(&origin.document(entry)?, None) else { continue };
        let refers = manifest.subject.is_some_and(|s| s.digest == *subject);
        if refers && !found.iter().any(|d| d.digest == entry.digest) {
            let kind = manifest.artifact_type.unwrap_or_else(|| manifest.config.media_type.to_string());
            let annotations = manifest.annotations;
            found.push(Descriptor { artifact_type: Some(kind), annotations, ..bare(entry) });
        }
    }
    Ok(found)
}
