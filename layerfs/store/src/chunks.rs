//! Where chunks that were compressed once lie: an index over the compressed blobs, one for each method.
//!
//! Takes: what a compressor placed in a blob. Gives: the compressed form of a chunk, compared with its sum. Holds no
//! chunk itself: a blob that is deleted takes its chunks with it, and entries that lead nowhere are found out when they
//! are used. It is a cache: not synced, every record has a checksum, and damage of any kind is a chunk not known.
//!
//! ```text
//! chunks/<hash of the method>/<two hex digits>   the chunks whose identity has these low six bits in its first byte:
//!                                                records of 152 bytes, the last one of a chunk counts
//! record = chunk (32) | sum of its compressed form (32) | SHA-256 of the blob in hex (64) | offset (8) | length (8)
//!          | first 8 bytes of the BLAKE3 of all that
//! ```

use crate::publish::{Durability, make_dirs, read_small};
use crate::{Store, StoreError};
use cooper_image::Digest;
use cooper_image::digest::Algorithm;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const KEY: usize = 32;
const HEX: usize = 64;
const RECORD: usize = 152;
const CHECK: usize = 8;
/// Chunks are spread over so many files.
const SHARDS: u8 = 64;
/// A file that has grown beyond this is written anew without what does not count any more.
const SHARD_LIMIT: u64 = 2 * 1024 * 1024;
/// Most bytes of a compressed chunk: no chunk is larger, and none grows by being compressed but for some bytes.
const CHUNK_LIMIT: u64 = 64 * 1024 * 1024;

/// Where the compressed form of a chunk lies in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPlace {
    /// The identity of the chunk: BLAKE3 of its bytes.
    pub chunk: [u8; KEY],
    /// BLAKE3 of the compressed bytes.
    pub sum: [u8; KEY],
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
}

/// What a shard knows of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    blob: Digest,
    place: ChunkPlace,
}

type Shard = Arc<HashMap<[u8; KEY], Entry>>;

/// The chunks that one method compressed. Shards are read when they are first asked.
#[derive(Debug)]
pub struct ChunkIndex {
    store: Store,
    dir: PathBuf,
    shards: Mutex<HashMap<u8, Shard>>,
}

impl Store {
    /// The index of a compression method, by the name of everything that its bytes depend on.
    pub fn chunks(&self, method: &str) -> ChunkIndex {
        ChunkIndex { store: self.clone(), dir: self.layout().chunks(method), shards: Mutex::default() }
    }
}

impl ChunkIndex {
    /// The compressed form of a chunk and its sum, when a blob of the store has it undamaged.
    pub fn find(&self, chunk: &[u8; KEY]) -> Option<(Vec<u8>, [u8; KEY])> {
        let shard = self.shard(shard_of(chunk));
        let Entry { blob, place } = shard.get(chunk)?;
        if place.length > CHUNK_LIMIT {
            return None;
        }
        let file = self.store.open_blob(blob).ok()?;
        let mut bytes = vec![0; usize::try_from(place.length).ok()?];
        file.read_exact_at(&mut bytes, place.offset).ok()?;
        (*blake3::hash(&bytes).as_bytes() == place.sum).then_some((bytes, place.sum))
    }

