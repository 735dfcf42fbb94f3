//! What is to be brought from places to a place: which blobs and documents, in which order, under which names.

use super::origin::{Counted, Origin, small};
use crate::event::{Direction, How, Sink};
use crate::meters::{Meters, watched};
use crate::resolve::Images;
use crate::transfer::some_at_once;
use crate::{EngineError, resolve};
use cooper_image::{Descriptor, Digest, Document, ImageConfig, Leaves, MediaType, Platform, Reference, limits};
use cooper_registry::RegistryError;
use cooper_store::archive;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most documents and blobs that are looked at at once; more than any image has.
pub(super) const PARTS: usize = 100_000;

/// Most bytes of documents that are held at once: archives may be compressed, and a small one be many of these.
const DOCUMENT_BYTES: u64 = 256 * 1024 * 1024;

/// A name that something gets at its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A full name.
    Full(Reference),
    /// A tag of the target's repository or layout.
    Tag(String),
}

impl Name {
    /// Are they the same, whether or not `latest` is written?
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Full(one), Self::Full(other)) => one.clone().or_latest() == other.clone().or_latest(),
            _ => self == other,
        }
    }
}

/// How a blob came to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It was there.
    Existed,
    /// A registry took it from another of its repositories.
    Mounted {
        /// A name in that.
        from: Reference,
    },
    /// Its bytes went there.
    Sent,
}

/// A place to which images can be written.
pub trait Target: Sync {
    /// Told of everything before anything comes.
    ///
    /// # Errors
    /// When the place cannot be written to.
    fn begin(&self, _all: &Shipment) -> Result<(), EngineError> {
        Ok(())
    }
    /// Brings a blob there, unless it is.
    ///
    /// # Errors
    /// What either place says.
    fn put_blob(&self, d: &Descriptor, from: &Arc<dyn Origin>) -> Result<Put, EngineError>;
    /// Brings a document there, after everything that it names.
    ///
    /// # Errors
    /// What the place says.
    fn put_document(&self, d: &Descriptor, bytes: &[u8]) -> Result<(), EngineError>;
    /// Gives a document its names.
    ///
    /// # Errors
    /// What the place says.
    fn name(&self, d: &Descriptor, bytes: &[u8], names: &[Name]) -> Result<(), EngineError>;
    /// Called after everything.
    ///
    /// # Errors
    /// What the place says.
    fn finish(&self) -> Result<(), EngineError> {
        Ok(())
    }
    /// Which way bytes go that come here.
    fn direction(&self) -> Direction {
        Direction::Store
    }
    /// Does it take layers too that nobody may pass on, because images are used there and not kept for others?
    fn takes_foreign(&self) -> bool {
        false
    }
    /// Is a document there once it has a name, so that it need not be brought besides?
    fn sends_by_name(&self) -> bool {
        false
    }
    /// Can a blob come once more, when it was not what was promised?
    fn begins_anew(&self) -> bool {
        true
    }
    /// How many blobs can come at the same time.
    fn at_once(&self) -> usize {
        4
    }
}

/// An image, an index or an artifact, and its names at the target.
#[derive(Debug, Clone)]
pub struct Top {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its names; none, to be there under its digest alone.
    pub names: Vec<Name>,
}

/// What is brought.
#[derive(Default)]
pub struct Shipment {
    blobs: BTreeMap<Digest, (Descriptor, Arc<dyn Origin>)>,
    /// Where blobs are that are not where their image is.
    elsewhere: BTreeMap<Digest, Arc<dyn Origin>>,
    /// In the order in which a registry takes them.
    documents: Vec<(Descriptor, Vec<u8>)>,
    /// How many bytes they have.
    document_bytes: u64,
    /// The documents among them. One may be there as two types, and a blob of one image be a document of another.
    known: BTreeSet<DocumentKey>,
    tops: Vec<Top>,
    /// Referrers, which have no names.
    loose: Vec<Descriptor>,
}

/// What makes a document that one: the same bytes as another type are read as something else.
pub(super) type DocumentKey = (Digest, String);

pub(super) fn key(d: &Descriptor) -> DocumentKey {
    (d.digest.clone(), d.media_type.as_str().to_owned())
}

