//! Is an image what it says that it is, wherever it is?
//!
//! Takes a place; gives what is wrong, all of it. That the place cannot be asked is an error, that what it gives is
//! wrong is a finding.

use super::draft::made;
use super::origin::{Origin, Reader, cause, small};
use super::shipment::{PARTS, key, parts};
use super::unpacking::{Hashed, no_tar};
use crate::layers::lock;
use crate::transfer::some_at_once;
use crate::{EngineError, ErrorClass};
use cooper_image::{Descriptor, Digest, Document, Hasher, ImageConfig, Manifest, MediaType, Platform, limits};
use cooper_layerfs::compress;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, sink};
use std::sync::{Arc, Mutex};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Documents and configurations; of other blobs only whether they are there in their size.
    Documents,
    /// Every byte.
    Everything,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The digest of the document or blob that is at fault.
    pub of: String,
    /// What is wrong with it.
    pub problem: String,
}

/// One image that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Its manifest.
    pub manifest: Descriptor,
    /// What its configuration says that it is for; `None` for artifacts.
    pub platform: Option<Platform>,
    /// How many layers it has.
    pub layers: usize,
    /// Their size as they are stored, in bytes.
    pub bytes: u64,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The images.
    pub images: Vec<Image>,
    /// What is wrong; nothing, when all is well.
    pub findings: Vec<Finding>,
    /// Layers that need not be there, and are not: whoever wants them fetches them from where their publisher keeps
    /// them.
    pub elsewhere: Vec<Descriptor>,
    /// Blobs that were looked at, each for its size and its DiffId.
    #[serde(skip)]
    looked: BTreeSet<(Digest, u64, Option<Digest>)>,
}

impl Report {
    fn find(&mut self, of: &Descriptor, problem: impl Into<String>) {
        self.findings.push(Finding { of: of.digest.to_string(), problem: problem.into() });
    }

