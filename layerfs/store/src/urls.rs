//! What files behind URLs were when they were last asked for: validators, and the blob that holds the bytes.
//!
//! A cache: not synced, and what is torn, damaged or of another version is not there. The URL itself is not kept, since
//! it can hold a password. Must never: name bytes that are not in the store.

use crate::publish::{Durability, read_small};
use crate::{Ingest, Store, StoreError, checked};
use cooper_image::Digest;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The version that is understood.
const VERSION: u32 = 1;
/// Most bytes of one record.
const RECORD_LIMIT: u64 = 64 * 1024;

/// What a file behind a URL was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlRecord {
    /// Version of this record; 1.
    pub version: u32,
    /// Its bytes, a blob of the store.
    pub digest: Digest,
    /// `ETag` of the answer that brought them.
    pub etag: Option<String>,
    /// `Last-Modified` of that answer.
    pub last_modified: Option<String>,
    /// `Date` of that answer.
    pub date: Option<String>,
}

impl UrlRecord {
    /// A record of the version that is written.
    pub fn new(digest: Digest) -> Self {
        Self { version: VERSION, digest, etag: None, last_modified: None, date: None }
    }
}

impl Store {
    /// What is known of a URL; nothing when the blob is gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn url_record(&self, url: &str) -> Result<Option<UrlRecord>, StoreError> {
        let path = self.layout().url(url);
        let bytes = match read_small(&path, RECORD_LIMIT) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(StoreError::DamagedFile { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        match checked::decode::<UrlRecord>(&bytes) {
            Ok(record) if record.version == VERSION => Ok(self.blob_size(&record.digest)?.is_some().then_some(record)),
            Ok(_) => Ok(None),
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "what is known of a URL is damaged; it is asked anew");
                Ok(None)
            }
        }
    }

    /// Is the file of a record whole?
    pub(crate) fn check_url_record(path: &Path) -> Result<(), StoreError> {
        let Some(bytes) = read_small(path, RECORD_LIMIT)? else { return Ok(()) };
        let whole = checked::decode::<UrlRecord>(&bytes);
        whole.map(drop).map_err(|why| StoreError::DamagedFile { path: path.to_owned(), reason: why.to_owned() })
    }

    /// Keeps what is known of a URL, whose blob was stored before.
    ///
    /// # Errors
    /// What the system says.
    pub fn put_url_record(&self, url: &str, record: &UrlRecord) -> Result<(), StoreError> {
        let bytes = checked::encode("what is known of a URL", record)?;
        self.write_small(&self.layout().url(url), &bytes, Durability::Cache)
    }

    /// A second name of a blob, in a directory of work in progress. The file is the blob itself and must not be
    /// changed.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], or what the system says.
    pub fn lend_blob(&self, digest: &Digest, to: &Ingest, name: &str) -> Result<PathBuf, StoreError> {
        let (from, path) = (self.layout().blob(digest), to.path().join(name));
        let linked = std::fs::hard_link(&from, &path).or_else(|e| match e.kind() {
            ErrorKind::NotFound => Err(e),
            // A file system without hard links.
            _ => std::fs::copy(&from, &path).map(|_| ()),
        });
        linked.map_err(|e| lost(e, digest, &from))?;
        Ok(path)
    }
}

fn lost(error: std::io::Error, digest: &Digest, from: &Path) -> StoreError {
    match error.kind() {
        ErrorKind::NotFound => StoreError::MissingBlob(digest.clone()),
        _ => StoreError::io("opening", from)(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_record_is_known_while_its_blob_is_there_and_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let url = "https://me:hunter2@h/f";
        let digest = store.put_blob(b"bytes").unwrap();
        let record = UrlRecord { etag: Some("\"1\"".to_owned()), ..UrlRecord::new(digest.clone()) };
        assert_eq!(store.url_record(url).unwrap(), None);
        store.put_url_record(url, &record).unwrap();
        assert_eq!(store.url_record(url).unwrap(), Some(record.clone()));
        assert_eq!(store.url_record("https://h/f").unwrap(), None);
        let path = store.layout().url(url);
        let whole = fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&whole).contains("hunter2"));
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(store.url_record(url).unwrap(), None);
        store.put_url_record(url, &UrlRecord { version: 2, ..record.clone() }).unwrap();
        assert_eq!(store.url_record(url).unwrap(), None);
        store.put_url_record(url, &record).unwrap();
        fs::remove_file(store.layout().blob(&digest)).unwrap();
        assert_eq!(store.url_record(url).unwrap(), None);
    }

    #[test]
    fn a_blob_is_lent_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = store.put_blob(b"bytes").unwrap();
        let ingest = store.ingest().unwrap();
        let path = store.lend_blob(&digest, &ingest, "f").unwrap();
        assert_eq!(fs::read(path).unwrap(), b"bytes");
        drop(ingest);
        assert_eq!(store.blob_size(&digest).unwrap(), Some(5));
        let gone = store.lend_blob(&Digest::sha256("absent"), &store.ingest().unwrap(), "f");
        assert!(matches!(gone, Err(StoreError::MissingBlob(_))));
    }
}
