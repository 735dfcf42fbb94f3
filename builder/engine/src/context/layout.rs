//! An image in an OCI layout (image-spec, image-layout.md): found by tag or digest, chosen by platform, and taken into
//! the store blob by blob, each compared with its digest.
//!
//! Takes: a directory that may come from a stranger. Gives: the descriptor of a manifest whose blobs the store has.
//! Must never: follow a link, believe a size or a digest, or take half an image for a whole one.

use crate::layers::io;
use crate::resolve::Images;
use crate::toolkit::damaged;
use crate::{Engine, EngineError};
use cooper_image::{
    Descriptor, Digest, Document, Index, Leaves, Manifest, MediaType, Platform, Reference, RelPath, Verified, limits,
};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::root::Root;
use cooper_layerfs::stat::{Kind, Meta};
use cooper_store::archive::{NAME_ANNOTATION as NAME, TAG_ANNOTATION as TAG, full_name, label};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Most entries that are read to see whether they refer to others.
const REFERRERS: usize = 10_000;
/// Most names that a hint has.
const NAMES: usize = 8;

/// `DIR[:NAME][@DIGEST]`. The name is a tag, or a full one with its registry, as `sync` gives it: what looks like one of the
/// two is taken for that, also where a directory may be called so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutName {
    /// The directory.
    pub path: PathBuf,
    /// The image's name in it.
    pub tag: Option<String>,
    /// The image's digest; it decides even when there is a tag.
    pub digest: Option<Digest>,
}

impl LayoutName {
    /// Reads the text behind `oci-layout://`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| format!("{digest:?} is no digest"))?)),
            None => (text, None),
        };
        let full = rest.match_indices(':').filter_map(|(at, _)| Some((rest.get(..at)?, rest.get(at + 1..)?)));
        let (path, tag) = match full.into_iter().find(|(_, name)| is_full(name)).or(rest.rsplit_once(':')) {
            Some((path, name)) if !name.contains('/') || is_full(name) => (path, Some(name.to_owned())),
            _ => (rest, None),
        };
        match (path, &tag) {
            ("", _) => Err(format!("oci-layout://{text} names no directory")),
            (_, Some(tag)) if tag.is_empty() => Err(format!("oci-layout://{text} has an empty tag")),
            (path, _) => Ok(Self { path: PathBuf::from(path), tag, digest }),
        }
    }
}

/// Is it a name with its registry and a tag, written out?
fn is_full(text: &str) -> bool {
    let host = text.split_once('/').map_or("", |(host, _)| host);
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    // No version and no time of day, which directories have in their names.
    let says =
        bare.starts_with('[') || bare.parse::<Ipv4Addr>().is_ok() || bare.contains(|c: char| c.is_ascii_alphabetic());
    let is_host = host == "localhost" || host.contains(['.', ':']) && !host.starts_with('.');
    is_host && says && text.parse::<Reference>().is_ok_and(|name| name.tag().is_some() && name.to_string() == text)
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci-layout://{}", self.path.display())?;
        self.tag.iter().try_for_each(|t| write!(f, ":{t}"))?;
        self.digest.iter().try_for_each(|d| write!(f, "@{d}"))
    }
}

/// An image's manifest, described, as bytes and read.
type Image = (Descriptor, Vec<u8>, Manifest);

/// An open layout.
pub(crate) struct Layout<'a> {
    name: &'a LayoutName,
    root: Root,
}

