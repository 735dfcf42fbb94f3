//! Step records: what a step with a certain key gave, and the named parts of the key.
//!
//! Records are a cache. They are not synced; each begins with a checksum, and one that is torn,
//! damaged or of another version is a miss, never a failure.

use crate::publish::{Durability, read_small};
use crate::{Store, StoreError, checked};
use cooper_image::{DiffId, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The version that is understood.
const VERSION: u32 = 1;
/// Most bytes of one record.
const RECORD_LIMIT: u64 = 4 * 1024 * 1024;
/// Most records that are read of one slot, the newest.
const SLOT_RECORDS: usize = 32;
/// Bytes at the end of a slot's file that are read: more than [`SLOT_RECORDS`] different keys,
/// when the same ones are written over and over.
const SLOT_TAIL: u64 = 16 * 1024;
/// A slot's file that has grown beyond this is cut to its end.
const SLOT_LIMIT: u64 = 128 * 1024;

/// What one step gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Version of this record; 1.
    pub version: u32,
    /// The step's cache key.
    pub key: Digest,
    /// Which instruction of which file it is, whatever its key: where a reason for a miss is looked for.
    pub slot: String,
    /// What the key was made of.
    pub parts: BTreeMap<String, String>,
    /// Which files the step reads, with a short digest, mode and owner of each, when they are few: for reasons only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The image that the layers below began with, and its digest: for reasons only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The layer, when the step made one.
    pub layer: Option<DiffId>,
    /// When it was made, in seconds since 1970.
    pub created_unix: i64,
}

impl Store {
    /// The record of a key, from one file. A damaged one is told to the log and counts as absent.
    ///
    /// # Errors
    /// What the system says.
    pub fn record(&self, key: &Digest) -> Result<Option<StepRecord>, StoreError> {
        let found = self.read_record(key)?;
        if found.is_some() {
            self.note_use_of(&self.layout().record(key));
        }
        Ok(found)
    }

    /// Is the file of a record whole?
    pub(crate) fn check_record(path: &Path) -> Result<(), StoreError> {
        let Some(bytes) = read_small(path, RECORD_LIMIT)? else { return Ok(()) };
        let whole = checked::decode::<StepRecord>(&bytes);
        whole.map(drop).map_err(|why| StoreError::DamagedFile { path: path.to_owned(), reason: why.to_owned() })
    }

    fn read_record(&self, key: &Digest) -> Result<Option<StepRecord>, StoreError> {
        let path = self.layout().record(key);
        let bytes = match read_small(&path, RECORD_LIMIT) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(StoreError::DamagedFile { reason, .. }) => return Ok(damaged(&path, &reason)),
            Err(e) => return Err(e),
        };
        match checked::decode::<StepRecord>(&bytes) {
            Ok(record) if record.key == *key && record.version == VERSION => Ok(Some(record)),
            Ok(record) if record.version != VERSION => Ok(damaged(&path, "its version is not known")),
            Ok(_) => Ok(damaged(&path, "it is another key's")),
            Err(reason) => Ok(damaged(&path, reason)),
        }
    }

    /// Keeps a record, replacing what its key had. One that is longer than what is read goes without what is for
    /// reasons only.
    ///
    /// # Errors
    /// What the system says.
    pub fn put_record(&self, record: &StepRecord) -> Result<(), StoreError> {
        let Some((bytes, tells)) = fitting(record)? else { return Ok(()) };
        self.write_small(&self.layout().record(&record.key), &bytes, Durability::Cache)?;
        if !tells {
            return Ok(());
        }
        let slot = self.layout().slot(&record.slot);
        let length = append(&slot, &record.key).map_err(StoreError::io("writing", &slot))?;
        if length > SLOT_LIMIT {
            let end = tail(&slot).map_err(StoreError::io("reading", &slot))?;
            // A key that another process appends right now is lost from the index, and with it only
            // a reason for a later miss.
            self.write_small(&slot, &end, Durability::Cache)?;
        }
        Ok(())
    }

    /// The newest records of a slot, newest last.
    ///
    /// # Errors
    /// What the system says.
    pub fn records_in_slot(&self, slot: &str) -> Result<Vec<StepRecord>, StoreError> {
        let path = self.layout().slot(slot);
        let bytes = match tail(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(StoreError::io("reading", &path)(e)),
        };
        let mut keys: Vec<Digest> = Vec::new();
        // A torn line is no digest and drops out.
        for line in bytes.split(|b| *b == b'\n').rev().filter_map(|l| std::str::from_utf8(l).ok()) {
            let Ok(key) = line.parse() else { continue };
            if !keys.contains(&key) {
                keys.push(key);
            }
            if keys.len() == SLOT_RECORDS {
                break;
            }
        }
        let mut records = Vec::new();
        for key in keys.iter().rev() {
            records.extend(self.read_record(key)?.filter(|r| r.slot == slot));
        }
        Ok(records)
    }
}