    /// Records what lies in a blob. Newer records win, so that what was used last stays known longest.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&self, blob: &Digest, places: &[ChunkPlace]) -> Result<(), StoreError> {
        if blob.algorithm() != Algorithm::Sha256 {
            return Ok(());
        }
        let mut lines: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for place in places {
            let entry = Entry { blob: blob.clone(), place: *place };
            lines.entry(shard_of(&place.chunk)).or_default().extend(encode(&entry));
        }
        if !lines.is_empty() {
            make_dirs(&self.dir, Durability::Cache)?;
        }
        for (shard, bytes) in lines {
            let path = self.path(shard);
            let length = append(&path, &bytes).map_err(StoreError::io("writing", &path))?;
            // Half a record at the end, from a power cut, would shift all that follow.
            if length > SHARD_LIMIT || length % RECORD as u64 != 0 {
                self.tidy(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self, shard: u8) -> PathBuf {
        self.dir.join(format!("{shard:02x}"))
    }

    fn shard(&self, number: u8) -> Shard {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || Arc::new(decode(&read(&self.path(number))));
        shards.entry(number).or_insert_with(read).clone()
    }

    /// Writes a shard anew: the newest record of each chunk whose blob is there, in the order in which they were
    /// written, and of these the last ones, no more than half of what is allowed. What another process adds meanwhile
    /// is lost, and with it only some work of a later compression.
    fn tidy(&self, path: &Path) -> Result<(), StoreError> {
        let most = SHARD_LIMIT as usize / 2 / RECORD;
        let (mut seen, mut kept) = (HashSet::new(), Vec::new());
        // To be there is enough: nothing is read, so that nothing has to be held.
        let mut blobs: HashMap<Digest, bool> = HashMap::new();
        for entry in entries(&read(path)).rev() {
            if kept.len() == most {
                break;
            }
            let there = *blobs.entry(entry.blob.clone()).or_insert_with_key(|b| self.store.layout().blob(b).exists());
            if there && seen.insert(entry.place.chunk) {
                kept.push(entry);
            }
        }
        let bytes: Vec<u8> = kept.iter().rev().flat_map(encode).collect();
        self.store.write_small(path, &bytes, Durability::Cache)
    }
}

fn shard_of(chunk: &[u8; KEY]) -> u8 {
    chunk.first().map_or(0, |b| b % SHARDS)
}

/// Everything in a shard; nothing when it cannot be read.
fn read(path: &Path) -> Vec<u8> {
    match read_small(path, 2 * SHARD_LIMIT) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "an index of chunks cannot be read; they count as not known");
            Vec::new()
        }
    }
}

fn append(path: &Path, bytes: &[u8]) -> std::io::Result<u64> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file.metadata()?.len())
}

fn encode(entry: &Entry) -> Vec<u8> {
    let ChunkPlace { chunk, sum, offset, length } = entry.place;
    let mut record = Vec::with_capacity(RECORD);
    for part in [&chunk[..], &sum, entry.blob.hex().as_bytes(), &offset.to_le_bytes(), &length.to_le_bytes()] {
        record.extend_from_slice(part);
    }
    let check = blake3::hash(&record);
    record.extend_from_slice(check.as_bytes().first_chunk::<CHECK>().map_or(&[], |c| c));
    record
}

/// The records that are whole, in the order in which they were written.
fn entries(bytes: &[u8]) -> impl DoubleEndedIterator<Item = Entry> {
    bytes.chunks_exact(RECORD).filter_map(entry)
}

/// Of several records of one chunk the last.
fn decode(bytes: &[u8]) -> HashMap<[u8; KEY], Entry> {
    entries(bytes).map(|e| (e.place.chunk, e)).collect()
}

