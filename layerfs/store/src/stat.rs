//! What is remembered of files between builds: of those of a context, bytes that another room reads and checks; of
//! those of layers, the digest of a selection, which never changes.
//!
//! It is a cache: not synced, and whoever writes last wins.

use crate::publish::{Durability, read_small};
use crate::{Store, StoreError};
use cooper_image::Digest;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Most bytes: some 800,000 files.
const LIMIT: u64 = 64 * 1024 * 1024;
/// Most bytes of an answer: two digests of the longest kind.
const SELECTION_LIMIT: u64 = 1024;

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

    /// The digest of what was selected from layers, by a digest of the layers and of how it was selected; nothing when
    /// it is not known or the disk has damaged it.
    pub fn selection(&self, question: &Digest) -> Option<Digest> {
        let bytes = read_small(&self.layout().stat(&selection_name(question)), SELECTION_LIMIT).ok().flatten()?;
        let (digest, check) = std::str::from_utf8(&bytes).ok()?.split_once('\n')?;
        (check == checked(question, digest)).then(|| digest.parse().ok()).flatten()
    }

    /// Remembers the answer of [`Store::selection`].
    ///
    /// # Errors
    /// What the system says.
    pub fn put_selection(&self, question: &Digest, digest: &Digest) -> Result<(), StoreError> {
        let digest = digest.to_string();
        let text = format!("{digest}\n{}", checked(question, &digest));
        self.write_small(&self.layout().stat(&selection_name(question)), text.as_bytes(), Durability::Cache)
    }
}

/// Never the path of a context, which is absolute.
fn selection_name(question: &Digest) -> Vec<u8> {
    format!("selection {question}").into_bytes()
}

fn checked(question: &Digest, digest: &str) -> String {
    Digest::sha256(format!("{question} {digest}")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [question, other, digest] = ["q", "o", "d"].map(Digest::sha256);
        assert_eq!(store.selection(&question), None);
        store.put_selection(&question, &digest).unwrap();
        assert_eq!((store.selection(&question), store.selection(&other)), (Some(digest.clone()), None));
        let path = store.layout().stat(&selection_name(&question));
        let whole = std::fs::read(&path).unwrap();
        for n in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[n] ^= 1;
            for bytes in [&whole[..n], &flipped] {
                std::fs::write(&path, bytes).unwrap();
                assert_eq!(store.selection(&question), None, "byte {n}");
            }
        }
        // The file of one question is no answer to another.
        std::fs::write(store.layout().stat(&selection_name(&other)), &whole).unwrap();
        assert_eq!(store.selection(&other), None);
    }

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
