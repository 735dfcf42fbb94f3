//! An image that is changed without being built: its documents are new, its blobs are mostly those of another place.
//!
//! Takes a place and a change; gives a place to read the new image from. What a document holds that nobody here knows
//! stays in it. Must never touch the place that the image comes from.

use super::new_layer::NewLayer;
use super::origin::{Origin, Reader, skipped, small};
use super::shipment::{DocumentKey, key};
use crate::event::{Event, Sink};
use crate::{EngineError, resolve};
use cooper_image::config::History;
use cooper_image::{Descriptor, Digest, Document, ImageConfig, MediaType, Reference, Verified, limits};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Marks what is about another image of the same index, as attestations are.
pub(super) const ABOUT: &str = "vnd.docker.reference.digest";

/// One image in the making.
pub struct ImageDraft {
    /// The image that it was before.
    pub from: Descriptor,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers as the manifest has them, lowest first.
    pub layers: Vec<Value>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Are its documents Docker's?
    pub is_docker: bool,
    manifest: Map<String, Value>,
    files: Vec<NewLayer>,
    /// The configuration as it was, and its bytes.
    was: (ImageConfig, Vec<u8>),
}

impl ImageDraft {
    /// Reads an image.
    ///
    /// # Errors
    /// [`EngineError::Request`] for artifacts, [`EngineError::InvalidImage`], and what the place says.
    pub fn read(origin: &dyn Origin, d: &Descriptor) -> Result<Self, EngineError> {
        let invalid = |e: String| resolve::invalid(&origin.place(), e);
        let bytes = origin.document(d)?;
        let parsed = Document::parse(&bytes, Some(&d.media_type)).map_err(|e| invalid(e.to_string()))?;
        let Document::Manifest(parsed) = parsed else { return Err(invalid("an index is no image".to_owned())) };
        if !matches!(parsed.config.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
            return Err(EngineError::Request {
                message: format!("{} is no image: its configuration is a {}", d.digest, parsed.config.media_type),
                hint: "only images can be changed; cooper copy takes anything".to_owned(),
            });
        }
        let bytes_of_config = small(origin, &parsed.config, limits::CONFIG_BYTES)?;
        let config: ImageConfig = serde_json::from_slice(&bytes_of_config).map_err(|e| invalid(e.to_string()))?;
        if config.rootfs.diff_ids.len() != parsed.layers.len() {
            return Err(invalid("its configuration and its manifest do not have as many layers".to_owned()));
        }
        let manifest: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
        let layers = manifest.get("layers").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_docker = parsed.config.media_type == MediaType::DockerConfig;
        let (from, annotations) = (super::layout::bare(d), parsed.annotations);
        let (was, files) = ((config.clone(), bytes_of_config), Vec::new());
        Ok(Self { from, config, layers, annotations, is_docker, manifest, files, was })
    }

    /// Adds a layer on top; `how` is its line in the history.
    pub fn push(&mut self, layer: NewLayer, how: &str) {
        // A history that tells of other layers than there are is worse than none.
        if made(&self.config.history) == self.config.rootfs.diff_ids.len() {
            let created = self.config.created.clone();
            let created_by = Some(how.to_owned());
            self.config.history.push(History { created, created_by, ..Default::default() });
        }
        self.config.rootfs.diff_ids.push(layer.diff.clone());
        self.layers.push(describe(&layer.described(self.is_docker)));
        self.files.push(layer);
    }

    /// Throws all layers away.
    pub fn clear(&mut self) {
        self.layers.clear();
        self.files.clear();
        self.config.rootfs.diff_ids.clear();
        self.config.history.clear();
    }

