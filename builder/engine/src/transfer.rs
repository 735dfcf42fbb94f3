//! Pushing: layers first, then the images of an index, names last.

use crate::claims;
use crate::event::{Direction, Event, How, Sink};
use crate::layers::lock;
use crate::meters::{Meters, watched};
use crate::neighbours::Neighbours;
use crate::output::{Compression, Form, Recompress};
use crate::product::{Built, Product, Shape};
use crate::resolve::invalid;
use crate::toolkit::{check_name, recompressed};
use crate::uplink::Uplink;
use crate::{Engine, EngineError};
use cooper_image::assemble::Format;
use cooper_image::{Descriptor, Digest, Document, Reference, limits};
use cooper_registry::{Pushed, RegistryError};
use cooper_store::StoreError;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// Most blobs that are compressed or sent at once.
const PARALLEL: usize = 4;

/// What has to be sent for a name: blobs in any order, then documents in this order.
#[derive(Default)]
struct Parcel {
    blobs: BTreeMap<Digest, Descriptor>,
    documents: Vec<Descriptor>,
    /// A layer that nobody may pass on, and that is not sent.
    kept_back: Option<Digest>,
}

impl Parcel {
    /// What a registry has against a document, where a layer that was not sent may be the reason.
    fn refused(&self, error: EngineError) -> EngineError {
        match (&self.kept_back, error) {
            (Some(layer), EngineError::Registry(source)) if is_about_a_manifest(&source) => {
                EngineError::KeptBack { layer: layer.clone(), source: Box::new(source) }
            }
            (_, error) => error,
        }
    }
}

/// Is it the document that the registry has something against (distribution spec, "Error Codes"), and not who sends it?
fn is_about_a_manifest(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Status { answer, .. } if answer.contains("MANIFEST_"))
}

impl Engine {
    /// Sends images of the store, or indexes with all their images, to the registries that their names say; gives the
    /// digest of each. What several names of one repository lead to is sent once. With a method, what is sent has all layers
    /// compressed so; in the store the names lead to what they did.
    ///
    /// # Errors
    /// [`EngineError::NoImage`], and [`EngineError::Request`] for a name with a digest that leads to something else, before
    /// anything is sent; [`EngineError::Request`] for what cannot be compressed otherwise, because it is no image or because
    /// the name is one of its digest; registry, storage.
    pub fn push(
        &self,
        names: &[Reference],
        method: Option<Compression>,
        sink: &dyn Sink,
    ) -> Result<Vec<Digest>, EngineError> {
        let names: Vec<Reference> = names.iter().map(|name| name.clone().or_latest()).collect();
        if let Some(fixed) = names.iter().find(|name| name.digest().is_some() && method.is_some()) {
            return Err(EngineError::Request {
                message: format!(
                    "{} names one image for ever; layers compressed otherwise make another",
                    fixed.familiar()
                ),
                hint: "give it a tag with cooper tag, and push that".to_owned(),
            });
        }
        for name in &names {
            let d = self.store.get_ref(name)?.ok_or_else(|| EngineError::NoImage(name.clone()))?;
            // Of an index that was pulled the store may have the image for one platform.
            check_name(name, &d, "give it a tag with cooper tag, and push that")?;
        }
        let mut uplinks: Vec<Uplink> = Vec::new();
        let mut pushes = Vec::with_capacity(names.len());
        for name in names {
            if !uplinks.iter().any(|uplink| uplink.leads_to(&name)) {
                uplinks.push(self.uplink(&name));
            }
            let uplink = uplinks.iter().find(|uplink| uplink.leads_to(&name));
            let descriptor = self.finished_so(&name, method.map(|method| (method, sink)), uplink)?;
            pushes.push((name, descriptor));
        }
        let digests = pushes.iter().map(|(_, descriptor)| descriptor.digest.clone()).collect();
        for (names, descriptor) in together(pushes) {
            for uplink in uplinks.iter().filter(|uplink| names.iter().any(|name| uplink.leads_to(name))) {
                self.send(&names, &descriptor, uplink, sink)?;
            }
        }
        Ok(digests)
    }

