//! Trees that a power cut may have torn are known by the boot in which they were made.
//!
//! A tree is many files, and waiting for the disk at every step would cost more than most steps. So trees get their
//! names without waiting, and while the machine is up every one of them is whole: the kernel has it. What a result
//! depends on is put on the disk, and marked in `synced`, before the result is told (`durable`). The first process that
//! opens the store after the machine was started anew takes away every tree without a mark; each can be made again
//! from a blob, or its step runs again.
//!
//! Takes: the identity of the boot, as the kernel tells it. Gives: which trees count. Must never: take away a tree that
//! has a mark, or one that somebody uses.

use crate::held::claim;
use crate::ingest::{Ingest, random_name};
use crate::layout::Layout;
use crate::publish::{Durability, names, read_small, sync_dir, write_small};
use crate::{StoreError, format};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the kernel tells it: another one after every start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// More than it ever has, in bytes.
const LIMIT: u64 = 128;

/// Which trees are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trees {
    /// All: what this boot has not made is on the disk.
    All,
    /// Those with a mark: the boot is not known, or the store cannot be written.
    Marked,
}

/// Takes note of the boot, and of what the one before it left unfinished. Makes the store one of this version.
///
/// # Errors
/// What the system says, but for a store that cannot be written or has no room: it can be read, or be given room.
pub fn enter(layout: &Layout, version: u32) -> Result<Trees, StoreError> {
    enter_as(layout, version, read_small(Path::new(BOOT_ID), LIMIT).ok().flatten().as_deref())
}

/// The same, with a boot's identity given, if it is known.
fn enter_as(layout: &Layout, version: u32, id: Option<&[u8]>) -> Result<Trees, StoreError> {
    let current = if format::is_current(version) { Ok(()) } else { make_current(layout) };
    let error = match current.and_then(|()| note(layout, id)) {
        Err(error) => error,
        done => return done,
    };
    let kind = match &error {
        StoreError::Io { source, .. } => source.kind(),
        StoreError::Busy { .. } => ErrorKind::ResourceBusy,
        _ => return Err(error),
    };
    match kind {
        // Whoever has to write is told.
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {}
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ResourceBusy => {
            tracing::warn!(%error, "not all trees of the store can be used");
        }
        _ => return Err(error),
    }
    Ok(Trees::Marked)
}

/// A store of version 1 waited for the disk before a tree got its name: all of its trees are there, and get their marks
/// before anybody makes one that is not on the disk.
fn make_current(layout: &Layout) -> Result<(), StoreError> {
    let _alone = alone(layout)?;
    match format::version(layout)? {
        Some(version) if !format::is_current(version) => {
            if !layout.synced().is_dir() {
                mark_all(layout)?;
            }
            format::upgrade(layout)
        }
        _ => Ok(()),
    }
}

fn note(layout: &Layout, id: Option<&[u8]>) -> Result<Trees, StoreError> {
    let Some(id) = id else { return Ok(Trees::Marked) };
    let is_noted = || read_small(&layout.boot(), LIMIT).is_ok_and(|noted| noted.as_deref() == Some(id));
    if !is_noted() {
        let _alone = alone(layout)?;
        // Whoever waited for the first has nothing left to do.
        if !is_noted() {
            first(layout, id)?;
        }
    }
    Ok(Trees::All)
}

/// One process at a time.
fn alone(layout: &Layout) -> Result<File, StoreError> {
    let path = layout.boot_lock();
    let lock = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(StoreError::io("locking", &path))
}

/// What the first process after a start of the machine does.
fn first(layout: &Layout, id: &[u8]) -> Result<(), StoreError> {
    for tree in unmarked(layout)? {
        let lock = claim(&tree).map_err(StoreError::io("locking", &tree))?;
        // Another machine can use a store on a shared disk.
        let lock = lock.ok_or_else(|| StoreError::Busy { path: tree.clone() })?;
        let aside = layout.ingest().join(random_name());
        std::fs::rename(&tree, &aside).map_err(StoreError::io("taking away", &tree))?;
        drop(lock);
    }
    // The names are gone from the disk before the boot counts as noted.
    for dir in trees(layout) {
        sync_dir(&dir)?;
    }
    write_small(Arc::new(Ingest::new(layout)?), &layout.boot(), id, Durability::Synced)
}

/// Every tree gets its mark, all at once.
fn mark_all(layout: &Layout) -> Result<(), StoreError> {
    let ingest = Ingest::new(layout)?;
    let marks = ingest.path().join("synced");
    DirBuilder::new().mode(0o700).create(&marks).map_err(StoreError::io("creating", &marks))?;
    for tree in trees(layout).iter().map(|dir| named(dir)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        let Some(mark) = layout.mark_of(&tree).as_deref().and_then(Path::file_name).map(|n| marks.join(n)) else {
            continue;
        };
        File::create_new(&mark).map_err(StoreError::io("creating", &mark))?;
    }
    sync_dir(&marks)?;
    std::fs::rename(&marks, layout.synced()).map_err(StoreError::io("creating", &layout.synced()))?;
    sync_dir(layout.root())
}

