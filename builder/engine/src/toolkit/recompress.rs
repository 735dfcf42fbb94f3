//! An image of the store whose layers are compressed in another way than they are.
//!
//! Takes what a name leads to, an image or an index, and a method. Gives the same with layers that are all compressed so;
//! its documents are in the store. What is so already stays what it is, byte for byte. Must never change a name.

use super::draft::{Draft, ImageDraft};
use super::origin::Origin;
use super::store::StoreOrigin;
use crate::event::Sink;
use crate::layers::Layer;
use crate::output::{Compression, Form, Recompress, is_compressed_by};
use crate::product::COMPRESSED;
use crate::resolve::invalid;
use crate::transfer::some_at_once;
use crate::uplink::Uplink;
use crate::{Engine, EngineError};
use cooper_image::assemble::Format;
use cooper_image::{Descriptor, Reference};
use serde_json::{Value, json};
use std::sync::Arc;

/// How layers are to be compressed, and where they go as they are.
struct Recompression<'a> {
    engine: &'a Engine,
    name: &'a Reference,
    method: Compression,
    uplink: Option<&'a Uplink>,
    has_changed: bool,
}

/// What `top`, to which `name` leads, is with layers that are compressed so. Levels are not told apart. What an index
/// loses is told.
///
/// # Errors
/// [`EngineError::InvalidImage`], [`EngineError::Request`] for artifacts; storage.
pub(crate) fn recompressed(
    engine: &Engine,
    (name, top): (&Reference, &Descriptor),
    (method, sink): (Compression, &dyn Sink),
    uplink: Option<&Uplink>,
) -> Result<Descriptor, EngineError> {
    let origin: Arc<dyn Origin> = Arc::new(StoreOrigin::new(engine.store.clone(), name.clone()));
    let mut recompression = Recompression { engine, name, method, uplink, has_changed: false };
    let draft = Draft::of(&origin, top, &mut |image| recompression.change(image))?;
    if !recompression.has_changed {
        return Ok(top.clone());
    }
    draft.tell(sink);
    for bytes in draft.documents() {
        engine.store.put_blob(bytes)?;
    }
    draft.top()
}

impl Recompression<'_> {
    fn change(&mut self, image: &mut ImageDraft) -> Result<(), EngineError> {
        let read = |layer: &Value| serde_json::from_value::<Descriptor>(layer.clone());
        let old = image.layers.iter().map(read).collect::<Result<Vec<_>, _>>();
        let old = old.map_err(|e| invalid(self.name, e.to_string()))?;
        let stays =
            |layer: &Descriptor| layer.media_type.is_foreign() || is_compressed_by(&layer.media_type, self.method);
        if old.iter().all(stays) {
            return Ok(());
        }
        self.has_changed = true;
        if let Compression::Zstd(_) = self.method {
            image.is_docker = false;
        }
        let format = if image.is_docker { Format::Docker } else { Format::Oci };
        let form = Form { compression: self.method, recompress: Recompress::All, ..Form::default() };
        let named = image.config.rootfs.diff_ids.iter().zip(&old);
        let layers: Vec<Layer> =
            named.map(|(diff, blob)| Layer { diff: diff.clone(), claimed: Some(blob.clone()) }).collect();
        let new =
            some_at_once(COMPRESSED, &layers, |layer| self.engine.ensure_blob(layer, &form, self.uplink, &|| false))?;
        for (value, (old, new)) in image.layers.iter_mut().zip(old.iter().zip(new)) {
            if new.digest != old.digest {
                *value = json!(Descriptor { media_type: format.layer(new.media_type), ..new });
            }
        }
        Ok(())
    }
}
