//! Indexes out of images that are somewhere already: put together, and described anew.

mod within;

use super::draft::{ABOUT, Draft, json_bytes};
use super::origin::{Origin, small};
use super::shipment::{Name, Referrers, Shipment, Top};
use crate::{EngineError, resolve};
use cooper_image::annotations::{Annotation, Target, select};
use cooper_image::{Descriptor, Digest, Document, ImageConfig, MediaType, Platform, limits};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use within::is_within;

/// Most digests in a hint.
const SHOWN: usize = 8;

/// An index in the making: entries as JSON, since what nobody here knows stays in them.
#[derive(Default)]
pub struct IndexDraft {
    entries: Vec<Entry>,
    annotations: BTreeMap<String, String>,
    origins: Vec<(Arc<dyn Origin>, Descriptor)>,
    /// What the index says besides that is changed: its subject, the type of artifact that it is.
    rest: Map<String, Value>,
    /// How many sources there were.
    sources: usize,
    /// Is an index changed that has OCI's type?
    is_oci: bool,
    /// Does what is said of an entry stay, when the same one is added?
    keeps: bool,
}

struct Entry {
    value: Value,
    /// Which source it is of. Those of one do not take each other's place.
    source: usize,
}

/// What becomes of an entry when an image for its platform is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamePlatform {
    /// The new one takes its place.
    Goes,
    /// Both are in it.
    Stays,
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
    /// Begins with what is there: of an index, all that it says stays.
    ///
    /// # Errors
    /// What the place says.
    pub fn of(origin: &Arc<dyn Origin>, d: &Descriptor) -> Result<Self, EngineError> {
        let mut draft = Self::default();
        draft.add(origin, d, SamePlatform::Stays)?;
        if d.media_type.is_index() {
            let whole = serde_json::from_slice(&origin.document(d)?);
            draft.rest = whole.map_err(|e| resolve::invalid(&origin.place(), e.to_string()))?;
            for ours in ["schemaVersion", "mediaType", "manifests", "annotations"] {
                draft.rest.remove(ours);
            }
            draft.is_oci = d.media_type == MediaType::OciIndex;
        }
        Ok(draft)
    }

    /// From here on what is said of an entry stays when the same one is added: it was added before, and others may have
    /// said more of it since.
    pub fn keep_descriptions(&mut self) {
        self.keeps = true;
    }

    /// Adds an image, or everything that an index holds. What of earlier sources is for the same platform goes, in each
    /// of the forms that it has there, and what was said of it goes with it: else whoever prefers one of the others,
    /// as one that is compressed with zstd, would get the image from before. Unless it is to stay.
    ///
    /// # Errors
    /// What the place says.
    pub fn add(&mut self, origin: &Arc<dyn Origin>, d: &Descriptor, same: SamePlatform) -> Result<(), EngineError> {
        let invalid = |e: String| resolve::invalid(&origin.place(), e);
        let bytes = origin.document(d)?;
        self.sources += 1;
        match Document::parse(&bytes, Some(&d.media_type)).map_err(|e| invalid(e.to_string()))? {
            Document::Index(index) => {
                let whole: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
                let entries = whole.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
                self.take(entries, same);
                for (key, value) in index.annotations {
                    self.annotations.entry(key).or_insert(value);
                }
                self.origins.extend(index.manifests.into_iter().map(|d| (Arc::clone(origin), super::layout::bare(&d))));
            }
            Document::Manifest(manifest) => {
                // What the index says of an image that it has is more than the image says itself.
                if self.entries.iter().any(|entry| entry.value["digest"] == json!(d.digest)) {
                    return Ok(());
                }
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
                self.take(vec![entry], same);
                self.origins.push((Arc::clone(origin), super::layout::bare(d)));
            }
        }
        match same {
            SamePlatform::Stays => Ok(()),
            SamePlatform::Goes => self.check_within(),
        }
    }

    /// Puts in what one source holds. Whatever is of the same digest and for the same is described anew, unless that is to
    /// stay.
    fn take(&mut self, values: Vec<Value>, same: SamePlatform) {
        let source = self.sources;
        let digests = |entries: &[Entry]| -> BTreeSet<String> {
            entries.iter().map(|entry| entry.value["digest"].to_string()).collect()
        };
        let before = digests(&self.entries);
        for value in values {
            let earlier =
                |of: &dyn Fn(&Value) -> bool| self.entries.iter().position(|old| old.source < source && of(&old.value));
            let itself = earlier(&|old| old["digest"] == value["digest"] && kind(old) == kind(&value));
            let place = || earlier(&|old| kind(old).is_some() && kind(old) == kind(&value));
            match itself.or_else(|| place().filter(|_| same == SamePlatform::Goes)) {
                Some(at) if self.keeps && itself.is_some() => self.entries[at].source = source,
                None => self.entries.push(Entry { value, source }),
                Some(at) => self.entries[at] = Entry { value, source },
            }
        }
        if same == SamePlatform::Goes {
            let of = |entry: &Entry| kind(&entry.value).map(|(platform, what)| (platform.clone(), what.cloned()));
            let new: Vec<_> = self.entries.iter().filter(|entry| entry.source == source).filter_map(of).collect();
            self.entries.retain(|old| old.source == source || of(old).is_none_or(|kind| !new.contains(&kind)));
        }
        // As long as an image is in it for another platform, what is said of it is true.
        let gone = &before - &digests(&self.entries);
        self.entries.retain(|old| old.source == source || !gone.contains(&old.value["annotations"][ABOUT].to_string()));
    }

    /// Sets annotations: of the index, or with `manifest-descriptor` of its entries.
    ///
    /// # Errors
    /// [`EngineError::Request`] for those of manifests, which would be other images then, and for those of entries that
    /// there are not.
    pub fn annotate(&mut self, all: &[Annotation]) -> Result<(), EngineError> {
        if let Some(other) = all.iter().find(|a| !matches!(a.target, Target::Index | Target::ManifestDescriptor)) {
            return Err(EngineError::Request {
                message: format!("the annotation {} would be one of {}", other.key, other.target),
                hint: "write index:KEY=VALUE or manifest-descriptor[PLATFORM]:KEY=VALUE; cooper mutate changes images"
                    .to_owned(),
            });
        }
        let platforms: Vec<Option<Platform>> = self.entries.iter().map(Entry::platform).collect();
        let meant = |a: &&Annotation| {
            let one = std::slice::from_ref(*a);
            let of = |platform: &Platform| !select(one, Target::ManifestDescriptor, platform).is_empty();
            a.target == Target::Index || platforms.iter().flatten().any(of)
        };
        if let Some(nobody) = all.iter().find(|a| !meant(a)) {
            let one = std::slice::from_ref(nobody);
            let is = |d: &Descriptor| {
                let of = |platform: &Platform| !select(one, Target::ManifestDescriptor, platform).is_empty();
                d.platform.as_ref().is_some_and(of)
            };
            if let Some(within) = self.around(is)? {
                let platform = nobody.platform.as_ref().map_or_else(|| "its images".to_owned(), ToString::to_string);
                return Err(is_within(&platform, within));
            }
            let platform = nobody.platform.as_ref().map_or_else(|| "a platform".to_owned(), ToString::to_string);
            let has: Vec<String> = platforms.iter().flatten().map(ToString::to_string).collect();
            return Err(EngineError::Request {
                message: format!("the index has no entry for {platform} that could have the annotation {}", nobody.key),
                hint: match has.is_empty() {
                    true => "none of its entries says for what it is".to_owned(),
                    false => format!("it has {}", has.join(", ")),
                },
            });
        }
        self.annotations.extend(select(all, Target::Index, &Platform::host()));
        for (entry, platform) in self.entries.iter_mut().zip(&platforms) {
            if let Some(platform) = platform {
                note(&mut entry.value, select(all, Target::ManifestDescriptor, platform));
            }
        }
        Ok(())
    }

    /// Changes the entry with this digest, or for this platform, and gives its digest.
    ///
    /// # Errors
    /// [`EngineError::Request`] when there is none.
    pub fn change(&mut self, which: &str, change: &EntryChange) -> Result<String, EngineError> {
        let digest = which.parse::<Digest>().ok();
        let platform = which.parse::<Platform>().ok();
        let is = |entry: &Entry| match &digest {
            Some(digest) => entry.value["digest"] == json!(digest),
            None => entry.platform().zip(platform.as_ref()).is_some_and(|(of, wanted)| of.satisfies(wanted)),
        };
        let digests = self.entries.iter().filter_map(|e| e.value["digest"].as_str().map(str::to_owned));
        let has: Vec<String> = digests.take(SHOWN).collect();
        let Some(at) = self.entries.iter().position(is) else {
            let is = |d: &Descriptor| match &digest {
                Some(digest) => d.digest == *digest,
                None => d.platform.as_ref().zip(platform.as_ref()).is_some_and(|(of, wanted)| of.satisfies(wanted)),
            };
            if let Some(within) = self.around(is)? {
                return Err(is_within(which, within));
            }
            return Err(EngineError::Request {
                message: format!("the index has no entry {which:?}"),
                hint: format!("give a platform as linux/arm64, or a digest; it has {}", has.join(", ")),
            });
        };
        let entry = &mut self.entries[at];
        let fields = [
            ("os", &change.os),
            ("architecture", &change.architecture),
            ("variant", &change.variant),
            ("os.version", &change.os_version),
        ];
        let set = fields.iter().filter_map(|(key, value)| Some(((*key).to_owned(), json!(value.as_ref()?))));
        let set: Map<String, Value> = set.collect();
        if let Some(entry) = entry.value.as_object_mut().filter(|_| !set.is_empty()) {
            let platform = entry.entry("platform").or_insert_with(|| json!({}));
            if let Some(platform) = platform.as_object_mut() {
                platform.extend(set);
            }
        }
        note(&mut entry.value, change.annotations.iter().cloned().collect());
        Ok(entry.value["digest"].as_str().unwrap_or(which).to_owned())
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
        let entries: Vec<&Value> = self.entries.iter().map(|entry| &entry.value).collect();
        let noted = !self.annotations.is_empty() || entries.iter().any(|e| e.get("annotations").is_some());
        let is_oci = self.is_oci || noted || !self.rest.is_empty();
        let is_docker = !is_oci && entries.iter().all(|e| e["mediaType"] == docker.as_str());
        let media_type = if is_docker { MediaType::DockerList } else { MediaType::OciIndex };
        let mut index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
        if let Some(index) = index.as_object_mut() {
            index.extend(self.rest.clone());
            if !self.annotations.is_empty() {
                index.insert("annotations".to_owned(), json!(self.annotations));
            }
        }
        let bytes = json_bytes(&index)?;
        let d = Descriptor::of(media_type, &bytes);
        Ok((bytes, d))
    }

    /// What is in it, and where that is.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Arc<dyn Origin>, &Descriptor)> {
        let is_in = |d: &Descriptor| self.entries.iter().any(|e| e.value["digest"] == json!(d.digest));
        self.origins.iter().filter(move |(_, d)| is_in(d)).map(|(origin, d)| (origin, d))
    }

    /// The index and everything in it, ready to go under these names.
    ///
    /// # Errors
    /// What the places say.
    pub fn shipment(&self, names: Vec<Name>) -> Result<(Shipment, Descriptor), EngineError> {
        let (bytes, descriptor) = self.finish()?;
        let mut shipment = Shipment::default();
        self.parts().try_for_each(|(origin, d)| shipment.add_part(origin, d))?;
        if let Some((first, _)) = self.origins.first() {
            let draft: Arc<dyn Origin> = Arc::new(Draft::beside(Arc::clone(first), descriptor.clone(), bytes));
            shipment.add(&draft, Top { descriptor: descriptor.clone(), names }, Referrers::Stay)?;
        }
        Ok((shipment, descriptor))
    }
}

