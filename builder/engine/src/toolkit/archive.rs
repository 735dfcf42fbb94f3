//! An archive to read from: an OCI layout in a tar, or what `docker save` writes, of today or of earlier times. Which
//! of them it is, the archive says itself.

use super::layout::{bare, referring};
use super::origin::{Checked, Origin, Reader, damaged, skipped};
use crate::EngineError;
use crate::context::layout::{BY_DIGEST, blob_path, chosen, several, some_of, without_referrers};
use crate::layers::io;
use cooper_image::{Descriptor, Digest, Document, Hasher, ImageConfig, Index, Manifest, MediaType, Verified, limits};
use cooper_layerfs::{LayerfsError, compress};
use cooper_store::archive::docker::Entry;
use cooper_store::archive::reader::{Archive, Part};
use cooper_store::archive::{NAME_ANNOTATION, full_name, label};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::Path;

/// First bytes of a layer that is compressed.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a file of an older archive is to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Config,
    Layer,
}

/// Reads from a file.
pub(super) struct ArchiveOrigin {
    archive: Archive,
    wanted: Option<String>,
    index: Index,
    /// Documents that had to be made, since the archive has none.
    made: BTreeMap<Digest, Vec<u8>>,
    /// Where blobs are that have no place in a layout.
    elsewhere: BTreeMap<Digest, String>,
    /// What was read of an older archive, by where it begins: images share layers, under other names too.
    read: BTreeMap<(u64, Role), Descriptor>,
}

impl ArchiveOrigin {
    pub(super) fn open(path: &Path, wanted: Option<String>) -> Result<Self, EngineError> {
        let archive = Archive::open(path, seekable(path)?)?;
        let index = Index::of(Vec::new());
        let (made, elsewhere, read) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut this = Self { archive, wanted, index, made, elsewhere, read };
        if let Some(bytes) = this.file("index.json", limits::LAYOUT_INDEX_BYTES)? {
            let parsed = Document::parse(&bytes, Some(&MediaType::OciIndex));
            let Ok(Document::Index(index)) = parsed else {
                return Err(this.invalid("its index.json is no index".to_owned()));
            };
            this.index = index;
        } else if let Some(bytes) = this.file("manifest.json", limits::MANIFEST_BYTES)? {
            let listed: Vec<Entry> =
                serde_json::from_slice(&bytes).map_err(|e| this.invalid(format!("its manifest.json: {e}")))?;
            for entry in &listed {
                this.list(entry)?;
            }
        } else {
            return Err(this.invalid("it has neither index.json nor manifest.json".to_owned()));
        }
        Ok(this)
    }

    /// The images in it with their names ([`listed`]).
    pub(super) fn listed(&self) -> Vec<(Descriptor, Vec<cooper_image::Reference>)> {
        listed(&self.images())
    }

    fn images(&self) -> Index {
        let has = |digest: &Digest| self.archive.size(&blob_path(digest)).is_some();
        without_referrers(&self.index, &|d| self.document(d).ok(), &has)
    }

