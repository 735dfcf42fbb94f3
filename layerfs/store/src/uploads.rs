//! Uploads that outlive a process: the URL at which a registry goes on with each.
//!
//! A cache: not synced, and what is torn is not there. The name of an upload is hashed; its URL can be a secret, which is
//! one more reason for the store to be its owner's alone. A file belongs to whoever holds its kernel lock. Must never:
//! give one upload to two processes.

use crate::lock::has_name;
use crate::{Store, StoreError, checked};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// The version that is understood.
const VERSION: u32 = 1;
/// Most bytes of one file.
const LIMIT: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    place: String,
}

/// One upload, for this process alone until it is dropped.
#[derive(Debug)]
pub struct UploadEntry {
    path: PathBuf,
    /// Holds the lock.
    file: File,
    place: Option<String>,
}

impl Store {
    /// Takes an upload by its name; `None` when another process has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn upload(&self, name: &str) -> Result<Option<UploadEntry>, StoreError> {
        let path = self.layout().upload(name);
        let dir = self.layout().uploads();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(StoreError::io("creating", &dir))?;
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(StoreError::io("opening", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("locking", &path)(e)),
        }
        // Between opening and locking its owner may have ended it.
        let metadata = file.metadata().map_err(StoreError::io("looking at", &path))?;
        if !has_name(&metadata, &path).map_err(StoreError::io("looking for", &path))? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        (&mut file).take(LIMIT).read_to_end(&mut bytes).map_err(StoreError::io("reading", &path))?;
        let kept = checked::decode::<Kept>(&bytes).ok().filter(|kept| kept.version == VERSION);
        Ok(Some(UploadEntry { path, file, place: kept.map(|kept| kept.place) }))
    }
}

impl UploadEntry {
    /// Where it was when it was last written down.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Writes down where it is now.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&mut self, place: &str) -> Result<(), StoreError> {
        let bytes = checked::encode("an upload", &Kept { version: VERSION, place: place.to_owned() })?;
        let Self { file, .. } = self;
        let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&bytes));
        written.and_then(|()| file.set_len(bytes.len() as u64)).map_err(StoreError::io("writing", &self.path))?;
        self.place = Some(place.to_owned());
        Ok(())
    }

    /// It is over.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(&mut self) -> Result<(), StoreError> {
        self.place = None;
        self.file.set_len(0).map_err(StoreError::io("writing", &self.path))
    }
}

impl Drop for UploadEntry {
    fn drop(&mut self) {
        if self.place.is_none() {
            // An empty file says nothing; while the lock is held nobody else has come to rely on it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_upload_is_one_process_s_and_is_known_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut first = store.upload("r a/b sha256:1").unwrap().unwrap();
        assert_eq!(first.place(), None);
        first.keep("https://r/up/1?state=long").unwrap();
        first.keep("https://r/up/2").unwrap();
        assert!(store.upload("r a/b sha256:1").unwrap().is_none(), "another has it");
        assert!(store.upload("r a/b sha256:2").unwrap().is_some());
        drop(first);
        let mut second = store.upload("r a/b sha256:1").unwrap().unwrap();
        assert_eq!(second.place(), Some("https://r/up/2"));
        second.forget().unwrap();
        drop(second);
        assert_eq!(fs::read_dir(store.layout().uploads()).unwrap().count(), 0);
        assert_eq!(store.upload("r a/b sha256:1").unwrap().unwrap().place(), None);
    }

    #[test]
    fn torn_and_newer_ones_are_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.upload("x").unwrap().unwrap().keep("https://r/up/1").unwrap();
        let path = store.layout().upload("x");
        let whole = fs::read(&path).unwrap();
        let newer = checked::encode("an upload", &Kept { version: 2, place: "https://r/up/1".to_owned() }).unwrap();
        for bytes in [&whole[..whole.len() - 4], b"", b"\xff", newer.as_slice()] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(store.upload("x").unwrap().unwrap().place(), None);
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(store.upload("x").unwrap().unwrap().place(), Some("https://r/up/1"));
    }
}