    /// Notes what is wrong with the bytes, and gives on what is wrong with the place.
    fn noted<T>(&mut self, of: &Descriptor, result: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(e) if is_finding(&e) => {
                self.find(of, whole(&e));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

/// Is it about what was given, or not given, rather than about the giver?
fn is_finding(error: &EngineError) -> bool {
    let lost = match error {
        EngineError::Registry(e) => e.is_absence(),
        EngineError::Store(e) => {
            matches!(e, cooper_store::StoreError::MissingBlob(_) | cooper_store::StoreError::DamagedBlob { .. })
        }
        _ => false,
    };
    lost || error.class() == ErrorClass::Input
}

fn whole(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Looks at everything that a descriptor leads to.
///
/// # Errors
/// What the place says; not what is wrong with the image.
pub fn validate(origin: &dyn Origin, top: &Descriptor, depth: Depth) -> Result<Report, EngineError> {
    bounded(origin, top, depth, PARTS)
}

/// An image that was looked at, for another entry that says something else of it.
struct Judged {
    image: Image,
    config: Descriptor,
}

/// Looks at no more than so many documents.
fn bounded(origin: &dyn Origin, top: &Descriptor, depth: Depth, most: usize) -> Result<Report, EngineError> {
    let mut report = Report::default();
    let mut seen = BTreeSet::new();
    let mut judged: BTreeMap<_, Option<Judged>> = BTreeMap::new();
    let mut pending = vec![(top.clone(), 0)];
    while let Some((d, level)) = pending.pop() {
        // What an index says of an entry counts: the same image under another type, size or platform is another claim.
        if !seen.insert((key(&d), d.size, d.platform.as_ref().map(ToString::to_string))) {
            continue;
        }
        if seen.len() > most {
            report.find(&d, format!("indexes lead to more than {most} documents, and the others were not looked at"));
            break;
        }
        if level > limits::INDEX_DEPTH {
            report.find(&d, "indexes nest too deep");
            continue;
        }
        // A document is fetched once, whatever it is said to be for.
        if let Some(before) = judged.get(&(key(&d), d.size)) {
            if let Some(Judged { image, config }) = before {
                if let Some(problem) = image.platform.as_ref().and_then(|is| unlike(&d, is)) {
                    report.find(config, problem);
                }
                report.images.push(Image { manifest: d, ..image.clone() });
            }
            continue;
        }
        let bytes = report.noted(&d, origin.document(&d))?;
        let this = judged.entry((key(&d), d.size)).or_default();
        let Some(bytes) = bytes else { continue };
        match Document::parse(&bytes, Some(&d.media_type)) {
            Ok(Document::Index(index)) => {
                if index.schema_version != 2 {
                    report.find(&d, format!("its schemaVersion is {}, not 2", index.schema_version));
                }
                pending.extend(index.manifests.into_iter().rev().map(|m| (m, level + 1)));
            }
            Ok(Document::Manifest(manifest)) => {
                let image = of_manifest(origin, &d, &manifest, depth, &mut report)?;
                *this = Some(Judged { image, config: manifest.config });
            }
            Err(_) if !d.media_type.is_index() && !d.media_type.is_manifest() => {
                // Of a type that nobody knows, its parts can be there or not.
                match parts(&bytes, &d.media_type) {
                    Ok(parts) => {
                        blobs(origin, &parts.blobs, &[], depth, &mut report)?;
                        pending.extend(parts.documents.into_iter().map(|m| (m, level + 1)));
                    }
                    Err(problem) => report.find(&d, problem),
                }
            }
            Err(e) => report.find(&d, e.to_string()),
        }
    }
    Ok(report)
}

fn of_manifest(
    origin: &dyn Origin,
    d: &Descriptor,
    manifest: &Manifest,
    depth: Depth,
    report: &mut Report,
) -> Result<Image, EngineError> {
    if manifest.schema_version != 2 {
        report.find(d, format!("its schemaVersion is {}, not 2", manifest.schema_version));
    }
    let bytes = manifest.layers.iter().map(|l| l.size).fold(0, u64::saturating_add);
    let mut image = Image { manifest: d.clone(), platform: None, layers: manifest.layers.len(), bytes };
    let is_image = matches!(manifest.config.media_type, MediaType::OciConfig | MediaType::DockerConfig);
    let config = report.noted(&manifest.config, small(origin, &manifest.config, limits::CONFIG_BYTES))?;
    let mut diffs = Vec::new();
    if let Some(bytes) = config.filter(|_| is_image) {
        match serde_json::from_slice::<ImageConfig>(&bytes) {
            Ok(config) => {
                for problem in of_config(d, manifest, &config) {
                    report.find(&manifest.config, problem);
                }
                image.platform = Some(config.platform());
                diffs = config.rootfs.diff_ids;
            }
            Err(e) => report.find(&manifest.config, format!("it is no configuration of an image: {e}")),
        }
    }
    report.images.push(image.clone());
    // Attestations are images in form alone: their layers are statements.
    let layers = if diffs.len() == manifest.layers.len() { diffs } else { Vec::new() };
    blobs(origin, &manifest.layers, &layers, depth, report)?;
    Ok(image)
}

/// What of a configuration does not fit itself, or the manifest, or the index's entry.
fn of_config(d: &Descriptor, manifest: &Manifest, config: &ImageConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let (layers, diffs) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diffs {
        problems.push(format!("it has {diffs} DiffIds, and the manifest has {layers} layers"));
    }
    let made = made(&config.history);
    if !config.history.is_empty() && made != diffs {
        problems.push(format!("its history makes {made} layers, and it has {diffs}"));
    }
    let is = config.platform();
    if is.os.is_empty() || is.architecture.is_empty() {
        problems.push("it says no operating system or no architecture".to_owned());
    }
    problems.extend(unlike(d, &is));
    let is_docker = d.media_type == MediaType::DockerManifest;
    let foreign = |m: &MediaType| {
        let other = if is_docker { "application/vnd.oci." } else { "application/vnd.docker." };
        m.as_str().starts_with(other)
    };
    if let Some(layer) = manifest.layers.iter().find(|l| foreign(&l.media_type)) {
        problems.push(format!("a {} has a layer of type {}", d.media_type, layer.media_type));
    }
    // What an attestation holds are statements.
    let is_statement = is.os == "unknown";
    for layer in manifest.layers.iter().filter(|l| !is_statement && form(&l.media_type).is_none()) {
        problems.push(format!(
            "it is an image's, whose layer {} is of the unknown type {}",
            layer.digest, layer.media_type
        ));
    }
    problems
}

/// Beginnings of the media types of layers, each with what stands before the name of the compression.
const LAYERS: [(&str, &str); 4] = [
    ("application/vnd.oci.image.layer.v1.tar", "+"),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar", "+"),
    ("application/vnd.docker.image.rootfs.diff.tar", "."),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", "."),
];
/// What a layer is that is not compressed.
const PLAIN: &str = "not compressed";

/// How a layer of this media type is compressed; `None` when it is no layer's type.
fn form(media_type: &MediaType) -> Option<&'static str> {
    LAYERS.iter().find_map(|(begin, sign)| match media_type.as_str().strip_prefix(*begin)? {
        "" => Some(PLAIN),
        rest => ["gzip", "zstd"].into_iter().find(|known| rest.strip_prefix(*sign) == Some(*known)),
    })
}

/// What is wrong with the platform that an index gives an image which is for `is`.
fn unlike(d: &Descriptor, is: &Platform) -> Option<String> {
    let said = d.platform.as_ref().filter(|said| said.os != "unknown" && !is.satisfies(said))?;
    Some(format!("it is for {is}, and the index says {said}"))
}

/// Looks at blobs; those that have a DiffId are inflated for it.
fn blobs(
    origin: &dyn Origin,
    blobs: &[Descriptor],
    diffs: &[cooper_image::DiffId],
    depth: Depth,
    report: &mut Report,
) -> Result<(), EngineError> {
    let mut wanted = Vec::with_capacity(blobs.len());
    for (n, d) in blobs.iter().enumerate() {
        let diff = diffs.get(n);
        // What images share is read once.
        if !report.looked.insert((d.digest.clone(), d.size, diff.map(|diff| diff.0.clone()))) {
            continue;
        }
        if d.media_type.is_foreign() && origin.size(d)?.is_none() {
            report.elsewhere.push(super::layout::bare(d));
            continue;
        }
        wanted.push((d, diff));
    }
    let found = some_at_once(4, &wanted, |(d, diff)| {
        let looked = match depth {
            Depth::Documents => presence(origin, d),
            Depth::Everything => content(origin, d, *diff),
        };
        match looked {
            Err(e) if is_finding(&e) => Ok(Some(whole(&e))),
            other => other,
        }
    })?;
    for ((d, _), problem) in wanted.into_iter().zip(found) {
        if let Some(problem) = problem {
            report.find(d, problem);
        }
    }
    Ok(())
}

fn presence(origin: &dyn Origin, d: &Descriptor) -> Result<Option<String>, EngineError> {
    Ok(match origin.size(d)? {
        None => Some("it is not there".to_owned()),
        Some(size) if size != d.size => Some(format!("it has {size} bytes, and {} are promised", d.size)),
        Some(_) => None,
    })
}

fn content(
    origin: &dyn Origin,
    d: &Descriptor,
    diff: Option<&cooper_image::DiffId>,
) -> Result<Option<String>, EngineError> {
    let said = |e| cause(e, || format!("reading {}", d.digest)).of_layer(&d.digest);
    let blob = Shared(Arc::new(Mutex::new(origin.open(d)?)));
    let mut problems = Vec::new();
    if let Some((diff, form)) = diff.zip(form(&d.media_type)) {
        let mut head = Vec::new();
        blob.clone().take(compress::MAGIC_BYTES as u64).read_to_end(&mut head).map_err(said)?;
        let is = compress::named(&head).unwrap_or(PLAIN);
        if is != form {
            problems.push(format!("its type {} says {form}, and it is {is}", d.media_type));
        }
        let plain = compress::decompress(Box::new(Cursor::new(head).chain(blob.clone())))?;
        let mut plain = Hashed { inner: plain.take(limits::LAYER_BYTES), hasher: Hasher::with(diff.0.algorithm()) };
        problems.extend(no_tar(&mut plain).map_err(|e| e.of_layer(&d.digest))?);
        // What stands behind the end of the archive has no meaning, and belongs to the DiffId.
        std::io::copy(&mut plain, &mut sink()).map_err(said)?;
        let actual = plain.hasher.finish();
        if actual != diff.0 {
            problems.push(format!("it unpacks to {actual}, and the configuration says {}", diff.0));
        }
    }
    // What stands behind the compressed stream belongs to the blob as well.
    std::io::copy(&mut blob.clone(), &mut sink()).map_err(said)?;
    Ok((!problems.is_empty()).then(|| problems.join("; ")))
}

/// A blob that is read by two, one after the other.
#[derive(Clone)]
struct Shared(Arc<Mutex<Reader>>);

impl Read for Shared {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        lock(&self.0).read(buf)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, Types};
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn index(place: &mut Memory, entries: &[Descriptor]) -> Descriptor {
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries});
        place.lead(&MediaType::OciIndex, &index)
    }

