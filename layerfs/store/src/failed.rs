//! Steps that failed, kept so that a person can look at what they left.
//!
//! A kept step is a directory: what the caller made in it, and a small file that says what the step was. Takes and
//! gives values that another room understands. Nobody needs one: the oldest go when there are many, and any collection
//! may take one away unless a process has it open. Not synced; one that is torn or damaged is not there.
//! Must never: take a text from outside for a directory's name unchecked.

use crate::ingest::random_name;
use crate::publish::{names, read_small};
use crate::remove::remove_tree;
use crate::{Store, StoreError, checked, held};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Most steps that are kept.
const KEPT: usize = 8;
/// Most bytes of what one was.
const LIMIT: u64 = 16 * 1024 * 1024;
/// Name of the file that says it.
const STEP: &str = "step";
/// Digits of an id.
const ID: usize = 12;

/// A kept step that nobody deletes as long as this lives.
#[derive(Debug)]
pub struct FailedStep {
    path: PathBuf,
    /// Holds the shared lock.
    _lock: File,
}

impl FailedStep {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// Keeps a directory of the store's own file system, with what the step was; gives its id. The oldest go.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] when what the step was is longer than what is read; what the system says.
    pub fn keep_failed<T: Serialize>(&self, made: &Path, step: &T) -> Result<String, StoreError> {
        let bytes = checked::encode("a failed step", step)?;
        if bytes.len() as u64 > LIMIT {
            return Err(StoreError::TooLong { what: "a failed step", limit: LIMIT });
        }
        let file = made.join(STEP);
        let written = File::create(&file).and_then(|mut out| {
            out.write_all(&bytes)?;
            out.set_modified(self.next_failure())
        });
        written.map_err(StoreError::io("writing", &file))?;
        let all = self.layout().failed();
        DirBuilder::new().recursive(true).mode(0o700).create(&all).map_err(StoreError::io("creating", &all))?;
        let id: String = random_name().chars().take(ID).collect();
        let path = all.join(&id);
        std::fs::rename(made, &path).map_err(StoreError::io("publishing", &path))?;
        self.forget_old(&id);
        Ok(id)
    }

    /// The time of a step that is kept now: later than that of any other. The kernel's own clock for files may stand
    /// still for milliseconds, and a person's may have been put back.
    fn next_failure(&self) -> SystemTime {
        let all = self.layout().failed();
        let time = |name: String| std::fs::symlink_metadata(all.join(name).join(STEP)).and_then(|m| m.modified()).ok();
        let last = names(&all).unwrap_or_default().into_iter().filter_map(time).max();
        let now = SystemTime::now();
        last.and_then(|last| last.checked_add(Duration::from_nanos(1))).map_or(now, |next| next.max(now))
    }

    /// Deletes all but the newest. What is in use or cannot go stays, and is no failure of the build.
    fn forget_old(&self, newest: &str) {
        let known = self.failed_steps().unwrap_or_default();
        let old = known.iter().rev().filter(|id| *id != newest).skip(KEPT - 1);
        for path in old.map(|id| self.layout().failed().join(id)) {
            let Ok(Some(_lock)) = held::claim(&path) else { continue };
            let aside = self.layout().ingest().join(random_name());
            if std::fs::rename(&path, &aside).is_ok()
                && let Err(error) = remove_tree(&aside)
            {
                tracing::warn!(path = %aside.display(), %error, "an old failed step could not be deleted");
            }
        }
    }