    fn finish(self, into: &mut Draft) -> Result<Descriptor, EngineError> {
        let Self { from, config, layers, annotations, is_docker, mut manifest, files, was } = self;
        let before = manifest.clone();
        if is_docker && !annotations.is_empty() {
            return Err(EngineError::Request {
                message: "Docker's manifests have no annotations".to_owned(),
                hint: "set labels, or build the image with OCI's media types".to_owned(),
            });
        }
        let kind = |layer: &Value| layer["mediaType"].as_str().unwrap_or_default().to_owned();
        let unknown = |kind: &String| kind.starts_with("application/vnd.oci.image.layer.");
        if let Some(kind) = layers.iter().map(kind).find(unknown).filter(|_| is_docker) {
            return Err(EngineError::Request {
                message: format!("Docker's manifests know no layers of type {kind}"),
                hint: "give a layer that is compressed with gzip, or build the image with OCI's media types".to_owned(),
            });
        }
        let (manifest_type, config_type) = match is_docker {
            true => (MediaType::DockerManifest, MediaType::DockerConfig),
            false => (MediaType::OciManifest, MediaType::OciConfig),
        };
        // Who has changed nothing in it gets its very bytes, whoever wrote them.
        let bytes = if config == was.0 { was.1 } else { json_bytes(&config)? };
        let described = Descriptor::of(config_type, &bytes);
        into.documents.insert(described.digest.clone(), bytes);
        // Docker's have it, OCI's may; it is the same for all who read it.
        if let Some(said) = manifest.get_mut("mediaType") {
            *said = json!(manifest_type);
        }
        manifest.insert("config".to_owned(), describe(&described));
        manifest.insert("layers".to_owned(), Value::Array(layers));
        manifest.remove("annotations");
        if !annotations.is_empty() {
            manifest.insert("annotations".to_owned(), json!(annotations));
        }
        if manifest == before && from.media_type == manifest_type {
            return Ok(from);
        }
        let bytes = json_bytes(&manifest)?;
        let d = Descriptor::of(manifest_type, &bytes);
        into.documents.insert(d.digest.clone(), bytes);
        into.layers.extend(files.into_iter().map(|f| (f.digest.clone(), f)));
        Ok(d)
    }
}

/// How many layers a history tells of.
pub(super) fn made(history: &[History]) -> usize {
    history.iter().filter(|h| !h.empty_layer).count()
}

/// A place that holds what is new, and leads to another one for the rest.
pub struct Draft {
    base: Arc<dyn Origin>,
    documents: BTreeMap<Digest, Vec<u8>>,
    layers: BTreeMap<Digest, NewLayer>,
    /// What became of documents: an index may name one again and again.
    became: BTreeMap<DocumentKey, Descriptor>,
    top: Descriptor,
    /// How many entries of indexes were about images that are no more.
    left_out: usize,
    /// How many images were given to the change.
    images: usize,
}

impl Draft {
    /// Documents beside those of a place.
    pub(super) fn beside(base: Arc<dyn Origin>, top: Descriptor, bytes: Vec<u8>) -> Self {
        let documents = [(top.digest.clone(), bytes)].into();
        Self { base, documents, layers: BTreeMap::new(), became: BTreeMap::new(), top, left_out: 0, images: 0 }
    }

    /// Changes an image, or every image of an index.
    ///
    /// # Errors
    /// What `change` says, and as [`ImageDraft::read`].
    pub fn of(
        base: &Arc<dyn Origin>,
        top: &Descriptor,
        change: &mut dyn FnMut(&mut ImageDraft) -> Result<(), EngineError>,
    ) -> Result<Self, EngineError> {
        let (documents, layers, became) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let base = Arc::clone(base);
        let mut draft = Self { base, documents, layers, became, top: top.clone(), left_out: 0, images: 0 };
        draft.top = draft.changed(top, 0, change)?;
        Ok(draft)
    }

    /// The documents that are new.
    pub(super) fn documents(&self) -> impl Iterator<Item = &[u8]> {
        self.documents.values().map(Vec::as_slice)
    }

    /// For who asked for a change: says so when there was nothing to change.
    ///
    /// # Errors
    /// [`EngineError::Request`] for an index without images.
    pub fn must_change(&self) -> Result<(), EngineError> {
        if self.images > 0 {
            return Ok(());
        }
        Err(EngineError::Request {
            message: format!("{}: there is no image in the index, so that nothing would be changed", self.place()),
            hint: "cooper inspect --raw shows what is in it; cooper index add puts an image into one".to_owned(),
        })
    }

    /// Warns of what an index had and the new one has not.
    pub fn tell(&self, sink: &dyn Sink) {
        if self.left_out > 0 {
            let text = format!(
                "{}: left out {} of its entries that are about its other images (attestations), for those are replaced",
                self.place(),
                self.left_out
            );
            sink.event(Event::Warning { text });
        }
    }