/// Are manifests brought that refer to those that are?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referrers {
    /// They stay.
    Stay,
    /// They come.
    Come,
}

impl Shipment {
    /// Adds something with everything that it leads to. Its documents are read for that, its blobs are not.
    ///
    /// # Errors
    /// What the place says, and [`EngineError::InvalidImage`] for documents that name too much.
    pub fn add(&mut self, origin: &Arc<dyn Origin>, top: Top, referrers: Referrers) -> Result<(), EngineError> {
        let first = self.documents.len();
        self.visit(origin, &top.descriptor, 0)?;
        let known = self.tops.iter().position(|known| key(&known.descriptor) == key(&top.descriptor));
        let at = known.unwrap_or(self.tops.len());
        if known.is_none() {
            self.tops.push(Top { descriptor: top.descriptor, names: Vec::new() });
        }
        if let Some(known) = self.tops.get_mut(at) {
            // A name that is given twice is one name.
            for name in top.names {
                if !known.names.iter().any(|other| other.is(&name)) {
                    known.names.push(name);
                }
            }
        }
        if referrers == Referrers::Come {
            let mut at = first;
            // What comes in may be referred to itself.
            while let Some((d, _)) = self.documents.get(at) {
                for referrer in origin.referrers(&d.digest.clone())? {
                    if !self.known.contains(&key(&referrer)) {
                        self.visit(origin, &referrer, 0)?;
                        self.loose.push(referrer);
                    }
                }
                at += 1;
            }
        }
        Ok(())
    }

    /// Adds what is to be there without a name, since something else leads to it.
    ///
    /// # Errors
    /// As [`Shipment::add`].
    pub fn add_part(&mut self, origin: &Arc<dyn Origin>, d: &Descriptor) -> Result<(), EngineError> {
        self.visit(origin, d, 1)
    }

    /// Says that the blobs of an image are to come from there, should they be wanted.
    ///
    /// # Errors
    /// As [`Shipment::add`].
    pub fn blobs_of(&mut self, origin: &Arc<dyn Origin>, d: &Descriptor) -> Result<(), EngineError> {
        let parts = parts(&origin.document(d)?, &d.media_type);
        for blob in parts.map_err(|reason| resolve::invalid(&origin.place(), reason))?.blobs {
            self.elsewhere.insert(blob.digest, Arc::clone(origin));
        }
        Ok(())
    }

    fn visit(&mut self, origin: &Arc<dyn Origin>, d: &Descriptor, depth: usize) -> Result<(), EngineError> {
        if !self.known.insert(key(d)) {
            return Ok(());
        }
        if depth > limits::INDEX_DEPTH || self.known.len() + self.blobs.len() > PARTS {
            return Err(resolve::invalid(&origin.place(), "its indexes nest too deep, or name too much".to_owned()));
        }
        let bytes = origin.document(d)?;
        self.document_bytes += bytes.len() as u64;
        if self.document_bytes > DOCUMENT_BYTES {
            let reason = format!("its indexes and manifests have more than {DOCUMENT_BYTES} bytes together");
            return Err(resolve::invalid(&origin.place(), reason));
        }
        let parts = parts(&bytes, &d.media_type).map_err(|reason| resolve::invalid(&origin.place(), reason))?;
        for blob in parts.blobs {
            let from = self.elsewhere.get(&blob.digest).unwrap_or(origin);
            // What one image may not pass on may be another one's.
            if self.blobs.get(&blob.digest).is_none_or(|(known, _)| known.media_type.is_foreign()) {
                self.blobs.insert(blob.digest.clone(), (blob, Arc::clone(from)));
            }
        }
        for document in &parts.documents {
            self.visit(origin, document, depth + 1)?;
        }
        self.documents.push((d.clone(), bytes));
        Ok(())
    }

    /// What has names.
    pub fn tops(&self) -> &[Top] {
        &self.tops
    }

    /// The descriptors of referrers, as a layout lists them.
    pub(super) fn loose(&self) -> impl Iterator<Item = Descriptor> {
        self.loose.iter().map(super::layout::bare)
    }

