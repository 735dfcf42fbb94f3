//! Configuration and layers to the canonical bytes of a config and a manifest.

use crate::{Descriptor, ImageConfig, Manifest, MediaType};
use std::collections::BTreeMap;

/// Which family of media types to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// OCI image-spec, the default.
    #[default]
    Oci,
    /// Docker schema 2.
    Docker,
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
pub fn assemble(config: &ImageConfig, layers: Vec<Descriptor>, format: Format) -> Result<Assembled, serde_json::Error> {
    let (manifest_type, config_type) = match format {
        Format::Oci => (MediaType::OciManifest, MediaType::OciConfig),
        Format::Docker => (MediaType::DockerManifest, MediaType::DockerConfig),
    };
    let layers = layers.into_iter().map(|d| Descriptor { media_type: translate(d.media_type, format), ..d }).collect();
    let config = config_bytes(config)?;
    let config_descriptor = Descriptor::of(config_type, &config);
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: Some(manifest_type.clone()),
        artifact_type: None,
        config: config_descriptor.clone(),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    })?;
    let descriptor = Descriptor::of(manifest_type, &manifest);
    Ok(Assembled { config, manifest, config_descriptor, descriptor })
}

fn translate(layer: MediaType, format: Format) -> MediaType {
    match (format, layer) {
        (Format::Oci, MediaType::DockerLayer) => MediaType::OciLayer,
        (Format::Oci, MediaType::DockerLayerGzip) => MediaType::OciLayerGzip,
        (Format::Docker, MediaType::OciLayer) => MediaType::DockerLayer,
        (Format::Docker, MediaType::OciLayerGzip) => MediaType::DockerLayerGzip,
        (_, other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Platform;

    #[test]
    fn same_input_same_bytes() {
        let c = ImageConfig::scratch(&Platform::linux("amd64"));
        let make = || assemble(&c, vec![Descriptor::of(MediaType::DockerLayerGzip, b"x")], Format::Oci).unwrap();
        assert_eq!(make().manifest, make().manifest);
        let m: Manifest = serde_json::from_slice(&make().manifest).unwrap();
        assert_eq!(m.layers[0].media_type, MediaType::OciLayerGzip);
    }
}