    /// What a name of the store leads to, a manifest or an index: layers that were never compressed are now.
    ///
    /// # Errors
    /// [`EngineError::NoImage`], storage.
    pub(crate) fn finished(&self, reference: &Reference, uplink: Option<&Uplink>) -> Result<Descriptor, EngineError> {
        self.finished_so(reference, None, uplink)
    }

    /// As [`Self::finished`]; with a method, all layers are compressed so, and the name stays what it is.
    fn finished_so(
        &self,
        reference: &Reference,
        method: Option<(Compression, &dyn Sink)>,
        uplink: Option<&Uplink>,
    ) -> Result<Descriptor, EngineError> {
        let missing = || EngineError::NoImage(reference.clone());
        let named = self.store.get_ref(reference)?.ok_or_else(missing)?;
        if !named.media_type.is_index() && !named.media_type.is_manifest() {
            let image = self.load(reference, &named)?;
            let (config, layers) = (image.config, image.layers);
            let built =
                Built { platform: config.platform(), config, config_descriptor: claims::without(&named), layers };
            let product = Product { images: vec![built], shape: Shape::Image };
            let form = method.map_or_else(Form::default, |(compression, _)| Form {
                compression,
                recompress: Recompress::All,
                ..Form::default()
            });
            let made = self.describe(&product, &form, Format::Oci, uplink)?.descriptor;
            // Another build can have taken the name meanwhile.
            if method.is_none() && !self.store.replace_ref(reference, &named, &made)? {
                tracing::debug!(name = %reference, "the name leads to something else by now");
            }
            return Ok(made);
        }
        match method {
            Some(method) => recompressed(self, (reference, &named), method, uplink),
            None => Ok(named),
        }
    }

    /// The way to where a name is pushed.
    pub(crate) fn uplink(&self, name: &Reference) -> Uplink {
        Uplink::new(self.client.clone(), self.runtime.clone(), name.clone())
    }

    /// Sends a manifest or an index with everything that it leads to, but for what went through the uplink, under names of
    /// one repository.
    pub(crate) fn send(
        &self,
        names: &[Reference],
        top: &Descriptor,
        uplink: &Uplink,
        sink: &dyn Sink,
    ) -> Result<(), EngineError> {
        let Some(name) = names.first() else { return Ok(()) };
        let mut parcel = Parcel::default();
        self.collect(name, top, 0, &mut parcel)?;
        let blobs: Vec<Descriptor> = std::mem::take(&mut parcel.blobs).into_values().collect();
        let near = Neighbours::of(&self.store, name);
        watched(sink, Direction::Push, |meters| {
            each(&blobs, |blob| self.push_blob(name, blob, (uplink, &near), meters))
        })?;
        for document in &parcel.documents {
            let bytes = self.store.read_blob(document, limits::MANIFEST_BYTES)?;
            // The last one is what the names lead to; a registry refuses an index before its images are there.
            let sent = if document.digest == top.digest {
                self.name(names, bytes.get(), document)
            } else {
                let at = name.with_digest(document.digest.clone());
                let sent = self.runtime.block_on(self.client.push_manifest(&at, bytes.get(), &document.media_type));
                sent.map(drop).map_err(EngineError::from)
            };
            sent.map_err(|error| parcel.refused(error))?;
        }
        for name in names {
            sink.event(Event::Pushed { reference: name.clone(), digest: top.digest.clone() });
        }
        Ok(())
    }

    /// Sends a document under all its names, those that are tags together.
    fn name(&self, names: &[Reference], bytes: &[u8], d: &Descriptor) -> Result<(), EngineError> {
        let is_tag = |name: &&Reference| name.digest().is_none() && name.tag().is_some();
        let (tagged, others): (Vec<&Reference>, Vec<&Reference>) = names.iter().partition(is_tag);
        for name in others {
            self.runtime.block_on(self.client.push_manifest(name, bytes, &d.media_type))?;
        }
        if let Some(name) = tagged.first() {
            let tags: Vec<&str> = tagged.iter().filter_map(|name| name.tag()).collect();
            let sent = self.client.push_manifest_tagged(name, &tags, bytes, (&d.media_type, &d.digest));
            self.runtime.block_on(sent)?;
        }
        Ok(())
    }

