//! Blobs from a registry into the store, and layers of a base into trees on the way: what is inflated, hashed and
//! written to files is what has arrived so far.
//!
//! Takes: a manifest. Gives: all blobs of it in the store. A tree is published after its blob and its DiffId were
//! compared with what they are to be; where it could not be made, it is made when a step asks for it, which tells why.
//! Must never: let the making of a tree fail a pull.

use crate::event::{Direction, How, Sink};
use crate::layers::{Layer, Unpacked, lock};
use crate::meters::{Meters, watched};
use crate::resolve::Trees;
use crate::{Engine, EngineError};
use cooper_image::{Descriptor, Manifest, Reference};
use cooper_layerfs::compress;
use cooper_layerfs::view::View;
use cooper_registry::{Begun, Fault, Growing, RegistryError};
use cooper_store::BlobWriter;
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Of blobs of so many bytes, what has come when a pull is broken off is kept for the next one.
const KEPT: u64 = 1 << 20;
/// Most blobs that are fetched at once.
const PARALLEL: usize = 4;
/// Bytes after which those who follow are told of more.
const TOLD: u64 = 512 * 1024;

impl Engine {
    /// Fetches what the store does not have of an image, and unpacks its layers on the way when steps need them.
    pub(crate) fn arrive(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        trees: Trees,
        sink: &dyn Sink,
    ) -> Result<(), EngineError> {
        watched(sink, Direction::Pull, |meters| self.arrive_watched(reference, manifest, trees, meters))
    }

    fn arrive_watched(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        trees: Trees,
        meters: &Meters<'_>,
    ) -> Result<(), EngineError> {
        self.fetch_blob(reference, &manifest.config, None, meters)?;
        // What is wrong with the configuration is told by whoever loads the image.
        let config = self.config(&manifest.config).ok().filter(|_| trees == Trees::AsTheyCome);
        let diffs = config.map(|config| config.rootfs.diff_ids).filter(|d| d.len() == manifest.layers.len());
        let layers = manifest.layers.iter().enumerate().rev().map(|(at, blob)| {
            let diff = diffs.as_ref().and_then(|diffs| diffs.get(at)).cloned();
            (blob, diff.map(|diff| Layer { diff, claimed: Some(blob.clone()) }))
        });
        let queue = Mutex::new(layers.collect::<Vec<_>>());
        let work = || -> Result<(), EngineError> {
            while let Some((blob, layer)) = { lock(&queue).pop() } {
                self.fetch_blob(reference, blob, layer.as_ref(), meters).inspect_err(|_| lock(&queue).clear())?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..PARALLEL).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|w| w.join().unwrap_or(Err(EngineError::Interrupted)))
        })
    }

    /// Fetches a blob, and unpacks it when it is the layer that is given.
    fn fetch_blob(
        &self,
        reference: &Reference,
        d: &Descriptor,
        layer: Option<&Layer>,
        meters: &Meters<'_>,
    ) -> Result<(), EngineError> {
        // A blob of another size was damaged on this disk, or the manifest lies: fetching it tells, and mends.
        if self.store.blob_size(&d.digest)? == Some(d.size) {
            meters.arrived(d, How::Existed);
            return Ok(());
        }
        let mut writer = match d.size {
            KEPT.. => self.store.arriving_blob(&d.digest, d.size)?,
            _ => self.store.blob_writer_with(d.digest.algorithm())?,
        };
        let mut came_earlier = writer.written() > 0;
        loop {
            match self.fetch_into(writer, reference, d, layer, meters) {
                // What an earlier process left may have been torn by a power cut.
                Err(EngineError::Registry(RegistryError::Digest { .. })) if came_earlier => came_earlier = false,
                // Each of them is so once.
                Err(EngineError::Registry(RegistryError::Mirror(_))) => {}
                done => return done,
            }
            writer = self.store.blob_writer_with(d.digest.algorithm())?;
        }
    }

    fn fetch_into(
        &self,
        writer: BlobWriter,
        reference: &Reference,
        d: &Descriptor,
        layer: Option<&Layer>,
        meters: &Meters<'_>,
    ) -> Result<(), EngineError> {
        let wanted = match layer {
            Some(layer) if self.store.layer(&layer.diff)?.tree.is_none() => Some(layer),
            _ => None,
        };
        let Some((layer, file)) = wanted.and_then(|layer| Some((layer, writer.reader().ok()?))) else {
            return self.receive(reference, d, writer, None, meters);
        };
        let growing = Arc::new(Growing::new(file));
        std::thread::scope(|scope| {
            let unpacking = scope.spawn(|| self.unpack_growing(&growing));
            let received = {
                // However this ends, nobody waits for more.
                let _ended = Ended(&growing);
                self.receive(reference, d, writer, Some(&growing), meters)
            };
            let unpacked = unpacking.join().unwrap_or(Err(EngineError::Interrupted));
            received?;
            if let Err(error) = unpacked.and_then(|unpacked| self.keep_tree(layer, d, unpacked)) {
                tracing::debug!(layer = %layer.diff.0, %error, "a layer could not be unpacked as it came");
            }
            Ok(())
        })
    }

    /// Takes a blob from the registry, and tells those who follow what has come.
    fn receive(
        &self,
        reference: &Reference,
        d: &Descriptor,
        mut writer: BlobWriter,
        growing: Option<&Growing>,
        meters: &Meters<'_>,
    ) -> Result<(), EngineError> {
        let begun = Begun { hasher: writer.hasher(), length: writer.written() };
        let (mut done, mut told) = (begun.length, begun.length);
        if let Some(growing) = growing {
            growing.grow(done);
        }
        let at = meters.begin_at(d, done);
        let mut take = |bytes: &[u8]| {
            writer.write_all(bytes)?;
            done += bytes.len() as u64;
            if let Some(growing) = growing.filter(|_| done - told >= TOLD) {
                writer.flush()?;
                told = done;
                growing.grow(done);
            }
            at.store(done, Ordering::Relaxed);
            Ok(())
        };
        if let Err(error) = self.runtime.block_on(self.client.rest_of_blob(reference, d, begun, &mut take)) {
            // What is wrong is of no use to the next pull, and what there was no room for takes it from others.
            if writer.written() == 0 || matches!(error.fault(), Fault::Input | Fault::Local) {
                writer.discard();
            }
            return Err(EngineError::from(error).of_foreign(d, &reference.familiar()));
        }
        writer.commit(Some((&d.digest, d.size)))?;
        meters.arrived(d, How::Moved);
        if let Some(growing) = growing {
            growing.finish(d.clone());
        }
        Ok(())
    }

    fn unpack_growing(&self, growing: &Arc<Growing>) -> Result<Unpacked, EngineError> {
        self.unpack(compress::decompress(Box::new(growing.reader()))?, &View::stack(Vec::new()))
    }

    /// Publishes a tree whose blob is verified. One that depends on layers below waits until these are known.
    fn keep_tree(&self, layer: &Layer, blob: &Descriptor, unpacked: Unpacked) -> Result<(), EngineError> {
        self.believe(layer, blob, unpacked.hasher)?;
        if unpacked.applied.implied_dirs == 0 {
            self.store.publish_tree(&unpacked.dir, &layer.diff)?;
        }
        Ok(())
    }
}

/// Gives up what is not whole when it is dropped.
struct Ended<'a>(&'a Growing);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}