    /// Makes a manifest for an image of an older archive.
    fn list(&mut self, entry: &Entry) -> Result<(), EngineError> {
        let mut config = self.described(&entry.config, Role::Config)?;
        let platform = config.platform.take();
        let layers =
            entry.layers.iter().map(|path| self.described(path, Role::Layer)).collect::<Result<Vec<_>, _>>()?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MediaType::DockerManifest),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|source| EngineError::Json { what: "the manifest of an archive's image".to_owned(), source })?;
        let d = Descriptor { platform, ..Descriptor::of(MediaType::DockerManifest, &bytes) };
        self.made.insert(d.digest.clone(), bytes);
        if entry.repo_tags.is_empty() {
            self.index.manifests.push(d.clone());
        }
        for name in &entry.repo_tags {
            let mut named = d.clone();
            named.annotations.insert(NAME_ANNOTATION.to_owned(), name.clone());
            self.index.manifests.push(named);
        }
        Ok(())
    }

    /// Reads a file of an older archive, unless it was read under this name or another one.
    fn described(&mut self, path: &str, role: Role) -> Result<Descriptor, EngineError> {
        let Some(begin) = self.archive.begin(path) else {
            return Err(self.invalid(format!("its manifest.json names {path:?}, which it does not have")));
        };
        if let Some(known) = self.read.get(&(begin, role)) {
            return Ok(known.clone());
        }
        let d = match role {
            Role::Config => self.config(path)?,
            Role::Layer => self.layer(path)?,
        };
        self.read.insert((begin, role), d.clone());
        Ok(d)
    }

    /// A configuration, and what it is for.
    fn config(&mut self, path: &str) -> Result<Descriptor, EngineError> {
        let bytes = self.file(path, limits::CONFIG_BYTES)?.unwrap_or_default();
        let parsed: Result<ImageConfig, _> = serde_json::from_slice(&bytes);
        let platform = parsed.map_err(|e| self.invalid(format!("its configuration {path}: {e}")))?.platform();
        let d = Descriptor { platform: Some(platform), ..Descriptor::of(MediaType::DockerConfig, &bytes) };
        self.made.insert(d.digest.clone(), bytes);
        Ok(d)
    }

    fn layer(&mut self, path: &str) -> Result<Descriptor, EngineError> {
        let failed = |e| io(format!("reading {path} of {}", self.archive.path().display()), e);
        let size = self.archive.size(path).unwrap_or_default();
        let read = self.archive.read(path).map(|mut part| hashed(&mut part)).transpose().map_err(failed)?;
        let (media_type, digest) = read.ok_or_else(|| self.invalid(format!("it has no {path}")))?;
        self.elsewhere.insert(digest.clone(), path.to_owned());
        Ok(Descriptor::new(media_type, digest, size))
    }

    fn file(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let Some(size) = self.archive.size(name) else { return Ok(None) };
        if size > limit {
            return Err(self.invalid(format!("its {name} is larger than {limit} bytes")));
        }
        let mut bytes = Vec::new();
        let read = self.archive.read(name).map_or(Ok(0), |mut part| part.read_to_end(&mut bytes));
        read.map_err(|e| io(format!("reading {name} of {}", self.archive.path().display()), e))?;
        Ok(Some(bytes))
    }

    /// A blob that the archive has.
    fn part(&self, d: &Descriptor) -> Result<Part, EngineError> {
        let path = self.elsewhere.get(&d.digest).cloned().unwrap_or_else(|| blob_path(&d.digest));
        self.archive.read(&path).ok_or_else(|| EngineError::MissingPart { reference: self.place(), part: path })
    }

    fn invalid(&self, reason: String) -> EngineError {
        EngineError::InvalidImage { reference: self.place(), reason }
    }
}

impl Origin for ArchiveOrigin {
    fn place(&self) -> String {
        self.archive.path().display().to_string()
    }

    fn top(&self) -> Result<Descriptor, EngineError> {
        let wanted = self.wanted.as_deref();
        let full = wanted.and_then(|w| w.parse::<cooper_image::Reference>().ok()).map(|r| r.or_latest());
        let images = if wanted.is_none() { self.images() } else { self.index.clone() };
        let found = match (chosen(&images, (wanted, &self.place()), None)?, &full) {
            (None, Some(full)) => named(&images, full, &self.place())?,
            (found, _) => found,
        };
        let only = || match images.manifests.split_first() {
            // One image under several names is one image.
            Some((first, rest)) if rest.iter().all(|d| d.digest == first.digest) => Some(first),
            _ => None,
        };
        found.or_else(|| if wanted.is_none() { only() } else { None }).map(bare).ok_or_else(|| {
            let names = some_of(&self.index.manifests.iter().filter_map(label).collect::<Vec<_>>());
            EngineError::Request {
                message: match wanted {
                    _ if self.index.manifests.is_empty() => format!("{} holds no image", self.place()),
                    Some(wanted) => format!("{} has no image {wanted:?}", self.place()),
                    None => format!("{} has several images", self.place()),
                },
                hint: match names.as_str() {
                    "" => "give another archive, whose images have names".to_owned(),
                    names => format!("write FILE:NAME; it has {names}"),
                },
            }
        })
    }

    fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError> {
        match self.made.get(&d.digest) {
            Some(bytes) => {
                let checked = Verified::check(bytes.clone(), &d.digest, Some(d.size));
                Ok(checked.map_err(|e| damaged(&d.digest, &self.place(), e))?.into_inner())
            }
            None => super::small(self, d, limits::MANIFEST_BYTES),
        }
    }

