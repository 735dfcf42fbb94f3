//! Caches that are lent to a root: where nothing can be mounted, the directory itself is moved into the root of a step
//! and back.
//!
//! At its place stands a file meanwhile, locked by whoever moves the directory. It says in which directory in flight the
//! cache is, and by which inode number it is known there. When the file is there and nobody has its lock, all who knew of
//! it are dead: then the cache is looked for and changes places with it again. Where a step has deleted the cache, the file
//! goes, and the cache begins anew. A file that does not say where its cache is (of a damaged disk), or whose cache may be
//! too deep to be found, stays: another copy of
//! the cache is used, and no directory in flight that may hold it is deleted until somebody deletes the file.
//!
//! Must never: delete a directory in flight that holds a cache which is not lost.

use crate::layout::Layout;
use crate::lock::try_lock;
use crate::{CacheMount, Ingest, StoreError};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What the names of files begin with that are to stand for caches, in a directory in flight.
const STANDS: &str = "lent-";
/// Why a cache is not looked for.
const UNREAD: &str = "this file does not say where the cache is for which it stands";
/// Largest note.
const NOTE_BYTES: u64 = 4096;

/// Where a cache is.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The name of the directory in flight.
    ingest: String,
    inode: u64,
}

/// What came of caches that are in a directory in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lent {
    /// None of them is in it any more.
    Back,
    /// Somebody is at work, or nobody can say where one of them is.
    Out,
}

impl CacheMount {
    /// Lets somebody move the directory into a root below `to`. Gives the file that has to take its place meanwhile, with
    /// its lock held, by one exchange. When the mount is dropped the cache is back, however that somebody ended.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn lend(&mut self, to: &Ingest) -> Result<PathBuf, StoreError> {
        let path = self.path().to_owned();
        let inode = std::fs::metadata(&path).map_err(StoreError::io("reading", &path))?.ino();
        let ingest = to.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stands = to.path().join(format!("{STANDS}{inode}"));
        let note = serde_json::to_vec(&Note { ingest, inode }).map_err(io::Error::other);
        // On the disk before it takes the cache's place: an empty one would leave the cache where nobody finds it.
        let written = note.and_then(|note| {
            let mut file = File::create(&stands)?;
            file.write_all(&note)?;
            file.sync_all()?;
            Ok(file.metadata()?.ino())
        });
        to.expect_lent(&self.layout, written.map_err(StoreError::io("writing", &stands))?);
        self.lent = true;
        Ok(stands)
    }
}

impl Drop for CacheMount {
    fn drop(&mut self) {
        if !self.lent {
            return;
        }
        let back = try_lock(self.path()).and_then(|lock| match lock {
            // The directory is there, and this has its lock; or somebody else is putting it back.
            None => Ok(()),
            Some(lock) => bring_back(&self.layout, self.path(), &lock).map(drop),
        });
        if let Err(error) = back {
            tracing::warn!(path = %self.path().display(), %error, "a cache could not be put back");
        }
    }
}

/// Does a file stand for the cache?
pub fn is_note(lock: &File) -> io::Result<bool> {
    Ok(lock.metadata()?.is_file())
}

/// Puts the cache back for which the file stands that has its name and whose lock is held; takes the file away when the
/// cache is gone. Where the file does not say where the cache is, it stays.
pub fn bring_back(layout: &Layout, path: &Path, lock: &File) -> io::Result<Lent> {
    let Some(note) = read_note(lock)? else {
        warn_of(path, UNREAD);
        return Ok(Lent::Out);
    };
    match find(&layout.ingest().join(&note.ingest), note.inode)? {
        Found::Unsearched => {
            warn_of(
                path,
                "the cache for which this file stands may be where a step made directories too deep to be searched",
            );
            return Ok(Lent::Out);
        }
        Found::At(parent, name) => {
            rustix::fs::renameat_with(&parent, name.as_os_str(), CWD, path, RenameFlags::EXCHANGE)?;
        }
        Found::Nowhere => std::fs::remove_file(path)?,
    }
    Ok(Lent::Back)
}

/// Says what a file means whose cache is not found.
fn warn_of(path: &Path, why: &str) {
    tracing::warn!(
        path = %path.display(),
        "{why}, so that nothing which ended processes left is deleted; delete it to give the cache up"
    );
}

