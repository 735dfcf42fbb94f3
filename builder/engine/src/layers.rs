//! Layer forms on demand: tree for a step's root, blob for a registry, each made once and verified.

use crate::ahead::Watched;
use crate::output::{Compression, Form, Recompress, is_compressed_by};
use crate::uplink::{Announced, Uplink};
use crate::{Engine, EngineError};
use cooper_image::stable_hash::StableHash;
use cooper_image::{ChainId, Descriptor, DiffId, Digest, Hasher, MediaType};
use cooper_layerfs::apply::{self, ApplyOptions};
use cooper_layerfs::compress::{self, ChunkId, Chunks, Known, Placed};
use cooper_layerfs::layer::{self, DigestWriter};
use cooper_layerfs::owners::Owners;
use cooper_layerfs::read_ahead::ReadAhead;
use cooper_layerfs::root::Root;
use cooper_layerfs::view::View;
use cooper_sandbox::Tier;
use cooper_store::{ChunkIndex, ChunkPlace, Ingest, LayerForms};
use std::io::{Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Marks, in the store's records of a layer's blobs, the method by which Cooper made one.
const MADE: &str = "cooper.made";

/// A layer of an image in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its uncompressed digest.
    pub diff: DiffId,
    /// A compressed blob that an image claims to be this layer; not believed before it was inflated.
    pub claimed: Option<Descriptor>,
}

impl Layer {
    /// The name that the image gives it.
    pub(crate) fn name(&self) -> &Digest {
        self.claimed.as_ref().map_or(&self.diff.0, |c| &c.digest)
    }
}

/// The DiffIds of layers.
pub fn diff_ids(layers: &[Layer]) -> Vec<DiffId> {
    layers.iter().map(|l| l.diff.clone()).collect()
}

impl Engine {
    /// Has the store any form from which the layer can be had?
    pub(crate) fn has_layer(&self, diff: &DiffId) -> Result<bool, EngineError> {
        let forms = self.store.layer(diff)?;
        Ok(forms.tree.is_some() || forms.tar.is_some() || !forms.blobs.is_empty())
    }

    /// Makes sure that a claimed layer is verified, so that the store can give it later.
    pub(crate) fn settle(&self, layer: &Layer) -> Result<(), EngineError> {
        if self.has_layer(&layer.diff)? {
            return Ok(());
        }
        let Some(claimed) = &layer.claimed else { return Err(EngineError::LostLayer(layer.diff.0.clone())) };
        self.verify(layer, claimed)
    }

    /// Puts layers on the disk that exist as trees alone: whoever is told of success may pull the plug. The other forms
    /// were put there when they got their names.
    pub(crate) fn make_durable(&self, layers: &[Layer]) -> Result<(), EngineError> {
        let mut trees = Vec::new();
        for layer in layers.iter().filter(|l| l.claimed.is_none()) {
            let forms = self.store.layer(&layer.diff)?;
            if forms.tar.is_none() && forms.blobs.is_empty() {
                trees.push(layer.diff.clone());
            }
        }
        Ok(self.store.make_durable(&trees)?)
    }

    /// Inflates a claimed blob and compares it with what it is to be.
    fn verify(&self, layer: &Layer, claimed: &Descriptor) -> Result<(), EngineError> {
        let hash = || {
            let mut hasher = Hasher::new();
            let mut inflated = self.inflate(claimed)?;
            std::io::copy(&mut inflated, &mut hasher).map_err(|source| io("inflating a layer", source))?;
            self.believe(layer, claimed, hasher)
        };
        hash().map_err(|e| self.of_layer(layer, e))
    }

    /// The trees of a stack of layers, lowest first, made from other forms where there are none yet.
    pub(crate) fn trees(&self, layers: &[Layer]) -> Result<Vec<PathBuf>, EngineError> {
        let mut trees = Vec::with_capacity(layers.len());
        for (i, layer) in layers.iter().enumerate() {
            let upon = tree_upon(layers.get(..=i).unwrap_or_default());
            trees.push(self.tree(layer, &upon, &trees).map_err(|e| self.of_layer(layer, e))?);
        }
        Ok(trees)
    }

