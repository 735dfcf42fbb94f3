//! The page at `/`: repositories, their tags, and what an image is made of, for people and without scripts.
//!
//! It shows what its reader may read, and nothing else. Each page is bounded, however much there is.

mod html;

use crate::Registry;
use crate::answer::Answer;
use crate::api_error::{ApiError, Code};
use crate::gate::Action;
use crate::manifests::find;
use crate::route::{Params, Selector, parse_digest};
use cooper_image::{Descriptor, Document, ImageConfig, Index, Leaf, Leaves, Manifest, MediaType, limits};
use cooper_store::{Repo, RepoName, Store, StoreError, TagName};
use html::{Page, code, link, place, size, text};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Most rows of a table.
const ROWS: usize = 100;
/// Most bytes of documents that are read for one page, each counted with what it costs to open it.
const PAGE_BYTES: u64 = 64 << 20;
const EACH_BYTES: u64 = 4 << 10;
/// Stands for what a document would have said.
const DAMAGED: &str = "damaged";

/// What a query asks for.
pub async fn show(registry: &Registry, params: &Params) -> Result<Answer, ApiError> {
    if params.login.is_some() {
        registry.shared.gate.greet(registry.who())?;
    }
    let repository = params.repository.as_deref().map(str::parse::<RepoName>).transpose()?;
    let selector = match (params.tags.first(), &params.digest) {
        (Some(tag), _) => Some(Selector::Tag(tag.parse()?)),
        (None, Some(digest)) => Some(Selector::Digest(parse_digest(digest)?)),
        (None, None) => None,
    };
    let (caller, last) = (registry.clone(), params.last.clone());
    let page = match (repository, selector) {
        (Some(name), Some(selector)) => {
            caller.authorise(Action::Read, &name)?;
            registry.on_disk(move |store| image(store, &name, &selector)).await?
        }
        (Some(name), None) => {
            caller.authorise(Action::Read, &name)?;
            registry.on_disk(move |store| tags(store, &name, last.as_deref())).await?
        }
        (None, _) => registry.on_disk(move |store| repositories(store, &caller, last.as_deref())).await?,
    };
    Ok(page.finish())
}

fn repositories(store: &Store, caller: &Registry, last: Option<&str>) -> Result<Page, ApiError> {
    let mut all = store.repositories()?;
    all.retain(|name| last.is_none_or(|last| name.as_str() > last) && caller.may_read(name));
    if all.is_empty() && last.is_none() {
        // There may be more for whoever says who they are.
        caller.shared.gate.greet(caller.who())?;
    }
    let mut page = Page::new("Repositories", &[]);
    if caller.shared.gate.greet(caller.who()).is_err() {
        page.paragraph(&format!("This is what everybody may read. {}", link(&place(&[("login", "")]), "Sign in")));
    }
    let more = all.len() > ROWS;
    all.truncate(ROWS);
    let mut rows = Vec::new();
    for name in &all {
        let count = store.repository(name).tags()?.len();
        rows.push(vec![link(&place(&[("repository", name.as_str())]), name.as_str()), count.to_string()]);
    }
    if rows.is_empty() {
        page.paragraph("There is nothing here yet.");
    }
    page.table("All that you may read", &["Repository", "#Tags"], &rows);
    if let (true, Some(last)) = (more, all.last()) {
        page.paragraph(&link(&place(&[("last", last.as_str())]), "More"));
    }
    Ok(page)
}

fn home() -> (String, String) {
    ("Repositories".to_owned(), "/".to_owned())
}

fn tags(store: &Store, name: &RepoName, last: Option<&str>) -> Result<Page, ApiError> {
    let repository = store.repository(name);
    if !repository.exists()? {
        return Err(ApiError::new(Code::NameUnknown, "there is no such repository").about(name));
    }
    let mut all = repository.tags()?;
    all.retain(|tag| last.is_none_or(|last| tag.as_str() > last));
    let more = all.len() > ROWS;
    all.truncate(ROWS);
    let mut page = Page::new(name.as_str(), &[home()]);
    let (mut rows, reader) = (Vec::new(), Reader::new(store));
    for tag in &all {
        rows.extend(row(&reader, &repository, tag)?);
    }
    if rows.is_empty() {
        page.paragraph("It has no tags.");
    }
    page.table("Tags", &["Tag", "Platforms", "#Size", "Digest"], &rows);
    if let (true, Some(last)) = (more, all.last()) {
        page.paragraph(&link(&place(&[("repository", name.as_str()), ("last", last.as_str())]), "More"));
    }
    Ok(page)
}

