//! Manifests of built images, and pushing them: layers first, names last.

use crate::event::{Direction, Event, Sink};
use crate::layers::{Layer, lock};
use crate::{Engine, EngineError};
use cooper_image::assemble::{self, Assembled, Format};
use cooper_image::{Descriptor, Digest, ImageConfig, Reference};
use std::sync::{Arc, Mutex};

/// Most blobs that are compressed or sent at once.
const PARALLEL: usize = 4;

impl Engine {
    /// Compresses what is not compressed yet and writes the manifest.
    pub(crate) fn manifest(&self, config: &ImageConfig, layers: &[Layer]) -> Result<Assembled, EngineError> {
        let blobs = each(layers, |layer| self.ensure_blob(layer))?;
        let image = assemble::assemble(config, blobs, Format::Oci)
            .map_err(|source| EngineError::Json { what: "the new manifest".to_owned(), source })?;
        self.store.put_blob(&image.config)?;
        self.store.put_blob(&image.manifest)?;
        Ok(image)
    }

    /// Sends an image of the store to the registry that its name says.
    ///
    /// # Errors
    /// [`EngineError::NoImage`], registry, storage.
    pub fn push(&self, reference: &Reference, sink: &dyn Sink) -> Result<Digest, EngineError> {
        let reference = reference.clone().or_latest();
        let image = self.local(&reference)?.ok_or_else(|| EngineError::NoImage(reference.clone()))?;
        let (descriptor, manifest) = match image.manifest {
            Some((descriptor, manifest)) => (descriptor, manifest),
            None => {
                let made = self.manifest(&image.config, &image.layers)?;
                self.store.set_ref(&reference, &made.descriptor)?;
                let manifest = serde_json::from_slice(&made.manifest)
                    .map_err(|source| EngineError::Json { what: "the new manifest".to_owned(), source })?;
                (made.descriptor, manifest)
            }
        };
        let mut blobs: Vec<Descriptor> = manifest.layers;
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        blobs.dedup_by(|a, b| a.digest == b.digest);
        blobs.push(manifest.config);
        each(&blobs, |blob| self.push_blob(&reference, blob, sink))?;
        let bytes = self.store.read_blob(&descriptor, cooper_image::limits::MANIFEST_BYTES)?;
        let digest =
            self.runtime.block_on(self.client.push_manifest(&reference, bytes.get(), &descriptor.media_type))?;
        sink.event(Event::Pushed { reference, digest: digest.clone() });
        Ok(digest)
    }

    fn push_blob(&self, reference: &Reference, blob: &Descriptor, sink: &dyn Sink) -> Result<(), EngineError> {
        self.store.open_blob(&blob.digest)?;
        let (store, digest) = (self.store.clone(), blob.digest.clone());
        let source: cooper_registry::BlobSource =
            Arc::new(move || store.open_blob(&digest).map_err(|e| std::io::Error::other(e.to_string())));
        self.runtime.block_on(self.client.push_blob(reference, blob, source, None))?;
        sink.event(Event::Transfer {
            direction: Direction::Push,
            digest: blob.digest.clone(),
            done: blob.size,
            total: blob.size,
        });
        Ok(())
    }
}

/// Does `work` for each item, a few at a time, and gives the results in order; the first error ends it.
fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, EngineError> + Sync,
) -> Result<Vec<R>, EngineError> {
    let next = Mutex::new(0..items.len());
    let results: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let run = &|| -> Result<(), EngineError> {
        while let Some(i) = { lock(&next).next() } {
            let Some(item) = items.get(i) else { break };
            let done = work(item).inspect_err(|_| *lock(&next) = 0..0)?;
            if let Some(slot) = lock(&results).get_mut(i) {
                *slot = Some(done);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL.min(items.len())).map(|_| scope.spawn(run)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or(Err(EngineError::Interrupted)))
    })?;
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.into_iter().map(|r| r.ok_or(EngineError::Interrupted)).collect()
}
