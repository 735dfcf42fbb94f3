//! Bases: from the store when it has them, else from the registry.

use crate::claims;
use crate::event::Sink;
use crate::layers::Layer;
use crate::request::Freshness;
use crate::{Engine, EngineError};
use cooper_image::assemble::{self, Format, Notes};
use cooper_image::{
    Descriptor, DiffId, Document, ImageConfig, Index, Leaf, Leaves, Manifest, MediaType, Platform, Reference, limits,
};
use cooper_store::StoreError;
use std::fmt::Display;

/// An image whose documents are in the store.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Its manifest; `None` for an image that was built and never compressed.
    pub manifest: Option<(Descriptor, Manifest)>,
    /// Its configuration.
    pub config: ImageConfig,
    /// Describes the configuration.
    pub config_descriptor: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
}

/// What becomes of a name's images for other platforms when one is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// They stay: a build may need several.
    Keep,
    /// The name means the new one alone.
    Replace,
}

/// When layers of what is fetched become trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trees {
    /// While they come: steps will need them.
    AsTheyCome,
    /// When a step asks for them, if one does.
    OnDemand,
}

impl Engine {
    /// A base for a build.
    pub(crate) fn base(
        &self,
        reference: &Reference,
        platform: &Platform,
        fresh: Freshness,
        trees: Trees,
        sink: &dyn Sink,
    ) -> Result<Resolved, EngineError> {
        let reference = reference.clone().or_latest();
        if !fresh.pull
            && let Some(found) = self.local(&reference, platform)?
        {
            return Ok(found);
        }
        self.fetch(&reference, platform, Earlier::Keep, trees, sink)
    }

    /// An image of the store for a platform, by name.
    pub(crate) fn local(&self, reference: &Reference, platform: &Platform) -> Result<Option<Resolved>, EngineError> {
        let Some(named) = self.store.get_ref(reference)? else { return Ok(None) };
        let images = match self.images_of(reference, &named) {
            Err(lost) if lost.is_absence() => return Ok(None),
            images => images?,
        };
        for image in images {
            // Of what says that it is for another platform nothing is read.
            let said = image.platform.as_ref().map(|said| said.satisfies(platform));
            if said == Some(false) {
                continue;
            }
            // What was damaged or deleted is fetched again: it has a manifest, so a registry has it.
            let fetchable = image.media_type.is_manifest();
            let found = match self.load(reference, &image) {
                Err(EngineError::Store(StoreError::MissingBlob(_) | StoreError::DamagedBlob { .. })) if fetchable => {
                    match said {
                        Some(_) => return Ok(None),
                        // Nobody knows whether it was this one.
                        None => continue,
                    }
                }
                other => other?,
            };
            if found.config.platform().satisfies(platform) {
                return Ok((self.holds(&found)? || !fetchable).then_some(found));
            }
        }
        Ok(None)
    }

