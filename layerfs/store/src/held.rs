//! Leases: what a process found or made stays where it is until the process is done with it.
//!
//! A lease is the shared kernel lock of the file or directory itself, so that it ends with the process however that
//! ends, and nothing has to be written or cleaned up. Whoever deletes takes the exclusive lock first ([`claim`]), and
//! whoever finds looks again after it has the lock: what it found is still there, or it was a miss. A new file is
//! locked before it gets its name, so that there is no moment in which it is anybody's to delete.
//!
//! Must never: answer "it is there" from a handle that keeps leases without having one.

use crate::lock::{self, try_lock};
use crate::{Store, StoreError};
use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a look-up waits for somebody who is deleting; then it counts as a miss.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a writer waits for a name that somebody is deleting.
const NAME_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(2);
/// A use is noted at most so often for each file: the order of deletion needs no more.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// A file or directory of the store that nobody deletes as long as this lives.
#[derive(Debug)]
pub struct Held {
    /// Its lock is the lease.
    file: File,
    len: u64,
}

impl Held {
    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Does the name lead to it still? Somebody may have found it damaged.
    pub(crate) fn has_name(&self, path: &Path) -> io::Result<bool> {
        lock::has_name(&self.file.metadata()?, path)
    }

    /// Of a file: its size in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Locks what has no final name yet and nobody else knows.
    pub(crate) fn unpublished(file: File) -> io::Result<Self> {
        file.lock_shared()?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

/// What was found under a name.
#[derive(Debug)]
pub enum Lookup {
    /// It is there, and stays.
    Held(Held),
    /// There is nothing.
    Absent,
    /// Somebody is deleting it and does not come to an end.
    Busy,
}

/// Takes the shared lock of what has a name, and makes sure that it has the name still.
fn look_up(path: &Path, patience: Duration) -> io::Result<Lookup> {
    let since = Instant::now();
    loop {
        let file = match open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Lookup::Absent),
            Err(e) => return Err(e),
        };
        match file.try_lock_shared() {
            Ok(()) => {
                let metadata = file.metadata()?;
                if lock::has_name(&metadata, path)? {
                    note_use(&file, &metadata);
                    return Ok(Lookup::Held(Held { len: metadata.len(), file }));
                }
            }
            Err(TryLockError::WouldBlock) if since.elapsed() >= patience => return Ok(Lookup::Busy),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}

/// Opens without following a link and without waiting for a pipe's other end.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Notes that it was used: what was not used for longest is deleted first. The time of the last change of the inode
/// serves, since publishing sets it too and neither an archive nor a reader can.
pub fn note_use(file: &File, metadata: &Metadata) {
    note_use_at(file, metadata, SystemTime::now());
}

/// The same at that time.
pub fn note_use_at(file: &File, metadata: &Metadata, now: SystemTime) {
    if is_stale(metadata, now) {
        // A store that cannot be written has no order of deletion.
        let _ = file.set_times(std::fs::FileTimes::new().set_accessed(now));
    }
}

fn is_stale(metadata: &Metadata, now: SystemTime) -> bool {
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(metadata.ctime().max(0).cast_unsigned()));
    changed.is_some_and(|c| now.duration_since(c).is_ok_and(|d| d > NOTED_EVERY))
}

/// Takes the exclusive lock of what nobody uses; `None` when somebody does, or when it is gone.
pub fn claim(path: &Path) -> io::Result<Option<File>> {
    match try_lock(path) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(None),
        other => other,
    }
}

/// The leases of a handle, by path.
#[derive(Debug, Default)]
pub struct Leases(Mutex<HashMap<PathBuf, Held>>);