/// The entries with a tag or full name: of those that have it as a tag, the ones that are called so and nothing else.
///
/// # Errors
/// [`EngineError::Request`] when it is the tag of several full names, which lead to different things: nobody knows then
/// which one is meant.
pub(crate) fn called<'i>(
    index: &'i Index,
    (tag, place): (&str, &dyn fmt::Display),
) -> Result<Vec<&'i Descriptor>, EngineError> {
    let is = |d: &&Descriptor| [TAG, NAME].iter().any(|a| d.annotations.get(*a).is_some_and(|v| v == tag));
    let mut found: Vec<&Descriptor> = index.manifests.iter().filter(is).collect();
    let is_alone = |d: &&Descriptor| full_name(d).is_none_or(|name| name == tag);
    if found.iter().any(is_alone) {
        found.retain(is_alone);
        return Ok(found);
    }
    let mut of: BTreeMap<&str, BTreeSet<&Digest>> = BTreeMap::new();
    for d in &found {
        of.entry(full_name(d).unwrap_or_default()).or_default().insert(&d.digest);
    }
    match of.values().collect::<BTreeSet<_>>().len() {
        0 | 1 => Ok(found),
        _ => {
            let names = some_of(&of.keys().collect::<Vec<_>>());
            Err(several((place, tag), format!("write the full name: it has {names}")))
        }
    }
}

/// The entry with a tag or full name; without one `latest`, else the only image. Of several, the one for the platform.
///
/// # Errors
/// As [`called`], and when several entries have the name that are neither one thing nor each for a platform of its own.
pub(crate) fn chosen<'i>(
    index: &'i Index,
    (tag, place): (Option<&str>, &dyn fmt::Display),
    platform: Option<&Platform>,
) -> Result<Option<&'i Descriptor>, EngineError> {
    let tagged = |tag: &str| {
        let found = called(index, (tag, place))?;
        let fits =
            |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| platform.is_some_and(|wanted| p.satisfies(wanted)));
        let fitting: Vec<&Descriptor> = found.iter().copied().filter(fits).collect();
        let left = if fitting.is_empty() { found } else { fitting };
        let digests: BTreeSet<&Digest> = left.iter().map(|d| &d.digest).collect();
        let is_like = |a: &Descriptor, b: &Descriptor| a.platform.is_none() || a.platform == b.platform;
        let is_either = |a: &&Descriptor| left.iter().any(|b| a.digest != b.digest && is_like(a, b));
        if left.iter().any(is_either) {
            let digests = some_of(&digests.iter().map(ToString::to_string).collect::<Vec<_>>());
            return Err(several((place, tag), format!("{BY_DIGEST}; it has {digests}")));
        }
        Ok(left.first().copied())
    };
    match (tag, index.manifests.as_slice()) {
        (Some(tag), _) => tagged(tag),
        // One image under several names is one image.
        (None, [first, rest @ ..]) if rest.iter().all(|d| d.digest == first.digest) => {
            Ok(tagged("latest")?.or(Some(first)))
        }
        (None, _) => tagged("latest"),
    }
}

/// An index without what refers to another image of the same place, for whoever gives no name: an image is still the only
/// one when its signature lies beside it. `has` says whether something is there; what cannot be read refers to nothing.
pub(crate) fn without_referrers(
    index: &Index,
    read: &dyn Fn(&Descriptor) -> Option<Vec<u8>>,
    has: &dyn Fn(&Digest) -> bool,
) -> Index {
    let refers = |d: &Descriptor| match read(d).map(|bytes| Document::parse(&bytes, None)) {
        Some(Ok(Document::Manifest(manifest))) => manifest.subject.is_some_and(|subject| has(&subject.digest)),
        _ => false,
    };
    let mut images = index.clone();
    let mut looked_at = 0;
    images.manifests.retain(|d| {
        looked_at += 1;
        looked_at > REFERRERS || !d.media_type.is_manifest() || !refers(d)
    });
    images
}