/// What an image is for: its platform, and the type of artifact that it is.
type Kind = (Platform, Option<String>);

impl Entry {
    fn is_index(&self) -> bool {
        self.value["mediaType"].as_str().is_some_and(|text| MediaType::from(text).is_index())
    }

    fn digest(&self) -> &str {
        self.value["digest"].as_str().unwrap_or_default()
    }

    fn kind(&self) -> Option<Kind> {
        let artifact_type = self.value.get("artifactType").and_then(Value::as_str);
        self.platform().map(|platform| (platform, artifact_type.map(str::to_owned)))
    }

    /// What it is for, unless it says nothing that could be run.
    fn platform(&self) -> Option<Platform> {
        let platform = self.value.get("platform").cloned().and_then(|p| serde_json::from_value::<Platform>(p).ok());
        platform.filter(|p| p.os != "unknown")
    }
}

/// For what an entry is: its platform and the type of artifact; `None` when it says nothing that could be run.
fn kind(entry: &Value) -> Option<(&Value, Option<&Value>)> {
    let platform = entry.get("platform").filter(|platform| platform["os"] != "unknown")?;
    Some((platform, entry.get("artifactType")))
}

fn note(entry: &mut Value, notes: BTreeMap<String, String>) {
    if let Some(entry) = entry.as_object_mut().filter(|_| !notes.is_empty()) {
        let all = entry.entry("annotations").or_insert_with(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            all.extend(notes.into_iter().map(|(key, value)| (key, json!(value))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, Types};
    use super::*;

    pub(super) fn annotation(text: &str) -> Annotation {
        let (target, platform, key) = match text {
            "all" => (Target::ManifestDescriptor, None, "k"),
            "index" => (Target::Index, None, "k"),
            platform => (Target::ManifestDescriptor, platform.parse().ok(), "k"),
        };
        Annotation { target, platform, key: key.to_owned(), value: "v".to_owned() }
    }

    /// An index with an image for a platform, another one for the same, and what is said of the first.
    pub(super) fn place() -> (Memory, Descriptor, Vec<Value>) {
        let mut place = Memory::default();
        let mut image = |user: &str| {
            let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
            config.config.user = Some(user.to_owned());
            let d = place.image_of(Types::Docker, &config, Vec::new());
            json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size,
                "platform": {"os": "linux", "architecture": "amd64"}})
        };
        let (first, mut second, mut about) = (image("1"), image("2"), image("3"));
        second["annotations"] = json!({"compressed": "otherwise"});
        about["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        about["annotations"] = json!({ABOUT: first["digest"]});
        let entries = vec![first, second, about];
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries,
            "subject": entries[0], "artifactType": "application/x", "annotations": {"a": "b"}});
        let d = place.lead(&MediaType::OciIndex, &index);
        (place, d, entries)
    }

    pub(super) fn finished(draft: &IndexDraft) -> Value {
        serde_json::from_slice(&draft.finish().unwrap().0).unwrap()
    }

    #[test]
    fn what_an_index_says_stays() {
        let (mut place, d, entries) = place();
        let before: Value = serde_json::from_slice(&place.document(&d).unwrap()).unwrap();
        assert_eq!(finished(&IndexDraft::of(&place.shared(), &d).unwrap()), before);

        let arm = place.image(Types::Docker, &Platform::linux("arm64"), &[]);
        let mut draft = IndexDraft::of(&place.shared(), &d).unwrap();
        draft.add(&place.shared(), &arm, SamePlatform::Goes).unwrap();
        // It is there already, with more to say of it.
        let second = Descriptor::new(
            MediaType::DockerManifest,
            entries[1]["digest"].as_str().unwrap().parse().unwrap(),
            entries[1]["size"].as_u64().unwrap(),
        );
        draft.add(&place.shared(), &second, SamePlatform::Goes).unwrap();
        let after = finished(&draft);
        assert_eq!((&after["subject"], &after["artifactType"]), (&before["subject"], &before["artifactType"]));
        let now = after["manifests"].as_array().unwrap();
        assert_eq!((&now[..3], &now[3]["digest"], now.len()), (&entries[..], &json!(arm.digest), 4));
    }

    #[test]
    fn an_image_takes_the_place_of_all_of_its_platform_unless_they_are_to_stay() {
        let (mut place, d, entries) = place();
        let digests = |draft: &IndexDraft| -> Vec<Value> {
            finished(draft)["manifests"].as_array().unwrap().iter().map(|entry| entry["digest"].clone()).collect()
        };
        let [first, second, about] = [0, 1, 2].map(|n| entries[n]["digest"].clone());
        let arm = place.image(Types::Oci, &Platform::linux("arm64"), &[]);
        let new = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
        let (arm_is, new_is) = (json!(arm.digest), json!(new.digest));
        // Also an index with two forms of one platform, one of which is there already, with what is said of it.
        let described = json!({"mediaType": new.media_type, "digest": new.digest, "size": new.size,
            "platform": {"os": "linux", "architecture": "amd64"}});
        let both = |one: &Value, two: &Value| json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": [one, two]});
        let two = place.lead(&MediaType::OciIndex, &both(&described, &entries[0]));
        for (added, same, expected) in [
            (&new, SamePlatform::Goes, vec![&new_is, &arm_is]),
            (&new, SamePlatform::Stays, vec![&first, &second, &about, &arm_is, &new_is]),
            (&two, SamePlatform::Goes, vec![&new_is, &first, &about, &arm_is]),
            (&two, SamePlatform::Stays, vec![&first, &second, &about, &arm_is, &new_is]),
            (&arm, SamePlatform::Goes, vec![&first, &second, &about, &arm_is]),
        ] {
            let mut draft = IndexDraft::of(&place.shared(), &d).unwrap();
            draft.add(&place.shared(), &arm, SamePlatform::Goes).unwrap();
            draft.add(&place.shared(), added, same).unwrap();
            assert_eq!(digests(&draft), expected.into_iter().cloned().collect::<Vec<_>>(), "{same:?}");
        }
    }

    #[test]
    fn what_others_said_of_an_entry_stays_where_it_was_added_before() {
        let (mut place, d, entries) = place();
        let source = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": [entries[0]]});
        let source = place.lead(&MediaType::OciIndex, &source);
        let change =
            EntryChange { annotations: vec![("by".to_owned(), "others".to_owned())], ..EntryChange::default() };
        for (keeps, expected) in [(false, json!(null)), (true, json!({"by": "others"}))] {
            let mut draft = IndexDraft::of(&place.shared(), &d).unwrap();
            draft.change(entries[0]["digest"].as_str().unwrap(), &change).unwrap();
            if keeps {
                draft.keep_descriptions();
            }
            draft.add(&place.shared(), &source, SamePlatform::Goes).unwrap();
            assert_eq!(finished(&draft)["manifests"][0]["annotations"], expected);
        }
    }

    #[test]
    fn an_annotation_that_nothing_gets_is_refused() {
        let (place, d, _) = place();
        for (text, fits) in
            [("index", true), ("all", true), ("linux/amd64", true), ("linux/arm64", false), ("unknown/unknown", false)]
        {
            let mut draft = IndexDraft::of(&place.shared(), &d).unwrap();
            let done = draft.annotate(&[annotation("linux/amd64"), annotation(text)]);
            assert_eq!(done.is_ok(), fits, "{text}: {done:?}");
        }
    }
}
