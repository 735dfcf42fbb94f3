//! How anything gets its final name, and small files, which are whole or not there and bounded when read.
//!
//! Takes a file or directory in flight, or bytes. Gives it a name that is free, or one in place of another, after the
//! data is on the disk when it has to be. Must never: show half a file under a final name while the machine is up.

use crate::ingest::Ingest;
use crate::{Store, StoreError};
use cooper_image::Descriptor;
use rustix::fs::OFlags;
use serde::Serialize;
use std::borrow::Cow;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Mode of small files: some are appended to or replaced.
const SMALL_MODE: u32 = 0o600;

/// What must be true when a write returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The file survives a power cut.
    Synced,
    /// The file may be lost or torn by a power cut; its reader notices.
    Cache,
}

/// A file in flight, deleted on drop unless it was given its final name or its directory is kept.
pub struct Temp {
    path: PathBuf,
    published: bool,
    /// Keeps the directory alive and locked.
    session: Arc<Ingest>,
}

impl Temp {
    /// Creates an empty file in the session's directory, open for reading and writing.
    /// `mode` is the one that it keeps under its final name.
    pub fn create(session: Arc<Ingest>, mode: u32) -> Result<(Self, File), StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = session.path().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(StoreError::io("creating", &path))?;
        Ok((Self { path, published: false, session }, file))
    }
    /// Opens the file of a directory that is kept, for reading and writing, with what is in it; makes it when there is
    /// none.
    pub fn begun(session: Arc<Ingest>) -> Result<(Self, File), StoreError> {
        let path = session.path().join("blob");
        let mut options = OpenOptions::new();
        // What lies there is another process's: no link is followed, and no pipe waited for.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let options = options.read(true).write(true).create(true).truncate(false).mode(SMALL_MODE).custom_flags(flags);
        let opened = options.open(&path).and_then(|file| Ok((file.metadata()?, file)));
        match opened.map_err(StoreError::io("opening", &path))? {
            (is, file) if is.is_file() && is.nlink() == 1 => Ok((Self { path, published: false, session }, file)),
            _ => Err(StoreError::DamagedFile { path, reason: "it is no file of its own".to_owned() }),
        }
    }
    /// From now on it goes unless it gets its final name.
    pub fn forsake(&self) {
        self.session.forsake();
    }
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Gives the file its final name unless something has it.
    pub fn publish_new(&mut self, target: &Path) -> Result<Name, StoreError> {
        let name = give_free_name(&self.path, target).map_err(StoreError::io("creating", target))?;
        self.published = name == Name::Given;
        Ok(name)
    }
    /// Gives the file its final name, replacing what had it.
    pub fn publish(mut self, target: &Path) -> Result<(), StoreError> {
        match self.rename(target)? {
            true => Ok(()),
            false => Err(StoreError::io("creating", target)(ErrorKind::NotFound.into())),
        }
    }
    /// As [`Temp::publish`]; `false` when there is no directory for the name.
    fn rename(&mut self, target: &Path) -> Result<bool, StoreError> {
        match std::fs::rename(&self.path, target) {
            Ok(()) => self.published = true,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(StoreError::io("creating", target)(e)),
        }
        Ok(true)
    }
}

/// Was the name free?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// It was, and is this file's now.
    Given,
    /// Something has it.
    Taken,
}