    fn open(&self, d: &Descriptor) -> Result<Reader, EngineError> {
        if let Some(bytes) = self.made.get(&d.digest) {
            return Ok(Box::new(Checked::new(std::io::Cursor::new(bytes.clone()), d, self.place())));
        }
        Ok(Box::new(Checked::new(self.part(d)?, d, self.place())))
    }

    fn open_at(&self, d: &Descriptor, from: u64) -> Result<Reader, EngineError> {
        if self.made.contains_key(&d.digest) {
            return skipped(self, d, from);
        }
        Ok(Box::new(self.part(d)?.after(from)))
    }

    fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError> {
        let made = self.made.get(&d.digest).map(|bytes| bytes.len() as u64);
        let path = self.elsewhere.get(&d.digest).cloned().unwrap_or_else(|| blob_path(&d.digest));
        Ok(made.or_else(|| self.archive.size(&path)))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, EngineError> {
        referring(self, &self.index.manifests, subject)
    }
}

/// The images of an index with their names; what has none counts only where nothing has one.
pub(super) fn listed(index: &Index) -> Vec<(Descriptor, Vec<cooper_image::Reference>)> {
    let mut found: Vec<(Descriptor, Vec<cooper_image::Reference>)> = Vec::new();
    for entry in &index.manifests {
        let plain = bare(entry);
        match found.iter_mut().find(|(d, _)| *d == plain) {
            Some((_, names)) => names.extend(names_of(entry)),
            None => found.push((plain, names_of(entry).collect())),
        }
    }
    if found.iter().any(|(_, names)| !names.is_empty()) {
        found.retain(|(_, names)| !names.is_empty());
    }
    found
}

/// The image that has this name, however it is written there.
///
/// # Errors
/// When several have it and are not the same.
fn named<'i>(
    index: &'i Index,
    name: &cooper_image::Reference,
    place: &dyn std::fmt::Display,
) -> Result<Option<&'i Descriptor>, EngineError> {
    let mut found = index.manifests.iter().filter(|d| names_of(d).any(|known| known == *name));
    let first = found.next();
    match found.find(|other| first.is_some_and(|first| first.digest != other.digest)) {
        Some(_) => Err(several((place, &name.familiar()), BY_DIGEST.to_owned())),
        None => Ok(first),
    }
}

/// The full names of an entry.
fn names_of(entry: &Descriptor) -> impl Iterator<Item = cooper_image::Reference> {
    let full = full_name(entry).and_then(|name| name.parse::<cooper_image::Reference>().ok());
    full.map(|name| name.or_latest()).into_iter()
}

/// Media type and digest of a layer of an older archive.
fn hashed(part: &mut Part) -> std::io::Result<(MediaType, Digest)> {
    let mut head = [0; 2];
    let mut hasher = Hasher::new();
    let mut n = 0;
    while n < head.len() {
        match part.read(head.get_mut(n..).unwrap_or_default())? {
            0 => break,
            more => n += more,
        }
    }
    hasher.update(head.get(..n).unwrap_or_default());
    std::io::copy(part, &mut hasher)?;
    Ok((if head == GZIP { MediaType::DockerLayerGzip } else { MediaType::DockerLayer }, hasher.finish()))
}

/// The file, or a nameless copy of what is compressed or comes through a pipe.
fn seekable(path: &Path) -> Result<File, EngineError> {
    let failed = |e| io(format!("reading {}", path.display()), e);
    let is_stdin = path == Path::new("-");
    let file = if is_stdin {
        File::from(rustix::io::dup(rustix::stdio::stdin()).map_err(|e| failed(e.into()))?)
    } else {
        File::open(path).map_err(|e| EngineError::named(format!("reading {}", path.display()), e))?
    };
    let there = file.metadata().map_err(failed)?;
    if there.is_dir() {
        return Err(is_a_directory(path));
    }
    if there.is_file() {
        use std::os::unix::fs::FileExt as _;
        let mut head = [0; compress::MAGIC_BYTES];
        let n = file.read_at(&mut head, 0).map_err(failed)?;
        if compress::named(head.get(..n).unwrap_or_default()).is_none() {
            return Ok(file);
        }
    }
    let mut copy = nameless().map_err(failed)?;
    let inflated = compress::decompress(Box::new(file)).and_then(|mut plain| compress::copy(&mut plain, &mut copy));
    let none = |cause| EngineError::NoArchive { file: path.display().to_string(), source: Box::new(cause) };
    inflated.map_err(|e| match e {
        LayerfsError::Io { source, .. } => io(format!("unpacking {}", path.display()), source),
        LayerfsError::Stream { source } if source.raw_os_error().is_some() => failed(source),
        LayerfsError::Stream { source } => none(io("it does not inflate", source)),
        other => none(other.into()),
    })?;
    copy.rewind().map_err(failed)?;
    Ok(copy)
}

