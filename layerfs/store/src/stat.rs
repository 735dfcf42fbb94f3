//! What is remembered of the files of a context between builds: bytes that another room reads and checks.
//!
//! It is a cache: not synced, and whoever writes last wins.

use crate::publish::{Durability, read_small};
use crate::{Store, StoreError};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Most bytes: some 800,000 files.
const LIMIT: u64 = 64 * 1024 * 1024;

impl Store {
    /// What was remembered of a context, by its absolute path; nothing when it cannot be read.
    pub fn stat_cache(&self, context: &Path) -> Vec<u8> {
        let path = self.layout().stat(context.as_os_str().as_bytes());
        read_small(&path, LIMIT).ok().flatten().unwrap_or_default()
    }

    /// Remembers something of a context, instead of what was remembered before. Too much is not remembered.
    ///
    /// # Errors
    /// What the system says.
    pub fn put_stat_cache(&self, context: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() as u64 > LIMIT {
            return Ok(());
        }
        self.write_small(&self.layout().stat(context.as_os_str().as_bytes()), bytes, Durability::Cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_context_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        assert!(store.stat_cache(a).is_empty());
        store.put_stat_cache(a, b"old").unwrap();
        store.put_stat_cache(a, b"of a").unwrap();
        store.put_stat_cache(b, b"of b").unwrap();
        assert_eq!((store.stat_cache(a), store.stat_cache(b)), (b"of a".to_vec(), b"of b".to_vec()));
    }
}