    /// A document's bytes.
    pub fn document(&self, digest: &Digest) -> Option<&[u8]> {
        self.documents.iter().find(|(d, _)| d.digest == *digest).map(|(_, bytes)| bytes.as_slice())
    }
}

/// What a document names.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) documents: Vec<Descriptor>,
    pub(super) blobs: Vec<Descriptor>,
}

/// Reads a document of any type. Of types that are not known, everything counts that looks like a descriptor where
/// descriptors stand in the known ones.
pub(super) fn parts(bytes: &[u8], media_type: &MediaType) -> Result<Parts, String> {
    #[derive(Deserialize)]
    struct Other {
        config: Option<Descriptor>,
        subject: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        layers: Vec<Descriptor>,
        #[serde(default)]
        blobs: Vec<Descriptor>,
        #[serde(default)]
        manifests: Vec<Descriptor>,
    }
    if media_type.is_index() || media_type.is_manifest() {
        return match Document::parse(bytes, Some(media_type)).map_err(|e| e.to_string())? {
            Document::Manifest(m) => {
                Ok(Parts { documents: Vec::new(), blobs: std::iter::once(m.config).chain(m.layers).collect() })
            }
            Document::Index(index) => {
                let (documents, blobs) = index.manifests.into_iter().partition(|d| is_document(&d.media_type));
                Ok(Parts { documents, blobs })
            }
        };
    }
    let other: Other = serde_json::from_slice(bytes).map_err(|e| format!("a {media_type}: {e}"))?;
    // What it refers to is not part of it.
    let _ = other.subject;
    Ok(Parts {
        documents: other.manifests,
        blobs: other.config.into_iter().chain(other.layers).chain(other.blobs).collect(),
    })
}

/// Is it a document, which registries keep apart from blobs?
fn is_document(media_type: &MediaType) -> bool {
    let text = media_type.as_str();
    media_type.is_index() || media_type.is_manifest() || text.contains("manifest") || text.contains("index")
}

/// What happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Shipped {
    /// Blobs whose bytes were sent.
    pub sent: u64,
    /// Bytes of these.
    pub sent_bytes: u64,
    /// Blobs that a registry took from another of its repositories.
    pub mounted: u64,
    /// Blobs that were there.
    pub existed: u64,
    /// Manifests and indexes.
    pub documents: u64,
    /// Referrers among them.
    pub referrers: u64,
}

/// Brings all of it: blobs, documents, names.
///
/// # Errors
/// What either place says.
pub fn ship(all: &Shipment, target: &dyn Target, sink: &dyn Sink) -> Result<Shipped, EngineError> {
    target.begin(all)?;
    let count = [const { AtomicU64::new(0) }; 4];
    let [sent, bytes, mounted, existed] = &count;
    let is_taken = |d: &Descriptor| target.takes_foreign() || !d.media_type.is_foreign();
    let blobs: Vec<_> = all.blobs.values().filter(|(d, _)| is_taken(d)).collect();
    let bring = |(d, from): &&(Descriptor, Arc<dyn Origin>), meters: &Meters<'_>| {
        let counted: Arc<dyn Origin> = Arc::new(Counted { inner: Arc::clone(from), at: meters.begin(d) });
        let (of, size, how) = match brought(target, d, &counted)? {
            Put::Sent => (sent, d.size, How::Moved),
            Put::Mounted { from } => (mounted, 0, How::Mounted { from: from.repository_only().familiar() }),
            Put::Existed => (existed, 0, How::Existed),
        };
        of.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(size, Ordering::Relaxed);
        meters.arrived(d, how);
        Ok(())
    };
    watched(sink, target.direction(), |meters| some_at_once(target.at_once(), &blobs, |blob| bring(blob, meters)))?;
    for (d, bytes) in &all.documents {
        let named = all.tops.iter().any(|top| key(&top.descriptor) == key(d) && !top.names.is_empty());
        if !(named && target.sends_by_name()) {
            target.put_document(d, bytes)?;
        }
    }
    for top in &all.tops {
        let bytes = all.document(&top.descriptor.digest).unwrap_or_default();
        target.name(&top.descriptor, bytes, &top.names)?;
    }
    target.finish()?;
    let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
    Ok(Shipped {
        sent: of(sent),
        sent_bytes: of(bytes),
        mounted: of(mounted),
        existed: of(existed),
        documents: all.documents.len() as u64,
        referrers: all.loose.len() as u64,
    })
}