/// What is said of a directory where an archive is read or written.
pub(super) fn is_a_directory(path: &Path) -> EngineError {
    let dir = path.display();
    let hint = match path.join("oci-layout").exists() {
        true => format!("it is an OCI layout: write oci-layout://{dir}[:NAME], which cooper copy takes"),
        false => "give the file, as docker save and cooper save write it".to_owned(),
    };
    EngineError::Request { message: format!("{dir} is a directory, and an archive is one file"), hint }
}

/// A file without a name, on the disk.
pub(super) fn nameless() -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let made =
        open("/var/tmp", flags, Mode::RUSR | Mode::WUSR).or_else(|_| open("/tmp", flags, Mode::RUSR | Mode::WUSR));
    Ok(File::from(made?))
}

#[cfg(test)]
mod tests {
    use super::super::layout::LayoutOrigin;
    use super::*;
    use serde_json::json;

    /// An older archive of this many images, of which each has a layer's one name more.
    fn older(dir: &Path, images: usize) -> std::path::PathBuf {
        let mut tar = tar::Builder::new(Vec::new());
        let header = |kind, size: usize| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(size as u64);
            header
        };
        let config = serde_json::to_vec(&ImageConfig::scratch(&cooper_image::Platform::linux("amd64"))).unwrap();
        for (name, bytes) in [("config.json", &config[..]), ("first/layer.tar", b"layer")] {
            tar.append_data(&mut header(tar::EntryType::Regular, bytes.len()), name, bytes).unwrap();
        }
        let mut listed = Vec::new();
        for n in 0..images {
            let name = format!("{n}/layer.tar");
            tar.append_link(&mut header(tar::EntryType::Symlink, 0), &name, "../first/layer.tar").unwrap();
            let names = [format!("app:{n}")];
            listed.push(json!({"Config": "config.json", "RepoTags": names, "Layers": ["first/layer.tar", name]}));
        }
        let listed = json!(listed).to_string();
        tar.append_data(&mut header(tar::EntryType::Regular, listed.len()), "manifest.json", listed.as_bytes())
            .unwrap();
        let path = dir.join("older.tar");
        std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
        path
    }

    #[test]
    fn an_archive_without_images_has_not_several() {
        let dir = tempfile::tempdir().unwrap();
        let path = older(dir.path(), 0);
        for wanted in [None, Some("app:1".to_owned())] {
            let none = ArchiveOrigin::open(&path, wanted).unwrap().top().unwrap_err();
            assert_eq!(none.to_string(), format!("{} holds no image", path.display()));
            assert_eq!(none.hint().as_deref(), Some("give another archive, whose images have names"));
        }
        let several = ArchiveOrigin::open(&older(dir.path(), 2), Some("db".to_owned())).unwrap().top().unwrap_err();
        assert_eq!(several.hint().as_deref(), Some("write FILE:NAME; it has app:0, app:1"));
    }

    /// An image beside its signature is the only image, wherever it lies.
    #[test]
    fn what_refers_to_an_image_is_not_another_one() {
        use super::super::memory::{Memory, Types};
        use super::super::reach::Reach;
        use crate::context::LayoutName;
        let dir = tempfile::tempdir().unwrap();
        let mut place = Memory::default();
        let image = place.image(Types::Oci, &cooper_image::Platform::linux("amd64"), &[]);
        let config = place.put("application/vnd.oci.empty.v1+json", b"{}");
        let oci = MediaType::OciManifest;
        let mut referrer = |subject: &Descriptor| {
            let manifest =
                json!({"schemaVersion": 2, "mediaType": oci, "config": config, "layers": [], "subject": subject});
            place.lead(&oci, &manifest)
        };
        let (signature, astray) =
            (referrer(&image), referrer(&Descriptor::of(MediaType::OciManifest, b"somewhere else")));
        let of_signature = referrer(&signature);
        for (n, (entries, only)) in [
            (vec![&image, &signature], Some(&image)),
            (vec![&of_signature, &signature, &image], Some(&image)),
            (vec![&astray], Some(&astray)),
            (vec![&image, &astray], None),
        ]
        .into_iter()
        .enumerate()
        {
            let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries});
            let mut files = vec![
                ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
                ("index.json".to_owned(), index.to_string().into_bytes()),
            ];
            files.extend(place.blobs.iter().map(|(digest, bytes)| (blob_path(digest), bytes.clone())));
            let (layout, archive) = (dir.path().join(format!("{n}")), dir.path().join(format!("{n}.tar")));
            let mut tar = tar::Builder::new(Vec::new());
            for (name, bytes) in files {
                std::fs::create_dir_all(layout.join(&name).parent().unwrap()).unwrap();
                std::fs::write(layout.join(&name), &bytes).unwrap();
                let mut header = tar::Header::new_gnu();
                header.set_mode(0o644);
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, &name, &bytes[..]).unwrap();
            }
            std::fs::write(&archive, tar.into_inner().unwrap()).unwrap();
            let name = LayoutName { path: layout.clone(), tag: None, digest: None };
            let tops = [ArchiveOrigin::open(&archive, None).unwrap().top(), LayoutOrigin::new(name).top()];
            for top in tops {
                assert_eq!(top.ok().map(|d| d.digest), only.map(|d| d.digest.clone()), "{n}");
            }
            for path in [&layout, &archive] {
                assert_eq!(Reach::archive(path).unwrap().images.len(), if only.is_some() { 1 } else { 2 }, "{n}");
            }
        }
    }

    /// Others read a cut tar as far as it goes; an image is whole or none.
    #[test]
    fn a_compressed_archive_is_whole_or_refused_as_input() {
        use crate::ErrorClass;
        let dir = tempfile::tempdir().unwrap();
        let plain = std::fs::read(older(dir.path(), 1)).unwrap();
        let path = dir.path().join("packed");
        for method in [compress::Method::Gzip(4), compress::Method::Zstd(3)] {
            let mut packed = Vec::new();
            let produce = |out: &mut dyn std::io::Write| compress::copy(&mut plain.as_slice(), out);
            compress::compress(method, &compress::NoChunks, &mut packed, produce).unwrap();
            std::fs::write(&path, &packed).unwrap();
            assert_eq!(ArchiveOrigin::open(&path, None).unwrap().listed().len(), 1, "{method:?}");
            let cut = packed.get(..packed.len() / 2).unwrap().to_vec();
            for damaged in [cut, [packed.as_slice(), b"something behind it"].concat()] {
                std::fs::write(&path, damaged).unwrap();
                let error = ArchiveOrigin::open(&path, None).err().unwrap();
                assert_eq!(error.class(), ErrorClass::Input, "{method:?}: {error:?}");
                assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
                assert!(error.hint().is_some(), "{error:?}");
            }
        }
    }

    #[test]
    fn what_images_of_an_older_archive_share_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let archive = ArchiveOrigin::open(&older(dir.path(), 50), None).unwrap();
        assert_eq!(archive.listed().len(), 1, "one image of as many names");
        assert_eq!(archive.listed().first().map(|(_, names)| names.len()), Some(50));
        assert_eq!(archive.read.len(), 2, "a configuration and a layer, however often they are named");
        let manifest = archive.document(&archive.top().unwrap()).unwrap();
        let Ok(Document::Manifest(manifest)) = Document::parse(&manifest, None) else { panic!("it is an image") };
        let layer = Descriptor::of(MediaType::DockerLayer, b"layer");
        assert_eq!(manifest.layers, [layer.clone(), layer]);
        assert_eq!(manifest.config.platform, None);
    }
}
