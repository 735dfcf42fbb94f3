//! An image on another base: the layers of its own stay, those of the base are exchanged.

use super::draft::{ImageDraft, made};
use super::origin::Origin;
use super::shipment::pick;
use crate::EngineError;
use cooper_image::config::History;
use cooper_image::{Descriptor, ImageConfig};
use serde_json::Value;

/// Where an image says that it comes from (image-spec, annotations.md).
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Digest of what that name led to.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Exchanges the base of an image. Its configuration stays; layers and history are the new base's, then its own. Where
/// the history does not tell which of its lines are the base's, there is none.
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
    let history = joined(&image.config, &old_base.config, &new_base.config);
    let own = image.config.rootfs.diff_ids.split_off(count);
    image.config.rootfs.diff_ids = new_base.config.rootfs.diff_ids.iter().cloned().chain(own).collect();
    let own = image.layers.split_off(count.min(image.layers.len()));
    let is_docker = image.is_docker;
    image.layers = new_base.layers.into_iter().map(|layer| translated(layer, is_docker)).chain(own).collect();
    image.config.history = history;
    if !is_docker {
        image.annotations.insert(BASE_NAME.to_owned(), name.to_owned());
        image.annotations.insert(BASE_DIGEST.to_owned(), new.top()?.digest.to_string());
    }
    Ok(())
}

fn read(origin: &dyn Origin, d: &Descriptor) -> Result<ImageDraft, EngineError> {
    ImageDraft::read(origin, d)
}

/// The history of the new base, then the image's own; none where one of them does not tell of as many layers as there
/// are, since nobody could say which line belongs to which layer.
fn joined(image: &ImageConfig, old: &ImageConfig, new: &ImageConfig) -> Vec<History> {
    let layers = |config: &ImageConfig| config.rootfs.diff_ids.len();
    let (base, own) = image.history.split_at_checked(old.history.len()).unwrap_or_default();
    let own_layers = layers(image).saturating_sub(layers(old));
    let same = base.iter().map(|h| h.empty_layer).eq(old.history.iter().map(|h| h.empty_layer));
    let fits = same && made(base) == layers(old) && made(own) == own_layers && made(&new.history) == layers(new);
    if fits { new.history.iter().chain(own).cloned().collect() } else { Vec::new() }
}

/// A layer's descriptor with the media type that fits its new manifest.
fn translated(mut layer: Value, is_docker: bool) -> Value {
    const PAIRS: [(&str, &str); 3] = [
        ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ),
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

#[cfg(test)]
mod tests {
    use super::super::Draft;
    use super::super::memory::{Memory, Types};
    use super::*;
    use cooper_image::{DiffId, Digest, Document, Platform};

    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

    /// An image of these layers; its history is made of `l` for a layer and `-` for none.
    fn image(types: Types, layers: &[(&str, &str)], history: &str) -> Memory {
        let mut place = Memory::default();
        let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
        config.history = history.chars().map(|c| History { empty_layer: c == '-', ..Default::default() }).collect();
        let of = |(name, media_type): &(&str, &str)| {
            config.rootfs.diff_ids.push(DiffId(Digest::sha256(name.as_bytes())));
            Descriptor::of((*media_type).into(), name.as_bytes())
        };
        let layers = layers.iter().map(of).collect();
        place.image_of(types, &config, layers);
        place
    }

    fn rebased(image: &Memory, old: &Memory, new: &Memory) -> Result<(ImageConfig, Vec<String>), EngineError> {
        let top = image.top()?;
        let draft = Draft::of(&image.shared(), &top, &mut |image| rebase(image, old, new, "new"))?;
        let Ok(Document::Manifest(manifest)) = Document::parse(&draft.document(&draft.top()?)?, None) else {
            panic!("an image is made of an image");
        };
        let config = serde_json::from_slice(&super::super::small(&draft, &manifest.config, u64::MAX)?).unwrap();
        Ok((config, manifest.layers.iter().map(|l| l.media_type.to_string()).collect()))
    }

    #[test]
    fn a_history_is_joined_only_where_it_tells_of_all_layers() {
        for (image_history, old_history, new_history, joined) in [
            ("l--l", "l-", "l", "l-l"),
            ("l-l", "l", "-l", "-l-l"),
            ("ll", "l", "l", "ll"),
            // The image was squashed, or keeps no history, or its base does not.
            ("l", "l", "l", ""),
            ("", "l", "l", ""),
            ("ll", "", "l", ""),
            ("ll", "l", "", ""),
            ("-ll", "l-", "l", ""),
            ("", "", "", ""),
        ] {
            let old = image(Types::Oci, &[("old", GZIP)], old_history);
            let new = image(Types::Oci, &[("new", GZIP)], new_history);
            let app = image(Types::Oci, &[("old", GZIP), ("own", GZIP)], image_history);
            let (config, _) = rebased(&app, &old, &new).unwrap();
            let text: String = config.history.iter().map(|h| if h.empty_layer { '-' } else { 'l' }).collect();
            assert_eq!(text, joined, "{image_history} on {old_history}, then on {new_history}");
            assert_eq!(config.rootfs.diff_ids.len(), 2);
        }
    }

    #[test]
    fn layers_get_the_types_of_their_manifest_or_are_refused() {
        let docker_gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        for (types, own, base, expected) in [
            (Types::Oci, GZIP, ZSTD, Some([ZSTD, GZIP])),
            (Types::Oci, GZIP, docker_gzip, Some([GZIP, GZIP])),
            (Types::Docker, docker_gzip, GZIP, Some([docker_gzip, docker_gzip])),
            (Types::Docker, docker_gzip, ZSTD, None),
        ] {
            let old = image(Types::Oci, &[("old", GZIP)], "");
            let new = image(Types::Oci, &[("new", base)], "");
            let app = image(types, &[("old", own), ("own", own)], "");
            match (rebased(&app, &old, &new), expected) {
                (Ok((_, layers)), Some(expected)) => assert_eq!(layers, expected),
                (Err(EngineError::Request { message, .. }), None) => assert!(message.contains("+zstd"), "{message}"),
                (other, _) => panic!("{base}: {other:?}"),
            }
        }
    }
}