impl Engine {
    /// Takes the layout's image for a platform into the store.
    pub(super) fn import_layout(&self, name: &LayoutName, platform: &Platform) -> Result<Descriptor, EngineError> {
        let layout = Layout::open_at(name)?;
        let (descriptor, bytes, manifest) = layout.manifest(platform)?;
        crate::resolve::check(&manifest, name)?;
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            self.import_blob(&layout, blob)?;
        }
        let mut writer = self.store.blob_writer_with(descriptor.digest.algorithm())?;
        std::io::Write::write_all(&mut writer, &bytes).map_err(|e| io(format!("keeping the manifest of {name}"), e))?;
        writer.commit(Some((&descriptor.digest, descriptor.size)))?;
        Ok(descriptor)
    }

    fn import_blob(&self, layout: &Layout<'_>, blob: &Descriptor) -> Result<(), EngineError> {
        if self.store.blob_size(&blob.digest)? == Some(blob.size) {
            return Ok(());
        }
        let file = layout.open(&blob_path(&blob.digest)).map_err(|e| e.of_foreign(blob, layout.name))?;
        let mut writer = self.store.blob_writer_with(blob.digest.algorithm())?;
        // One byte more than promised is enough to see that the size is wrong.
        std::io::copy(&mut file.take(blob.size.saturating_add(1)), &mut writer)
            .map_err(|e| io(format!("copying blob {} of {}", blob.digest, layout.name), e))?;
        writer.commit(Some((&blob.digest, blob.size)))?;
        Ok(())
    }
}

impl<'a> Layout<'a> {
    /// Opens the directory.
    pub(crate) fn open_at(name: &'a LayoutName) -> Result<Self, EngineError> {
        let root = Root::open(&name.path).map_err(|e| match e {
            LayerfsError::Io { source, .. } => EngineError::named(format!("opening {}", name.path.display()), source),
            other => other.into(),
        })?;
        Ok(Self { name, root })
    }

    /// The image's manifest, through as many indexes as are allowed.
    fn manifest(&self, platform: &Platform) -> Result<Image, EngineError> {
        let top = match &self.name.digest {
            Some(digest) => digest.clone(),
            None => self.by_tag(platform)?.digest,
        };
        let index = match self.parsed(&top)? {
            (bytes, Document::Manifest(manifest)) => return Ok(image(top, bytes, manifest)),
            (_, Document::Index(index)) => index,
        };
        let mut images = Images::of(Leaves::satisfying(index, platform));
        let found = images.next(&self.name, |d| self.document(&d.digest))?;
        let none = || offering(format!("{} has no image for {platform}", self.name), images.passed().collect());
        let digest = found.ok_or_else(none)?.digest;
        match self.parsed(&digest)? {
            (bytes, Document::Manifest(manifest)) => Ok(image(digest, bytes, manifest)),
            (_, Document::Index(_)) => Err(self.invalid("an index is in it as an image".to_owned())),
        }
    }

    fn parsed(&self, digest: &Digest) -> Result<(Vec<u8>, Document), EngineError> {
        let bytes = self.document(digest)?;
        let parsed = Document::parse(&bytes, None).map_err(|e| self.invalid(format!("{digest}: {e}")))?;
        Ok((bytes, parsed))
    }

    /// The entry of `index.json` with the tag; without one `latest`, else the only entry.
    fn by_tag(&self, platform: &Platform) -> Result<Descriptor, EngineError> {
        let index = self.index()?;
        self.entry_of(&index, Some(platform)).cloned()
    }

