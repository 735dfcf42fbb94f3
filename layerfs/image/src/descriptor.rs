//! Descriptors (image-spec, descriptor.md): what a blob is, how it is named, how large it is.

use crate::config::null_is_default;
use crate::{Digest, MediaType, Platform};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Points at a blob by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// For entries of an index: the platform it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free-form annotations.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where its publisher keeps it. Never asked; a layer that nobody may pass on is nowhere else.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The kind of artifact it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor with neither platform nor annotations.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        let (annotations, urls) = (BTreeMap::new(), Vec::new());
        Self { media_type, digest, size, platform: None, annotations, urls, artifact_type: None }
    }
    /// What it is, without what was noted of it: a layer as a manifest of ours holds it.
    #[must_use]
    pub fn plain(&self) -> Self {
        // Nobody would find it without them.
        let urls = if self.media_type.is_foreign() { self.urls.clone() } else { Vec::new() };
        Self { urls, ..Self::new(self.media_type.clone(), self.digest.clone(), self.size) }
    }
    /// Describes bytes in memory.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }
}
