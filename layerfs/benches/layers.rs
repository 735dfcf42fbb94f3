//! How long the parts of making and reading a layer take, each alone and in memory. It judges no time;
//! docs/performance.md holds what was measured. `TMPDIR=/dev/shm cargo bench -p cooper-layerfs --bench layers` runs it.
#![allow(clippy::unwrap_used, missing_docs)]

use cooper_image::{Digest, RelPath};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::apply::{self, ApplyOptions, Devices};
use cooper_layerfs::compress::cut::{Cutter, Sizes};
use cooper_layerfs::compress::{ChunkId, Chunks, Known, Method, NoChunks, compress, decompress};
use cooper_layerfs::layer::{DigestWriter, pack_upper};
use cooper_layerfs::root::Root;
use cooper_layerfs::seen::Seen;
use cooper_layerfs::select::Selection;
use cooper_layerfs::view::View;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::HashMap;
use std::hint::black_box;
use std::io::{Cursor, Write, sink};
use std::path::Path;
use std::sync::{Arc, Mutex};

const SMALL_FILES: usize = 4000;
const SMALL: usize = 4000;
const LARGE_FILES: usize = 16;
const LARGE: usize = 1 << 20;
const STREAM: usize = 64 << 20;

/// Bytes that compress about as source text does: words of a small vocabulary in a fixed disorder.
fn text(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = (state >> 20) % 4096;
        let _ = write!(bytes, "{:x}{} ", word * word, word % 7);
    }
    bytes.truncate(length);
    bytes
}

fn fill(top: &Path) {
    for n in 0..SMALL_FILES {
        let dir = top.join(format!("d{}/e{}", n % 40, n % 7));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("f{n}")), text(SMALL, n as u64)).unwrap();
    }
    for n in 0..LARGE_FILES {
        std::fs::write(top.join(format!("large{n}")), text(LARGE, n as u64)).unwrap();
    }
}

fn packed(root: &Root) -> Vec<u8> {
    let mut tar = Vec::new();
    pack_upper(root, &mut tar).unwrap();
    tar
}

fn pressed(method: Method, chunks: &dyn Chunks, bytes: &[u8], out: &mut (dyn Write + Send)) {
    let failed = |source| LayerfsError::Io { what: "writing".into(), source };
    let made: Result<_, LayerfsError> = compress(method, chunks, out, |to| to.write_all(bytes).map_err(failed));
    black_box(made.unwrap());
}

/// Every chunk that was ever asked for, compressed to nothing: what is left is cutting and looking up.
#[derive(Default)]
struct All(Mutex<HashMap<ChunkId, Known>>);

impl Chunks for All {
    fn find(&self, chunk: &ChunkId) -> Option<Known> {
        let empty = || Known { bytes: Vec::new(), sum: [0; 32] };
        Some(self.0.lock().unwrap().entry(*chunk).or_insert_with(empty).clone())
    }
}

fn files(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let root = Root::open(dir.path()).unwrap();
    let tar = packed(&root);
    let mut group = c.benchmark_group(format!("{} files", SMALL_FILES + LARGE_FILES));
    group.sample_size(20).throughput(Throughput::Bytes(tar.len() as u64));
    group.bench_function("tar and its digest", |b| {
        b.iter(|| {
            let mut out = DigestWriter::new(sink());
            pack_upper(&root, &mut out).unwrap();
            black_box(out.finish())
        });
    });
    let mut gzip = Vec::new();
    pressed(Method::default(), &NoChunks, &tar, &mut gzip);
    group.bench_function("inflate and unpack", |b| {
        let options = ApplyOptions { devices: Devices::SkipUnprivileged, ..ApplyOptions::default() };
        let fresh = || (tempfile::tempdir().unwrap(), gzip.clone());
        let unpack = |(dir, gzip): (tempfile::TempDir, Vec<u8>)| {
            let target = Root::open(dir.path()).unwrap();
            let mut stream = decompress(Box::new(Cursor::new(gzip))).unwrap();
            apply::apply(&mut stream, &target, &options, &|_: &RelPath| Ok(None)).unwrap();
            dir
        };
        b.iter_batched(fresh, unpack, BatchSize::PerIteration);
    });
    let view = || View::dir(Root::open(dir.path()).unwrap());
    group.bench_function("scan, nothing remembered", |b| b.iter(|| Selection::whole_directory(&view()).unwrap()));
    // As an hour from now, when all files are old enough to be remembered.
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64 + 3600;
    let dev = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(dir.path()).unwrap());
    let first = Arc::new(Seen::decode(b"", dev, later));
    Selection::whole_directory(&view().with_seen(Arc::clone(&first))).unwrap();
    let remembered = first.encode().unwrap();
    group.bench_function("scan, all remembered", |b| {
        b.iter(|| {
            let seen = Arc::new(Seen::decode(&remembered, dev, later));
            Selection::whole_directory(&view().with_seen(seen)).unwrap()
        });
    });
    group.finish();
}

/// The upper directory of a step that changed little: a hundred files, and as many deletions as who runs this may make.
fn diff(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..100 {
        let sub = dir.path().join(format!("d{}", n % 10));
        std::fs::create_dir_all(&sub).unwrap();
        std::fs::write(sub.join(format!("f{n}")), text(SMALL, n)).unwrap();
        let device = rustix::fs::FileType::CharacterDevice;
        let _ = rustix::fs::mknodat(rustix::fs::CWD, sub.join(format!("w{n}")), device, 0o600.into(), 0);
    }
    let root = Root::open(dir.path()).unwrap();
    c.bench_function("diff of 100 changed files", |b| {
        b.iter(|| {
            let mut out = DigestWriter::new(sink());
            pack_upper(&root, &mut out).unwrap();
            black_box(out.finish())
        });
    });
}

fn streams(c: &mut Criterion) {
    let bytes = text(STREAM, 7);
    let mut group = c.benchmark_group("stream of 64 MiB");
    group.sample_size(10).throughput(Throughput::Bytes(STREAM as u64));
    group.bench_function("sha-256", |b| b.iter(|| Digest::sha256(&bytes)));
    group.bench_function("cut into chunks", |b| {
        b.iter(|| {
            let mut cutter = Cutter::new(Sizes::SMALL);
            let mut chunks = 0;
            for mut portion in bytes.chunks(128 << 10) {
                while !portion.is_empty() {
                    let taken = cutter.take(portion);
                    portion = portion.get(taken..).unwrap_or_default();
                    chunks += usize::from(cutter.chunk().is_some());
                }
            }
            while cutter.rest().is_some() {
                chunks += 1;
            }
            chunks
        });
    });
    for (name, method) in [("gzip 4, all cores", Method::default()), ("zstd 3, all cores", Method::Zstd(3))] {
        group.bench_function(name, |b| b.iter(|| pressed(method, &NoChunks, &bytes, &mut sink())));
    }
    let all = All::default();
    group.bench_function("gzip 4, every chunk known", |b| {
        b.iter(|| pressed(Method::default(), &all, &bytes, &mut sink()));
    });
    let mut gzip = Vec::new();
    pressed(Method::default(), &NoChunks, &bytes, &mut gzip);
    group.bench_function("inflate gzip", |b| {
        b.iter(|| {
            let mut stream = decompress(Box::new(Cursor::new(gzip.clone()))).unwrap();
            std::io::copy(&mut stream, &mut sink()).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, files, diff, streams);
criterion_main!(benches);
