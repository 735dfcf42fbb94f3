//! Everything about an image at a place of any kind: its documents alone are read.

use super::origin::{Origin, small};
use super::shipment::{first, pick};
use crate::images::{Asked, Documents, ImageDetail};
use crate::{EngineError, resolve};
use cooper_image::{Descriptor, Document, ImageConfig, Index, Leaf, Leaves, Manifest, Platform, limits};
use serde::de::DeserializeOwned;

/// What of an index is meant where nobody names a platform and it has none for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// Its first image.
    First,
    /// Nothing: an error.
    Nothing,
}

/// One image of a place.
pub struct Chosen {
    /// Its manifest's descriptor.
    pub descriptor: Descriptor,
    manifest: Manifest,
}

impl Chosen {
    /// The image for a platform; without one, of an index that for this machine.
    ///
    /// # Errors
    /// [`EngineError::Request`] when there is none, [`EngineError::InvalidImage`], and what the place says.
    pub fn of(origin: &dyn Origin, platform: Option<&Platform>, unnamed: Unnamed) -> Result<Self, EngineError> {
        let top = origin.top()?;
        let descriptor = match platform {
            None if top.media_type.is_index() => match pick(origin, Some(&Platform::host())) {
                Err(none @ EngineError::Request { .. }) if unnamed == Unnamed::First => {
                    first(origin, &top)?.ok_or(none)?
                }
                found => found?,
            },
            wanted => pick(origin, wanted)?,
        };
        match document(origin, &descriptor)? {
            Document::Manifest(manifest) => Ok(Self { descriptor, manifest }),
            Document::Index(_) => Err(resolve::invalid(&origin.place(), format!("{} is no image", descriptor.digest))),
        }
    }

    /// The bytes of its configuration.
    ///
    /// # Errors
    /// When it is larger than configurations may be, and what the place says.
    pub fn config(&self, origin: &dyn Origin) -> Result<Vec<u8>, EngineError> {
        small(origin, &self.manifest.config, limits::CONFIG_BYTES)
    }

    /// Everything about it, as of an image of the store, for one who has asked for it so.
    ///
    /// # Errors
    /// As [`Chosen::config`], and when it is no configuration of an image.
    pub fn detail(self, origin: &dyn Origin, reference: Asked) -> Result<ImageDetail, EngineError> {
        let descriptor = origin.top()?;
        let bytes = self.config(origin)?;
        let config: ImageConfig = parsed(origin, &bytes)?;
        let documents = Documents {
            config: parsed(origin, &bytes)?,
            manifest: Some(parsed(origin, &origin.document(&self.descriptor)?)?),
        };
        let (platforms, manifests) = match document(origin, &descriptor)? {
            Document::Index(index) => (platforms(origin, index.clone())?, index.manifests),
            // What is no image is for no platform.
            Document::Manifest(_) => {
                let platform = Some(config.platform()).filter(|platform| !platform.architecture.is_empty());
                (platform.into_iter().collect(), Vec::new())
            }
        };
        let (chosen, manifest) = (self.descriptor, Some(self.manifest));
        Ok(ImageDetail { reference, descriptor, chosen, platforms, manifests, config, manifest, documents })
    }
}

/// The platforms of an index and of the indexes within it. Of one that the place does not have, as where only a part was
/// copied, what is said of it.
fn platforms(origin: &dyn Origin, index: Index) -> Result<Vec<Platform>, EngineError> {
    let (mut leaves, mut found) = (Leaves::of(index), Vec::new());
    while let Some(leaf) = leaves.step().map_err(|e| resolve::invalid(&origin.place(), e.to_string()))? {
        match leaf {
            Leaf::Image(d) => found.extend(d.platform),
            Leaf::Index(d) => match origin.document(&d) {
                Ok(bytes) => leaves.enter(resolve::index(&origin.place(), &d, &bytes)?),
                Err(e) if e.is_absence() => found.extend(d.platform),
                Err(e) => return Err(e),
            },
        }
    }
    Ok(found)
}

fn document(origin: &dyn Origin, d: &Descriptor) -> Result<Document, EngineError> {
    let parsed = Document::parse(&origin.document(d)?, Some(&d.media_type));
    parsed.map_err(|e| resolve::invalid(&origin.place(), e.to_string()))
}

fn parsed<T: DeserializeOwned>(origin: &dyn Origin, bytes: &[u8]) -> Result<T, EngineError> {
    let what = || format!("a document of {}", origin.place());
    serde_json::from_slice(bytes).map_err(|source| EngineError::Json { what: what(), source })
}
