//! Directories that outlive builds: what `RUN --mount=type=cache` shows.
//!
//! A cache has one or more copies, numbered from 0, each locked by whoever uses it: the kernel frees the lock when a
//! process ends, however it ends. Takes: the cache's identity as a digest, how it is used, and who fills a new one.
//! Gives: a directory, locked. Must never: give half a cache, or one directory to two who asked to be alone.

use crate::layout::Layout;
use crate::lent::Lent;
use crate::{Store, StoreError, held, lent, lock};
use cooper_image::Digest;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Most copies of one cache; in tests so few that one process can have them all open.
const COPIES: usize = if cfg!(test) { 8 } else { 1024 };

/// How a cache is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// Together with others who share it.
    Shared,
    /// Alone; a copy that is in use is passed over, and another one made.
    Private,
    /// Alone, one after the other.
    Locked,
}

/// A cache in use; free again on drop.
#[derive(Debug)]
pub struct CacheMount {
    path: PathBuf,
    /// Was somebody let move the directory away?
    pub(crate) lent: bool,
    pub(crate) layout: Layout,
    /// Holds the lock.
    _lock: File,
}

impl CacheMount {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// A copy of a cache that is free for this use, made when there is none. `Ok(None)`: with [`CacheUse::Locked`],
    /// somebody has it; ask again later. `fill` makes the directory that it is given the path of.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when there are as many copies as there may be and all are in use, else what `fill` and the
    /// system say.
    pub fn cache_mount<E: From<StoreError>>(
        &self,
        cache: &Digest,
        manner: CacheUse,
        fill: &mut dyn FnMut(&Path) -> Result<(), E>,
    ) -> Result<Option<CacheMount>, E> {
        let all = self.layout().cache_mount(cache);
        // One at a time looks for a copy or makes one.
        let _gate = gate(&all).map_err(StoreError::io("locking", &all))?;
        let mut busy = false;
        for number in 0..COPIES {
            let path = all.join(number.to_string());
            match take(self.layout(), &path, manner).map_err(StoreError::io("locking", &path))? {
                Held::Mine(lock) => return Ok(Some(self.mount(path, lock))),
                Held::Others => busy = true,
                Held::Lost => {}
                Held::Absent if busy && manner == CacheUse::Locked => return Ok(None),
                Held::Absent => {
                    let ingest = self.ingest()?;
                    let new = ingest.path().join("cache");
                    fill(&new)?;
                    std::fs::rename(&new, &path).map_err(StoreError::io("publishing", &path))?;
                    let taken = take(self.layout(), &path, manner);
                    if let Held::Mine(lock) = taken.map_err(StoreError::io("locking", &path))? {
                        return Ok(Some(self.mount(path, lock)));
                    }
                }
            }
        }
        Err(StoreError::Busy { path: all }.into())
    }

    fn mount(&self, path: PathBuf, lock: File) -> CacheMount {
        CacheMount { path, lent: false, layout: self.layout().clone(), _lock: lock }
    }
}

enum Held {
    Mine(File),
    Others,
    /// Lent, and nobody can say where it is.
    Lost,
    Absent,
}

/// The lock of a cache's directory, which is made, also when somebody tidies it away at this moment.
fn gate(all: &Path) -> std::io::Result<File> {
    loop {
        DirBuilder::new().recursive(true).mode(0o700).create(all)?;
        let gate = match File::open(all) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            other => other?,
        };
        gate.lock()?;
        if lock::has_name(&gate.metadata()?, all)? {
            return Ok(gate);
        }
    }
}

fn take(layout: &Layout, path: &Path, manner: CacheUse) -> std::io::Result<Held> {
    loop {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Held::Absent),
            Err(e) => return Err(e),
        };
        let stands = lent::is_note(&file)?;
        let locked = match manner {
            CacheUse::Shared if !stands => file.try_lock_shared(),
            CacheUse::Shared | CacheUse::Private | CacheUse::Locked => file.try_lock(),
        };
        match locked {
            // Whoever deletes a copy has its lock, and not the gate; and whoever puts one back has not the gate either.
            Ok(()) if !lock::has_name(&file.metadata()?, path)? => {}
            Ok(()) if stands => match lent::bring_back(layout, path, &file)? {
                Lent::Back => {}
                Lent::Out => return Ok(Held::Lost),
            },
            Ok(()) => {
                held::note_use(&file, &file.metadata()?);
                return Ok(Held::Mine(file));
            }
            Err(TryLockError::WouldBlock) => return Ok(Held::Others),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_given_by_use() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id = Digest::sha256("cache");
        let mut filled = 0;
        let mut take = |manner| {
            let mut fill = |path: &Path| -> Result<(), StoreError> {
                filled += 1;
                std::fs::create_dir(path).map_err(StoreError::io("creating", path))
            };
            let found = store.cache_mount(&id, manner, &mut fill).unwrap();
            found.map(|c| (c.path().file_name().unwrap().to_str().unwrap().to_owned(), c))
        };
        let name = |c: &Option<(String, CacheMount)>| c.as_ref().map(|(n, _)| n.clone());
        let first = take(CacheUse::Shared);
        let second = take(CacheUse::Shared);
        assert_eq!((name(&first).as_deref(), name(&second).as_deref()), (Some("0"), Some("0")));
        assert_eq!(name(&take(CacheUse::Locked)), None, "others have it");
        let private = take(CacheUse::Private);
        assert_eq!(name(&private).as_deref(), Some("1"));
        drop((first, second));
        let locked = take(CacheUse::Locked);
        assert_eq!(name(&locked).as_deref(), Some("0"));
        assert_eq!(name(&take(CacheUse::Shared)).as_deref(), Some("2"));
        drop((locked, private));
        assert_eq!(name(&take(CacheUse::Private)).as_deref(), Some("0"));
        assert_eq!(filled, 3);
    }

    #[test]
    fn when_all_copies_are_in_use_that_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let take = || {
            let mut fill = |path: &Path| std::fs::create_dir(path).map_err(StoreError::io("creating", path));
            store.cache_mount(&Digest::sha256("cache"), CacheUse::Private, &mut fill)
        };
        let _all: Vec<_> = (0..COPIES).map(|_| take().unwrap().unwrap()).collect();
        assert!(matches!(take(), Err(StoreError::Busy { .. })));
    }
}
