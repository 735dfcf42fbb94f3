//! Everything in the store, measured. Reads directories and a few bytes of unnamed blobs; changes nothing.

use super::item::{Item, Keeps, Kind};
use super::meter::Meter;
use super::reach::{Keeper, Reached};
use crate::layout::{ALGORITHMS, digest_of};
use crate::lock::try_lock;
use crate::publish::{names, read_json};
use crate::{Store, StoreError};
use cooper_image::{Descriptor, DiffId, Digest};
use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where a tar says that it is one (POSIX.1-2008, ustar).
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// Everything in the store.
#[derive(Debug, Default)]
pub struct Inventory {
    /// One by one.
    pub items: Vec<Item>,
    /// Files that say of a blob that it is a layer.
    pub links: HashMap<Digest, Vec<PathBuf>>,
}

impl Inventory {
    /// What all of it takes, in bytes.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|i| i.bytes).sum()
    }
}

/// Which layers an image needs, and in which form they stay.
pub struct Forms<'a> {
    store: &'a Store,
    reached: &'a Reached,
    /// The blobs of each layer that images need.
    links: HashMap<DiffId, Vec<Descriptor>>,
    /// The other way round.
    layers: HashMap<Digest, Vec<DiffId>>,
}

impl<'a> Forms<'a> {
    /// Reads what is known of the layers' blobs.
    pub fn new(store: &'a Store, reached: &'a Reached) -> Result<Self, StoreError> {
        let (mut links, mut layers): (_, HashMap<Digest, Vec<DiffId>>) = (HashMap::new(), HashMap::new());
        for diff in reached.layers.keys() {
            let dir = store.layout().layer(diff);
            let found = names(&dir)?;
            let blobs = found.iter().filter_map(|n| read_json::<Descriptor>(&dir.join(n)).ok().flatten());
            let blobs: Vec<Descriptor> = blobs.collect();
            for blob in &blobs {
                layers.entry(blob.digest.clone()).or_default().push(diff.clone());
            }
            links.insert(diff.clone(), blobs);
        }
        Ok(Self { store, reached, links, layers })
    }

    /// Who needs a blob.
    pub fn keeper_of_blob(&self, digest: &Digest) -> Option<&Keeper> {
        if let Some(keeper) = self.reached.blobs.get(digest) {
            return Some(keeper);
        }
        let diff = DiffId(digest.clone());
        if let Some(keeper) = self.reached.layers.get(&diff)
            && self.kept_form(&diff) == Form::Tar
        {
            return Some(keeper);
        }
        let of = self.layers.get(digest)?.iter().find(|d| self.kept_form(d) == Form::Blobs)?;
        self.reached.layers.get(of)
    }

    /// Who needs a tree.
    pub fn keeper_of_tree(&self, diff: &DiffId) -> Option<&Keeper> {
        self.reached.layers.get(diff).filter(|_| self.kept_form(diff) == Form::Tree)
    }

    /// The one form of a layer that stays: the blobs, since what a base came as cannot be made again; else the tar,
    /// which is the layer itself; else the tree that a step left.
    fn kept_form(&self, diff: &DiffId) -> Form {
        let there = |d: &Digest| self.store.layout().blob(d).exists();
        if self.links.get(diff).is_some_and(|blobs| blobs.iter().any(|b| there(&b.digest))) {
            Form::Blobs
        } else if there(&diff.0) {
            Form::Tar
        } else {
            Form::Tree
        }
    }
}

#[derive(PartialEq, Eq)]
enum Form {
    Blobs,
    Tar,
    Tree,
}