    /// The entry of `index.json` that the name leads to.
    pub(crate) fn entry_of<'i>(
        &self,
        index: &'i Index,
        platform: Option<&Platform>,
    ) -> Result<&'i Descriptor, EngineError> {
        let (tag, place) = (self.name.tag.as_deref(), format!("the OCI layout {}", self.name.path.display()));
        let mut found = chosen(index, (tag, &place), platform)?;
        if found.is_none() && tag.is_none() {
            let images = self.images(index);
            let only = chosen(&images, (None, &place), platform)?;
            found = index.manifests.iter().find(|d| only == Some(*d));
        }
        let none = || self.no_image(format!("{place} has no image {:?}", tag.unwrap_or("latest")), index);
        found.ok_or_else(none)
    }

    /// What is in `index.json` without what refers to another image of the layout.
    pub(crate) fn images(&self, index: &Index) -> Index {
        let has = |digest: &Digest| self.size(&blob_path(digest)).is_ok_and(|size| size.is_some());
        without_referrers(index, &|d| self.document(&d.digest).ok(), &has)
    }

    /// The entry of `index.json` that the name leads to, and that is to lead to something else.
    ///
    /// # Errors
    /// As [`Layout::entry_of`], and when the name is that of several entries: if one of them changed, it would be none of
    /// them any more.
    pub(crate) fn entry_to_change<'i>(&self, index: &'i Index) -> Result<&'i Descriptor, EngineError> {
        let found = self.entry_of(index, None)?;
        let wanted = self.name.tag.as_deref().unwrap_or("latest");
        if label(found) == Some(wanted) {
            return Ok(found);
        }
        let is = |d: &&Descriptor| d.annotations.get(TAG).is_some_and(|tag| tag == wanted);
        let is_tag = index.manifests.iter().any(|d| is(&d));
        let names: BTreeSet<&str> = index.manifests.iter().filter(|d| !is_tag || is(d)).filter_map(label).collect();
        match names.len() {
            0 | 1 => Ok(found),
            _ => Err(EngineError::Request {
                message: format!("{} is one image with several names", self.name),
                hint: format!("write the full name: it has {}", some_of(&names.into_iter().collect::<Vec<_>>())),
            }),
        }
    }

    /// `index.json`.
    pub(crate) fn index(&self) -> Result<Index, EngineError> {
        let bytes = self.read("index.json", limits::LAYOUT_INDEX_BYTES)?;
        let parsed = Document::parse(&bytes, Some(&MediaType::OciIndex));
        match parsed.map_err(|e| self.invalid(format!("index.json: {e}")))? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(self.invalid("index.json is no index".to_owned())),
        }
    }

    /// A document by its digest.
    pub(crate) fn document(&self, digest: &Digest) -> Result<Vec<u8>, EngineError> {
        let bytes = self.read(&blob_path(digest), limits::MANIFEST_BYTES)?;
        let checked = Verified::check(bytes, digest, None);
        Ok(checked.map_err(|e| damaged(digest, &self.name.to_string(), e))?.into_inner())
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, EngineError> {
        let mut bytes = Vec::new();
        let read = self.open(path)?.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|e| io(format!("reading {path} of {}", self.name), e))?;
        if bytes.len() as u64 > limit {
            return Err(self.invalid(format!("{path} is larger than {limit} bytes")));
        }
        Ok(bytes)
    }

    pub(crate) fn open(&self, path: &str) -> Result<std::fs::File, EngineError> {
        let at = RelPath::from(path);
        match self.stat(path)?.map(|m| m.kind) {
            Some(Kind::File) => self.root.open_file(&at).map_err(|e| io(format!("opening {path} of {}", self.name), e)),
            Some(_) => Err(self.invalid(format!("{path} is not a regular file"))),
            None => Err(EngineError::MissingPart { reference: self.name.to_string(), part: path.to_owned() }),
        }
    }

    fn stat(&self, path: &str) -> Result<Option<Meta>, EngineError> {
        let at = |path: &str| {
            let there = self.root.stat(&RelPath::from(path));
            there.map_err(|e| io(format!("looking for {path} of {}", self.name), e))
        };
        let there = at(path)?;
        let mut above = path.match_indices('/').filter_map(|(cut, _)| path.get(..cut)).filter(|_| there.is_none());
        above.try_for_each(|dir| match at(dir)? {
            Some(m) if m.kind != Kind::Dir => {
                Err(self.invalid(format!("{path} is behind a link, and a layout's files are its own")))
            }
            _ => Ok(()),
        })?;
        Ok(there)
    }

    /// Size of a regular file; `None` when there is none.
    pub(crate) fn size(&self, path: &str) -> Result<Option<u64>, EngineError> {
        Ok(self.stat(path)?.filter(|m| m.kind == Kind::File).map(|m| m.size))
    }

    fn invalid(&self, reason: String) -> EngineError {
        EngineError::InvalidImage { reference: self.name.to_string(), reason }
    }

    fn no_image(&self, message: String, index: &Index) -> EngineError {
        let tag = |d: &Descriptor| d.annotations.get(TAG).cloned();
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for tag in index.manifests.iter().filter_map(tag) {
            *times.entry(tag).or_default() += 1;
        }
        let (mut has, mut known) = (Vec::new(), BTreeSet::new());
        for d in &index.manifests {
            // What several have is no name of one.
            let is_own = |tag: &String| full_name(d).is_none() || times.get(tag) == Some(&1);
            let name = tag(d).filter(is_own).or_else(|| full_name(d).map(str::to_owned));
            let name = name.or_else(|| d.platform.as_ref().map(ToString::to_string));
            has.extend(name.filter(|name| known.insert(name.clone())));
        }
        offering(message, has)
    }
}

