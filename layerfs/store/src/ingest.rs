//! Private directories for what is in flight, and the sweeping of those whose owner is dead.
//!
//! A directory belongs to whoever holds its kernel lock. Whoever can take the lock may delete it:
//! the process that made it no longer lives. Those of blobs that arrive have names of their own outside `ingest`, and
//! wait there for a process that goes on with them, or for the collection.

use crate::layout::Layout;
use crate::lent::{self, Lent};
use crate::lock::try_lock;
use crate::remove::remove_tree;
use crate::{Store, StoreError};
use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most leftovers that one opening of a store deletes, so that opening stays quick.
const SWEEP: usize = 64;
/// Times that another name is tried when a sweeper was faster.
const ATTEMPTS: usize = 16;

/// A private directory inside the store, on its file system. Deleted with its content on drop, unless it is kept.
#[derive(Debug)]
pub struct Ingest {
    path: PathBuf,
    /// Did the disk refuse a name that can be seen?
    unsettled: AtomicBool,
    /// Holds the lock.
    _lock: File,
    /// Does it wait for another process when this one ends?
    kept: AtomicBool,
    /// What could be moved into this directory.
    lent: Mutex<Option<LentTo>>,
}

/// Caches of a store that somebody may have moved into a directory.
#[derive(Debug)]
struct LentTo {
    layout: Layout,
    /// The inodes of the files that stand for them.
    notes: Vec<u64>,
}

impl Ingest {
    /// The directory, mode 0700.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory to the next process that opens the store: it puts on the disk what this one could not.
    pub(crate) fn leave_unsettled(&self) {
        self.unsettled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Relaxed)
    }

    pub(crate) fn new(layout: &Layout) -> Result<Self, StoreError> {
        Self::named(layout, random_name)
    }

    fn named(layout: &Layout, name: impl Fn() -> String) -> Result<Self, StoreError> {
        for _ in 0..ATTEMPTS {
            let path = layout.ingest().join(name());
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                other => other.map_err(StoreError::io("creating", &path))?,
            }
            if let Some(lock) = try_lock(&path).map_err(StoreError::io("locking", &path))? {
                return Ok(Self::locked(path, lock, false));
            }
        }
        Err(StoreError::Busy { path: layout.ingest() })
    }

    /// One with a name, with what an earlier process left in it, which is kept; `None` when another process has it.
    pub(crate) fn begun(path: &Path) -> Result<Option<Self>, StoreError> {
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(StoreError::io("creating", path)(e)),
            _ => {}
        }
        let lock = try_lock(path).map_err(StoreError::io("locking", path))?;
        let path = path.to_owned();
        Ok(lock.map(|lock| Self::locked(path, lock, true)))
    }

    fn locked(path: PathBuf, lock: File, kept: bool) -> Self {
        let (unsettled, kept) = (AtomicBool::new(false), AtomicBool::new(kept));
        Self { path, unsettled, _lock: lock, kept, lent: Mutex::new(None) }
    }

    /// Somebody may move a cache of the store into the directory from here on, for which a file with this inode stands.
    pub(crate) fn expect_lent(&self, layout: &Layout, note: u64) {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.get_or_insert_with(|| LentTo { layout: layout.clone(), notes: Vec::new() }).notes.push(note);
    }

    /// Brings back what was lent to it; is no cache in it any more?
    fn holds_no_cache(&mut self) -> bool {
        let lent = self.lent.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(LentTo { layout, notes }) = lent else { return true };
        match lent::bring_all_back(layout, &self.path, Some(notes)) {
            Ok(Lent::Back) => true,
            Ok(Lent::Out) => {
                tracing::debug!(path = %self.path.display(), "a directory in flight may hold a cache, and stays");
                false
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "what was lent to a directory could not be put back");
                false
            }
        }
    }

    /// Does it stay when its owner ends?
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// It goes with its owner.
    pub(crate) fn forsake(&self) {
        self.kept.store(false, Ordering::Relaxed);
    }

    /// It stays when its owner ends.
    pub(crate) fn leave_kept(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // Where a cache may be in it still, the next sweep tries again.
        if self.is_unsettled() || self.is_kept() || !self.holds_no_cache() {
            return;
        }
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a directory in flight could not be deleted");
        }
    }
}

impl Store {
    /// A private directory for a step or a layer in the making.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn ingest(&self) -> Result<Ingest, StoreError> {
        Ingest::new(self.layout())
    }
}

/// Deletes what dead processes left, as far as it can and not more than [`SWEEP`] of it, after what they gave a name is
/// on the disk. Failures are told to the log alone: as long as something is left, no name counts as settled.
pub fn sweep(layout: &Layout) {
    let Ok(entries) = std::fs::read_dir(layout.ingest()) else { return };
    let mut synced = false;
    for entry in entries.flatten().take(SWEEP) {
        let path = entry.path();
        match try_lock(&path) {
            Ok(Some(_lock)) => {
                synced = synced || sync_all(layout);
                if !synced {
                    return;
                }
                match lent::bring_all_back(layout, &path, None) {
                    Ok(Lent::Back) => {}
                    Ok(Lent::Out) => continue,
                    Err(error) => {
                        tracing::debug!(path = %path.display(), %error, "what was lent to a leftover could not be put back");
                        continue;
                    }
                }
                match remove_tree(&path) {
                    Ok(()) => tracing::debug!(path = %path.display(), "deleted what an ended process left"),
                    Err(error) => tracing::debug!(path = %path.display(), %error, "a leftover could not be deleted"),
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(path = %path.display(), %error, "a leftover could not be locked"),
        }
    }
}

/// Puts everything in the store on the disk; says whether it is there.
pub fn sync_all(layout: &Layout) -> bool {
    let done = File::open(layout.root()).and_then(|root| Ok(rustix::fs::syncfs(&root)?));
    if let Err(error) = &done {
        tracing::debug!(%error, "what an ended process wrote could not be put on the disk");
    }
    done.is_ok()
}

/// A name that no other process picks. It is no secret: the directory is private.
pub fn random_name() -> String {
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn who_finds_no_free_name_is_told_that_others_have_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let named = || Ingest::named(store.layout(), || "it".to_owned());
        let _others = named().unwrap();
        assert!(matches!(named(), Err(StoreError::Busy { .. })));
    }

    #[test]
    fn leftovers_go_and_the_living_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let living = store.ingest().unwrap();
        fs::write(living.path().join("f"), "x").unwrap();
        let dead = dir.path().join("ingest/dead");
        fs::create_dir_all(dead.join("tree/sub")).unwrap();
        let again = Store::open(dir.path()).unwrap();
        assert!(!dead.exists());
        assert!(living.path().join("f").exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
        drop(again);
    }
}