/// Measures everything.
pub fn take(store: &Store, reached: &Reached, now: i64) -> Result<Inventory, StoreError> {
    let forms = Forms::new(store, reached)?;
    let mut taking = Taking { store, meter: Meter::default(), now, found: Inventory::default() };
    taking.structure(store.root(), "root")?;
    for entry in entries(store.root())? {
        let (name, path) = (entry.name.as_str(), entry.path.as_path());
        match name {
            "blobs" => taking.blobs(path, &forms)?,
            "trees" => taking.trees(path, &forms)?,
            "layers" => taking.layers(path)?,
            "records" | "slots" => taking.files(path, Kind::Record)?,
            "builds" => taking.files(path, Kind::Build)?,
            "urls" => taking.files(path, Kind::Url)?,
            "uploads" => taking.files(path, Kind::Upload)?,
            "chunks" => taking.files(path, Kind::Chunk)?,
            "stat" => taking.files(path, Kind::Stat)?,
            "mounts" => taking.mounts(path)?,
            "failed" => taking.failed(path)?,
            "ingest" | "arriving" | "receiving" => taking.in_flight(path, name)?,
            _ => {
                let bytes = taking.meter.all(path).bytes;
                taking.push_structure(name, path, bytes);
            }
        }
    }
    Ok(taking.found)
}

struct Entry {
    name: String,
    path: PathBuf,
    metadata: Metadata,
}

/// What a directory holds. What vanishes meanwhile is left out.
fn entries(dir: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut found = Vec::new();
    for name in names(dir)? {
        let path = dir.join(&name);
        if let Ok(metadata) = fs::symlink_metadata(&path) {
            found.push(Entry { name, path, metadata });
        }
    }
    Ok(found)
}

struct Taking<'a> {
    store: &'a Store,
    meter: Meter,
    now: i64,
    found: Inventory,
}