/// A tag's row; none when somebody deletes it meanwhile.
fn row(reader: &Reader<'_>, repository: &Repo, tag: &TagName) -> Result<Option<Vec<String>>, ApiError> {
    let Some(d) = repository.tag(tag)? else { return Ok(None) };
    let name = repository.name().as_str();
    let (platforms, bytes) = match document(reader, repository, &d)? {
        Found::Index(index) => {
            let images = images(reader, repository, index)?;
            (platforms(&images), index_size(reader, repository, &images)?)
        }
        Found::Manifest(manifest) => (kind(reader, repository, &manifest)?, Some(image_size(&manifest))),
        Found::Damaged => (DAMAGED.to_owned(), None),
        Found::Nothing => (String::new(), None),
    };
    Ok(Some(vec![
        link(&place(&[("repository", name), ("tag", tag.as_str())]), tag.as_str()),
        text(&platforms),
        bytes.map(size).unwrap_or_default(),
        code(&d.digest.to_string()),
    ]))
}

fn image(store: &Store, name: &RepoName, selector: &Selector) -> Result<Page, ApiError> {
    let (repository, reader) = (store.repository(name), &Reader::new(store));
    let d = find(&repository, selector)?;
    let title = match selector {
        Selector::Tag(tag) => format!("{name}:{}", tag.as_str()),
        Selector::Digest(digest) => format!("{name}@{digest}"),
    };
    let way = [home(), (name.to_string(), place(&[("repository", name.as_str())]))];
    let mut page = Page::new(&title, &way);
    page.paragraph(&format!("{} of {}, {}", code(&d.digest.to_string()), size(d.size), text(d.media_type.as_str())));
    let at = |digest: &str| link(&place(&[("repository", name.as_str()), ("digest", digest)]), digest);
    match document(reader, &repository, &d)? {
        Found::Index(index) => {
            let mut rows = Vec::new();
            for entry in index.manifests.iter().take(ROWS) {
                let said = platforms(std::slice::from_ref(entry));
                let (platform, bytes) = match document(reader, &repository, entry)? {
                    Found::Index(inner) => {
                        let images = images(reader, &repository, inner)?;
                        let bytes = index_size(reader, &repository, &images)?.map(size).unwrap_or_default();
                        (Some(platforms(&images)).filter(|found| !found.is_empty()).unwrap_or(said), bytes)
                    }
                    Found::Manifest(manifest) => (said, size(image_size(&manifest))),
                    Found::Damaged => (said, DAMAGED.to_owned()),
                    Found::Nothing => (said, String::new()),
                };
                let kind = entry.artifact_type.as_deref().unwrap_or(entry.media_type.as_str());
                rows.push(vec![text(&platform), bytes, text(kind), at(&entry.digest.to_string())]);
            }
            page.table("Platforms", &["Platform", "#Size", "Kind", "Digest"], &rows);
            annotations(&mut page, &index.annotations);
        }
        Found::Manifest(manifest) => {
            let kind = kind(reader, &repository, &manifest)?;
            page.paragraph(&format!("{}, {} in all", text(&kind), size(image_size(&manifest))));
            let parts = std::iter::once(&manifest.config).chain(&manifest.layers).take(limits::LAYERS + 1);
            let row = |(n, part): (usize, &Descriptor)| {
                let what = if n == 0 { "configuration".to_owned() } else { format!("layer {n}") };
                vec![what, size(part.size), text(part.media_type.as_str()), code(&part.digest.to_string())]
            };
            let rows: Vec<Vec<String>> = parts.enumerate().map(row).collect();
            page.table("Layers", &["Part", "#Size", "Type", "Digest"], &rows);
            annotations(&mut page, &manifest.annotations);
        }
        Found::Damaged => page.paragraph("The manifest is damaged."),
        Found::Nothing => page.paragraph("The manifest cannot be read."),
    }
    let referrers = repository.referrers(&d.digest, None, limits::MANIFEST_BYTES)?;
    let row = |r: &Descriptor| {
        let kind = r.artifact_type.as_deref().unwrap_or(r.media_type.as_str());
        vec![text(kind), size(r.size), at(&r.digest.to_string())]
    };
    let rows: Vec<Vec<String>> = referrers.descriptors.iter().take(ROWS).map(row).collect();
    page.table("Referrers", &["Kind", "#Size", "Digest"], &rows);
    Ok(page)
}

fn annotations(page: &mut Page, all: &BTreeMap<String, String>) {
    let rows: Vec<Vec<String>> = all.iter().take(ROWS).map(|(key, value)| vec![text(key), text(value)]).collect();
    page.table("Annotations", &["Name", "Value"], &rows);
}

/// Reads documents for one page.
struct Reader<'s> {
    store: &'s Store,
    /// What may still be read, in bytes. Of what is beyond nothing is shown: whoever pushes an index of large manifests
    /// must not have every look at it cost minutes.
    left: Cell<u64>,
}

impl<'s> Reader<'s> {
    fn new(store: &'s Store) -> Self {
        Self { store, left: Cell::new(PAGE_BYTES) }
    }
}