impl Leases {
    fn keep(&self, path: &Path, held: Held) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), held);
    }
    /// Size of what is held, unless the name leads to another file, or to none, by now: that is held no longer.
    fn size(&self, path: &Path) -> Option<io::Result<u64>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.get(path)?;
        match held.has_name(path) {
            Ok(true) => Some(Ok(held.len())),
            Ok(false) => {
                all.remove(path);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
    fn forget_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
    fn forget(&self, path: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

impl Store {
    /// The same store through a handle that keeps a lease on everything it finds or makes, until the last clone of the
    /// handle is dropped. Builds, pulls and pushes work with one.
    #[must_use]
    pub fn holding(&self) -> Self {
        self.with_leases()
    }

    /// The same store through a handle that keeps nothing: for a look at what may as well be gone a moment later.
    #[must_use]
    pub fn passing(&self) -> Self {
        self.without_leases()
    }

    /// Size of a file, or anything for a directory, when it is there; from a handle that keeps leases it then stays.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<u64>, StoreError> {
        let Some(leases) = self.leases() else {
            return match std::fs::symlink_metadata(path) {
                Ok(m) => Ok(Some(m.len())),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) => Err(StoreError::io("looking for", path)(e)),
            };
        };
        let failed = StoreError::io("looking for", path);
        match leases.size(path) {
            Some(Ok(size)) => return Ok(Some(size)),
            Some(Err(error)) => return Err(failed(error)),
            None => {}
        }
        match look_up(path, PATIENCE) {
            Ok(Lookup::Held(held)) => {
                let size = held.len();
                leases.keep(path, held);
                Ok(Some(size))
            }
            Ok(Lookup::Absent | Lookup::Busy) => Ok(None),
            // What this process may not use is not there for it. A writer is told.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// A lease on what has a name, for a writer who found the name taken.
    pub(crate) fn lease(&self, path: &Path) -> Result<Option<Held>, StoreError> {
        match look_up(path, NAME_PATIENCE).map_err(StoreError::io("looking for", path))? {
            Lookup::Held(held) => Ok(Some(held)),
            Lookup::Absent => Ok(None),
            Lookup::Busy => Err(StoreError::Busy { path: path.to_owned() }),
        }
    }

    /// Keeps a lease when this handle keeps any, and gives it back otherwise.
    pub(crate) fn keep(&self, path: &Path, held: Held) -> Option<Held> {
        match self.leases() {
            Some(leases) => {
                leases.keep(path, held);
                None
            }
            None => Some(held),
        }
    }

    /// Notes the use of a small file, whose loss would be no failure, when this handle keeps leases.
    pub(crate) fn note_use_of(&self, path: &Path) {
        if self.leases().is_some()
            && let Ok(metadata) = std::fs::symlink_metadata(path)
            && is_stale(&metadata, SystemTime::now())
            && let Ok(file) = open(path)
        {
            note_use(&file, &metadata);
        }
    }

    /// Ends all leases of this handle.
    pub(crate) fn end_leases(&self) {
        if let Some(leases) = self.leases() {
            leases.forget_all();
        }
    }

    /// Ends a lease.
    pub(crate) fn release(&self, path: &Path) {
        if let Some(leases) = self.leases() {
            leases.forget(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::{DiffId, Digest};

    #[test]
    fn what_was_found_or_made_stays_while_the_handle_lives() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let holding = store.holding();
        let made = store.layout().blob(&holding.put_blob(b"made").unwrap());
        let found_digest = store.put_blob(b"found").unwrap();
        let found = store.layout().blob(&found_digest);
        assert!(claim(&found).unwrap().is_some(), "nobody uses it yet");
        assert_eq!(holding.blob_size(&found_digest).unwrap(), Some(5));
        for path in [&made, &found] {
            assert!(claim(path).unwrap().is_none(), "{}", path.display());
        }
        let clone = holding.clone();
        drop(holding);
        assert!(claim(&made).unwrap().is_none());
        drop(clone);
        for path in [&made, &found] {
            assert!(claim(path).unwrap().is_some(), "{}", path.display());
        }
    }

    #[test]
    fn what_is_looked_at_in_passing_may_go() {
        let dir = tempfile::tempdir().unwrap();
        let holding = Store::open(dir.path()).unwrap().holding();
        let digest = Store::open(dir.path()).unwrap().put_blob(b"seen").unwrap();
        assert_eq!(holding.passing().blob_size(&digest).unwrap(), Some(4));
        assert!(claim(&holding.layout().blob(&digest)).unwrap().is_some());
    }

    #[test]
    fn what_another_took_away_is_not_there_although_it_was_held() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (one, other) = (store.holding(), store.holding());
        let digest = one.put_blob(b"bytes").unwrap();
        let path = store.layout().blob(&digest);
        // What it does with a blob that it finds damaged.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(one.blob_size(&digest).unwrap(), None);
        other.put_blob(b"bytes").unwrap();
        assert_eq!(one.blob_size(&digest).unwrap(), Some(5));
        drop(other);
        assert!(claim(&path).unwrap().is_none(), "the new file is held");
    }

    #[test]
    fn what_is_being_deleted_is_a_miss_and_its_name_is_free_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = store.put_blob(b"bytes").unwrap();
        let path = store.layout().blob(&digest);
        let deleting = claim(&path).unwrap().unwrap();
        let holding = store.holding();
        assert_eq!(holding.blob_size(&digest).unwrap(), None, "after {PATIENCE:?}");
        // A writer waits until the name is free, and its file is not the one that is deleted.
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| holding.put_blob(b"bytes").unwrap());
            std::thread::sleep(Duration::from_millis(50));
            std::fs::remove_file(&path).unwrap();
            drop(deleting);
            writer.join().unwrap();
        });
        assert_eq!(std::fs::read(&path).unwrap(), b"bytes");
        assert!(claim(&path).unwrap().is_none());
    }

    #[test]
    fn a_tree_is_held_from_its_first_moment() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff = DiffId(Digest::sha256("tree"));
        let publish = |store: &Store| {
            let ingest = store.ingest().unwrap();
            let made = ingest.path().join("tree");
            std::fs::create_dir(&made).unwrap();
            store.publish_tree(&made, &diff).unwrap()
        };
        let (first, second) = (store.holding(), store.holding());
        let path = publish(&first);
        assert_eq!(publish(&second), path, "an empty tree is not replaced by an equal one");
        drop(first);
        assert!(claim(&path).unwrap().is_none(), "the second found it");
        drop(second);
        assert!(claim(&path).unwrap().is_some());
    }
}