    fn problems(place: &Memory, top: &Descriptor, most: usize) -> Vec<String> {
        let report = bounded(place, top, Depth::Everything, most).unwrap();
        report.findings.into_iter().map(|f| f.problem).collect()
    }

    #[test]
    fn every_claim_about_one_digest_is_looked_at() {
        let mut place = Memory::default();
        let image = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
        let of = |platform: &str, media_type: &MediaType| {
            let entry = Descriptor::new(media_type.clone(), image.digest.clone(), image.size);
            Descriptor { platform: platform.parse().ok(), ..entry }
        };
        let right = of("linux/amd64", &MediaType::OciManifest);
        let longer = Descriptor { size: right.size + 1, ..right.clone() };
        for (other, says) in [
            (of("linux/arm64", &MediaType::OciManifest), "it is for linux/amd64, and the index says linux/arm64"),
            (of("linux/amd64", &MediaType::DockerManifest), "the manifest"),
            (longer, "bytes"),
        ] {
            for entries in [[right.clone(), other.clone()], [other, right.clone()]] {
                let top = index(&mut place, &entries);
                let found = problems(&place, &top, PARTS);
                assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
            }
        }
    }

    /// A place that counts the documents that it is asked for.
    struct Counted<'m>(&'m Memory, AtomicUsize);

    impl Origin for Counted<'_> {
        fn place(&self) -> String {
            self.0.place()
        }

        fn top(&self) -> Result<Descriptor, EngineError> {
            self.0.top()
        }

        fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.document(d)
        }

        fn open(&self, d: &Descriptor) -> Result<Reader, EngineError> {
            self.0.open(d)
        }

        fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError> {
            self.0.size(d)
        }

        fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, EngineError> {
            self.0.referrers(subject)
        }
    }

    #[test]
    fn many_claims_about_one_document_fetch_it_once() {
        let mut place = Memory::default();
        let image = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
        let absent = Descriptor::of(MediaType::OciManifest, b"not there");
        let claims = |of: &Descriptor| -> Vec<Descriptor> {
            (0..100).map(|n| Descriptor { platform: Some(Platform::linux(&format!("m{n}"))), ..of.clone() }).collect()
        };
        for (of, found) in [(&image, 100), (&absent, 1)] {
            let top = index(&mut place, &claims(of));
            let counted = Counted(&place, AtomicUsize::new(0));
            let report = validate(&counted, &top, Depth::Everything).unwrap();
            assert_eq!((report.findings.len(), counted.1.into_inner()), (found, 2), "{of:?}");
        }
    }

    #[test]
    fn what_nobody_may_pass_on_need_not_be_there() {
        for (media_type, missing, elsewhere) in [
            ("application/vnd.oci.image.layer.v1.tar+gzip", 1, 0),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", 0, 1),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 0, 1),
        ] {
            let mut place = Memory::default();
            let types = if media_type.contains("docker") { Types::Docker } else { Types::Oci };
            let layer = Descriptor::of(media_type.into(), b"of a publisher");
            let image = place.image(types, &Platform::linux("amd64"), &[(layer, Digest::sha256(b"unpacked"))]);
            for depth in [Depth::Documents, Depth::Everything] {
                let report = validate(&place, &image, depth).unwrap();
                let counts = (report.findings.len(), report.elsewhere.len());
                assert_eq!(counts, (missing, elsewhere), "{media_type}: {report:?}");
            }
        }
    }

    /// Clients go by the type and by the bytes, each by one of them.
    #[test]
    fn a_layer_is_what_its_type_says() {
        let tar = [0; 1024];
        let packed = |method| {
            let mut out = Vec::new();
            let produce = |writer: &mut dyn std::io::Write| compress::copy(&mut tar.as_slice(), writer);
            compress::compress(method, &compress::NoChunks, &mut out, produce).unwrap();
            out
        };
        let (gzip, zstd) = (packed(compress::Method::Gzip(4)), packed(compress::Method::Zstd(3)));
        let oci = "application/vnd.oci.image.layer.v1.tar";
        let docker = "application/vnd.docker.image.rootfs.diff.tar";
        for (types, media_type, bytes, says) in [
            (Types::Oci, oci.to_owned(), &tar[..], None),
            (Types::Oci, format!("{oci}+gzip"), &gzip[..], None),
            (Types::Oci, format!("{oci}+zstd"), &zstd[..], None),
            (Types::Docker, docker.to_owned(), &tar[..], None),
            (Types::Docker, format!("{docker}.gzip"), &gzip[..], None),
            (Types::Oci, format!("{oci}+gzip"), &tar[..], Some("says gzip, and it is not compressed")),
            (Types::Oci, oci.to_owned(), &gzip[..], Some("says not compressed, and it is gzip")),
            (Types::Oci, format!("{oci}+zstd"), &gzip[..], Some("says zstd, and it is gzip")),
            (Types::Oci, format!("{oci}+gzip"), &zstd[..], Some("says gzip, and it is zstd")),
            (Types::Docker, format!("{docker}.gzip"), &tar[..], Some("says gzip, and it is not compressed")),
            (Types::Oci, format!("{oci}.gzip"), &gzip[..], Some("of the unknown type")),
            (Types::Oci, "application/x-tar".to_owned(), &tar[..], Some("of the unknown type")),
        ] {
            let mut place = Memory::default();
            let layer = place.put(&media_type, bytes);
            let layers = [(layer.clone(), Digest::sha256(tar))];
            let image = place.image(types, &Platform::linux("amd64"), &layers);
            let found = problems(&place, &image, PARTS);
            match says {
                None => assert_eq!(found, Vec::<String>::new(), "{media_type}"),
                Some(says) => assert!(found.len() == 1 && found[0].contains(says), "{media_type}: {found:?}"),
            }
            // In an artifact a type says what its maker wants, and an attestation's layers are statements.
            let config = place.put("application/vnd.test.config", b"{}");
            let artifact =
                json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": config, "layers": [layer]});
            let artifact = place.lead(&MediaType::OciManifest, &artifact);
            assert_eq!(problems(&place, &artifact, PARTS), Vec::<String>::new(), "{media_type}");
        }
        let mut place = Memory::default();
        let statement = place.put("application/vnd.in-toto+json", b"{}");
        let nowhere = Platform { os: "unknown".to_owned(), ..Platform::linux("unknown") };
        let attestation = place.image(Types::Oci, &nowhere, &[(statement, Digest::sha256(b"{}"))]);
        assert_eq!(problems(&place, &attestation, PARTS), Vec::<String>::new());
    }

    /// What cannot be used is not valid.
    #[test]
    fn a_layer_is_a_tar_that_can_be_unpacked() {
        let packed = |bytes: &[u8]| {
            let mut out = Vec::new();
            let produce = |writer: &mut dyn std::io::Write| compress::copy(&mut &*bytes, writer);
            compress::compress(compress::Method::Gzip(4), &compress::NoChunks, &mut out, produce).unwrap();
            out
        };
        let tar = |link: Option<&str>| {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(2000);
            tar.append_data(&mut header, "file", &[b'x'; 2000][..]).unwrap();
            header.set_size(0);
            header.set_entry_type(tar::EntryType::Link);
            link.into_iter().for_each(|to| tar.append_link(&mut header, "other", to).unwrap());
            tar.into_inner().unwrap()
        };
        let text = b"text, and more than one block of it\n".repeat(100);
        for (plain, says) in [
            (tar(None), None),
            (tar(Some("file")), None),
            (Vec::new(), None),
            ([tar(None), b"behind the end".to_vec()].concat(), None),
            (tar(Some("below")), Some("hard link to something that the layer does not hold")),
            (tar(None)[..1500].to_vec(), Some("cut short")),
            (text, Some("header checksum does not match")),
            (b"\x7fELF, and not much more".to_vec(), Some("it is no tar that can be unpacked")),
            (packed(&tar(None)), Some("it unpacks to gzip, and a layer is a tar")),
            (b"BZh91AY".to_vec(), Some("it unpacks to bzip2")),
        ] {
            let mut place = Memory::default();
            let layer = place.put(MediaType::OciLayerGzip.as_str(), &packed(&plain));
            let image = place.image(Types::Oci, &Platform::linux("amd64"), &[(layer, Digest::sha256(&plain))]);
            let found = problems(&place, &image, PARTS);
            match says {
                None => assert_eq!(found, Vec::<String>::new()),
                Some(says) => assert!(found.len() == 1 && found[0].contains(says), "{says}: {found:?}"),
            }
            let fast = validate(&place, &image, Depth::Documents).unwrap();
            assert!(fast.findings.is_empty(), "{fast:?}");
        }
    }

    #[test]
    fn documents_without_end_are_a_finding() {
        let mut place = Memory::default();
        let images: Vec<Descriptor> =
            ["amd64", "arm64", "s390x"].map(|arch| place.image(Types::Oci, &Platform::linux(arch), &[])).to_vec();
        let top = index(&mut place, &images);
        assert_eq!(problems(&place, &top, 4), Vec::<String>::new());
        assert!(problems(&place, &top, 3)[0].contains("more than 3 documents"));
    }
}
