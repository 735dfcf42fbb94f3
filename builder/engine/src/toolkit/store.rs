//! A name of the store, to read from and to write to.

use super::layout::bare;
use super::origin::{Checked, Origin, Reader, cause};
use super::pinned::check_names;
use super::shipment::{DocumentKey, Name, Put, Shipment, Target, key};
use crate::{Engine, EngineError, layers};
use cooper_image::{Descriptor, Digest, Document, MediaType, Reference, limits};
use cooper_store::{Store, StoreError};
use std::collections::BTreeSet;
use std::io::{self, Seek as _, SeekFrom};
use std::sync::Arc;

/// Reads from the store. An image that was never compressed has to be before ([`Engine::finished`]).
pub(super) struct StoreOrigin {
    store: Store,
    name: Reference,
}

impl StoreOrigin {
    pub(super) fn new(store: Store, name: Reference) -> Self {
        Self { store, name }
    }
}

impl Origin for StoreOrigin {
    fn place(&self) -> String {
        self.name.familiar()
    }

    fn top(&self) -> Result<Descriptor, EngineError> {
        let named = self.store.get_ref(&self.name)?;
        named.map(|d| bare(&d)).ok_or_else(|| EngineError::NoImage(self.name.clone()))
    }

    fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError> {
        Ok(self.store.read_blob(d, limits::MANIFEST_BYTES)?.into_inner())
    }

    fn open(&self, d: &Descriptor) -> Result<Reader, EngineError> {
        // The disk has damaged what was right when it was stored.
        let damaged = |digest: &Digest, _: &str, source| {
            EngineError::from(StoreError::DamagedBlob { digest: digest.clone(), source })
        };
        Ok(Box::new(Checked::blaming(self.store.open_blob(&d.digest)?, d, self.place(), damaged)))
    }

    fn open_at(&self, d: &Descriptor, from: u64) -> Result<Reader, EngineError> {
        let mut file = self.store.open_blob(&d.digest)?;
        file.seek(SeekFrom::Start(from)).map_err(|e| layers::io(format!("reading {} of the store", d.digest), e))?;
        Ok(Box::new(file))
    }

    fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError> {
        Ok(self.store.blob_size(&d.digest)?)
    }

    fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, EngineError> {
        // Names of the store lead to images alone.
        Ok(Vec::new())
    }
}

/// Writes to the store.
pub struct StoreTarget<'e> {
    engine: &'e Engine,
}

impl<'e> StoreTarget<'e> {
    /// Into an engine's store.
    pub fn new(engine: &'e Engine) -> Self {
        Self { engine }
    }

    /// Keeps what the store does not have yet.
    fn keep<R: io::Read>(
        &self,
        d: &Descriptor,
        open: impl FnOnce() -> Result<R, EngineError>,
        said: impl FnOnce() -> String,
    ) -> Result<Put, EngineError> {
        if self.engine.store.blob_size(&d.digest)? == Some(d.size) {
            return Ok(Put::Existed);
        }
        let mut writer = self.engine.store.blob_writer_with(d.digest.algorithm())?;
        io::copy(&mut open()?, &mut writer).map_err(|e| cause(e, said))?;
        writer.commit(Some((&d.digest, d.size)))?;
        Ok(Put::Sent)
    }

    /// Is it an image, and are its layers what its configuration says? A name never leads to anything else.
    fn check(&self, name: &Reference, d: &Descriptor) -> Result<(), EngineError> {
        for image in self.engine.images_of(name, d)? {
            let image = self.engine.load(name, &image)?;
            for layer in &image.layers {
                self.engine.settle(layer)?;
            }
        }
        Ok(())
    }
}

/// The store has names for images alone. What is in `seen` was looked at, or is being.
fn is_image(all: &Shipment, d: &Descriptor, seen: &mut BTreeSet<DocumentKey>) -> bool {
    if !seen.insert(key(d)) {
        return true;
    }
    let bytes = all.document(&d.digest).unwrap_or_default();
    match Document::parse(bytes, Some(&d.media_type)) {
        Ok(Document::Manifest(m)) => matches!(m.config.media_type, MediaType::OciConfig | MediaType::DockerConfig),
        Ok(Document::Index(index)) => index.images().all(|image| is_image(all, image, seen)),
        Err(_) => false,
    }
}

impl Target for StoreTarget<'_> {
    fn begin(&self, all: &Shipment) -> Result<(), EngineError> {
        check_names(all, "give a tag, without the part from the @ on")?;
        match all.tops().iter().find(|top| !is_image(all, &top.descriptor, &mut BTreeSet::new())) {
            None => Ok(()),
            Some(top) => Err(crate::resolve::no_image(&top.descriptor.digest)),
        }
    }

    fn put_blob(&self, d: &Descriptor, from: &Arc<dyn Origin>) -> Result<Put, EngineError> {
        let is_foreign = d.media_type.is_foreign();
        if is_foreign && self.engine.store.blob_size(&d.digest)?.is_none() && from.size(d)?.is_none() {
            return Err(EngineError::Elsewhere { place: from.place(), digest: d.digest.clone() });
        }
        self.keep(
            d,
            || from.open(d),
            || format!("copying {} of {} to the store {}", d.digest, from.place(), self.engine.store.root().display()),
        )
    }

    fn put_document(&self, d: &Descriptor, bytes: &[u8]) -> Result<(), EngineError> {
        self.keep(
            d,
            || Ok(bytes),
            || format!("keeping {} in the store {}", d.digest, self.engine.store.root().display()),
        )
        .map(drop)
    }

    fn takes_foreign(&self) -> bool {
        true
    }

    fn name(&self, d: &Descriptor, _: &[u8], names: &[Name]) -> Result<(), EngineError> {
        for name in names {
            let name = match name {
                Name::Full(name) => name.clone(),
                Name::Tag(tag) => tag.parse::<Reference>().map_err(|e| EngineError::Request {
                    message: e.to_string(),
                    hint: "give the image a name for the store".to_owned(),
                })?,
            };
            self.check(&name, d)?;
            self.engine.store.set_ref(&name, d)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::super::shipment::{Referrers, Top};
    use super::*;

    #[test]
    fn an_index_that_names_the_same_often_is_looked_at_once() {
        for (leaf_type, fine) in [(MediaType::OciConfig, true), (MediaType::from("application/x"), false)] {
            let mut place = Memory::default();
            let descriptor = place.bomb(leaf_type.as_str());
            let mut shipment = Shipment::default();
            shipment.add(&place.shared(), Top { descriptor, names: Vec::new() }, Referrers::Stay).unwrap();
            let top = &shipment.tops()[0].descriptor;
            assert_eq!(is_image(&shipment, top, &mut BTreeSet::new()), fine);
        }
    }
}