fn entry(record: &[u8]) -> Option<Entry> {
    let (body, check) = record.split_last_chunk::<CHECK>()?;
    if blake3::hash(body).as_bytes().first_chunk() != Some(check) {
        return None;
    }
    let (chunk, rest) = body.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let (blob, rest) = rest.split_first_chunk::<HEX>()?;
    let blob = format!("{}:{}", Algorithm::Sha256.name(), std::str::from_utf8(blob).ok()?).parse().ok()?;
    let (offset, length) = rest.split_first_chunk()?;
    let length = u64::from_le_bytes(*length.first_chunk()?);
    let place = ChunkPlace { chunk: *chunk, sum: *sum, offset: u64::from_le_bytes(*offset), length };
    Some(Entry { blob, place })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Place {
        _dir: tempfile::TempDir,
        store: Store,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        Place { _dir: dir, store }
    }

    fn key(n: u32) -> [u8; KEY] {
        blake3::hash(&n.to_le_bytes()).into()
    }

    /// A blob of `count` pieces of four bytes, and their places.
    fn blob(store: &Store, first: u32, count: u32) -> (Digest, Vec<ChunkPlace>) {
        let bytes: Vec<u8> = (first..first + count).flat_map(u32::to_be_bytes).collect();
        let places = (0..count).map(|i| ChunkPlace {
            chunk: key(first + i),
            sum: blake3::hash(&(first + i).to_be_bytes()).into(),
            offset: u64::from(i) * 4,
            length: 4,
        });
        (store.put_blob(&bytes).unwrap(), places.collect())
    }

    #[test]
    fn what_was_placed_is_found_by_its_method_alone() {
        let Place { store, .. } = &place();
        let (digest, places) = blob(store, 0, 300);
        store.chunks("gzip-4").add(&digest, &places).unwrap();
        let index = store.chunks("gzip-4");
        for n in 0..300 {
            let found = index.find(&key(n)).unwrap();
            assert_eq!(found, (n.to_be_bytes().to_vec(), places[n as usize].sum));
        }
        assert!(index.find(&key(300)).is_none());
        assert!(store.chunks("gzip-5").find(&key(1)).is_none());
    }

    #[test]
    fn a_blob_that_went_or_was_changed_gives_nothing_and_the_newest_place_counts() {
        let Place { store, .. } = &place();
        let (first, places) = blob(store, 0, 2);
        store.chunks("m").add(&first, &places).unwrap();
        fs::remove_file(store.layout().blob(&first)).unwrap();
        assert!(store.chunks("m").find(&key(0)).is_none());
        let (second, mut places) = blob(store, 1, 2);
        store.chunks("m").add(&second, &places).unwrap();
        assert!(store.chunks("m").find(&key(1)).is_some());
        let path = store.layout().blob(&second);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"\0\0\0\x01\0\0\0\x03").unwrap();
        assert!(store.chunks("m").find(&key(1)).is_some());
        assert!(store.chunks("m").find(&key(2)).is_none());
        places[0].length = u64::MAX;
        places[1].offset = u64::MAX;
        store.chunks("m").add(&second, &places).unwrap();
        assert!(store.chunks("m").find(&key(1)).is_none() && store.chunks("m").find(&key(2)).is_none());
    }

    #[test]
    fn damage_is_a_chunk_not_known() {
        let Place { store, .. } = &place();
        let (digest, places) = blob(store, 0, 1);
        store.chunks("m").add(&digest, &places).unwrap();
        let path = store.chunks("m").path(shard_of(&key(0)));
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), RECORD);
        for n in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[n] ^= 1;
            for bytes in [&whole[..n], &flipped] {
                fs::write(&path, bytes).unwrap();
                assert!(store.chunks("m").find(&key(0)).is_none(), "byte {n}");
            }
        }
        // A torn record does not hide what is added after it.
        fs::write(&path, [&whole[..], &whole[..50]].concat()).unwrap();
        store.chunks("m").add(&digest, &places).unwrap();
        store.chunks("m").add(&digest, &places).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 * RECORD as u64);
        assert!(store.chunks("m").find(&key(0)).is_some());
    }

    #[test]
    fn a_shard_does_not_grow_for_ever() {
        let Place { store, .. } = &place();
        let (digest, places) = blob(store, 0, 1);
        let path = store.chunks("m").path(shard_of(&key(0)));
        store.chunks("m").add(&digest, &places).unwrap();
        let one = fs::read(&path).unwrap();
        fs::write(&path, one.repeat(SHARD_LIMIT as usize / RECORD)).unwrap();
        store.chunks("m").add(&digest, &places).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), RECORD as u64);
        assert!(store.chunks("m").find(&key(0)).is_some());
    }

    /// What was used last stays, and nothing is held because its index was written anew.
    #[test]
    fn the_newest_of_a_large_shard_stay() {
        let Place { store, .. } = &place();
        let holding = store.holding();
        let (digest, places) = blob(store, 0, 1);
        let chunk = |n: u32| {
            let mut chunk = key(n);
            chunk[0] = 5;
            chunk
        };
        let most = (SHARD_LIMIT as usize / RECORD) as u32;
        let all: Vec<ChunkPlace> = (0..=most).map(|n| ChunkPlace { chunk: chunk(n), ..places[0] }).collect();
        // The oldest is used again.
        let again = [&all[..], &all[..1]].concat();
        holding.chunks("m").add(&digest, &again).unwrap();
        let known = decode(&read(&holding.chunks("m").path(5)));
        let count = known.len() as u32;
        assert!(count <= most / 2 && count > most / 2 - 2);
        assert!(known.contains_key(&chunk(0)) && (most - count + 2..=most).all(|n| known.contains_key(&chunk(n))));
        assert!(crate::held::claim(&store.layout().blob(&digest)).unwrap().is_some());
    }
}