/// Brings a blob there, from another place each time when mirrors of the first give other bytes.
fn brought(target: &dyn Target, d: &Descriptor, from: &Arc<dyn Origin>) -> Result<Put, EngineError> {
    loop {
        match target.put_blob(d, from) {
            Err(EngineError::Registry(RegistryError::Mirror(_))) if target.begins_anew() => {}
            done => return done,
        }
    }
}

/// The entries of a layout's `index.json` for something: one for each name, or one without.
pub(super) fn entries(d: &Descriptor, names: &[Name]) -> Vec<Descriptor> {
    let named = |name: &Name| match name {
        Name::Full(name) => archive::named(d, name),
        Name::Tag(tag) => archive::tagged(d, tag),
    };
    if names.is_empty() { vec![d.clone()] } else { names.iter().map(named).collect() }
}

/// The image for a platform, in an index or in one of those within it; without a platform, what the place itself leads
/// to.
///
/// # Errors
/// [`EngineError::Request`] when there is no such image.
pub fn pick(origin: &dyn Origin, platform: Option<&Platform>) -> Result<Descriptor, EngineError> {
    let top = origin.top()?;
    let Some(wanted) = platform else { return Ok(top) };
    let none = |has: Vec<String>| EngineError::Request {
        message: format!("{} has no image for {wanted}", origin.place()),
        hint: format!("it has {}", if has.is_empty() { "none that says for what".to_owned() } else { has.join(", ") }),
    };
    let bytes = origin.document(&top)?;
    let invalid = |e: cooper_image::index::DocumentError| resolve::invalid(&origin.place(), e.to_string());
    match Document::parse(&bytes, Some(&top.media_type)).map_err(invalid)? {
        Document::Index(index) => {
            let mut images = Images::of(Leaves::satisfying(index, wanted));
            let found = images.next(&origin.place(), |d| origin.document(d))?;
            found.as_ref().map(super::layout::bare).ok_or_else(|| none(images.passed().collect()))
        }
        Document::Manifest(manifest) => {
            let config = small(origin, &manifest.config, limits::CONFIG_BYTES)?;
            match serde_json::from_slice::<ImageConfig>(&config).map(|c| c.platform()) {
                Ok(is) if is.satisfies(wanted) => Ok(top),
                Ok(is) if !is.os.is_empty() => Err(none(vec![is.to_string()])),
                // Artifacts are for nothing that runs.
                _ => Err(none(Vec::new())),
            }
        }
    }
}