fn image(digest: Digest, bytes: Vec<u8>, manifest: Manifest) -> Image {
    let media_type = manifest.media_type.clone().unwrap_or(MediaType::OciManifest);
    (Descriptor::new(media_type, digest, bytes.len() as u64), bytes, manifest)
}

/// Nobody knows which of these is meant.
pub(crate) fn several((place, tag): (&dyn fmt::Display, &str), hint: String) -> EngineError {
    EngineError::Request { message: format!("{place} has several images with the tag {tag:?}"), hint }
}

/// What to do where a name is that of several images.
pub(crate) const BY_DIGEST: &str = "choose one by its digest: oci-layout://DIR@sha256:… (an OCI archive unpacks to such a \
                                    DIR; save a docker archive anew, with a name for each)";

/// What is wanted is not there, and this is.
fn offering(message: String, has: Vec<String>) -> EngineError {
    let hint = match has.is_empty() {
        true => "choose an image by its digest: oci-layout://DIR@sha256:…".to_owned(),
        false => format!("it has {}", some_of(&has)),
    };
    EngineError::Request { message, hint }
}

/// The first of some names, and how many more there are.
pub(crate) fn some_of<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_store::archive::{named, tagged};

    #[test]
    fn a_tag_of_several_names_is_no_name() {
        let amd64 = Platform::linux("amd64");
        let d = |content: &str| Descriptor::of(MediaType::OciManifest, content.as_bytes());
        let full = |name: &str, content: &str| named(&d(content), &name.parse().unwrap());
        let (a, b) = (full("a.example/x:1", "of a"), full("b.example/x:1", "of b"));
        let chosen_of = |entries: &[&Descriptor], tag: Option<&str>| {
            let index = Index::of(entries.iter().map(|d| (*d).clone()).collect());
            chosen(&index, (tag, &"the layout"), Some(&amd64)).map(|found| found.map(|d| d.digest.clone()))
        };
        let of = |content: &str| Some(d(content).digest);
        let refused = chosen_of(&[&a, &b], Some("1")).unwrap_err();
        assert_eq!(refused.to_string(), "the layout has several images with the tag \"1\"");
        assert_eq!(refused.hint().as_deref(), Some("write the full name: it has a.example/x:1, b.example/x:1"));
        assert_eq!(chosen_of(&[&a, &b], Some("b.example/x:1")).unwrap(), of("of b"));
        assert_eq!(chosen_of(&[&a], Some("1")).unwrap(), of("of a"));
        // It does not matter then.
        assert_eq!(chosen_of(&[&a, &full("b.example/x:1", "of a")], Some("1")).unwrap(), of("of a"));
        // Nor has one image to be named, whatever it is called.
        assert_eq!(chosen_of(&[&a, &full("b.example/y:2", "of a")], None).unwrap(), of("of a"));
        assert_eq!(chosen_of(&[&a, &b], None).unwrap(), None);
        // What is called so and nothing else is meant.
        assert_eq!(chosen_of(&[&a, &b, &tagged(&d("alone"), "1")], Some("1")).unwrap(), of("alone"));
        let latest = [full("a.example/x", "of a"), full("b.example/x", "of b")];
        chosen_of(&[&latest[0], &latest[1]], None).unwrap_err();
        assert_eq!(chosen_of(&[&latest[0], &a], None).unwrap(), of("of a"));
        // One image for several platforms.
        let of_platform = |content: &str, arch: &str| Descriptor {
            platform: Some(Platform::linux(arch)),
            ..full("a.example/x:1", content)
        };
        let both = [of_platform("for arm64", "arm64"), of_platform("for amd64", "amd64")];
        assert_eq!(chosen_of(&[&both[0], &both[1]], Some("1")).unwrap(), of("for amd64"));
    }

    #[test]
    fn two_images_of_one_name_are_none() {
        let d = |content: &str| Descriptor::of(MediaType::OciManifest, content.as_bytes());
        let on = |content: &str, arch: &str| Descriptor { platform: Some(Platform::linux(arch)), ..d(content) };
        let full = |d: &Descriptor| named(d, &"a.example/x:1".parse().unwrap());
        let chosen_of = |entries: &[Descriptor], tag: &str, wanted: Option<&str>| {
            let index = Index::of(entries.to_vec());
            let platform = wanted.map(Platform::linux);
            let found = chosen(&index, (Some(tag), &"the layout"), platform.as_ref());
            let listed = |hint: String| hint.rsplit_once("it has ").map(|(_, digests)| digests.to_owned());
            let hint = |e: &EngineError| e.hint().and_then(listed).unwrap_or_default();
            found.map(|found| found.map(|d| d.digest.clone())).map_err(|e| (e.to_string(), hint(&e)))
        };
        let of = |content: &str| Ok(Some(d(content).digest));
        let refused = |contents: [&str; 2]| {
            let mut digests = contents.map(|content| d(content).digest.to_string());
            digests.sort();
            Err(("the layout has several images with the tag \"1\"".to_owned(), digests.join(", ")))
        };
        let all = |of: &[Descriptor]| of.iter().map(|d| tagged(d, "1")).collect::<Vec<_>>();
        for wanted in [None, Some("amd64")] {
            assert_eq!(chosen_of(&all(&[d("a"), d("b")]), "1", wanted), refused(["a", "b"]));
            assert_eq!(chosen_of(&[full(&d("a")), full(&d("b"))], "1", wanted), refused(["a", "b"]));
            assert_eq!(chosen_of(&all(&[d("a"), d("a")]), "1", wanted), of("a"));
            let twice = all(&[on("a", "amd64"), on("b", "amd64")]);
            assert_eq!(chosen_of(&twice, "1", wanted), refused(["a", "b"]));
        }
        // Each for its platform; whoever asks for none gets the first.
        let both = all(&[on("a", "arm64"), on("b", "amd64")]);
        assert_eq!(chosen_of(&both, "1", Some("amd64")), of("b"));
        assert_eq!(chosen_of(&both, "1", None), of("a"));
        // The platform decides where one of them has it.
        let one = all(&[d("a"), on("b", "amd64")]);
        assert_eq!(chosen_of(&one, "1", Some("amd64")), of("b"));
        assert_eq!(chosen_of(&one, "1", None), refused(["a", "b"]));
    }

    #[test]
    fn a_tag_of_several_names_is_not_offered_and_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let d = |content: &str| Descriptor::of(MediaType::OciManifest, content.as_bytes());
        let full = |name: &str, content: &str| named(&d(content), &name.parse().unwrap());
        let (a, b) = (full("a.example/x:1", "of a"), full("b.example/x:1", "of a"));
        let hint_of = |entries: &[&Descriptor], tag: Option<&str>, change: bool| {
            let index = Index::of(entries.iter().map(|d| (*d).clone()).collect());
            let name = LayoutName { path: dir.path().to_owned(), tag: tag.map(str::to_owned), digest: None };
            let layout = Layout::open_at(&name).unwrap();
            let found = if change { layout.entry_to_change(&index) } else { layout.entry_of(&index, None) };
            found.cloned().map_err(|e| e.hint().unwrap_or_default())
        };
        let both = "a.example/x:1, b.example/x:1";
        assert_eq!(hint_of(&[&a, &b], Some("1"), false), Ok(a.clone()));
        for tag in [Some("1"), None] {
            assert_eq!(hint_of(&[&a, &b], tag, true), Err(format!("write the full name: it has {both}")), "{tag:?}");
        }
        assert_eq!(hint_of(&[&a, &b], Some("b.example/x:1"), true), Ok(b.clone()));
        let alone = tagged(&d("of a"), "1");
        assert_eq!(hint_of(&[&a, &b, &alone], Some("1"), true), Ok(alone));
        assert_eq!(hint_of(&[&a], None, true), Ok(a.clone()));
        let other = full("a.example/y:2", "of y");
        assert_eq!(hint_of(&[&a, &b, &other], Some("3"), false), Err(format!("it has {both}, 2")));
    }

    #[test]
    fn of_many_names_some_are_offered_and_the_others_counted() {
        let dir = tempfile::tempdir().unwrap();
        let hint_of = |count: usize, full: bool| {
            let entry = |n: usize| {
                let d = Descriptor::of(MediaType::OciManifest, n.to_string().as_bytes());
                if full { named(&d, &format!("{n}.example/x:1").parse().unwrap()) } else { tagged(&d, &n.to_string()) }
            };
            let index = Index::of((0..count).map(entry).collect());
            let tag = Some(if full { "1" } else { "no" }.to_owned());
            let name = LayoutName { path: dir.path().to_owned(), tag, digest: None };
            Layout::open_at(&name).unwrap().entry_of(&index, None).unwrap_err().hint().unwrap_or_default()
        };
        assert_eq!(hint_of(8, false), "it has 0, 1, 2, 3, 4, 5, 6, 7");
        assert_eq!(hint_of(12, false), "it has 0, 1, 2, 3, 4, 5, 6, 7 and 4 more");
        assert!(hint_of(9, true).ends_with("6.example/x:1, 7.example/x:1 and 1 more"), "{}", hint_of(9, true));
    }

    #[test]
    fn names_of_layouts() {
        let hex = "a".repeat(64);
        let digest = format!("sha256:{hex}");
        for (text, path, tag, pinned) in [
            ("dir".to_owned(), "dir", None, false),
            ("/a/b:1.2".to_owned(), "/a/b", Some("1.2"), false),
            (format!("d:t@{digest}"), "d", Some("t"), true),
            (format!("d@{digest}"), "d", None, true),
            ("./a:b/c".to_owned(), "./a:b/c", None, false),
            ("a:b/c:t".to_owned(), "a:b/c", Some("t"), false),
            ("a:b/c:localhost:5000/team/app:1".to_owned(), "a:b/c", Some("localhost:5000/team/app:1"), false),
            ("d:docker.io/library/debian:12".to_owned(), "d", Some("docker.io/library/debian:12"), false),
            ("d:../e:1".to_owned(), "d:../e", Some("1"), false),
            ("b/2026-11-28T02:10:11/app:latest".to_owned(), "b/2026-11-28T02:10:11/app", Some("latest"), false),
            ("out/app:1.2.3/image:v1".to_owned(), "out/app:1.2.3/image", Some("v1"), false),
            ("d:127.0.0.1:5000/a:1".to_owned(), "d", Some("127.0.0.1:5000/a:1"), false),
            ("d:[::1]:5000/a:1".to_owned(), "d", Some("[::1]:5000/a:1"), false),
        ] {
            let name = LayoutName::parse(&text).unwrap();
            assert_eq!((name.path.to_str(), name.tag.as_deref()), (Some(path), tag), "{text}");
            assert_eq!(name.digest.is_some(), pinned);
            assert_eq!(name.to_string(), format!("oci-layout://{text}"));
        }
    }
}
