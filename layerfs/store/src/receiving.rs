//! Uploads of a registry's clients that outlive the process which takes them.
//!
//! Takes a name that nobody can guess. Gives a blob in the making, with what came of it to an earlier process. Each is a
//! directory that belongs to whoever holds its kernel lock. What came is compared with nothing until the blob is whole, so
//! that nothing is synced before: after a power cut it may be less, or other bytes, and the digest tells.
//! Must never: give one to two processes.

use crate::lock::try_lock;
use crate::publish::names;
use crate::remove::remove_tree;
use crate::{BlobWriter, Ingest, Store, StoreError};
use cooper_image::digest::Algorithm;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

impl Store {
    /// An upload that a later process can go on with, and what came of it to an earlier one: it stays when the writer is
    /// dropped, until somebody commits or discards it.
    ///
    /// # Errors
    /// What the system says; [`StoreError::Busy`] when another process has it.
    pub fn receive_blob(&self, name: &str) -> Result<BlobWriter, StoreError> {
        let path = self.layout().receiving(name);
        let session = Ingest::begun(&path)?.ok_or(StoreError::Busy { path })?;
        self.begun_blob(Arc::new(session), Algorithm::Sha256, u64::MAX)
    }

    /// Has somebody begun it?
    ///
    /// # Errors
    /// What the system says.
    pub fn has_received(&self, name: &str) -> Result<bool, StoreError> {
        let blob = self.layout().receiving(name).join("blob");
        blob.try_exists().map_err(StoreError::io("looking for", &blob))
    }

    /// Deletes uploads that no process has and of which nothing came for so long. Gives their number.
    ///
    /// # Errors
    /// What the system says of the directory of all; of one that cannot be deleted, the log is told.
    pub fn forget_received(&self, idle: Duration) -> Result<usize, StoreError> {
        let (dir, now) = (self.layout().all_receiving(), SystemTime::now());
        let mut gone = 0;
        for path in names(&dir)?.into_iter().map(|name| dir.join(name)) {
            // Its maker may have died before there was a blob, or be about to make it.
            let is = std::fs::symlink_metadata(path.join("blob")).or_else(|_| std::fs::symlink_metadata(&path));
            let touched = is.and_then(|is| is.modified());
            if !touched.is_ok_and(|touched| now.duration_since(touched).is_ok_and(|age| age > idle)) {
                continue;
            }
            let removed = match try_lock(&path) {
                Ok(Some(_lock)) => remove_tree(&path).map(|()| 1),
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            };
            match removed {
                Ok(count) => gone += count,
                Err(error) => tracing::debug!(path = %path.display(), %error, "an upload could not be deleted"),
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;
    use cooper_image::Digest;
    use std::io::Write as _;

    #[test]
    fn what_came_is_there_for_a_later_process_alone() {
        let (dir, store) = store();
        let mut writer = store.receive_blob("one").unwrap();
        writer.write_all(b"half").unwrap();
        writer.flush().unwrap();
        let later = Store::open(dir.path()).unwrap();
        assert!(matches!(later.receive_blob("one"), Err(StoreError::Busy { .. })));
        assert!(!later.has_received("two").unwrap());
        drop((writer, store));
        let mut writer = later.receive_blob("one").unwrap();
        assert_eq!(writer.written(), 4);
        writer.write_all(b" and half").unwrap();
        let digest = Digest::sha256(b"half and half");
        writer.commit(Some((&digest, 13))).unwrap();
        assert!(!later.has_received("one").unwrap());
        assert_eq!(later.blob_size(&digest).unwrap(), Some(13));
        // What is refused or discarded is gone.
        later.receive_blob("two").unwrap().commit(Some((&digest, 13))).unwrap_err();
        later.receive_blob("three").unwrap().discard();
        assert_eq!(names(&later.layout().all_receiving()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn old_ones_go_and_those_under_way_stay() {
        let (_dir, store) = store();
        assert_eq!(store.forget_received(Duration::ZERO).unwrap(), 0);
        let under_way = store.receive_blob("under way").unwrap();
        drop((store.receive_blob("left").unwrap(), store.receive_blob("left too").unwrap()));
        std::fs::create_dir(store.layout().receiving("never one")).unwrap();
        assert_eq!(store.forget_received(Duration::from_secs(60)).unwrap(), 0);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(store.forget_received(Duration::ZERO).unwrap(), 3);
        drop(under_way);
        assert!(store.has_received("under way").unwrap());
    }
}