    fn changed(
        &mut self,
        d: &Descriptor,
        depth: usize,
        change: &mut dyn FnMut(&mut ImageDraft) -> Result<(), EngineError>,
    ) -> Result<Descriptor, EngineError> {
        if let Some(new) = self.became.get(&key(d)) {
            return Ok(new.clone());
        }
        let new = self.anew(d, depth, change)?;
        self.became.insert(key(d), new.clone());
        Ok(new)
    }

    fn anew(
        &mut self,
        d: &Descriptor,
        depth: usize,
        change: &mut dyn FnMut(&mut ImageDraft) -> Result<(), EngineError>,
    ) -> Result<Descriptor, EngineError> {
        if !d.media_type.is_index() {
            let mut image = ImageDraft::read(&*self.base, d)?;
            change(&mut image)?;
            self.images += 1;
            return image.finish(self);
        }
        let invalid = |e: String| resolve::invalid(&self.base.place(), e);
        let bytes = self.base.document(d)?;
        let parsed = Document::parse(&bytes, Some(&d.media_type)).map_err(|e| invalid(e.to_string()))?;
        let Document::Index(index) = parsed else { return Err(invalid("a manifest is no index".to_owned())) };
        if depth > limits::INDEX_DEPTH {
            return Err(invalid("its indexes nest too deep".to_owned()));
        }
        let mut whole: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
        let entries = whole.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
        // Entries, not digests: an image can be in it once more as part of something else.
        let mut images = index.images().peekable();
        let mut kept = Vec::with_capacity(entries.len());
        for (entry, mut value) in index.manifests.iter().zip(entries) {
            let is_image = images.next_if(|image| std::ptr::eq(*image, entry)).is_some();
            // What is said of an image that is no more would be said of nothing.
            if entry.annotations.contains_key(ABOUT) {
                self.left_out += 1;
                continue;
            }
            if is_image {
                let new = self.changed(entry, depth + 1, change)?;
                if let Some(value) = value.as_object_mut() {
                    value.insert("digest".to_owned(), json!(new.digest));
                    value.insert("size".to_owned(), json!(new.size));
                    value.insert("mediaType".to_owned(), json!(new.media_type));
                    value.remove("data");
                }
            }
            kept.push(value);
        }
        whole.insert("manifests".to_owned(), Value::Array(kept));
        let bytes = json_bytes(&whole)?;
        let new = Descriptor::of(d.media_type.clone(), &bytes);
        self.documents.insert(new.digest.clone(), bytes);
        Ok(new)
    }
}

impl Origin for Draft {
    fn place(&self) -> String {
        self.base.place()
    }

    fn top(&self) -> Result<Descriptor, EngineError> {
        Ok(self.top.clone())
    }

    fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError> {
        match self.documents.get(&d.digest) {
            Some(bytes) => Ok(Verified::check(bytes.clone(), &d.digest, Some(d.size))?.into_inner()),
            None => self.base.document(d),
        }
    }

    fn open(&self, d: &Descriptor) -> Result<Reader, EngineError> {
        match (self.documents.get(&d.digest), self.layers.get(&d.digest)) {
            (Some(bytes), _) => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
            (None, Some(layer)) => Ok(layer.open(d)),
            (None, None) => self.base.open(d),
        }
    }

    fn open_at(&self, d: &Descriptor, from: u64) -> Result<Reader, EngineError> {
        if self.documents.contains_key(&d.digest) || self.layers.contains_key(&d.digest) {
            return skipped(self, d, from);
        }
        self.base.open_at(d, from)
    }

    fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError> {
        match (self.documents.get(&d.digest), self.layers.get(&d.digest)) {
            (Some(bytes), _) => Ok(Some(bytes.len() as u64)),
            (None, Some(layer)) => Ok(Some(layer.size)),
            (None, None) => self.base.size(d),
        }
    }

    fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, EngineError> {
        // Nobody knows of an image that is new.
        Ok(Vec::new())
    }

    fn repository(&self) -> Option<&Reference> {
        self.base.repository()
    }
}

fn describe(d: &Descriptor) -> Value {
    json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size})
}

