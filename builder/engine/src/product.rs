//! What the steps have come to, one image for each platform, and the documents that describe it.
//!
//! Takes solved stages and a [`Form`], gives manifests and indexes that are in the store. The same product in the
//! same form has the same bytes, whatever else the store holds.

use crate::layers::Layer;
use crate::output::Form;
use crate::transfer::some_at_once;
use crate::uplink::Uplink;
use crate::{Engine, EngineError};
use cooper_image::annotations::{self, Target};
use cooper_image::assemble::{self, Format};
use cooper_image::{Descriptor, ImageConfig, Platform};

/// Most layers that are compressed at once. Each has all processors at its disposal, and some chunks in memory for each of
/// them.
pub(crate) const COMPRESSED: usize = 2;

/// The image for one platform.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub platform: Platform,
    pub config: ImageConfig,
    /// Describes the configuration, which is in the store.
    pub config_descriptor: Descriptor,
    pub layers: Vec<Layer>,
}

/// Everything that a build made.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    pub images: Vec<Built>,
    pub shape: Shape,
}

/// Does the result's name lead to an image or to an index?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// One platform, one image.
    #[default]
    Image,
    /// An index, of one platform or of several.
    Index,
}

/// An image whose documents are in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The manifest, or the index.
    pub descriptor: Descriptor,
    /// The configuration; an index has several.
    pub config: Option<Descriptor>,
}

impl Engine {
    /// Compresses what is not compressed yet, and writes manifests and index.
    pub(crate) fn describe(
        &self,
        product: &Product,
        form: &Form,
        format: Format,
        uplink: Option<&Uplink>,
    ) -> Result<Described, EngineError> {
        let json = |source| EngineError::Json { what: "the new manifest".to_owned(), source };
        let noted = |target, platform: &Platform| annotations::select(&form.annotations, target, platform);
        let mut manifests = Vec::with_capacity(product.images.len());
        let mut config = None;
        for built in &product.images {
            let blobs =
                some_at_once(COMPRESSED, &built.layers, |layer| self.ensure_blob(layer, form, uplink, &|| false))?;
            if let Some(blob) = blobs.iter().find(|b| !format.knows_layer(&b.media_type)) {
                return Err(EngineError::Request {
                    message: format!("layer {} of the base is zstd, for which Docker has no media type", blob.digest),
                    hint: "ask for oci-mediatypes=true, or force-compression=true".to_owned(),
                });
            }
            let notes = noted(Target::Manifest, &built.platform);
            let image = assemble::assemble(&built.config, blobs, format, notes).map_err(json)?;
            self.store.put_blob(&image.config)?;
            self.store.put_blob(&image.manifest)?;
            let annotations = noted(Target::ManifestDescriptor, &built.platform);
            let platform = (product.shape == Shape::Index).then(|| built.platform.clone());
            manifests.push(Descriptor { annotations, platform, ..image.descriptor });
            config = Some(image.config_descriptor);
        }
        let Some(first) = product.images.first().map(|b| &b.platform) else {
            return Err(EngineError::Interrupted);
        };
        if product.shape == Shape::Image
            && let Some(descriptor) = manifests.pop()
        {
            return Ok(Described { descriptor, config });
        }
        let (bytes, descriptor) = assemble::index(manifests, format, noted(Target::Index, first)).map_err(json)?;
        self.store.put_blob(&bytes)?;
        let annotations = noted(Target::IndexDescriptor, first);
        Ok(Described { descriptor: Descriptor { annotations, ..descriptor }, config: None })
    }
}