    /// Is every layer there in some form? From here on they stay, until this process is done.
    fn holds(&self, image: &Resolved) -> Result<bool, EngineError> {
        for layer in &image.layers {
            let claimed = layer.claimed.as_ref().map(|c| self.store.blob_size(&c.digest)).transpose()?.flatten();
            if claimed.is_none() && !self.has_layer(&layer.diff)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The images that a name of the store leads to: those of an index and the indexes in it, else the one that it names.
    pub(crate) fn images_of(&self, reference: &Reference, d: &Descriptor) -> Result<Vec<Descriptor>, EngineError> {
        if !d.media_type.is_index() {
            return Ok(vec![d.clone()]);
        }
        let read = |d: &Descriptor| Ok(self.store.read_blob(d, limits::MANIFEST_BYTES)?.into_inner());
        let mut images = Images::of(Leaves::of(index(reference, d, &read(d)?)?));
        let mut all = Vec::new();
        while let Some(image) = images.next(reference, read)? {
            all.push(image);
        }
        Ok(all)
    }

    /// What a name leads to after an image for one platform was fetched beside those for others.
    fn beside(&self, reference: &Reference, new: &Resolved, d: &Descriptor) -> Result<Descriptor, EngineError> {
        let is = new.config.platform();
        let mut manifests = Vec::new();
        let named = self.store.get_ref(reference)?;
        for image in named.map_or(Ok(Vec::new()), |named| self.images_of(reference, &named))? {
            // One that is damaged is fetched again when it is wanted.
            let Ok(found) = self.load(reference, &image) else { continue };
            let platform = found.config.platform();
            if image.media_type.is_manifest() && !platform.satisfies(&is) {
                manifests.push(Descriptor { platform: Some(platform), ..image });
            }
        }
        if manifests.is_empty() {
            return Ok(d.clone());
        }
        manifests.push(Descriptor { platform: Some(is), ..d.clone() });
        let (bytes, index) = assemble::index(manifests, Format::Oci, Notes::new())
            .map_err(|source| EngineError::Json { what: "the index of a base".to_owned(), source })?;
        self.store.put_blob(&bytes)?;
        Ok(index)
    }

    /// An image from its registry, every blob of it into the store, its name last.
    pub(crate) fn fetch(
        &self,
        reference: &Reference,
        platform: &Platform,
        earlier: Earlier,
        trees: Trees,
        sink: &dyn Sink,
    ) -> Result<Resolved, EngineError> {
        let found = self.runtime.block_on(self.client.resolve(reference, platform))?;
        let manifest = &found.document;
        check(manifest, reference)?;
        self.discard_damaged([&found.descriptor, &manifest.config])?;
        if earlier == Earlier::Replace {
            self.discard_damaged(&manifest.layers)?;
        }
        self.arrive(reference, manifest, trees, sink)?;
        // Under the digest by which it was asked for, or by which the registry has it.
        self.store.put_blob_with(found.descriptor.digest.algorithm(), found.manifest.get())?;
        let resolved = self.load(reference, &found.descriptor)?;
        // One of several says which it is; the only one that a name has says nothing ([`Engine::known_base`]).
        let platform = found.index.is_some().then(|| resolved.config.platform());
        let new = Descriptor { platform, ..found.descriptor };
        let named = match earlier {
            Earlier::Keep => self.beside(reference, &resolved, &new)?,
            Earlier::Replace => new,
        };
        self.store.set_ref(reference, &named)?;
        Ok(resolved)
    }

    /// Deletes what the disk has damaged, so that it is fetched again. Documents are looked at always, layers when
    /// somebody asked for a pull.
    fn discard_damaged<'d>(&self, blobs: impl IntoIterator<Item = &'d Descriptor>) -> Result<(), EngineError> {
        for blob in blobs {
            if self.store.blob_size(&blob.digest)?.is_some() {
                self.store.discard_if_damaged(&blob.digest)?;
            }
        }
        Ok(())
    }

    /// Reads an image's documents; `d` names a manifest or a configuration.
    pub(crate) fn load(&self, reference: &dyn Display, d: &Descriptor) -> Result<Resolved, EngineError> {
        if matches!(d.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
            let config = self.config(d)?;
            // Layers of its bases have to stay the blobs that they came as.
            let layer = |diff: &DiffId| Ok(Layer { diff: diff.clone(), claimed: self.foreign_blob(diff)? });
            let layers = match claims::of(d, &config) {
                Some(layers) => layers,
                None => config.rootfs.diff_ids.iter().map(layer).collect::<Result<_, EngineError>>()?,
            };
            return Ok(Resolved { manifest: None, config, config_descriptor: claims::without(d), layers });
        }
        let bytes = self.store.read_blob(d, limits::MANIFEST_BYTES)?;
        let document =
            Document::parse(bytes.get(), Some(&d.media_type)).map_err(|e| invalid(reference, e.to_string()))?;
        let Document::Manifest(manifest) = document else {
            return Err(invalid(reference, "its name leads to an index in the store".to_owned()));
        };
        let config = self.config(&manifest.config)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(invalid(reference, "its configuration and its manifest do not have as many layers".to_owned()));
        }
        let layers = config.rootfs.diff_ids.iter().zip(&manifest.layers);
        let layers = layers.map(|(diff, l)| Layer { diff: diff.clone(), claimed: Some(l.clone()) }).collect();
        Ok(Resolved {
            config_descriptor: manifest.config.clone(),
            manifest: Some((d.clone(), manifest)),
            config,
            layers,
        })
    }

    pub(crate) fn config(&self, d: &Descriptor) -> Result<ImageConfig, EngineError> {
        let bytes = self.store.read_blob(d, limits::CONFIG_BYTES)?;
        serde_json::from_slice(bytes.get())
            .map_err(|source| EngineError::Json { what: format!("configuration {}", d.digest), source })
    }
}

