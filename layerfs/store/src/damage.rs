//! Blobs whose bytes are not what their name says.
//!
//! Takes a name, compares, deletes. Others may hold the same file, or find out at the same time and put a whole one in
//! its place. Must never: delete another file than the one that was compared.

use crate::held::Held;
use crate::{Removed, Store, StoreError};
use cooper_image::digest::Algorithm;
use cooper_image::{Digest, DigestError, Hasher};
use std::fs::File;
use std::io::{Read, Seek};

impl Store {
    /// Compares all bytes of a blob with its digest and deletes it when they are others, so that it can be fetched
    /// again. Says whether it did.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], or what the system says.
    pub fn discard_if_damaged(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.layout().blob(digest);
        loop {
            let Some(held) = self.lease(&path)? else { return Err(StoreError::MissingBlob(digest.clone())) };
            if self.is_whole(&held, digest)? {
                self.keep(&path, held);
                return Ok(false);
            }
            // When the name leads to another file by now, that one was not looked at.
            if self.delete_held(digest, &held)? {
                tracing::warn!(%digest, "a blob was damaged; it is deleted");
                self.release(&path);
                return Ok(true);
            }
        }
    }

    /// Compares all bytes of a blob with its digest, when something that was made of them is wrong.
    ///
    /// # Errors
    /// [`StoreError::DamagedBlob`] when they are others, [`StoreError::MissingBlob`], or what the system says.
    pub fn check_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let mut file = self.open_blob(digest)?;
        let actual = hash_again(&mut file, digest.algorithm());
        let actual = actual.map_err(StoreError::io("reading", &self.layout().blob(digest)))?;
        if actual == *digest {
            return Ok(());
        }
        let source = DigestError::Mismatch { expected: digest.clone(), actual };
        Err(StoreError::DamagedBlob { digest: digest.clone(), source })
    }

    /// Does the file that is held hold what the name says?
    pub(crate) fn is_whole(&self, held: &Held, digest: &Digest) -> Result<bool, StoreError> {
        let actual = hash_again(&mut held.file(), digest.algorithm());
        Ok(actual.map_err(StoreError::io("reading", &self.layout().blob(digest)))? == *digest)
    }

    /// Deletes a blob that this process holds, if its name still leads to this file; says whether it did. Others who
    /// use it have it open, or find out as this process did.
    fn delete_held(&self, digest: &Digest, held: &Held) -> Result<bool, StoreError> {
        let path = self.layout().blob(digest);
        let _alone = self.replacing(digest.algorithm())?;
        let same = held.has_name(&path).map_err(StoreError::io("looking for", &path))?;
        Ok(same && crate::publish::remove_file(&path)? == Removed::Yes)
    }

    /// The lock of whoever takes the name of a blob from a file that others may hold as well. Collectors need it not:
    /// what they delete nobody else holds.
    pub(crate) fn replacing(&self, algorithm: Algorithm) -> Result<File, StoreError> {
        let dir = self.layout().blobs(algorithm);
        let file = File::open(&dir).map_err(StoreError::io("opening", &dir))?;
        file.lock().map_err(StoreError::io("locking", &dir))?;
        Ok(file)
    }
}

/// The digest of a file, from its beginning.
pub fn hash_again(file: &mut (impl Read + Seek), algorithm: Algorithm) -> std::io::Result<Digest> {
    file.rewind()?;
    let mut hasher = Hasher::with(algorithm);
    std::io::copy(file, &mut hasher)?;
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;
    use std::fs;

    #[test]
    fn only_a_damaged_blob_is_discarded() {
        let (_dir, store) = store();
        let (good, bad) = (store.put_blob(b"good").unwrap(), store.put_blob(b"bad!").unwrap());
        fs::set_permissions(store.layout().blob(&bad), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(store.layout().blob(&bad), "dab!").unwrap();
        store.check_blob(&good).unwrap();
        assert!(matches!(store.check_blob(&bad), Err(StoreError::DamagedBlob { digest, .. }) if digest == bad));
        assert!(!store.discard_if_damaged(&good).unwrap());
        assert!(store.discard_if_damaged(&bad).unwrap());
        assert_eq!(store.blob_size(&good).unwrap(), Some(4));
        assert_eq!(store.blob_size(&bad).unwrap(), None);
    }

    /// Between the look at a damaged blob and its deletion, another process puts a good one in its place.
    #[test]
    fn a_blob_that_was_mended_meanwhile_stays() {
        let (_dir, store) = store();
        let digest = store.put_blob(b"good").unwrap();
        let path = store.layout().blob(&digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "bad!").unwrap();
        let held = store.lease(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        store.put_blob(b"good").unwrap();
        assert!(!store.delete_held(&digest, &held).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"good");
        let held = store.lease(&path).unwrap().unwrap();
        assert!(store.delete_held(&digest, &held).unwrap());
        assert!(!path.exists());
    }

    /// Each of many who find it damaged deletes that file at most, and none a good one.
    #[test]
    fn many_who_mend_one_blob_do_not_harm_each_other() {
        let (_dir, store) = store();
        let bytes = vec![7; 300_000];
        let digest = store.put_blob(&bytes).unwrap();
        let path = store.layout().blob(&digest);
        for _ in 0..20 {
            fs::remove_file(&path).unwrap();
            fs::write(&path, vec![8; 300_000]).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        let mine = store.holding();
                        match mine.discard_if_damaged(&digest) {
                            Ok(_) | Err(StoreError::MissingBlob(_)) => {}
                            Err(e) => panic!("{e}"),
                        }
                        mine.put_blob(&bytes).unwrap();
                        assert_eq!(fs::read(&path).unwrap(), bytes);
                    });
                }
            });
        }
    }
}
