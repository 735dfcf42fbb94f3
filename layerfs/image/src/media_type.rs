//! Media types of manifests, configs and layers (image-spec, media-types.md), OCI's and Docker's.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A closed list of what Cooper understands, and everything else verbatim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum MediaType {
    OciManifest,
    OciIndex,
    OciConfig,
    OciLayer,
    OciLayerGzip,
    OciLayerZstd,
    DockerManifest,
    DockerList,
    DockerConfig,
    DockerLayer,
    DockerLayerGzip,
    /// Anything else, kept as it came.
    Other(String),
}

const TABLE: &[(MediaType, &str)] = &[
    (MediaType::OciManifest, "application/vnd.oci.image.manifest.v1+json"),
    (MediaType::OciIndex, "application/vnd.oci.image.index.v1+json"),
    (MediaType::OciConfig, "application/vnd.oci.image.config.v1+json"),
    (MediaType::OciLayer, "application/vnd.oci.image.layer.v1.tar"),
    (MediaType::OciLayerGzip, "application/vnd.oci.image.layer.v1.tar+gzip"),
    (MediaType::OciLayerZstd, "application/vnd.oci.image.layer.v1.tar+zstd"),
    (MediaType::DockerManifest, "application/vnd.docker.distribution.manifest.v2+json"),
    (MediaType::DockerList, "application/vnd.docker.distribution.manifest.list.v2+json"),
    (MediaType::DockerConfig, "application/vnd.docker.container.image.v1+json"),
    (MediaType::DockerLayer, "application/vnd.docker.image.rootfs.diff.tar"),
    (MediaType::DockerLayerGzip, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
];

impl MediaType {
    /// The registered text.
    pub fn as_str(&self) -> &str {
        if let Self::Other(s) = self {
            return s;
        }
        TABLE.iter().find(|(m, _)| m == self).map_or("", |(_, s)| s)
    }
    /// Is it a list of manifests?
    pub fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }
    /// Is it a single image manifest?
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }
    /// A layer that is fetched from where its publisher keeps it (image-spec, layer.md, "Non-Distributable Layers"):
    /// whoever has the image need not have it.
    pub fn is_foreign(&self) -> bool {
        let text = self.as_str();
        text.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
            || text.starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar")
    }
    /// What an `Accept` header lists for a manifest request.
    pub fn accepted() -> [Self; 4] {
        [Self::OciIndex, Self::OciManifest, Self::DockerList, Self::DockerManifest]
    }
}

impl From<&str> for MediaType {
    fn from(s: &str) -> Self {
        TABLE.iter().find(|(_, t)| *t == s).map_or_else(|| Self::Other(s.to_owned()), |(m, _)| m.clone())
    }
}
impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(d)?.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_round_trips() {
        for (m, s) in TABLE {
            assert_eq!(m.as_str(), *s);
            assert_eq!(MediaType::from(*s), *m);
        }
        assert_eq!(MediaType::from("text/plain").as_str(), "text/plain");
    }
}
