//! Indexes out of images that are somewhere already: put together, and described anew.

use super::draft::{Draft, json_bytes};
use super::origin::{Origin, small};
use super::shipment::{Name, Referrers, Shipment, Top};
use crate::{EngineError, resolve};
use cooper_image::annotations::{Annotation, Target, select};
use cooper_image::{Descriptor, Digest, Document, ImageConfig, MediaType, Platform, limits};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An index in the making: entries as JSON, since what nobody here knows stays in them.
#[derive(Default)]
pub struct IndexDraft {
    entries: Vec<Value>,
    annotations: BTreeMap<String, String>,
    origins: Vec<(Arc<dyn Origin>, Descriptor)>,
}

/// What is changed of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryChange {
    /// Operating system.
    pub os: Option<String>,
    /// Processor.
    pub architecture: Option<String>,
    /// Variant of the processor.
    pub variant: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Further annotations.
    pub annotations: Vec<(String, String)>,
}

impl IndexDraft {
    /// Adds an image, or everything that an index holds. An entry that is for the same platform as an earlier one takes
    /// its place.
    ///
    /// # Errors
    /// What the place says.
    pub fn add(&mut self, origin: &Arc<dyn Origin>, d: &Descriptor) -> Result<(), EngineError> {
        let invalid = |e: String| resolve::invalid(&origin.place(), e);
        let bytes = origin.document(d)?;
        match Document::parse(&bytes, Some(&d.media_type)).map_err(|e| invalid(e.to_string()))? {
            Document::Index(index) => {
                let whole: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
                let entries = whole.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
                entries.into_iter().for_each(|entry| self.put(entry));
                for (key, value) in index.annotations {
                    self.annotations.entry(key).or_insert(value);
                }
                self.origins.extend(index.manifests.into_iter().map(|d| (Arc::clone(origin), super::layout::bare(&d))));
            }
            Document::Manifest(manifest) => {
                let mut entry = json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size});
                let platform = match manifest.config.media_type {
                    MediaType::OciConfig | MediaType::DockerConfig => {
                        let config = small(&**origin, &manifest.config, limits::CONFIG_BYTES)?;
                        let config: ImageConfig =
                            serde_json::from_slice(&config).map_err(|e| invalid(e.to_string()))?;
                        Some(config.platform())
                    }
                    _ => None,
                };
                if let Some(entry) = entry.as_object_mut() {
                    entry.extend(platform.map(|p| ("platform".to_owned(), json!(p))));
                    entry.extend(manifest.artifact_type.map(|t| ("artifactType".to_owned(), json!(t))));
                }
                self.put(entry);
                self.origins.push((Arc::clone(origin), super::layout::bare(d)));
            }
        }
        Ok(())
    }

    fn put(&mut self, entry: Value) {
        let same = |old: &Value| {
            let platform = |v: &Value| v.get("platform").cloned().filter(|p| p["os"] != "unknown");
            old["digest"] == entry["digest"] || (platform(old).is_some() && platform(old) == platform(&entry))
        };
        match self.entries.iter().position(same) {
            Some(at) => self.entries.splice(at..=at, [entry]).for_each(drop),
            None => self.entries.push(entry),
        }
    }

    /// Sets annotations: of the index, or with `manifest-descriptor` of its entries.
    ///
    /// # Errors
    /// [`EngineError::Request`] for those of manifests, which would be other images then.
    pub fn annotate(&mut self, all: &[Annotation]) -> Result<(), EngineError> {
        if let Some(other) = all.iter().find(|a| !matches!(a.target, Target::Index | Target::ManifestDescriptor)) {
            return Err(EngineError::Request {
                message: format!("the annotation {} would be one of {}", other.key, other.target),
                hint: "write index:KEY=VALUE or manifest-descriptor[PLATFORM]:KEY=VALUE; cooper mutate changes images"
                    .to_owned(),
            });
        }
        self.annotations.extend(select(all, Target::Index, &Platform::host()));
        for entry in &mut self.entries {
            let platform = entry.get("platform").cloned().and_then(|p| serde_json::from_value::<Platform>(p).ok());
            let Some(platform) = platform.filter(|p| p.os != "unknown") else { continue };
            note(entry, select(all, Target::ManifestDescriptor, &platform));
        }
        Ok(())
    }

    /// Changes the entry with this digest, or for this platform.
    ///
    /// # Errors
    /// [`EngineError::Request`] when there is none.
    pub fn change(&mut self, which: &str, change: &EntryChange) -> Result<(), EngineError> {
        let digest = which.parse::<Digest>().ok();
        let platform = which.parse::<Platform>().ok();
        let is = |entry: &Value| match &digest {
            Some(digest) => entry["digest"] == json!(digest),
            None => {
                let of = entry.get("platform").cloned().and_then(|p| serde_json::from_value::<Platform>(p).ok());
                of.zip(platform.as_ref()).is_some_and(|(of, wanted)| of.satisfies(wanted))
            }
        };
        let has: Vec<String> = self.entries.iter().filter_map(|e| e["digest"].as_str().map(str::to_owned)).collect();
        let Some(entry) = self.entries.iter_mut().find(|e| is(e)) else {
            return Err(EngineError::Request {
                message: format!("the index has no entry {which:?}"),
                hint: format!("give a platform as linux/arm64, or a digest; it has {}", has.join(", ")),
            });
        };
        let fields = [
            ("os", &change.os),
            ("architecture", &change.architecture),
            ("variant", &change.variant),
            ("os.version", &change.os_version),
        ];
        let set = fields.iter().filter_map(|(key, value)| Some(((*key).to_owned(), json!(value.as_ref()?))));
        let set: Map<String, Value> = set.collect();
        if let Some(entry) = entry.as_object_mut().filter(|_| !set.is_empty()) {
            let platform = entry.entry("platform").or_insert_with(|| json!({}));
            if let Some(platform) = platform.as_object_mut() {
                platform.extend(set);
            }
        }
        note(entry, change.annotations.iter().cloned().collect());
        Ok(())
    }

    /// The index's bytes and what describes them: OCI's, unless everything in it is Docker's.
    ///
    /// # Errors
    /// [`EngineError::Request`] when it is empty.
    pub fn finish(&self) -> Result<(Vec<u8>, Descriptor), EngineError> {
        if self.entries.is_empty() {
            return Err(EngineError::Request {
                message: "an index of nothing".to_owned(),
                hint: "name the images that it is to hold".to_owned(),
            });
        }
        let docker = MediaType::DockerManifest.to_string();
        let noted = !self.annotations.is_empty() || self.entries.iter().any(|e| e.get("annotations").is_some());
        let is_docker = !noted && self.entries.iter().all(|e| e["mediaType"] == docker.as_str());
        let media_type = if is_docker { MediaType::DockerList } else { MediaType::OciIndex };
        let mut index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": self.entries});
        if let Some(index) = index.as_object_mut().filter(|_| !self.annotations.is_empty()) {
            index.insert("annotations".to_owned(), json!(self.annotations));
        }
        let bytes = json_bytes(&index)?;
        let d = Descriptor::of(media_type, &bytes);
        Ok((bytes, d))
    }

    /// The index and everything in it, ready to go under these names.
    ///
    /// # Errors
    /// What the places say.
    pub fn shipment(&self, names: Vec<Name>) -> Result<(Shipment, Descriptor), EngineError> {
        let (bytes, descriptor) = self.finish()?;
        let mut shipment = Shipment::default();
        for (origin, d) in &self.origins {
            if self.entries.iter().any(|e| e["digest"] == json!(d.digest)) {
                shipment.add_part(origin, d)?;
            }
        }
        if let Some((first, _)) = self.origins.first() {
            let draft: Arc<dyn Origin> = Arc::new(Draft::beside(Arc::clone(first), descriptor.clone(), bytes));
            shipment.add(&draft, Top { descriptor: descriptor.clone(), names }, Referrers::Stay)?;
        }
        Ok((shipment, descriptor))
    }
}

fn note(entry: &mut Value, notes: BTreeMap<String, String>) {
    if let Some(entry) = entry.as_object_mut().filter(|_| !notes.is_empty()) {
        let all = entry.entry("annotations").or_insert_with(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            all.extend(notes.into_iter().map(|(key, value)| (key, json!(value))));
        }
    }
}