/// Gives a file or directory in flight a name that nothing has.
pub fn give_free_name(from: &Path, target: &Path) -> std::io::Result<Name> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Name::Given),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(Name::Taken),
        // A file system without that flag. A link is refused just so; of directories only empty ones are replaced.
        Err(Errno::INVAL) if from.is_dir() => match std::fs::rename(from, target) {
            Ok(()) => Ok(Name::Given),
            Err(e) if matches!(e.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => Ok(Name::Taken),
            Err(e) => Err(e),
        },
        Err(Errno::INVAL) => match std::fs::hard_link(from, target) {
            Ok(()) => std::fs::remove_file(from).map(|()| Name::Given),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(Name::Taken),
            Err(e) => Err(e),
        },
        Err(e) => Err(e.into()),
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.published && !self.session.is_kept() {
            // The session's directory goes as a whole later; this only frees the space sooner.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Store {
    /// Writes a small file under its final name, with the directories above it.
    pub(crate) fn write_small(&self, target: &Path, bytes: &[u8], durability: Durability) -> Result<(), StoreError> {
        write_small(self.session()?, target, bytes, durability)
    }

    /// Writes a small file of a cache under a name that nothing has.
    pub(crate) fn write_new(&self, target: &Path, bytes: &[u8]) -> Result<Name, StoreError> {
        write_new(self.session()?, target, bytes, Durability::Cache)
    }

    /// Writes a value as JSON with a line end.
    pub(crate) fn write_json(
        &self,
        target: &Path,
        what: &'static str,
        value: &impl Serialize,
    ) -> Result<(), StoreError> {
        let mut bytes = serde_json::to_vec(value).map_err(|source| StoreError::Encode { what, source })?;
        bytes.push(b'\n');
        self.write_small(target, &bytes, Durability::Synced)
    }
}

/// Writes a small file under its final name, in place of what has it, with the directories above it.
pub fn write_small(
    session: Arc<Ingest>,
    target: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    let mut temp = in_flight(Arc::clone(&session), target, bytes, durability)?;
    if !temp.rename(target)? {
        // Somebody tidied the directory away, since it was empty.
        make_dirs_above(target, durability)?;
        temp.publish(target)?;
    }
    named(&session, target, durability)
}

/// Writes a small file under a name that nothing has.
pub fn write_new(
    session: Arc<Ingest>,
    target: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<Name, StoreError> {
    let name = in_flight(Arc::clone(&session), target, bytes, durability)?.publish_new(target)?;
    named(&session, target, durability).map(|()| name)
}

/// The bytes in a file without its final name, and a directory for that.
fn in_flight(session: Arc<Ingest>, target: &Path, bytes: &[u8], durability: Durability) -> Result<Temp, StoreError> {
    let (temp, mut file) = Temp::create(session, SMALL_MODE)?;
    file.write_all(bytes).map_err(StoreError::io("writing", target))?;
    if durability == Durability::Synced {
        file.sync_all().map_err(StoreError::io("syncing", target))?;
    }
    make_dirs_above(target, durability).map(|()| temp)
}

fn make_dirs_above(target: &Path, durability: Durability) -> Result<(), StoreError> {
    target.parent().map_or(Ok(()), |above| make_dirs(above, durability))
}

fn named(session: &Ingest, target: &Path, durability: Durability) -> Result<(), StoreError> {
    match (durability, target.parent()) {
        (Durability::Synced, Some(above)) => sync_dir(above).inspect_err(|_| session.leave_unsettled()),
        _ => Ok(()),
    }
}

/// Makes a directory and those above it, each one's name durable before the next is made in it.
pub fn make_dirs(dir: &Path, durability: Durability) -> Result<(), StoreError> {
    let made = || DirBuilder::new().mode(0o700).create(dir);
    match made() {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            dir.parent().map_or(Ok(()), |above| make_dirs(above, durability))?;
            match made() {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(()),
                other => other.map_err(StoreError::io("creating", dir))?,
            }
        }
        Err(e) => return Err(StoreError::io("creating", dir)(e)),
    }
    match (durability, dir.parent()) {
        // Whoever comes next must not take a name for durable that is not.
        (Durability::Synced, Some(above)) => sync_dir(above).inspect_err(|_| drop(std::fs::remove_dir(dir))),
        _ => Ok(()),
    }
}

/// Makes the names in a directory survive a power cut.
pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(StoreError::io("syncing", dir))
}

/// Reads a small file; `None` when it is not there.
///
/// # Errors
/// [`StoreError::DamagedFile`] when it is larger than `limit` bytes, else what the system says.
pub fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(StoreError::io("opening", path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(StoreError::io("reading", path))?;
    if bytes.len() as u64 > limit {
        let reason = format!("it is larger than {limit} bytes");
        return Err(StoreError::DamagedFile { path: path.to_owned(), reason });
    }
    Ok(Some(bytes))
}

/// Most bytes of a descriptor, a ref or a link.
const JSON_LIMIT: u64 = 64 * 1024;
/// More than a ref has beside its descriptor.
const REST: u64 = 4096;

/// A descriptor as a small file can hold it: what whoever made a manifest may write into it is as long as they like,
/// and without that it names the same blob.
pub fn bounded(descriptor: &Descriptor) -> Cow<'_, Descriptor> {
    let fits = serde_json::to_vec(descriptor).is_ok_and(|bytes| bytes.len() as u64 + REST <= JSON_LIMIT);
    if fits {
        return Cow::Borrowed(descriptor);
    }
    Cow::Owned(Descriptor::new(descriptor.media_type.clone(), descriptor.digest.clone(), descriptor.size))
}

/// Reads a small JSON file; `None` when it is not there.
///
/// # Errors
/// [`StoreError::DamagedFile`] when it is not what is expected.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(bytes) = read_small(path, JSON_LIMIT)? else { return Ok(None) };
    parse_json(path, &bytes).map(Some)
}

/// Reads the bytes of a JSON file, which is named in the error.
pub fn parse_json<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|e| StoreError::DamagedFile { path: path.to_owned(), reason: e.to_string() })
}

/// Deletes a file, durably; says whether it was there.
pub fn remove_file(path: &Path) -> Result<Removed, StoreError> {
    match std::fs::remove_file(path) {
        Ok(()) => {
            path.parent().map_or(Ok(()), sync_dir)?;
            Ok(Removed::Yes)
        }
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Removed::WasAbsent),
        Err(e) => Err(StoreError::io("deleting", path)(e)),
    }
}

/// Was there something to delete?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone now.
    Yes,
    /// There was nothing.
    WasAbsent,
}

/// Names in a directory, sorted; none when it is not there. Names that are no UTF-8 are none of ours.
pub fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("reading", dir)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(StoreError::io("reading", dir))?.file_name();
        names.extend(name.into_string().ok());
    }
    names.sort();
    Ok(names)
}