    /// The tree of one layer. A tar that leaves out parent directories gives a tree that depends on the layers
    /// below; such a tree has a name of its own, `upon`.
    fn tree(&self, layer: &Layer, upon: &DiffId, below: &[PathBuf]) -> Result<PathBuf, EngineError> {
        let gate = Arc::clone(lock(&self.making).entry(layer.diff.clone()).or_default());
        let _only_one = lock(&gate);
        let forms = self.store.layer(&layer.diff)?;
        if let Some(tree) = forms.tree {
            return Ok(tree);
        }
        if let Some(tree) = self.store.layer(upon)?.tree {
            return Ok(tree);
        }
        let blob = forms.blobs.first().or(layer.claimed.as_ref());
        let source: Box<dyn Read + Send> = match (forms.tar, blob) {
            (Some(_), _) => Box::new(self.store.open_blob(&layer.diff.0)?),
            (None, Some(blob)) => self.inflate(blob)?,
            (None, None) => return Err(EngineError::LostLayer(layer.diff.0.clone())),
        };
        let roots = below.iter().map(|p| self.root(p)).collect::<Result<Vec<_>, _>>()?;
        let unpacked = self.unpack(source, &View::stack(roots))?;
        match blob.filter(|_| forms.tar.is_none()) {
            Some(b) => self.believe(layer, b, unpacked.hasher)?,
            None => compare(&layer.diff, unpacked.hasher)?,
        }
        let name = if unpacked.applied.implied_dirs == 0 { &layer.diff } else { upon };
        Ok(self.store.publish_tree(&unpacked.dir, name)?)
    }

    /// Makes the tree of a layer from its tar, in a directory of its own.
    pub(crate) fn unpack(&self, source: Box<dyn Read + Send>, lower: &View) -> Result<Unpacked, EngineError> {
        let ingest = self.store.ingest()?;
        let dir = ingest.path().join("tree");
        std::fs::create_dir(&dir).map_err(|source| io("creating a layer's tree", source))?;
        set_mode(&dir)?;
        let target = Root::open(&dir)?;
        let mut tee = Tee { inner: source, hasher: Hasher::new() };
        let (ahead, work) = ReadAhead::split(&mut tee);
        let applied = std::thread::scope(|scope| {
            // It has to go before the scope waits for the other end, also when something fails.
            let mut ahead = ahead;
            scope.spawn(work);
            let applied = apply::apply(&mut ahead, &target, &self.apply_options(), &|path| lower.lstat(path))?;
            let rest = std::io::copy(&mut ahead, &mut std::io::sink());
            rest.map_err(|source| io("reading a layer to its end", source))?;
            Ok::<_, EngineError>(applied)
        })?;
        Ok(Unpacked { dir, applied, hasher: tee.hasher, _ingest: ingest })
    }