/// Is everything that the manifest names within bounds?
pub(crate) fn check(manifest: &Manifest, reference: &dyn Display) -> Result<(), EngineError> {
    if !matches!(manifest.config.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
        return Err(no_image(reference));
    }
    let layers = manifest.layers.len();
    if layers > limits::LAYERS {
        return Err(invalid(reference, format!("it has {layers} layers, more than {}", limits::LAYERS)));
    }
    if manifest.config.size > limits::CONFIG_BYTES {
        return Err(invalid(reference, format!("its configuration is larger than {} bytes", limits::CONFIG_BYTES)));
    }
    Ok(())
}

/// What is said of artifacts, which the store cannot name.
pub(crate) fn no_image(what: &dyn Display) -> EngineError {
    EngineError::Request {
        message: format!("{what} is no image, and the store has names for images alone"),
        hint: "copy it to a registry, an OCI layout or an OCI archive".to_owned(),
    }
}

/// The images of an index and of the indexes within it. An index within it that is not there is passed over, since what is
/// in the others is what it was; whoever finds no image at all is told of it.
pub(crate) struct Images {
    leaves: Leaves,
    /// The first one that was not there; nothing once an image was found.
    lost: Option<EngineError>,
    has_found: bool,
}

impl Images {
    /// Those of an index, all of them or those for a platform.
    pub fn of(leaves: Leaves) -> Self {
        Self { leaves, lost: None, has_found: false }
    }

    /// The next one, with `read` for the indexes.
    ///
    /// # Errors
    /// [`EngineError::InvalidImage`], and what `read` says.
    pub fn next(
        &mut self,
        place: &dyn Display,
        read: impl Fn(&Descriptor) -> Result<Vec<u8>, EngineError>,
    ) -> Result<Option<Descriptor>, EngineError> {
        loop {
            match self.leaves.step().map_err(|e| invalid(place, e.to_string()))? {
                None => return self.lost.take().filter(|_| !self.has_found).map_or(Ok(None), Err),
                Some(Leaf::Image(d)) => {
                    self.has_found = true;
                    return Ok(Some(d));
                }
                Some(Leaf::Index(d)) => match read(&d) {
                    Err(lost) if lost.is_absence() => drop(self.lost.get_or_insert(lost)),
                    bytes => self.leaves.enter(index(place, &d, &bytes?)?),
                },
            }
        }
    }

    /// The platforms of what was passed over because it is for another one, in words.
    pub fn passed(&self) -> impl Iterator<Item = String> {
        self.leaves.passed().iter().map(ToString::to_string)
    }
}

/// Reads an index.
pub(crate) fn index(place: &dyn Display, d: &Descriptor, bytes: &[u8]) -> Result<Index, EngineError> {
    match Document::parse(bytes, Some(&d.media_type)).map_err(|e| invalid(place, e.to_string()))? {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => Err(invalid(place, format!("{} is no index", d.digest))),
    }
}

pub(crate) fn invalid(reference: &dyn Display, reason: String) -> EngineError {
    EngineError::InvalidImage { reference: reference.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    #[test]
    fn artifacts_are_no_damaged_images() {
        for (kind, refused) in [
            ("application/vnd.oci.image.config.v1+json", false),
            ("application/vnd.docker.container.image.v1+json", false),
            ("application/vnd.oci.empty.v1+json", true),
            ("application/vnd.test.recipe", true),
        ] {
            let config = Descriptor::of(MediaType::from(kind), b"{}");
            let layer = Descriptor::of(MediaType::OciLayerGzip, b"layer");
            let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [layer]});
            let manifest: Manifest = serde_json::from_value(manifest).unwrap();
            let checked = check(&manifest, &"r.example/recipe:1");
            assert_eq!(checked.is_err(), refused, "{kind}: {checked:?}");
            if let Err(error) = checked {
                assert_eq!(error.class(), ErrorClass::Usage, "{error}");
                assert!(error.to_string().starts_with("r.example/recipe:1 is no image"), "{error}");
                assert!(error.hint().unwrap().starts_with("copy it to"), "{:?}", error.hint());
            }
        }
    }
}