impl Taking<'_> {
    /// A directory's own blocks.
    fn structure(&mut self, dir: &Path, name: &str) -> Result<(), StoreError> {
        let metadata = fs::symlink_metadata(dir).map_err(StoreError::io("looking at", dir))?;
        let bytes = self.meter.entry(&metadata).bytes;
        self.push_structure(name, dir, bytes);
        Ok(())
    }

    fn push_structure(&mut self, name: &str, path: &Path, bytes: u64) {
        let (name, path) = (name.to_owned(), path.to_owned());
        let (kind, kept) = (Kind::Structure, Some(Keeps::Store));
        self.found.items.push(Item { kind, name, path, bytes, shared: false, last_used: self.now, kept });
    }

    /// Something with everything below it.
    fn item(&mut self, kind: Kind, name: String, entry: &Entry, kept: Option<Keeps>, shared: bool) {
        let taken = self.meter.all(&entry.path);
        // A clock that was wrong once makes nothing young for ever.
        let last_used = entry.metadata.ctime().min(self.now);
        let (path, bytes, shared) = (entry.path.clone(), taken.bytes, shared || taken.linked);
        self.found.items.push(Item { kind, name, path, bytes, shared, last_used, kept });
    }

    fn blobs(&mut self, dir: &Path, forms: &Forms<'_>) -> Result<(), StoreError> {
        self.structure(dir, "blobs")?;
        for algorithm in ALGORITHMS {
            let dir = self.store.layout().blobs(algorithm);
            self.structure(&dir, &format!("blobs/{}", algorithm.name()))?;
            for entry in entries(&dir)? {
                let Ok(digest) = format!("{}:{}", algorithm.name(), entry.name).parse::<Digest>() else {
                    self.item(Kind::Blob, entry.name.clone(), &entry, None, false);
                    continue;
                };
                let keeper = forms.keeper_of_blob(&digest);
                let kind = match keeper {
                    Some(keeper) if keeper.registry => Kind::Registry,
                    Some(_) => Kind::Image,
                    None if is_tar(&entry.path) => Kind::Tar,
                    None => Kind::Blob,
                };
                let shared = keeper.is_some_and(|k| k.shared);
                self.item(kind, digest.to_string(), &entry, keeper.map(kept), shared);
            }
        }
        Ok(())
    }

    fn trees(&mut self, dir: &Path, forms: &Forms<'_>) -> Result<(), StoreError> {
        self.structure(dir, "trees")?;
        for algorithm in ALGORITHMS {
            let dir = self.store.layout().trees(algorithm);
            self.structure(&dir, &format!("trees/{}", algorithm.name()))?;
            for entry in entries(&dir)? {
                let name = format!("{}:{}", algorithm.name(), entry.name);
                let keeper = name.parse().ok().and_then(|d| forms.keeper_of_tree(&DiffId(d)));
                let shared = keeper.is_some_and(|k| k.shared);
                self.item(Kind::Tree, name, &entry, keeper.map(kept), shared);
            }
        }
        Ok(())
    }

    /// What is known of layers' blobs goes with the blobs.
    fn layers(&mut self, dir: &Path) -> Result<(), StoreError> {
        let bytes = self.meter.all(dir).bytes;
        self.push_structure("layers", dir, bytes);
        for algorithm in ALGORITHMS {
            for layer in entries(&self.store.layout().layers(algorithm))? {
                for link in entries(&layer.path)? {
                    if let Ok(Some(blob)) = read_json::<Descriptor>(&link.path) {
                        self.found.links.entry(blob.digest).or_default().push(link.path);
                    }
                }
            }
        }
        Ok(())
    }

    /// Small files, at any depth.
    fn files(&mut self, dir: &Path, kind: Kind) -> Result<(), StoreError> {
        let top = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let mut pending = vec![(dir.to_owned(), top)];
        while let Some((dir, name)) = pending.pop() {
            self.structure(&dir, &name)?;
            for entry in entries(&dir)? {
                let name = format!("{name}/{}", entry.name);
                if entry.metadata.is_dir() {
                    pending.push((entry.path, name));
                } else {
                    self.item(kind, name, &entry, None, false);
                }
            }
        }
        Ok(())
    }

    fn mounts(&mut self, dir: &Path) -> Result<(), StoreError> {
        self.structure(dir, "mounts")?;
        for cache in entries(dir)? {
            self.structure(&cache.path, &format!("mounts/{}", cache.name))?;
            for copy in entries(&cache.path)? {
                let id = digest_of(&cache.name).map_or(cache.name.clone(), |d| d.to_string());
                // One that is lent is in a root, and a file stands for it.
                match copy.metadata.is_dir() {
                    true => self.item(Kind::Mount, format!("{id}/{}", copy.name), &copy, None, false),
                    false => self.structure(&copy.path, &format!("mounts/{}/{}", cache.name, copy.name))?,
                }
            }
        }
        Ok(())
    }

    fn failed(&mut self, dir: &Path) -> Result<(), StoreError> {
        self.structure(dir, "failed")?;
        for entry in entries(dir)? {
            self.item(Kind::Failed, entry.name.clone(), &entry, None, false);
        }
        Ok(())
    }

    fn in_flight(&mut self, dir: &Path, name: &str) -> Result<(), StoreError> {
        self.structure(dir, name)?;
        for mut entry in entries(dir)? {
            let in_use = matches!(try_lock(&entry.path), Ok(None));
            // What of a blob has come was used when the last of it did.
            if let Ok(blob) = fs::symlink_metadata(entry.path.join("blob")) {
                entry.metadata = blob;
            }
            self.item(Kind::Inflight, entry.name.clone(), &entry, in_use.then_some(Keeps::Process), false);
        }
        Ok(())
    }
}

/// Who keeps it, in words.
pub fn kept(keeper: &Keeper) -> Keeps {
    match keeper.registry {
        true => Keeps::Repository(keeper.name.clone()),
        false => Keeps::Name(keeper.name.clone()),
    }
}

fn is_tar(path: &Path) -> bool {
    let (at, magic) = TAR_MAGIC;
    let mut head = vec![0; at + magic.len()];
    // The time of the last access is nobody's to change here.
    let flags = rustix::fs::OFlags::NOATIME | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let open = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let read = open.and_then(|mut f: File| f.read_exact(&mut head));
    read.is_ok() && head.ends_with(magic)
}