/// The bytes of a record that can be read again, and whether it tells reasons: without its files and base when it is
/// too long, then without the parts of its key; nothing when that is too long still.
fn fitting(record: &StepRecord) -> Result<Option<(Vec<u8>, bool)>, StoreError> {
    let encode = |form: &StepRecord| {
        let bytes = checked::encode("a step's record", form)?;
        Ok::<_, StoreError>((bytes.len() as u64 <= RECORD_LIMIT).then_some(bytes))
    };
    if let Some(bytes) = encode(record)? {
        return Ok(Some((bytes, true)));
    }
    let shorter = StepRecord { files: BTreeMap::new(), base: None, ..record.clone() };
    if let Some(bytes) = encode(&shorter)? {
        return Ok(Some((bytes, true)));
    }
    Ok(encode(&StepRecord { parts: BTreeMap::new(), ..shorter })?.map(|bytes| (bytes, false)))
}

fn damaged(path: &Path, reason: &str) -> Option<StepRecord> {
    tracing::warn!(path = %path.display(), reason, "a step's record is damaged; the step counts as not run");
    None
}

/// Adds one line in one write and gives the new length.
fn append(path: &Path, key: &Digest) -> std::io::Result<u64> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(format!("{key}\n").as_bytes())?;
    Ok(file.metadata()?.len())
}

/// The last bytes of a slot's file.
fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SLOT_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(SLOT_TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record(slot: &str, n: usize) -> StepRecord {
        StepRecord {
            version: 1,
            key: Digest::sha256(format!("{slot} {n}")),
            slot: slot.to_owned(),
            parts: BTreeMap::from([("argv".to_owned(), format!("[\"echo\", \"{n}\"]"))]),
            files: BTreeMap::from([("a".to_owned(), n.to_string())]),
            base: Some("debian:12@sha256:ab".to_owned()),
            layer: Some(DiffId(Digest::sha256("layer"))),
            created_unix: n as i64,
        }
    }

    #[test]
    fn a_slot_gives_its_own_newest_records() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for n in 0..SLOT_RECORDS + 3 {
            store.put_record(&record("a/../b", n)).unwrap();
            store.put_record(&record("other", n)).unwrap();
        }
        store.put_record(&record("a/../b", 10)).unwrap();
        let found = store.records_in_slot("a/../b").unwrap();
        assert_eq!(found.len(), SLOT_RECORDS);
        assert!(found.iter().all(|r| r.slot == "a/../b"));
        assert_eq!(found.last(), Some(&record("a/../b", 10)));
        assert!(store.records_in_slot("unknown").unwrap().is_empty());
        assert_eq!(store.record(&record("other", 3).key).unwrap(), Some(record("other", 3)));
    }

    #[test]
    fn a_slot_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let path = store.layout().slot("s");
        fs::write(&path, "torn line\n".repeat(SLOT_LIMIT as usize / 10)).unwrap();
        for n in 0..3 {
            store.put_record(&record("s", n)).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() <= SLOT_TAIL + 300);
        assert_eq!(store.records_in_slot("s").unwrap().len(), 3);
    }

    #[test]
    fn damage_is_a_miss() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let r = record("s", 1);
        store.put_record(&r).unwrap();
        let path = store.layout().record(&r.key);
        let whole = fs::read(&path).unwrap();
        for n in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[n] ^= 1;
            for bytes in [&whole[..n], &flipped] {
                fs::remove_file(&path).unwrap();
                fs::write(&path, bytes).unwrap();
                assert_eq!(store.record(&r.key).unwrap(), None, "byte {n}");
            }
        }
        let foreign = store.layout().record(&record("s", 2).key);
        fs::write(&foreign, &whole).unwrap();
        assert_eq!(store.record(&record("s", 2).key).unwrap(), None);
        store.put_record(&r).unwrap();
        assert_eq!(store.record(&r.key).unwrap(), Some(r));
    }

    #[test]
    fn a_record_that_is_too_long_goes_without_reasons() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let long = |n: u64| "x".repeat(n as usize);
        let many = StepRecord { files: BTreeMap::from([("a".to_owned(), long(RECORD_LIMIT - 100))]), ..record("s", 1) };
        store.put_record(&many).unwrap();
        let kept = store.record(&many.key).unwrap().unwrap();
        assert_eq!((&kept.layer, &kept.parts), (&many.layer, &many.parts));
        assert!(kept.files.is_empty() && kept.base.is_none());
        let huge = StepRecord { parts: BTreeMap::from([("argv".to_owned(), long(RECORD_LIMIT))]), ..record("s", 2) };
        store.put_record(&huge).unwrap();
        assert_eq!(store.record(&huge.key).unwrap().unwrap().layer, huge.layer);
        // It would tell reasons that are none.
        assert_eq!(store.records_in_slot("s").unwrap(), [kept]);
        store.put_record(&StepRecord { slot: long(RECORD_LIMIT), ..record("s", 3) }).unwrap();
        assert_eq!(store.record(&record("s", 3).key).unwrap(), None);
        assert!(store.fsck().unwrap().problems.is_empty());
    }
}
