//! Trees that a result depends on are put on the disk before the result is told.
//!
//! Takes: names of trees. Gives: their marks, once every file of them is on the disk. A few files are written out one
//! by one, all begun before any is waited for, because `syncfs` also waits for whatever else the machine has to write;
//! many are left to it.

use crate::publish::sync_dir;
use crate::{Store, StoreError};
use cooper_image::DiffId;
use rustix::fs::Advice;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// More files than this are left to `syncfs`.
const ONE_BY_ONE: usize = 1000;

impl Store {
    /// Makes trees survive a power cut. Those that do already cost nothing; those that are not there are left out.
    ///
    /// # Errors
    /// What the system says.
    pub fn make_durable(&self, trees: &[DiffId]) -> Result<(), StoreError> {
        let layout = self.layout();
        let mut held = Vec::new();
        for tree in trees.iter().filter(|tree| !layout.synced_tree(tree).exists()) {
            // Held until it has its mark, so that no mark is left of a tree that somebody deletes.
            held.extend(self.lease(&layout.tree(tree))?.map(|lease| (tree, lease)));
        }
        if held.is_empty() {
            return Ok(());
        }
        let paths: Vec<PathBuf> = held.iter().map(|(tree, _)| layout.tree(tree)).collect();
        if !self.write_out(&paths)? {
            let root = File::open(self.root()).map_err(StoreError::io("opening", self.root()))?;
            rustix::fs::syncfs(&root).map_err(|e| StoreError::io("syncing", self.root())(e.into()))?;
        }
        let _alone = self.marking()?;
        for (tree, _) in &held {
            mark(&layout.synced_tree(tree))?;
        }
        sync_dir(&layout.synced())
    }

    /// The lock of whoever makes marks, or takes one away that has no tree.
    pub(crate) fn marking(&self) -> Result<File, StoreError> {
        let dir = self.layout().synced();
        let file = File::open(&dir).map_err(StoreError::io("opening", &dir))?;
        file.lock().map_err(StoreError::io("locking", &dir))?;
        Ok(file)
    }

    /// Writes out every file of the trees, unless there are too many or one cannot be opened.
    fn write_out(&self, trees: &[PathBuf]) -> Result<bool, StoreError> {
        let mut left = ONE_BY_ONE;
        let mut open = Vec::new();
        for tree in trees {
            if collect(tree, &mut left, &mut open).is_err() {
                return Ok(false);
            }
        }
        for (file, path) in &open {
            file.sync_all().map_err(StoreError::io("syncing", path))?;
        }
        for dir in self.layout().tree_dirs().filter(|dir| trees.iter().any(|t| t.starts_with(dir))) {
            sync_dir(&dir)?;
        }
        Ok(true)
    }
}

/// Opens everything below a directory, and has the kernel begin to write what it holds.
fn collect(dir: &Path, left: &mut usize, open: &mut Vec<(File, PathBuf)>) -> std::io::Result<()> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = |path: &Path| OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        *left = left.checked_sub(1).ok_or(ErrorKind::FileTooLarge)?;
        if kind.is_dir() {
            collect(&path, left, open)?;
        } else if kind.is_file() {
            let file = opened(&path)?;
            // Begins to write without waiting, so that all files share the waiting that follows.
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
            open.push((file, path));
        }
        // Links, pipes and devices have no more than their names.
    }
    open.push((opened(dir)?, dir.to_owned()));
    Ok(())
}

fn mark(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(StoreError::io("creating", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::Digest;

    #[test]
    fn few_files_and_many_get_their_mark() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for (name, count, one_by_one) in [("few", 3, true), ("many", ONE_BY_ONE + 1, false)] {
            let diff = DiffId(Digest::sha256(name));
            let ingest = store.ingest().unwrap();
            let made = ingest.path().join("tree");
            std::fs::create_dir_all(made.join("d")).unwrap();
            for n in 0..count {
                std::fs::write(made.join("d").join(n.to_string()), name).unwrap();
            }
            std::os::unix::fs::symlink("/nowhere", made.join("link")).unwrap();
            let path = store.publish_tree(&made, &diff).unwrap();
            assert!(!store.layout().synced_tree(&diff).exists());
            assert_eq!(store.write_out(&[path]).unwrap(), one_by_one, "{name}");
            for _ in 0..2 {
                store.make_durable(&[diff.clone(), DiffId(Digest::sha256("absent"))]).unwrap();
                assert!(store.layout().synced_tree(&diff).exists());
            }
        }
        assert_eq!(std::fs::read_dir(store.layout().synced()).unwrap().count(), 2);
    }
}