/// Brings back what was lent to a directory in flight whose lock is held, before that is deleted. `notes`: the inodes of
/// the files that stand for what was lent to it, where they are known. Without them a file that does not say where its
/// cache is may stand for one in this directory.
pub fn bring_all_back(layout: &Layout, ingest: &Path, notes: Option<&[u64]>) -> io::Result<Lent> {
    // Files that have not taken anybody's place yet: whoever has the lock of one is about to. They are looked at first,
    // and stay locked while the others are.
    let mut held = Vec::new();
    for entry in std::fs::read_dir(ingest)? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(STANDS.as_bytes()) || !entry.file_type()?.is_file() {
            continue;
        }
        match try_lock(&entry.path())? {
            Some(lock) => held.push(lock),
            None => return Ok(Lent::Out),
        }
    }
    let caches = match std::fs::read_dir(layout.cache_mounts()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Lent::Back),
        other => other?,
    };
    for cache in caches {
        for copy in std::fs::read_dir(cache?.path())? {
            let copy = copy?;
            if !copy.file_type()?.is_file() {
                continue;
            }
            let path = copy.path();
            let file = match File::open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if !is_note(&file)? {
                continue;
            }
            match read_note(&file)? {
                Some(note) if Some(OsStr::new(&note.ingest)) != ingest.file_name() => continue,
                Some(_) => {}
                None if notes.is_some_and(|notes| !notes.contains(&copy.ino())) => continue,
                None => {
                    warn_of(&path, UNREAD);
                    return Ok(Lent::Out);
                }
            }
            match try_lock(&path)? {
                Some(lock) if is_note(&lock)? => match bring_back(layout, &path, &lock)? {
                    Lent::Back => {}
                    Lent::Out => return Ok(Lent::Out),
                },
                Some(_) => {}
                None => return Ok(Lent::Out),
            }
        }
    }
    Ok(Lent::Back)
}

