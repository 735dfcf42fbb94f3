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
use cooper_image::{Descriptor, Document, ImageConfig, Index, Manifest, MediaType, limits};
use cooper_store::{Repo, RepoName, Store, TagName};
use html::{Page, code, link, place, size, text};
use std::collections::BTreeMap;

/// Most rows of a table.
const ROWS: usize = 100;

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
    let mut rows = Vec::new();
    for tag in &all {
        rows.extend(row(store, &repository, tag)?);
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
fn row(store: &Store, repository: &Repo, tag: &TagName) -> Result<Option<Vec<String>>, ApiError> {
    let Some(d) = repository.tag(tag)? else { return Ok(None) };
    let name = repository.name().as_str();
    let (platforms, bytes) = match document(store, &d)? {
        Some(Document::Index(index)) => (platforms(&index), index_size(store, &index)?),
        Some(Document::Manifest(manifest)) => (kind(store, &manifest)?, Some(image_size(&manifest))),
        None => (String::new(), None),
    };
    Ok(Some(vec![
        link(&place(&[("repository", name), ("tag", tag.as_str())]), tag.as_str()),
        text(&platforms),
        bytes.map(size).unwrap_or_default(),
        code(&d.digest.to_string()),
    ]))
}

fn image(store: &Store, name: &RepoName, selector: &Selector) -> Result<Page, ApiError> {
    let repository = store.repository(name);
    let d = find(&repository, selector)?;
    let title = match selector {
        Selector::Tag(tag) => format!("{name}:{}", tag.as_str()),
        Selector::Digest(digest) => format!("{name}@{digest}"),
    };
    let way = [home(), (name.to_string(), place(&[("repository", name.as_str())]))];
    let mut page = Page::new(&title, &way);
    page.paragraph(&format!("{} of {}, {}", code(&d.digest.to_string()), size(d.size), text(d.media_type.as_str())));
    let at = |digest: &str| link(&place(&[("repository", name.as_str()), ("digest", digest)]), digest);
    match document(store, &d)? {
        Some(Document::Index(index)) => {
            let mut rows = Vec::new();
            for entry in index.manifests.iter().take(ROWS) {
                let platform = entry.platform.as_ref().map(ToString::to_string).unwrap_or_default();
                let bytes = match document(store, entry)? {
                    Some(Document::Manifest(manifest)) => size(image_size(&manifest)),
                    _ => String::new(),
                };
                let kind = entry.artifact_type.as_deref().unwrap_or(entry.media_type.as_str());
                rows.push(vec![text(&platform), bytes, text(kind), at(&entry.digest.to_string())]);
            }
            page.table("Platforms", &["Platform", "#Size", "Kind", "Digest"], &rows);
            annotations(&mut page, &index.annotations);
        }
        Some(Document::Manifest(manifest)) => {
            page.paragraph(&format!("{}, {} in all", text(&kind(store, &manifest)?), size(image_size(&manifest))));
            let parts = std::iter::once(&manifest.config).chain(&manifest.layers).take(limits::LAYERS + 1);
            let row = |(n, part): (usize, &Descriptor)| {
                let what = if n == 0 { "configuration".to_owned() } else { format!("layer {n}") };
                vec![what, size(part.size), text(part.media_type.as_str()), code(&part.digest.to_string())]
            };
            let rows: Vec<Vec<String>> = parts.enumerate().map(row).collect();
            page.table("Layers", &["Part", "#Size", "Type", "Digest"], &rows);
            annotations(&mut page, &manifest.annotations);
        }
        None => page.paragraph("The manifest cannot be read."),
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

/// A manifest, parsed; nothing for what is no manifest, is damaged or is not here.
fn document(store: &Store, d: &Descriptor) -> Result<Option<Document>, ApiError> {
    if store.blob_size(&d.digest)? != Some(d.size) || d.size > limits::MANIFEST_BYTES {
        return Ok(None);
    }
    let bytes = store.read_blob(d, limits::MANIFEST_BYTES)?;
    Ok(Document::parse(bytes.get(), Some(&d.media_type)).ok())
}

fn image_size(manifest: &Manifest) -> u64 {
    manifest.layers.iter().fold(manifest.config.size, |sum, layer| sum.saturating_add(layer.size))
}

/// What the images of an index have together, a layer that several share counted once.
fn index_size(store: &Store, index: &Index) -> Result<Option<u64>, ApiError> {
    let mut parts = BTreeMap::new();
    for entry in index.manifests.iter().take(ROWS) {
        if let Some(Document::Manifest(manifest)) = document(store, entry)? {
            let all = std::iter::once(manifest.config).chain(manifest.layers);
            parts.extend(all.map(|part| (part.digest, part.size)));
        }
    }
    Ok((!parts.is_empty()).then(|| parts.values().fold(0, |sum: u64, size| sum.saturating_add(*size))))
}

fn platforms(index: &Index) -> String {
    let named = index.images().filter_map(|entry| entry.platform.as_ref()).take(ROWS);
    named.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The platform of an image, or the kind of an artifact.
fn kind(store: &Store, manifest: &Manifest) -> Result<String, ApiError> {
    let config = &manifest.config;
    if let Some(kind) = manifest.artifact_type.as_ref().filter(|kind| !kind.is_empty()) {
        return Ok(kind.clone());
    }
    if !matches!(config.media_type, MediaType::OciConfig | MediaType::DockerConfig)
        || config.size > limits::CONFIG_BYTES
        || store.blob_size(&config.digest)?.is_none()
    {
        return Ok(config.media_type.to_string());
    }
    let bytes = store.read_blob(config, limits::CONFIG_BYTES)?;
    let parsed: Result<ImageConfig, _> = serde_json::from_slice(bytes.get());
    Ok(parsed.map_or_else(|_| config.media_type.to_string(), |config| config.platform().to_string()))
}