    fn collect(&self, name: &Reference, d: &Descriptor, depth: usize, into: &mut Parcel) -> Result<(), EngineError> {
        if depth > limits::INDEX_DEPTH {
            return Err(invalid(name, format!("it has more than {} nested indexes", limits::INDEX_DEPTH)));
        }
        if into.documents.iter().any(|known| known.digest == d.digest) {
            return Ok(());
        }
        let bytes = self.store.read_blob(d, limits::MANIFEST_BYTES)?;
        match Document::parse(bytes.get(), Some(&d.media_type)).map_err(|e| invalid(name, e.to_string()))? {
            Document::Manifest(manifest) => {
                // Who wants a layer that nobody may pass on gets it from its publisher.
                let (foreign, layers): (Vec<_>, Vec<_>) =
                    manifest.layers.into_iter().partition(|layer| layer.media_type.is_foreign());
                into.kept_back = into.kept_back.take().or_else(|| foreign.into_iter().next().map(|d| d.digest));
                for blob in layers.into_iter().chain([manifest.config]) {
                    // It has to be there, and from here on it stays until it was sent.
                    if self.store.blob_size(&blob.digest)?.is_none() {
                        return Err(StoreError::MissingBlob(blob.digest).into());
                    }
                    into.blobs.insert(blob.digest.clone(), blob);
                }
            }
            Document::Index(index) => {
                for entry in &index.manifests {
                    self.collect(name, entry, depth + 1, into)?;
                }
            }
        }
        into.documents.push(d.clone());
        Ok(())
    }

    fn push_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        (uplink, near): (&Uplink, &Neighbours),
        meters: &Meters<'_>,
    ) -> Result<(), EngineError> {
        let (pushed, from) = match uplink.sent(reference, blob, meters) {
            Some(pushed) => (pushed, None),
            None => {
                let from = near.having(&blob.digest);
                (self.push_file(reference, blob, from, meters.begin(blob))?, from)
            }
        };
        let how = match (pushed, from) {
            (Pushed::Mounted, Some(from)) => How::Mounted { from: from.repository_only().familiar() },
            (Pushed::Existed, _) => How::Existed,
            (Pushed::Uploaded | Pushed::Mounted, _) => How::Moved,
        };
        meters.arrived(blob, how);
        Ok(())
    }

    fn push_file(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        near: Option<&Reference>,
        at: Arc<AtomicU64>,
    ) -> Result<Pushed, EngineError> {
        self.store.open_blob(&blob.digest)?;
        let (store, digest) = (self.store.clone(), blob.digest.clone());
        let source: cooper_registry::BlobSource =
            Arc::new(move || store.open_blob(&digest).map_err(|e| std::io::Error::other(e.to_string())));
        let sent = self.runtime.block_on(self.client.push_watched(reference, blob, source, near, at));
        // A registry that does not take the bytes may be right.
        sent.map_err(|error| self.damage([&blob.digest]).unwrap_or_else(|| error.into()))
    }
}

/// What is to be sent, with all the names of one repository that lead to it, each once.
pub(crate) fn together(pushes: Vec<(Reference, Descriptor)>) -> Vec<(Vec<Reference>, Descriptor)> {
    let mut all: Vec<(Vec<Reference>, Descriptor)> = Vec::new();
    for (name, descriptor) in pushes {
        let is_same = |(names, d): &&mut (Vec<Reference>, Descriptor)| {
            let near = |known: &Reference| (known.host(), known.repository()) == (name.host(), name.repository());
            d.digest == descriptor.digest && d.media_type == descriptor.media_type && names.first().is_some_and(near)
        };
        match all.iter_mut().find(is_same) {
            Some((names, _)) if names.contains(&name) => {}
            Some((names, _)) => names.push(name),
            None => all.push((vec![name], descriptor)),
        }
    }
    all
}

/// Does `work` for each item, a few at a time, and gives the results in order; the first error ends it.
pub(crate) fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, EngineError> + Sync,
) -> Result<Vec<R>, EngineError> {
    some_at_once(PARALLEL, items, work)
}

/// As [`each`], so many at a time.
pub(crate) fn some_at_once<T: Sync, R: Send>(
    most: usize,
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
        let workers: Vec<_> = (0..most.min(items.len())).map(|_| scope.spawn(run)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or(Err(EngineError::Interrupted)))
    })?;
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.into_iter().map(|r| r.ok_or(EngineError::Interrupted)).collect()
}
