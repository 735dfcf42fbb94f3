//! What the layers of bases came as, kept with the name of an image that was never compressed.
//!
//! Such an image has a configuration and no manifest, and the store can have several blobs of one layer, from other images.
//! Takes the layers that the image was made of; gives them again. Must never: be needed, since what is too large for a
//! name's file is left out there.

use crate::layers::Layer;
use cooper_image::{Descriptor, ImageConfig};
use serde::Serialize as _;

/// The annotation of the configuration's descriptor: for each layer a descriptor, or null.
const CLAIMS: &str = "cooper.claims";

/// The configuration as a name leads to it. Also of layers that came from nowhere: the store may have others' blobs of those.
pub(crate) fn noted(config: &Descriptor, layers: &[Layer]) -> Descriptor {
    let claims: Vec<Option<Descriptor>> =
        layers.iter().map(|layer| layer.claimed.as_ref().map(Descriptor::plain)).collect();
    let mut noted = config.clone();
    if let Ok(text) = serde_json::to_string(&claims) {
        noted.annotations.insert(CLAIMS.to_owned(), text);
    }
    noted
}

/// The layers of the image that a name leads to, where it was noted what they came as.
pub(crate) fn of(named: &Descriptor, config: &ImageConfig) -> Option<Vec<Layer>> {
    let claims: Vec<Option<Descriptor>> = serde_json::from_str(named.annotations.get(CLAIMS)?).ok()?;
    let diffs = &config.rootfs.diff_ids;
    let layer = |(diff, claimed): (&cooper_image::DiffId, _)| Layer { diff: diff.clone(), claimed };
    (diffs.len() == claims.len()).then(|| diffs.iter().zip(claims).map(layer).collect())
}

/// The same without the note.
pub(crate) fn without(named: &Descriptor) -> Descriptor {
    let mut plain = named.clone();
    plain.annotations.remove(CLAIMS);
    plain
}

/// Tells of a descriptor without the note.
pub(crate) fn serialize_without<S: serde::Serializer>(named: &Descriptor, to: S) -> Result<S::Ok, S::Error> {
    without(named).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::{DiffId, Digest, MediaType, Platform};

    #[test]
    fn layers_come_back_as_they_were() {
        let layer = |n: u8, claimed: Option<MediaType>| Layer {
            diff: DiffId(Digest::sha256([n])),
            claimed: claimed.map(|kind| Descriptor::of(kind, &[n, n])),
        };
        let layers =
            [layer(1, Some(MediaType::OciLayerGzip)), layer(2, None), layer(3, Some(MediaType::DockerLayerGzip))];
        let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff.clone()).collect();
        let plain = Descriptor::of(MediaType::OciConfig, b"{}");
        let named = noted(&plain, &layers);
        assert_eq!(of(&named, &config).unwrap(), layers);
        assert_eq!(without(&named), plain);
        // Nothing is believed of another image.
        config.rootfs.diff_ids.pop();
        assert_eq!(of(&named, &config), None);
        assert_eq!(of(&plain, &config), None);
        // A layer that came from nowhere is known to.
        config.rootfs.diff_ids.truncate(1);
        let made = [layer(1, None)];
        assert_eq!(of(&noted(&plain, &made), &config).unwrap(), made);
    }
}