/// What a file says; nothing when that is not what was written.
fn read_note(file: &File) -> io::Result<Option<Note>> {
    let mut text = Vec::new();
    file.take(NOTE_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok().filter(|note: &Note| is_plain(&note.ingest)))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Where a directory is.
enum Found {
    /// In this one, with this name.
    At(OwnedFd, OsString),
    Nowhere,
    /// Nowhere but, maybe, where it is too deep to look.
    Unsearched,
}

/// Looks for the directory with this inode number somewhere below another one.
fn find(top: &Path, inode: u64) -> io::Result<Found> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match rustix::fs::open(top, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Found::Nowhere),
        other => other?,
    };
    let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut pending = vec![PathBuf::from(".")];
    let mut all = true;
    while let Some(path) = pending.pop() {
        let dir = match rustix::fs::openat2(&top, &path, flags, Mode::empty(), rules) {
            // What a step made too deep for one look-up.
            Err(Errno::NAMETOOLONG) => {
                all = false;
                continue;
            }
            other => other?,
        };
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            // Some file systems do not tell here what it is.
            let may_be = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if !may_be || name == "." || name == ".." {
                continue;
            }
            let stat = rustix::fs::statat(dir.as_fd(), name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            if stat.st_ino == inode {
                return Ok(Found::At(dir, name.to_owned()));
            }
            pending.push(path.join(name));
        }
    }
    Ok(if all { Found::Nowhere } else { Found::Unsearched })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CacheUse, Store};
    use cooper_image::Digest;
    use std::fs;

    fn take(store: &Store) -> Option<CacheMount> {
        let mut fill = |path: &Path| -> Result<(), StoreError> {
            fs::create_dir(path)
                .and_then(|()| fs::write(path.join("new"), ""))
                .map_err(StoreError::io("creating", path))
        };
        store.cache_mount(&Digest::sha256("cache"), CacheUse::Locked, &mut fill).unwrap()
    }

    /// Moves it as the sandbox does; gives the lock of the file that stands for it.
    fn move_away(cache: &CacheMount, stands: &Path, to: &Path) -> File {
        let lock = try_lock(stands).unwrap().unwrap();
        rustix::fs::renameat_with(CWD, stands, CWD, cache.path(), RenameFlags::EXCHANGE).unwrap();
        fs::rename(stands, to).unwrap();
        lock
    }

    /// A dead process's directory in flight with a cache that holds `old`, and the lock of whoever is to put it back.
    fn lent(store: &Store, deep: &str) -> (PathBuf, PathBuf, File) {
        let ingest = store.ingest().unwrap();
        let to = ingest.path().join(deep);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let mut cache = take(store).unwrap();
        fs::write(cache.path().join("old"), "content").unwrap();
        let stands = cache.lend(&ingest).unwrap();
        let lock = move_away(&cache, &stands, &to);
        let (path, dead) = (cache.path().to_owned(), ingest.path().to_owned());
        // As with kill -9: the locks go, and nothing is tidied up.
        cache.lent = false;
        ingest.leave_kept();
        (path, dead, lock)
    }

    #[test]
    fn a_cache_comes_back_when_its_holder_ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ingest = store.ingest().unwrap();
        let mut cache = take(&store).unwrap();
        let path = cache.path().to_owned();
        let stands = cache.lend(&ingest).unwrap();
        let lock = move_away(&cache, &stands, &ingest.path().join("moved"));
        assert!(take(&store).is_none(), "it is in use");
        drop(lock);
        drop(cache);
        assert!(path.join("new").exists());
        assert!(take(&store).is_some());
    }

    #[test]
    fn a_cache_in_a_dead_root_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (path, dead, lock) = lent(&store, "whole/moved/by/the/step");
        // Somebody is about to put it back.
        let other = Store::open(dir.path()).unwrap();
        assert!(dead.exists() && take(&other).is_none());
        drop(lock);
        drop(Store::open(dir.path()).unwrap());
        assert!(!dead.exists());
        assert_eq!(fs::read_to_string(path.join("old")).unwrap(), "content");
        // Also by who wants it, while the root is somebody's still.
        let (path, _, lock) = lent(&other, "whole/c");
        drop(lock);
        let again = take(&other).unwrap();
        assert_eq!(again.path(), path);
        assert_eq!(fs::read_to_string(path.join("old")).unwrap(), "content");
    }

    #[test]
    fn a_root_is_not_deleted_while_somebody_may_put_its_cache_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ingest = store.ingest().unwrap();
        let root = ingest.path().to_owned();
        let mut cache = take(&store).unwrap();
        let path = cache.path().to_owned();
        let stands = cache.lend(&ingest).unwrap();
        let lock = move_away(&cache, &stands, &root.join("moved"));
        drop(cache);
        drop(ingest);
        assert!(root.join("moved/new").exists(), "with it the cache would be gone");
        drop(lock);
        drop(Store::open(dir.path()).unwrap());
        assert!(path.join("new").exists() && !root.exists());
    }

    #[test]
    fn a_note_that_cannot_be_read_is_no_leave_to_delete() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for text in ["", "{\"ingest\":\"00\",\"ino", "{\"ingest\":\"../../x\",\"inode\":1}"] {
            let (path, dead, lock) = lent(&store, "whole/c");
            fs::write(&path, text).unwrap();
            drop(lock);
            // Another copy serves meanwhile, also in a root of its own, which goes.
            let ingest = store.ingest().unwrap();
            let root = ingest.path().to_owned();
            let mut other = take(&store).unwrap();
            assert!(other.path().join("new").exists() && other.path() != path);
            other.lend(&ingest).unwrap();
            drop((other, ingest));
            assert!(!root.exists());
            drop(Store::open(dir.path()).unwrap());
            assert_eq!(fs::read_to_string(dead.join("whole/c/old")).unwrap(), "content", "{text:?}");
            fs::remove_file(&path).unwrap();
            drop(Store::open(dir.path()).unwrap());
            assert!(!dead.exists());
        }
    }

    #[test]
    fn a_root_stays_whose_note_was_damaged_under_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ingest = store.ingest().unwrap();
        let root = ingest.path().to_owned();
        let mut cache = take(&store).unwrap();
        let stands = cache.lend(&ingest).unwrap();
        drop(move_away(&cache, &stands, &root.join("moved")));
        fs::write(cache.path(), "").unwrap();
        drop((cache, ingest));
        assert!(root.join("moved/new").exists());
    }

    #[test]
    fn a_cache_too_deep_to_be_found_is_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (path, dead, lock) = lent(&store, "whole/c");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let name = "x".repeat(250);
        let mut deep = rustix::fs::open(dead.join("whole"), flags, Mode::empty()).unwrap();
        for _ in 0..20 {
            rustix::fs::mkdirat(&deep, name.as_str(), Mode::RWXU).unwrap();
            deep = rustix::fs::openat(&deep, name.as_str(), flags, Mode::empty()).unwrap();
        }
        rustix::fs::renameat(CWD, dead.join("whole/c"), &deep, "c").unwrap();
        drop(lock);
        drop(Store::open(dir.path()).unwrap());
        assert!(path.is_file() && dead.exists());
        rustix::fs::renameat(&deep, "c", CWD, dead.join("whole/c")).unwrap();
        drop(Store::open(dir.path()).unwrap());
        assert_eq!(fs::read_to_string(path.join("old")).unwrap(), "content");
        assert!(!dead.exists());
    }

    #[test]
    fn a_cache_that_a_step_deleted_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (path, dead, lock) = lent(&store, "whole/c");
        fs::remove_dir_all(dead.join("whole")).unwrap();
        drop(lock);
        let again = take(&store).unwrap();
        assert!(path.join("new").exists() && !path.join("old").exists());
        drop(again);
        // A link out of the root leads nowhere.
        let outside = tempfile::tempdir_in(dir.path()).unwrap();
        let (path, dead, lock) = lent(&store, "whole/c");
        fs::rename(dead.join("whole/c"), outside.path().join("c")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dead.join("whole/link")).unwrap();
        drop(lock);
        drop(Store::open(dir.path()).unwrap());
        assert!(!path.exists() && outside.path().join("c/old").exists() && !dead.exists());
    }
}
