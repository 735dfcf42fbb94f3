//! One image of a registry, by its documents alone: no layer is fetched.
//!
//! Takes a name and a platform, gives manifest and configuration. Must never show one platform's image for another's.

use crate::failure::Failure;
use crate::open::Remote;
use cooper_engine::EngineError;
use cooper_engine::images::{Documents, ImageDetail};
use cooper_image::{Descriptor, Document, ImageConfig, Index, Leaf, Leaves, Platform, Reference, limits};
use cooper_registry::ResolvedManifest;

/// An image's documents.
pub struct Image {
    /// Its manifest, and the index that its name leads to.
    pub manifest: ResolvedManifest,
    /// Its configuration, when it had to be looked at.
    config: Option<Vec<u8>>,
}

/// The image that a name leads to on a platform, by default this machine's. Without an index there is one image, whose
/// configuration says what it is for: that is looked at when somebody asked for a platform.
///
/// # Errors
/// What the registry says, and when there is no image for the platform.
pub fn image(remote: &Remote, name: &Reference, platform: Option<&Platform>) -> Result<Image, Failure> {
    let host = Platform::host();
    let manifest = remote.wait(remote.client.resolve(name, platform.unwrap_or(&host)))?;
    let mut image = Image { manifest, config: None };
    if let Some(wanted) = platform.filter(|_| image.manifest.index.is_none()) {
        let bytes = image.config(remote, name)?;
        let is = parsed::<ImageConfig>(&bytes, name)?.platform();
        if !is.satisfies(wanted) {
            let message = format!("{} has no image for {wanted}", name.familiar());
            return Err(Failure::usage(message, format!("it has {is}")));
        }
        image.config = Some(bytes);
    }
    Ok(image)
}

impl Image {
    /// The configuration's bytes.
    ///
    /// # Errors
    /// What the registry says, and when it is larger than configurations may be.
    pub fn config(&self, remote: &Remote, name: &Reference) -> Result<Vec<u8>, Failure> {
        match &self.config {
            Some(bytes) => Ok(bytes.clone()),
            None => {
                let config = &self.manifest.document.config;
                Ok(remote.wait(remote.client.small_blob(name, config, limits::CONFIG_BYTES))?)
            }
        }
    }

    /// Everything about it, as of an image of the store.
    ///
    /// # Errors
    /// As [`Image::config`], and when it is no configuration of an image.
    pub fn detail(self, remote: &Remote, name: &Reference) -> Result<ImageDetail, Failure> {
        let bytes = self.config(remote, name)?;
        let config: ImageConfig = parsed(&bytes, name)?;
        let documents =
            Documents { config: parsed(&bytes, name)?, manifest: Some(parsed(self.manifest.manifest.get(), name)?) };
        let of_index = self.manifest.index.as_ref().and_then(|bytes| {
            // It was parsed before, when the image was chosen from it.
            let Ok(Document::Index(index)) = Document::parse(bytes.get(), None) else { return None };
            let media_type = Document::Index(index.clone()).media_type();
            Some((Descriptor::new(media_type, bytes.digest().clone(), bytes.get().len() as u64), index))
        });
        let chosen = self.manifest.descriptor;
        let (descriptor, platforms, manifests) = match of_index {
            Some((descriptor, index)) => (descriptor, platforms(remote, name, index.clone())?, index.manifests),
            // What is no image is for no platform.
            None => {
                let platform = Some(config.platform()).filter(|platform| !platform.architecture.is_empty());
                (chosen.clone(), platform.into_iter().collect(), Vec::new())
            }
        };
        let manifest = Some(self.manifest.document);
        Ok(ImageDetail {
            reference: name.clone(),
            descriptor,
            chosen,
            platforms,
            manifests,
            config,
            manifest,
            documents,
        })
    }
}

/// The platforms of an index and of the indexes within it. Of one that the registry does not have, as where only a part
/// was copied, what is said of it.
fn platforms(remote: &Remote, name: &Reference, index: Index) -> Result<Vec<Platform>, Failure> {
    let invalid = |e: String| EngineError::InvalidImage { reference: name.to_string(), reason: e };
    let (mut leaves, mut found) = (Leaves::of(index), Vec::new());
    while let Some(leaf) = leaves.step().map_err(|e| invalid(e.to_string()))? {
        match leaf {
            Leaf::Image(d) => found.extend(d.platform),
            Leaf::Index(d) => match remote.wait(remote.client.top(&name.with_digest(d.digest.clone()))) {
                Ok(inner) => match inner.document {
                    Document::Index(inner) => leaves.enter(inner),
                    Document::Manifest(_) => return Err(invalid(format!("{} is no index", d.digest)).into()),
                },
                Err(e) if e.is_absence() => found.extend(d.platform),
                Err(e) => return Err(e.into()),
            },
        }
    }
    Ok(found)
}

fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8], name: &Reference) -> Result<T, EngineError> {
    serde_json::from_slice(bytes).map_err(|source| EngineError::Json { what: format!("a document of {name}"), source })
}
