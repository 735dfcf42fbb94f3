//! Contents of the selected files, hashed by several threads, each file in one read.
//!
//! A file that is written to while it is read is read once more, and then is an error: no digest may stand
//! for bytes that never were in the file together. Gives the metadata that belongs to the bytes.

use super::{Content, Item, Source, Sum};
use crate::LayerfsError;
use crate::stat::{Kind, Meta};
use crate::view::View;
use crate::walk::{self, Dir, Xattrs};
use cooper_image::RelPath;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files that a thread takes at once: neighbours, so that they share a directory.
const BATCH: usize = 32;
/// Most threads.
const THREADS: usize = 8;
/// Bytes read at once.
const BUFFER: usize = 128 * 1024;

/// What is learned about a file.
struct Hashed {
    meta: Meta,
    xattrs: Xattrs,
    sum: Sum,
}

/// Fills in content, attributes and fresh metadata of every file.
pub(super) fn fill(view: &View, sources: &mut [Source]) -> Result<(), LayerfsError> {
    let known = |item: &mut Item| {
        let sum = view.seen().and_then(|seen| seen.sum(&item.meta));
        item.content = sum.map_or(Content::Nothing, Content::Bytes);
        sum.is_some()
    };
    let files = sources.iter_mut().flat_map(|s| s.items.iter_mut()).filter(|item| item.meta.kind == Kind::File);
    let mut files: Vec<&mut Item> = files.filter_map(|item| (!known(item)).then_some(item)).collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, THREADS);
    let threads = threads.min(files.len().div_ceil(BATCH));
    let jobs: Vec<(usize, &RelPath)> = files.iter().map(|item| (item.layer, &item.path)).collect();
    let next = AtomicUsize::new(0);
    let mut results: Vec<(usize, Result<Hashed, LayerfsError>)> = if threads <= 1 {
        work(view, &jobs, &next)
    } else {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(view, &jobs, &next))).collect();
            workers.into_iter().flat_map(|w| w.join().unwrap_or_default()).collect()
        })
    };
    // By position, so that of several failures always the same one is told.
    results.sort_by_key(|(at, _)| *at);
    let mut filled = 0;
    for (at, result) in results {
        let Hashed { meta, xattrs, sum } = result?;
        if let Some(seen) = view.seen().filter(|_| xattrs.is_empty()) {
            seen.note(&meta, &sum);
        }
        if let Some(item) = files.get_mut(at) {
            (item.meta, item.xattrs, item.content) = (meta, xattrs, Content::Bytes(sum));
            filled += 1;
        }
    }
    match files.get(filled) {
        None => Ok(()),
        // Only a thread that died leaves files without an answer.
        Some(item) => Err(LayerfsError::io(format!("hashing {}", item.path.display()))(io::ErrorKind::Other.into())),
    }
}

/// Takes batches until none is left, or one file fails.
fn work(view: &View, jobs: &[(usize, &RelPath)], next: &AtomicUsize) -> Vec<(usize, Result<Hashed, LayerfsError>)> {
    let mut done = Vec::new();
    let mut reader = Reader::new(view);
    loop {
        let start = next.fetch_add(BATCH, Ordering::Relaxed);
        let end = start.saturating_add(BATCH).min(jobs.len());
        let Some(batch) = jobs.get(start..end).filter(|b| !b.is_empty()) else { return done };
        for (at, (layer, path)) in (start..).zip(batch) {
            let result = reader.hash(*layer, path);
            let failed = result.is_err();
            done.push((at, result));
            if failed {
                // Earlier batches are in work already; later ones need not begin.
                next.store(jobs.len(), Ordering::Relaxed);
                return done;
            }
        }
    }
}

/// Opens files of a view one after another, and keeps the directory that the last one was in.
pub(crate) struct Reader<'a> {
    view: &'a View,
    dir: Option<(usize, RelPath, Dir)>,
    buffer: Box<[u8]>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(view: &'a View) -> Self {
        Self { view, dir: None, buffer: vec![0; BUFFER].into_boxed_slice() }
    }

    /// A regular file of one layer.
    pub(crate) fn open(&mut self, layer: usize, path: &RelPath) -> io::Result<File> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let name = path.file_name().unwrap_or_default();
        match &self.dir {
            Some((l, p, dir)) if *l == layer && *p == parent => dir.open_file(name),
            _ => {
                let dir = self.view.open_dir(layer, &parent)?;
                let file = dir.open_file(name);
                self.dir = Some((layer, parent, dir));
                file
            }
        }
    }

    fn hash(&mut self, layer: usize, path: &RelPath) -> Result<Hashed, LayerfsError> {
        for _ in 0..2 {
            match self.hash_once(layer, path) {
                Ok(Some(hashed)) => return Ok(hashed),
                Ok(None) => {}
                // It was there when its directory was listed, and it was a file.
                Err(e) if is_gone(&e) => break,
                Err(e) => return Err(LayerfsError::io(format!("reading {}", path.display()))(e)),
            }
        }
        Err(LayerfsError::Changed { path: path.display() })
    }

    /// `None` when the file was written to meanwhile.
    fn hash_once(&mut self, layer: usize, path: &RelPath) -> io::Result<Option<Hashed>> {
        let mut file = self.open(layer, path)?;
        let before = Stamp::of(&file)?;
        let (.., dir) = self.dir.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let meta = dir.meta_of(file.as_fd())?;
        let xattrs = walk::travelling_xattrs(file.as_fd())?;
        let mut hasher = blake3::Hasher::new();
        let mut length = 0;
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(self.buffer.get(..n).unwrap_or_default());
                    length += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let unchanged = Stamp::of(&file)? == before && length == meta.size;
        Ok(unchanged.then(|| Hashed { meta, xattrs, sum: hasher.finalize().into() }))
    }
}

/// Does opening a regular file fail in this way because something else, or nothing, has taken its place?
pub(crate) fn is_gone(error: &io::Error) -> bool {
    let refused = error.kind() == io::ErrorKind::InvalidInput;
    refused || matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO))
}

/// What changes when a file is written to.
#[derive(PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let m = file.metadata()?;
        Ok(Self { size: m.size(), modified: (m.mtime(), m.mtime_nsec()), changed: (m.ctime(), m.ctime_nsec()) })
    }
}