/// What is behind a descriptor, as far as its repository shows it.
enum Found {
    Index(Index),
    Manifest(Box<Manifest>),
    /// The disk has other bytes.
    Damaged,
    /// It is not in this repository, or no document.
    Nothing,
}

/// What others keep in their repositories is not shown here, though it lies in the same store.
fn document(reader: &Reader<'_>, repository: &Repo, d: &Descriptor) -> Result<Found, ApiError> {
    if repository.manifest(&d.digest)?.is_none_or(|kept| kept.size != d.size) {
        return Ok(Found::Nothing);
    }
    Ok(match bytes(reader, d, limits::MANIFEST_BYTES)? {
        Bytes::Whole(bytes) => match Document::parse(&bytes, Some(&d.media_type)) {
            Ok(Document::Index(index)) => Found::Index(index),
            Ok(Document::Manifest(manifest)) => Found::Manifest(Box::new(manifest)),
            Err(_) => Found::Nothing,
        },
        Bytes::Damaged => Found::Damaged,
        Bytes::Absent => Found::Nothing,
    })
}

enum Bytes {
    Whole(Vec<u8>),
    Damaged,
    Absent,
}

/// Of a document that the repository holds. One that is damaged must not take the page with it.
fn bytes(reader: &Reader<'_>, d: &Descriptor, limit: u64) -> Result<Bytes, ApiError> {
    let Some(left) = reader.left.get().checked_sub(d.size.saturating_add(EACH_BYTES)) else { return Ok(Bytes::Absent) };
    reader.left.set(left);
    match reader.store.read_blob(d, limit) {
        Ok(bytes) => Ok(Bytes::Whole(bytes.into_inner())),
        Err(StoreError::DamagedBlob { .. }) => Ok(Bytes::Damaged),
        Err(StoreError::MissingBlob(_) | StoreError::TooLarge { .. }) => Ok(Bytes::Absent),
        Err(error) => Err(error.into()),
    }
}

fn image_size(manifest: &Manifest) -> u64 {
    manifest.layers.iter().fold(manifest.config.size, |sum, layer| sum.saturating_add(layer.size))
}

/// The images of an index and of those within it, and an index within it that the repository does not have. As many
/// documents are looked at as a table has rows, and nothing that nests too deep.
fn images(reader: &Reader<'_>, repository: &Repo, index: Index) -> Result<Vec<Descriptor>, ApiError> {
    let (mut leaves, mut images) = (Leaves::of(index), Vec::new());
    for _ in 0..ROWS {
        match leaves.step() {
            Ok(Some(Leaf::Image(d))) => images.push(d),
            Ok(Some(Leaf::Index(d))) => match document(reader, repository, &d)? {
                Found::Index(inner) => leaves.enter(inner),
                _ => images.push(d),
            },
            Ok(None) | Err(_) => break,
        }
    }
    Ok(images)
}

/// What images have together, a layer that several share counted once.
fn index_size(reader: &Reader<'_>, repository: &Repo, images: &[Descriptor]) -> Result<Option<u64>, ApiError> {
    let mut parts = BTreeMap::new();
    for entry in images {
        if let Found::Manifest(manifest) = document(reader, repository, entry)? {
            let all = std::iter::once(manifest.config).chain(manifest.layers);
            parts.extend(all.map(|part| (part.digest, part.size)));
        }
    }
    Ok((!parts.is_empty()).then(|| parts.values().fold(0, |sum: u64, size| sum.saturating_add(*size))))
}

/// Each once.
fn platforms(images: &[Descriptor]) -> String {
    let mut named: Vec<String> = Vec::new();
    for platform in images.iter().filter_map(|image| image.platform.as_ref()).map(ToString::to_string) {
        if !named.contains(&platform) {
            named.push(platform);
        }
    }
    named.join(", ")
}

/// The platform of an image, or the kind of an artifact.
fn kind(reader: &Reader<'_>, repository: &Repo, manifest: &Manifest) -> Result<String, ApiError> {
    let config = &manifest.config;
    if let Some(kind) = manifest.artifact_type.as_ref().filter(|kind| !kind.is_empty()) {
        return Ok(kind.clone());
    }
    let is_image = matches!(config.media_type, MediaType::OciConfig | MediaType::DockerConfig);
    if !is_image || repository.blob(&config.digest)?.is_none() {
        return Ok(config.media_type.to_string());
    }
    Ok(match bytes(reader, config, limits::CONFIG_BYTES)? {
        Bytes::Whole(bytes) => serde_json::from_slice(&bytes)
            .map_or_else(|_| config.media_type.to_string(), |config: ImageConfig| config.platform().to_string()),
        Bytes::Damaged => DAMAGED.to_owned(),
        Bytes::Absent => config.media_type.to_string(),
    })
}