    /// The ids of the steps that are kept, the newest last.
    ///
    /// # Errors
    /// What the system says.
    pub fn failed_steps(&self) -> Result<Vec<String>, StoreError> {
        let all = self.layout().failed();
        let dated = |name: String| {
            let time = std::fs::symlink_metadata(all.join(&name).join(STEP)).ok()?;
            Some(((time.mtime(), time.mtime_nsec()), name))
        };
        let mut found: Vec<_> = names(&all)?.into_iter().filter_map(dated).collect();
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, name)| name).collect())
    }

    /// One kept step, and what it was; nothing when there is none of that id, or when it is damaged or being deleted.
    ///
    /// # Errors
    /// What the system says.
    pub fn failed_step<T: DeserializeOwned>(&self, id: &str) -> Result<Option<(FailedStep, T)>, StoreError> {
        if id.len() != ID || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let path = self.layout().failed().join(id);
        let lock = match File::open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::io("opening", &path))?,
        };
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("locking", &path)(e)),
            Ok(()) => {}
        }
        let bytes = read_small(&path.join(STEP), LIMIT)?;
        let step = bytes.and_then(|b| checked::decode(&b).ok());
        Ok(step.map(|step| (FailedStep { path, _lock: lock }, step)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Doing, Kind, Policy};

    fn keep(store: &Store, what: &str) -> String {
        let ingest = store.ingest().unwrap();
        let made = ingest.path().join("made");
        std::fs::create_dir(&made).unwrap();
        std::fs::write(made.join("left"), what).unwrap();
        store.keep_failed(&made, &what.to_owned()).unwrap()
    }

    #[test]
    fn the_newest_are_kept_but_for_those_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let first = keep(&store, "0");
        let (used, what) = store.failed_step::<String>(&first).unwrap().unwrap();
        assert_eq!((what.as_str(), std::fs::read(used.path().join("left")).unwrap()), ("0", b"0".to_vec()));
        let later: Vec<String> = (1..=KEPT + 1).map(|n| keep(&store, &n.to_string())).collect();
        let left = store.failed_steps().unwrap();
        assert!(left.contains(&first), "it is in use");
        assert_eq!(left.len(), KEPT + 1);
        assert_eq!(left[1..], later[1..]);
        drop(used);
        keep(&store, "last");
        assert!(!store.failed_steps().unwrap().contains(&first));
    }

    #[test]
    fn the_last_is_the_newest_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let first = keep(&store, "before the clock was put back");
        let ahead = SystemTime::now() + Duration::from_secs(3600);
        File::open(store.layout().failed().join(&first).join(STEP)).unwrap().set_modified(ahead).unwrap();
        // As many as the ids need not fall into this order by chance.
        let later: Vec<String> = (1..KEPT).map(|n| keep(&store, &n.to_string())).collect();
        assert_eq!(store.failed_steps().unwrap(), [&[first][..], &later].concat());
    }

    #[test]
    fn no_text_leads_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id = keep(&store, "x");
        for wrong in ["", "..", "../failed", &id[1..], "zzzzzzzzzzzz", "0123456789ab"] {
            assert!(store.failed_step::<String>(wrong).unwrap().is_none(), "{wrong}");
        }
        std::fs::write(store.layout().failed().join(&id).join(STEP), "torn").unwrap();
        assert!(store.failed_step::<String>(&id).unwrap().is_none());
    }

    #[test]
    fn a_collection_counts_and_deletes_it_unless_it_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (used, gone) = (keep(&store, "used"), keep(&store, "gone"));
        let held = store.failed_step::<String>(&used).unwrap().unwrap();
        let counted = store.inventory(0).unwrap().into_iter().filter(|i| i.kind == Kind::Failed);
        let counted: Vec<(String, bool)> = counted.map(|i| (i.name, i.kept.is_some())).collect();
        assert!(counted.contains(&(used.clone(), true)) && counted.contains(&(gone, false)), "{counted:?}");
        let kinds = vec![Kind::Failed];
        let policy = Policy { keep: None, max_bytes: None, kinds, names: Vec::new(), doing: Doing::Delete };
        store.collect(&policy, 0).unwrap();
        assert_eq!(store.failed_steps().unwrap(), [used]);
        drop(held);
        store.collect(&policy, 0).unwrap();
        assert_eq!(store.failed_steps().unwrap(), [""; 0]);
    }
}