/// The first image of an index, or of the indexes in it; what is no index is itself. `None` when there is none.
///
/// # Errors
/// [`EngineError::InvalidImage`], and what the place says.
pub fn first(origin: &dyn Origin, d: &Descriptor) -> Result<Option<Descriptor>, EngineError> {
    let bytes = origin.document(d)?;
    match Document::parse(&bytes, Some(&d.media_type)) {
        Ok(Document::Index(index)) => Images::of(Leaves::of(index)).next(&origin.place(), |d| origin.document(d)),
        _ => Ok(Some(d.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, Types};
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_held_up_to_their_bound() {
        let mut place = Memory::default();
        let descriptor = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
        for (over, fine) in [(0, true), (1, false)] {
            let document_bytes = DOCUMENT_BYTES - descriptor.size + over;
            let mut shipment = Shipment { document_bytes, ..Default::default() };
            let top = Top { descriptor: descriptor.clone(), names: Vec::new() };
            let added = shipment.add(&place.shared(), top, Referrers::Stay);
            assert_eq!(added.is_ok(), fine, "{added:?}");
        }
    }

    #[test]
    fn an_index_that_is_not_there_keeps_nobody_from_the_other_images() {
        let mut place = Memory::default();
        let wanted = Platform::linux("amd64");
        let mut image = place.image(Types::Oci, &wanted, &[]);
        image.platform = Some(wanted.clone());
        let mut other = Descriptor::of(MediaType::OciManifest, b"not there");
        other.platform = Some(Platform::linux("arm64"));
        let inner = Descriptor::of(MediaType::OciIndex, b"not there either");
        let mut pick_of = |entries: &[&Descriptor], wanted: &Platform| {
            let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries});
            let top = place.lead(&MediaType::OciIndex, &index);
            (pick(&place, Some(wanted)), first(&place, &top))
        };
        let (picked, found) = pick_of(&[&other, &inner, &image], &wanted);
        assert_eq!(picked.unwrap().digest, image.digest);
        assert_eq!(found.unwrap().unwrap().digest, other.digest);
        assert_eq!(pick_of(&[&inner, &image], &wanted).1.unwrap().unwrap().digest, image.digest);
        // It may have been in there.
        for (entries, wanted) in [(&[&inner][..], "amd64"), (&[&image, &inner], "s390x"), (&[&inner, &image], "s390x")]
        {
            let lost = pick_of(entries, &Platform::linux(wanted)).0.unwrap_err();
            assert!(
                matches!(&lost, EngineError::MissingPart { part, .. } if *part == inner.digest.to_string()),
                "{lost}"
            );
        }
        let none = pick_of(&[&other, &image], &Platform::linux("s390x")).0.unwrap_err();
        assert!(matches!(none, EngineError::Request { .. }), "{none}");
    }

    #[test]
    fn an_artifact_is_for_no_platform() {
        let mut place = Memory::default();
        let config = place.put("application/vnd.oci.empty.v1+json", b"{}");
        let oci = MediaType::OciManifest;
        place.lead(&oci, &json!({"schemaVersion": 2, "mediaType": oci, "config": config, "layers": []}));
        let none = pick(&place, Some(&Platform::linux("amd64"))).unwrap_err();
        assert_eq!(none.hint().as_deref(), Some("it has none that says for what"));
        place.image(Types::Oci, &Platform::linux("arm64"), &[]);
        let none = pick(&place, Some(&Platform::linux("amd64"))).unwrap_err();
        assert_eq!(none.hint().as_deref(), Some("it has linux/arm64"));
    }

    #[test]
    fn a_name_that_is_given_twice_is_one_name() {
        let mut place = Memory::default();
        let descriptor = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
        let full = |name: &str| Name::Full(name.parse().unwrap());
        let tag = |tag: &str| Name::Tag(tag.to_owned());
        let mut shipment = Shipment::default();
        for names in [vec![tag("1"), full("app"), tag("1"), tag("2")], vec![full("app:latest"), tag("2"), full("db")]] {
            let top = Top { descriptor: descriptor.clone(), names };
            shipment.add(&place.shared(), top, Referrers::Stay).unwrap();
        }
        let [top] = shipment.tops() else { panic!("one image") };
        assert_eq!(top.names, [tag("1"), full("app"), tag("2"), full("db")]);
        assert_eq!(entries(&top.descriptor, &top.names).len(), 4);
    }

    #[test]
    fn a_digest_that_is_a_document_and_a_blob_comes_as_both() {
        for document_first in [true, false] {
            let mut place = Memory::default();
            let image = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
            // An artifact that keeps an image's manifest as its one layer.
            let config = place.put("application/vnd.oci.empty.v1+json", b"{}");
            let layer = Descriptor::new("application/octet-stream".into(), image.digest.clone(), image.size);
            let oci = MediaType::OciManifest;
            let artifact = json!({"schemaVersion": 2, "mediaType": oci, "config": config, "layers": [layer]});
            let artifact = place.lead(&oci, &artifact);
            let entries = if document_first { [&image, &artifact] } else { [&artifact, &image] };
            let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries});
            let descriptor = place.lead(&MediaType::OciIndex, &index);
            let mut shipment = Shipment::default();
            shipment.add(&place.shared(), Top { descriptor, names: Vec::new() }, Referrers::Stay).unwrap();
            assert!(shipment.blobs.contains_key(&image.digest), "{document_first}");
            assert!(shipment.documents.iter().any(|(d, _)| d.digest == image.digest), "{document_first}");
            assert_eq!(shipment.documents.len(), 3);
        }
    }
}
