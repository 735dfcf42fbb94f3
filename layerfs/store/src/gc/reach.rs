//! What names lead to: everything that must not be deleted, whoever asks.
//!
//! Takes the refs and the registry's repositories as they are at this moment. Gives the blobs that they lead to, and the
//! layers of which one form has to stay. Documents are parsed once: their bytes never change. A damaged or missing
//! document leads nowhere; any other failure ends the search, since a root that is not seen would be deleted.

use super::links::{self, Loose, Unnamed};
use crate::layout::file_name;
use crate::{Repo, Store, StoreError};
use cooper_image::{Descriptor, DiffId, Digest, Document, ImageConfig, MediaType, limits};
use std::collections::{HashMap, HashSet};

/// Who keeps a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// The first name that leads to it.
    pub name: String,
    /// A repository of the registry rather than an image's name?
    pub registry: bool,
    /// Does another name lead to it as well?
    pub shared: bool,
}

/// Everything that names lead to.
#[derive(Debug, Default)]
pub struct Reached {
    /// Blobs.
    pub blobs: HashMap<Digest, Keeper>,
    /// Layers of images that were never compressed; one form of each has to stay.
    pub layers: HashMap<DiffId, Keeper>,
}

/// Follows names; remembers documents between searches.
#[derive(Debug, Default)]
pub struct Reach {
    children: HashMap<Digest, Vec<Descriptor>>,
    layers: HashMap<Digest, Vec<DiffId>>,
    /// Links of repositories that count as gone, when some do.
    without: Option<Unnamed>,
}

impl Reach {
    /// One for which what a collection would let go is gone.
    pub fn without(rule: Unnamed) -> Self {
        Self { without: Some(rule), ..Self::default() }
    }

    /// Looks at every name anew.
    pub fn search(&mut self, store: &Store) -> Result<Reached, StoreError> {
        let mut reached = Reached::default();
        let mut named = Vec::new();
        store.each_ref(&mut |found| named.push(found))?;
        for found in named {
            match found {
                Ok((name, descriptor)) => {
                    let keeper = Keeper { name: name.familiar(), registry: false, shared: false };
                    self.follow(store, &descriptor, &keeper, &mut reached)?;
                }
                // It names nothing that anybody could find. `fsck` lists it.
                Err(StoreError::DamagedFile { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        for name in store.all_repositories()? {
            let keeper = Keeper { name: name.to_string(), registry: true, shared: false };
            let repo = store.repository(&name);
            let gone = match self.without {
                Some(rule) => links::loose(self, store, &repo, rule)?,
                None => Loose::default(),
            };
            for digest in repo.blobs()?.into_iter().filter(|d| !gone.blobs.contains(d)) {
                keep(&mut reached.blobs, digest, &keeper);
            }
            for digest in repo.manifests()?.into_iter().filter(|d| !gone.manifests.contains(d)) {
                match repo.manifest(&digest) {
                    Ok(Some(descriptor)) => self.follow(store, &descriptor, &keeper, &mut reached)?,
                    Ok(None) | Err(StoreError::DamagedFile { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(reached)
    }

    /// Adds what a manifest of a repository names, and gives its manifests among that. `None` when it cannot be read;
    /// one that is not in the repository names nothing there.
    pub fn named_by(
        &mut self,
        store: &Store,
        repo: &Repo,
        digest: &Digest,
        named: &mut Reached,
    ) -> Result<Option<Vec<Digest>>, StoreError> {
        let manifest = match repo.manifest(digest) {
            Ok(Some(manifest)) => manifest,
            Ok(None) if !repo.has_manifest(digest)? => return Ok(Some(Vec::new())),
            Ok(None) | Err(StoreError::DamagedFile { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        let keeper = Keeper { name: repo.name().to_string(), registry: true, shared: false };
        self.follow(store, &manifest, &keeper, named)?;
        // What was read is known from then on.
        let children = self.children.get(digest);
        let documents = |d: &&Descriptor| d.media_type.is_manifest() || d.media_type.is_index();
        Ok(children.map(|all| all.iter().filter(documents).map(|d| d.digest.clone()).collect()))
    }

    fn follow(
        &mut self,
        store: &Store,
        root: &Descriptor,
        keeper: &Keeper,
        reached: &mut Reached,
    ) -> Result<(), StoreError> {
        if is_config(&root.media_type) {
            for diff in self.diffs(store, root)? {
                keep(&mut reached.layers, diff, keeper);
            }
        }
        let mut seen = HashSet::new();
        let mut pending = vec![(root.clone(), 0)];
        while let Some((next, depth)) = pending.pop() {
            if !seen.insert(next.digest.clone()) {
                continue;
            }
            keep(&mut reached.blobs, next.digest.clone(), keeper);
            if depth <= limits::INDEX_DEPTH {
                pending.extend(self.children(store, &next)?.iter().map(|d| (d.clone(), depth + 1)));
            }
        }
        Ok(())
    }

    fn children(&mut self, store: &Store, d: &Descriptor) -> Result<Vec<Descriptor>, StoreError> {
        if !d.media_type.is_index() && !d.media_type.is_manifest() {
            return Ok(Vec::new());
        }
        if let Some(known) = self.children.get(&d.digest) {
            return Ok(known.clone());
        }
        let Some(bytes) = document(store, d, limits::MANIFEST_BYTES)? else { return Ok(Vec::new()) };
        let children: Vec<Descriptor> = match Document::parse(&bytes, Some(&d.media_type)) {
            Ok(Document::Index(index)) => index.manifests,
            Ok(Document::Manifest(m)) => std::iter::once(m.config).chain(m.layers).collect(),
            Err(_) => return Ok(Vec::new()),
        };
        self.children.insert(d.digest.clone(), children.clone());
        Ok(children)
    }

    fn diffs(&mut self, store: &Store, d: &Descriptor) -> Result<Vec<DiffId>, StoreError> {
        if let Some(known) = self.layers.get(&d.digest) {
            return Ok(known.clone());
        }
        let Some(bytes) = document(store, d, limits::CONFIG_BYTES)? else { return Ok(Vec::new()) };
        let config = serde_json::from_slice::<ImageConfig>(&bytes);
        let diffs = config.map(|c| c.rootfs.diff_ids).unwrap_or_default();
        self.layers.insert(d.digest.clone(), diffs.clone());
        Ok(diffs)
    }
}

fn is_config(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::OciConfig | MediaType::DockerConfig)
}

fn keep<K: std::hash::Hash + Eq>(all: &mut HashMap<K, Keeper>, what: K, keeper: &Keeper) {
    all.entry(what)
        .and_modify(|known| known.shared |= known.name != keeper.name || known.registry != keeper.registry)
        .or_insert_with(|| keeper.clone());
}

/// The bytes of a document; nothing when they are not there or damaged.
fn document(store: &Store, d: &Descriptor, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match store.read_blob(d, limit) {
        Ok(bytes) => Ok(Some(bytes.into_inner())),
        Err(e @ StoreError::Io { .. }) => Err(e),
        Err(error) => {
            tracing::warn!(name = file_name(&d.digest), %error, "what this document leads to is not known");
            Ok(None)
        }
    }
}
