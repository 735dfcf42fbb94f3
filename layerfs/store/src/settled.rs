//! Names that are there but may not be on the disk yet.
//!
//! Whoever writes gives a file its name first and waits for the disk then. In between others see the name, and a
//! writer that dies there never waits. Every writer has a directory in flight: when there is none but one's own, all
//! that can be seen was waited for. The next process that opens the store puts on the disk what a dead one left
//! ([`crate::ingest::sweep`]).
//!
//! Takes: the path of what was found, and not written. Gives: its name on the disk.
//! Must never: tell somebody's success from a name that a power cut can take.

use crate::layout::ALGORITHMS;
use crate::publish::sync_dir;
use crate::{Store, StoreError};
use std::path::Path;

impl Store {
    /// Puts the name of something that was found on the disk, with the directories above it, unless that was done.
    pub(crate) fn settle(&self, found: &Path) -> Result<(), StoreError> {
        if self.is_settled()? {
            return Ok(());
        }
        found.ancestors().skip(1).take_while(|dir| dir.starts_with(self.root())).try_for_each(sync_dir)
    }

    /// The same for every blob and every mark of a tree: a name is about to lead to some of them.
    pub(crate) fn settle_parts(&self) -> Result<(), StoreError> {
        if self.is_settled()? {
            return Ok(());
        }
        ALGORITHMS.into_iter().try_for_each(|algorithm| sync_dir(&self.layout().blobs(algorithm)))?;
        sync_dir(&self.layout().synced())
    }

    /// Is everything that can be seen on the disk?
    fn is_settled(&self) -> Result<bool, StoreError> {
        let mine = self.own_session();
        if mine.as_ref().is_some_and(|mine| mine.is_unsettled()) {
            return Ok(false);
        }
        let dir = self.layout().ingest();
        let failed = || StoreError::io("reading", &dir);
        for entry in std::fs::read_dir(&dir).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            if mine.as_ref().is_none_or(|mine| mine.path() != path) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::store;

    #[test]
    fn what_others_have_in_flight_is_not_settled_and_ones_own_is() {
        let (_dir, store) = store();
        assert!(store.is_settled().unwrap());
        store.put_blob(b"of its own").unwrap();
        assert!(store.is_settled().unwrap());
        let other = store.ingest().unwrap();
        assert!(!store.is_settled().unwrap());
        drop(other);
        assert!(store.is_settled().unwrap());
    }

    #[test]
    fn a_name_that_the_disk_refused_is_not_settled_and_the_next_process_is_told() {
        let (dir, store) = store();
        let left = store.session().unwrap();
        left.leave_unsettled();
        assert!(!store.is_settled().unwrap());
        let path = left.path().to_owned();
        drop((left, store));
        assert!(path.exists());
        let next = crate::Store::open(dir.path()).unwrap();
        assert!(!path.exists());
        assert!(next.is_settled().unwrap());
    }
}