pub(super) fn json_bytes(value: &impl serde::Serialize) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(value).map_err(|source| EngineError::Json { what: "the new document".to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, Types};
    use super::*;
    use cooper_image::Platform;

    #[test]
    fn where_there_is_no_image_nothing_is_called_changed() {
        let mut place = Memory::default();
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": []});
        let top = place.put(MediaType::OciIndex.as_str(), &serde_json::to_vec(&index).unwrap());
        let none = Draft::of(&place.shared(), &top, &mut |_| Ok(())).unwrap().must_change().unwrap_err();
        assert!(none.to_string().contains("there is no image in the index"), "{none}");
    }

    #[test]
    fn what_is_not_changed_keeps_its_bytes() {
        let mut place = Memory::default();
        let pretty = |value: &Value| serde_json::to_vec_pretty(value).unwrap();
        let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = place.put(MediaType::OciConfig.as_str(), &pretty(&config));
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        let top = place.put(MediaType::OciManifest.as_str(), &pretty(&manifest));
        let base = place.shared();
        let same = Draft::of(&base, &top, &mut |_| Ok(())).unwrap();
        assert_eq!(same.top().unwrap().digest, top.digest);
        same.must_change().unwrap();
        let noted = Draft::of(&base, &top, &mut |image| {
            image.annotations.insert("a".to_owned(), "b".to_owned());
            Ok(())
        });
        let (noted, now) = noted.map(|draft| (draft.document(&draft.top().unwrap()).unwrap(), draft)).unwrap();
        let noted: Value = serde_json::from_slice(&noted).unwrap();
        assert_ne!(now.top().unwrap().digest, top.digest);
        assert_eq!(noted["config"]["digest"], json!(config.digest));
    }

    #[test]
    fn an_image_that_is_named_often_is_changed_once() {
        let mut place = Memory::default();
        let top = place.bomb(MediaType::OciConfig.as_str());
        let mut count = 0;
        let draft = Draft::of(&place.shared(), &top, &mut |image| {
            count += 1;
            image.config.config.user = Some("7".to_owned());
            Ok(())
        });
        assert_eq!(count, 1);
        assert_ne!(draft.unwrap().top().unwrap().digest, top.digest);
    }

    #[test]
    fn an_entry_that_is_no_image_stays_what_it_is() {
        let mut place = Memory::default();
        let image = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
        let of = |platform: &str| {
            let mut entry = image.clone();
            entry.platform = platform.parse().ok();
            entry
        };
        let entries = [of("unknown/unknown"), of("linux/amd64"), of("unknown/unknown")];
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries});
        let top = place.lead(&MediaType::OciIndex, &index);
        let draft = Draft::of(&place.shared(), &top, &mut |image| {
            image.config.config.user = Some("7".to_owned());
            Ok(())
        });
        let draft = draft.unwrap();
        let changed: Value = serde_json::from_slice(&draft.document(&draft.top().unwrap()).unwrap()).unwrap();
        let same: Vec<bool> = changed["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["digest"] == json!(image.digest))
            .collect();
        assert_eq!(same, [true, false, true], "{changed}");
    }

    #[test]
    fn what_is_about_images_that_are_no_more_goes_with_a_warning() {
        struct Told(std::sync::Mutex<Vec<String>>);
        impl Sink for Told {
            fn event(&self, event: Event) {
                if let Event::Warning { text } = event {
                    self.0.lock().unwrap().push(text);
                }
            }
        }
        let mut place = Memory::default();
        let image = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
        let mut about = json!(image);
        about["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        about["annotations"] = json!({ABOUT: image.digest});
        for (entries, warnings) in [(vec![json!(image)], 0), (vec![json!(image), about.clone(), about], 1)] {
            let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries});
            let top = place.lead(&MediaType::OciIndex, &index);
            let draft = Draft::of(&place.shared(), &top, &mut |image| {
                image.config.config.user = Some("7".to_owned());
                Ok(())
            });
            let (draft, told) = (draft.unwrap(), Told(std::sync::Mutex::default()));
            draft.tell(&told);
            let told = told.0.into_inner().unwrap();
            assert_eq!(told.len(), warnings, "{told:?}");
            assert!(told.iter().all(|text| text.contains("left out 2 of its entries")), "{told:?}");
            let made: Value = serde_json::from_slice(&draft.document(&draft.top().unwrap()).unwrap()).unwrap();
            assert_eq!(made["manifests"].as_array().map(Vec::len), Some(1), "{made}");
        }
    }
}