    /// A blob of the layer in the form that is asked for, made when there is none yet.
    ///
    /// What the blob is depends on the layer and the form alone, and not on which other blobs the store has.
    /// Ends with a failure soon after `given_up` says so. A blob that is made goes to the uplink as it is made.
    pub(crate) fn ensure_blob(
        &self,
        layer: &Layer,
        form: &Form,
        uplink: Option<&Uplink>,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Descriptor, EngineError> {
        if let Some(claimed) = &layer.claimed
            && self.store.blob_size(&claimed.digest)?.is_some()
        {
            if !self.store.layer(&layer.diff)?.blobs.contains(claimed) {
                self.verify(layer, claimed)?;
            }
            // What nobody may pass on stays that: compressed otherwise, it would be sent.
            let stays = form.recompress == Recompress::New || claimed.media_type.is_foreign();
            if stays || is_compressed_by(&claimed.media_type, form.compression) {
                return Ok(claimed.plain());
            }
        }
        let forms = self.store.layer(&layer.diff)?;
        let made = form.compression.id();
        if let Some(blob) = forms.blobs.iter().find(|b| b.annotations.get(MADE) == Some(&made)) {
            return Ok(blob.plain());
        }
        if let (Compression::Plain, Some(size)) = (form.compression, forms.tar) {
            return Ok(Descriptor::new(media_type(form.compression), layer.diff.0.clone(), size));
        }
        let write = |out: &mut dyn Write| {
            self.write_tar(layer, forms, &mut Watched::new(out, given_up))?;
            Ok(layer.diff.clone())
        };
        self.compressed(form.compression, uplink, write).map(|(_, blob)| blob)
    }

    /// A blob of the layer that `produce` writes and names. Chunks that were compressed before are not again.
    pub(crate) fn compressed(
        &self,
        method: Compression,
        uplink: Option<&Uplink>,
        produce: impl FnOnce(&mut dyn Write) -> Result<DiffId, EngineError>,
    ) -> Result<(DiffId, Descriptor), EngineError> {
        let index = self.store.chunks(&method.id());
        let mut writer = self.store.blob_writer()?;
        let sending = uplink.and_then(|uplink| uplink.begin(|| writer.reader()));
        let mut out = Announced::new(&mut writer, sending.as_ref());
        let (diff, placed) = compress::compress(method, &Cached(&index), &mut out, produce)?;
        let (digest, size) = writer.commit(None)?;
        let place = |p: &Placed| ChunkPlace { chunk: p.chunk.0, sum: p.sum, offset: p.offset, length: p.length };
        index.add(&digest, &placed.iter().map(place).collect::<Vec<_>>())?;
        let blob = Descriptor::new(media_type(method), digest, size);
        if let Some(sending) = sending {
            sending.finish(&blob);
        }
        let annotations = [(MADE.to_owned(), method.id())].into();
        self.store.add_layer_blob(&diff, &Descriptor { annotations, ..blob.clone() })?;
        Ok((diff, blob))
    }

    /// The blob that another tool made of this layer, if the store has one: what a base's layer came as.
    pub(crate) fn foreign_blob(&self, diff: &DiffId) -> Result<Option<Descriptor>, EngineError> {
        let blobs = self.store.layer(diff)?.blobs;
        Ok(blobs.into_iter().find(|b| !b.annotations.contains_key(MADE)))
    }

    /// A merged look at layers, lowest first.
    pub(crate) fn view(&self, layers: &[Layer]) -> Result<View, EngineError> {
        let roots = self.trees(layers)?.iter().map(|p| self.root(p)).collect::<Result<Vec<_>, _>>()?;
        Ok(View::stack(roots))
    }

    /// Writes the layer's tar from any form, and compares it with its DiffId on the way.
    fn write_tar(&self, layer: &Layer, forms: LayerForms, out: &mut dyn Write) -> Result<(), EngineError> {
        // Only a tree that a step left is the layer itself; one that was unpacked is packed into an equal, but
        // perhaps not the same, tar.
        let blob = forms.blobs.first().or(layer.claimed.as_ref());
        let inner: Box<dyn Read + Send> = match (forms.tar, blob, forms.tree) {
            (Some(_), ..) => Box::new(self.store.open_blob(&layer.diff.0)?),
            (None, Some(blob), _) => self.inflate(blob)?,
            (None, None, Some(tree)) => {
                let mut tar = DigestWriter::new(out);
                layer::pack_upper(&self.root(&tree)?, &mut tar)?;
                return equal(&layer.diff, tar.finish().digest);
            }
            (None, None, None) => return Err(EngineError::LostLayer(layer.diff.0.clone())),
        };
        let mut tar = Tee { inner, hasher: Hasher::new() };
        let copied = compress::copy(&mut tar, out).map_err(EngineError::from);
        copied.and_then(|()| compare(&layer.diff, tar.hasher)).map_err(|e| self.of_layer(layer, e))
    }

    fn inflate(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, EngineError> {
        Ok(compress::decompress(Box::new(self.store.open_blob(&blob.digest)?))?)
    }

    /// Records that a blob is a layer, after its inflated bytes were hashed.
    pub(crate) fn believe(&self, layer: &Layer, blob: &Descriptor, hasher: Hasher) -> Result<(), EngineError> {
        compare(&layer.diff, hasher)?;
        Ok(self.store.add_layer_blob(&layer.diff, blob)?)
    }

    /// A tree that this engine or its steps made.
    pub(crate) fn root(&self, tree: &Path) -> Result<Root, EngineError> {
        Ok(Root::open_tree(tree, self.owners(), self.tree_marks())?)
    }

    /// Who says whose the files of trees are.
    pub(crate) fn owners(&self) -> Owners {
        self.apply_options().owners
    }

    /// How archives are unpacked here.
    pub(crate) fn apply_options(&self) -> ApplyOptions {
        let owners = match self.tier {
            Tier::OneId => Owners::Recorded,
            Tier::Root | Tier::Rootless | Tier::Container => Owners::Kernel,
        };
        let (opaque, devices) = (self.tree_marks(), self.devices());
        ApplyOptions { opaque, devices, owners, ..ApplyOptions::default() }
    }
}

/// A tree that nothing has compared with its name yet.
pub(crate) struct Unpacked {
    pub dir: PathBuf,
    pub applied: apply::Applied,
    /// Has seen all bytes of the tar.
    pub hasher: Hasher,
    /// Keeps the directory until it was published.
    _ingest: Ingest,
}

/// What a layer that is compressed so is called.
fn media_type(method: Compression) -> MediaType {
    match method {
        Compression::Plain => MediaType::OciLayer,
        Compression::Gzip(_) => MediaType::OciLayerGzip,
        Compression::Zstd(_) => MediaType::OciLayerZstd,
    }
}

/// The chunks that the store has compressed.
struct Cached<'a>(&'a ChunkIndex);

impl Chunks for Cached<'_> {
    fn find(&self, chunk: &ChunkId) -> Option<Known> {
        self.0.find(&chunk.0).map(|(bytes, sum)| Known { bytes, sum })
    }
}

