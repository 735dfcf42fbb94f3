//! Configuration and layers to the canonical bytes of a config and a manifest.

use crate::{Descriptor, ImageConfig, Index, Manifest, MediaType};
use std::collections::BTreeMap;

/// Annotations of one document.
pub type Notes = BTreeMap<String, String>;

/// Which family of media types to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// OCI image-spec, the default.
    #[default]
    Oci,
    /// Docker schema 2.
    Docker,
}

/// Layers that nobody may pass on, as OCI and as Docker call them.
const FOREIGN: [[&str; 2]; 2] = [
    ["application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"],
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
];

impl Format {
    /// Has it a media type for such a layer?
    pub fn knows_layer(self, layer: &MediaType) -> bool {
        self == Self::Oci || *layer != MediaType::OciLayerZstd
    }

    /// What it calls a layer of the other family.
    pub fn layer(self, layer: MediaType) -> MediaType {
        match (self, layer) {
            (Self::Oci, MediaType::DockerLayer) => MediaType::OciLayer,
            (Self::Oci, MediaType::DockerLayerGzip) => MediaType::OciLayerGzip,
            (Self::Docker, MediaType::OciLayer) => MediaType::DockerLayer,
            (Self::Docker, MediaType::OciLayerGzip) => MediaType::DockerLayerGzip,
            (_, other) => {
                let [from, to] = if self == Self::Oci { [1, 0] } else { [0, 1] };
                FOREIGN.iter().find(|both| both[from] == other.as_str()).map_or(other, |both| both[to].into())
            }
        }
    }
}

/// The two documents of an image, as bytes that name themselves.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// Bytes of the configuration.
    pub config: Vec<u8>,
    /// Bytes of the manifest.
    pub manifest: Vec<u8>,
    /// Describes the configuration.
    pub config_descriptor: Descriptor,
    /// Describes the manifest.
    pub descriptor: Descriptor,
}

/// Bytes of a configuration: compact JSON, fields in struct order, maps sorted.
///
/// # Errors
/// Only when a value cannot be written as JSON.
pub fn config_bytes(config: &ImageConfig) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(config)
}

/// Writes config and manifest for layers (lowest first) that are already described.
///
/// # Errors
/// Only when a value cannot be written as JSON.
pub fn assemble(
    config: &ImageConfig,
    layers: Vec<Descriptor>,
    format: Format,
    annotations: Notes,
) -> Result<Assembled, serde_json::Error> {
    let (manifest_type, config_type) = match format {
        Format::Oci => (MediaType::OciManifest, MediaType::OciConfig),
        Format::Docker => (MediaType::DockerManifest, MediaType::DockerConfig),
    };
    let layers = layers.into_iter().map(|d| Descriptor { media_type: format.layer(d.media_type), ..d }).collect();
    let config = config_bytes(config)?;
    let config_descriptor = Descriptor::of(config_type, &config);
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: Some(manifest_type.clone()),
        artifact_type: None,
        config: config_descriptor.clone(),
        layers,
        subject: None,
        annotations,
    })?;
    let descriptor = Descriptor::of(manifest_type, &manifest);
    Ok(Assembled { config, manifest, config_descriptor, descriptor })
}

/// Writes an index of manifests that are already described, in the order that is given.
///
/// # Errors
/// Only when a value cannot be written as JSON.
pub fn index(
    manifests: Vec<Descriptor>,
    format: Format,
    annotations: Notes,
) -> Result<(Vec<u8>, Descriptor), serde_json::Error> {
    let media_type = match format {
        Format::Oci => MediaType::OciIndex,
        Format::Docker => MediaType::DockerList,
    };
    let index = Index { media_type: Some(media_type.clone()), annotations, ..Index::of(manifests) };
    let bytes = serde_json::to_vec(&index)?;
    let descriptor = Descriptor::of(media_type, &bytes);
    Ok((bytes, descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Platform;

    #[test]
    fn same_input_same_bytes() {
        let c = ImageConfig::scratch(&Platform::linux("amd64"));
        let make =
            || assemble(&c, vec![Descriptor::of(MediaType::DockerLayerGzip, b"x")], Format::Oci, Notes::new()).unwrap();
        assert_eq!(make().manifest, make().manifest);
        let m: Manifest = serde_json::from_slice(&make().manifest).unwrap();
        assert_eq!(m.layers[0].media_type, MediaType::OciLayerGzip);
    }

    #[test]
    fn each_format_has_its_media_types() {
        let notes = || Notes::from([("a".to_owned(), "b".to_owned())]);
        let c = ImageConfig::scratch(&Platform::linux("amd64"));
        for (format, manifest, list) in [
            (Format::Oci, MediaType::OciManifest, MediaType::OciIndex),
            (Format::Docker, MediaType::DockerManifest, MediaType::DockerList),
        ] {
            let image = assemble(&c, vec![Descriptor::of(MediaType::OciLayerGzip, b"x")], format, notes()).unwrap();
            assert_eq!(image.descriptor.media_type, manifest);
            let parsed: Manifest = serde_json::from_slice(&image.manifest).unwrap();
            assert_eq!((parsed.annotations, parsed.media_type), (notes(), Some(manifest)));
            let (bytes, descriptor) = index(vec![image.descriptor.clone()], format, notes()).unwrap();
            let parsed: Index = serde_json::from_slice(&bytes).unwrap();
            assert_eq!((parsed.annotations, parsed.media_type), (notes(), Some(list.clone())));
            assert_eq!((descriptor.media_type, parsed.manifests), (list, vec![image.descriptor]));
        }
        assert!(Format::Oci.knows_layer(&MediaType::OciLayerZstd));
        assert!(!Format::Docker.knows_layer(&MediaType::OciLayerZstd));
        for [oci, docker] in FOREIGN {
            assert_eq!(Format::Docker.layer(oci.into()).as_str(), docker);
            assert_eq!(Format::Oci.layer(docker.into()).as_str(), oci);
            assert!([oci, docker].iter().all(|name| MediaType::from(*name).is_foreign()));
        }
    }
}