fn unmarked(layout: &Layout) -> Result<Vec<PathBuf>, StoreError> {
    let all = trees(layout).iter().map(|dir| named(dir)).collect::<Result<Vec<_>, _>>()?;
    let has_mark = |tree: &PathBuf| layout.mark_of(tree).is_some_and(|mark| mark.exists());
    Ok(all.into_iter().flatten().filter(|tree| !has_mark(tree)).collect())
}

/// The directories that trees are in.
fn trees(layout: &Layout) -> Vec<PathBuf> {
    layout.tree_dirs().filter(|dir| dir.is_dir()).collect()
}

fn named(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    Ok(names(dir)?.into_iter().map(|name| dir.join(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use cooper_image::{DiffId, Digest};

    fn make(store: &Store, name: &str) -> DiffId {
        let diff = DiffId(Digest::sha256(name));
        let ingest = store.ingest().unwrap();
        let dir = ingest.path().join("tree");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("f"), name).unwrap();
        store.publish_tree(&dir, &diff).unwrap();
        diff
    }

    fn has(store: &Store, diff: &DiffId) -> bool {
        store.layer(diff).unwrap().tree.is_some()
    }

    /// As after a power cut: another boot than the one that is noted.
    fn power_cut(store: &Store) -> Trees {
        std::fs::write(store.layout().boot(), "another\n").unwrap();
        enter(store.layout(), 2).unwrap()
    }

    #[test]
    fn what_was_not_put_on_the_disk_goes_with_the_boot() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (kept, lost) = (make(&store, "kept"), make(&store, "lost"));
        store.make_durable(std::slice::from_ref(&kept)).unwrap();
        assert!(has(&store, &kept) && has(&store, &lost));
        assert_eq!(enter(store.layout(), 2).unwrap(), Trees::All);
        assert!(has(&Store::open(dir.path()).unwrap(), &lost));
        assert_eq!(power_cut(&store), Trees::All);
        assert!(has(&store, &kept) && !has(&store, &lost));
        // Made again, it is as any other; and so is one that was marked, deleted and made again.
        make(&store, "lost");
        std::fs::remove_dir_all(store.layout().tree(&kept)).unwrap();
        make(&store, "kept");
        assert_eq!(power_cut(&store), Trees::All);
        assert!(!has(&store, &kept) && !has(&store, &lost));
    }

    #[test]
    fn a_tree_in_use_stays_and_the_others_are_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff = make(&store, "used");
        let user = store.holding();
        assert!(has(&user, &diff));
        assert_eq!(power_cut(&store), Trees::Marked);
        assert!(store.layout().tree(&diff).is_dir());
        assert!(!has(&Store::open(dir.path()).unwrap(), &diff));
        drop(user);
        assert!(!has(&Store::open(dir.path()).unwrap(), &diff));
        assert!(!store.layout().tree(&diff).exists());
    }

    /// What Cooper left before trees had marks.
    fn make_first_version(store: &Store) {
        std::fs::remove_dir_all(store.layout().synced()).unwrap();
        std::fs::remove_file(store.layout().boot()).unwrap();
        std::fs::write(store.layout().format(), r#"{"version":1}"#).unwrap();
    }

    #[test]
    fn trees_of_the_first_version_are_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let old = make(&store, "old");
        make_first_version(&store);
        let store = Store::open(dir.path()).unwrap();
        assert!(has(&store, &old));
        let new = make(&store, "new");
        assert_eq!(power_cut(&store), Trees::All);
        assert!(has(&store, &old) && !has(&store, &new));
        assert!(std::fs::read_to_string(store.layout().format()).unwrap().contains("\"version\":2"));
    }

    #[test]
    fn trees_of_the_first_version_are_marked_where_the_boot_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let old = make(&store, "old");
        make_first_version(&store);
        assert_eq!(enter_as(store.layout(), 1, None).unwrap(), Trees::Marked);
        assert!(store.layout().synced_tree(&old).exists());
        assert_eq!(format::version(store.layout()).unwrap(), Some(2));
        // One that read the version before that finds nothing to do, and no tree that was made since is believed.
        let new = make(&store, "new");
        assert_eq!(enter_as(store.layout(), 1, Some(b"boot\n")).unwrap(), Trees::All);
        assert!(has(&store, &old) && !store.layout().tree(&new).exists());
    }

    #[test]
    fn a_disk_that_fails_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        // A name that cannot be given.
        std::fs::remove_file(store.layout().boot()).unwrap();
        std::fs::create_dir(store.layout().boot()).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Io { .. })));
    }

    #[test]
    fn many_processes_may_be_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let lost = make(&store, "lost");
        std::fs::write(store.layout().boot(), "another\n").unwrap();
        std::thread::scope(|scope| {
            let first: Vec<_> = (0..8).map(|_| scope.spawn(|| enter(store.layout(), 2))).collect();
            assert!(first.into_iter().all(|f| f.join().unwrap().unwrap() == Trees::All));
        });
        assert!(!has(&store, &lost));
    }
}