/// Name of the tree that the topmost of these layers has when it depends on those below.
fn tree_upon(layers: &[Layer]) -> DiffId {
    let mut h = StableHash::new("tree-upon/2");
    if let Some(chain) = ChainId::of(&diff_ids(layers)) {
        h.part("chain", chain.to_string());
    }
    DiffId(h.finish())
}

/// Locks even when another thread died while it held the lock: what is guarded is always whole.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// An I/O failure with what was being done.
pub fn io(what: impl Into<String>, source: std::io::Error) -> EngineError {
    EngineError::Io { what: what.into(), source }
}

/// The root of a tree is 0755 whatever the umask says.
pub fn set_mode(dir: &std::path::Path) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
        .map_err(|source| io(format!("setting the mode of {}", dir.display()), source))
}

/// Gives a file that the engine made to somebody.
pub fn give(owners: Owners, path: &Path, uid: Option<u32>, gid: Option<u32>) -> std::io::Result<()> {
    let (above, name) = path.parent().zip(path.file_name()).ok_or(std::io::ErrorKind::InvalidInput)?;
    owners.give(std::fs::File::open(above)?.as_fd(), name.as_bytes(), uid, gid)
}

fn compare(diff: &DiffId, hasher: Hasher) -> Result<(), EngineError> {
    equal(diff, hasher.finish())
}

fn equal(diff: &DiffId, actual: Digest) -> Result<(), EngineError> {
    if actual == diff.0 {
        Ok(())
    } else {
        Err(cooper_image::DigestError::Mismatch { expected: diff.0.clone(), actual }.into())
    }
}

/// Hashes what is read through it.
struct Tee<R> {
    inner: R,
    hasher: Hasher,
}
impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}
