//! A place in memory, for tests of what reads places.

use super::origin::{Checked, Origin, Reader};
use crate::EngineError;
use cooper_image::{Descriptor, Digest, ImageConfig, MediaType, Platform};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

/// Documents and blobs by their digests.
#[derive(Default, Clone)]
pub(super) struct Memory {
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    pub(super) top: Option<Descriptor>,
}

impl Memory {
    /// Keeps a blob.
    pub(super) fn put(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let d = Descriptor::of(MediaType::from(media_type), bytes);
        self.blobs.insert(d.digest.clone(), bytes.to_vec());
        d
    }

    /// Keeps a document, to which the place then leads.
    pub(super) fn lead(&mut self, media_type: &MediaType, document: &Value) -> Descriptor {
        let d = self.put(media_type.as_str(), document.to_string().as_bytes());
        self.top = Some(d.clone());
        d
    }

    /// Keeps an image of OCI, or with `docker` of Docker; its layers are the given ones, each with its DiffId.
    pub(super) fn image(&mut self, types: Types, platform: &Platform, layers: &[(Descriptor, Digest)]) -> Descriptor {
        let mut config = ImageConfig::scratch(platform);
        for (_, diff) in layers {
            config.rootfs.diff_ids.push(cooper_image::DiffId(diff.clone()));
            config.history.push(Default::default());
        }
        self.image_of(types, &config, layers.iter().map(|(d, _)| d.clone()).collect())
    }

    /// As [`Memory::image`], with this configuration.
    pub(super) fn image_of(&mut self, types: Types, config: &ImageConfig, layers: Vec<Descriptor>) -> Descriptor {
        let (manifest, config_type) = match types {
            Types::Oci => (MediaType::OciManifest, MediaType::OciConfig),
            Types::Docker => (MediaType::DockerManifest, MediaType::DockerConfig),
        };
        let config = self.put(config_type.as_str(), serde_json::to_string(config).unwrap().as_bytes());
        let document = json!({"schemaVersion": 2, "mediaType": manifest, "config": config, "layers": layers});
        self.lead(&manifest, &document)
    }

    /// An index of the same index again and again, on many levels, around one image whose configuration has this type.
    pub(super) fn bomb(&mut self, config_type: &str) -> Descriptor {
        let config = serde_json::to_string(&ImageConfig::scratch(&Platform::linux("amd64"))).unwrap();
        let config = self.put(config_type, config.as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": config, "layers": []});
        let mut inner = self.lead(&MediaType::OciManifest, &manifest);
        for _ in 0..cooper_image::limits::INDEX_DEPTH {
            let entries = vec![&inner; 40];
            let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries});
            inner = self.lead(&MediaType::OciIndex, &index);
        }
        inner
    }

    pub(super) fn shared(&self) -> Arc<dyn Origin> {
        Arc::new(self.clone())
    }
}

/// Whose media types.
#[derive(Clone, Copy)]
pub(super) enum Types {
    Oci,
    Docker,
}

impl Origin for Memory {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn top(&self) -> Result<Descriptor, EngineError> {
        self.top.clone().ok_or(EngineError::Interrupted)
    }

    fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError> {
        super::small(self, d, u64::MAX)
    }

    fn open(&self, d: &Descriptor) -> Result<Reader, EngineError> {
        let bytes = self
            .blobs
            .get(&d.digest)
            .ok_or_else(|| EngineError::MissingPart { reference: self.place(), part: d.digest.to_string() })?;
        Ok(Box::new(Checked::new(Cursor::new(bytes.clone()), d, self.place())))
    }

    fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError> {
        Ok(self.blobs.get(&d.digest).map(|bytes| bytes.len() as u64))
    }

    fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, EngineError> {
        Ok(Vec::new())
    }
}
