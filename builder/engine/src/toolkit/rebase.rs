//! An image on another base: the layers of its own stay, those of the base are exchanged.

use super::draft::ImageDraft;
use super::origin::Origin;
use super::shipment::pick;
use crate::EngineError;
use cooper_image::Descriptor;
use serde_json::Value;

/// Where an image says that it comes from (image-spec, annotations.md).
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Digest of what that name led to.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Exchanges the base of an image. Its configuration stays; layers and history are the new base's, then its own.
///
/// # Errors
/// [`EngineError::Request`] when the image does not begin with all layers of the old base, or a base is for another
/// platform.
pub fn rebase(image: &mut ImageDraft, old: &dyn Origin, new: &dyn Origin, name: &str) -> Result<(), EngineError> {
    let platform = image.config.platform();
    let new_top = pick(new, Some(&platform))?;
    let (old_base, new_base) = (read(old, &pick(old, Some(&platform))?)?, read(new, &new_top)?);
    let has = &image.config.rootfs.diff_ids;
    let count = old_base.config.rootfs.diff_ids.len();
    if !has.starts_with(&old_base.config.rootfs.diff_ids) {
        let same = has.iter().zip(&old_base.config.rootfs.diff_ids).take_while(|(a, b)| a == b).count();
        return Err(EngineError::Request {
            message: format!(
                "the image for {platform} is not built on {}: {same} of its {count} layers are the same",
                old.place()
            ),
            hint: "name the very base that it was built on, best by its digest".to_owned(),
        });
    }
    let own = image.config.rootfs.diff_ids.split_off(count);
    image.config.rootfs.diff_ids = new_base.config.rootfs.diff_ids.iter().cloned().chain(own).collect();
    let own = image.layers.split_off(count.min(image.layers.len()));
    let is_docker = image.is_docker;
    image.layers = new_base.layers.into_iter().map(|layer| translated(layer, is_docker)).chain(own).collect();
    let lines = old_base.config.history.len();
    let own = image.config.history.split_off(lines.min(image.config.history.len()));
    image.config.history = new_base.config.history.into_iter().chain(own).collect();
    if !is_docker {
        image.annotations.insert(BASE_NAME.to_owned(), name.to_owned());
        image.annotations.insert(BASE_DIGEST.to_owned(), new.top()?.digest.to_string());
    }
    Ok(())
}

fn read(origin: &dyn Origin, d: &Descriptor) -> Result<ImageDraft, EngineError> {
    ImageDraft::read(origin, d)
}

/// A layer's descriptor with the media type that fits its new manifest.
fn translated(mut layer: Value, is_docker: bool) -> Value {
    const PAIRS: [(&str, &str); 2] = [
        ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"),
    ];
    let is = layer.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    let to = PAIRS.iter().find_map(|(oci, docker)| match is_docker {
        true if is == *oci => Some(*docker),
        false if is == *docker => Some(*oci),
        _ => None,
    });
    if let (Some(to), Some(layer)) = (to, layer.as_object_mut()) {
        layer.insert("mediaType".to_owned(), Value::from(to));
    }
    layer
}
