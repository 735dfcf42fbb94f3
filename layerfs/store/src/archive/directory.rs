//! An archive as a directory: blobs first, `index.json` last, so that a reader finds an image whole or not at all.
//!
//! What was written is taken back when something fails. The directory belongs to the caller; nothing in it is
//! believed: a blob that is there already is compared with its name.

use super::{Content, NAME_ANNOTATION, OCI_LAYOUT, Stored, TAG_ANNOTATION, blob_path, index_json};
use crate::{Store, StoreError};
use cooper_image::{Descriptor, Digest, Document, Hasher, MediaType, limits};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Writes all of it.
pub(super) fn write(store: &Store, content: &Content, dir: &Path) -> Result<(), StoreError> {
    let index = content.index.clone();
    let index = match earlier(dir)? {
        // What `docker load` reads lists one image, and so does the index beside it.
        Some(earlier) if content.listed.is_none() => merged(earlier, index),
        _ => index,
    };
    let mut layout = Layout { dir, made: Vec::new() };
    layout.make_dir(dir)?;
    layout.make_dir(&dir.join("blobs"))?;
    for (digest, size) in &content.blobs {
        layout.make_dir(&dir.join("blobs").join(digest.algorithm().name()))?;
        layout.blob(store, digest, *size)?;
    }
    layout.small("oci-layout", OCI_LAYOUT)?;
    if let Some(listed) = &content.listed {
        layout.small("manifest.json", listed)?;
    }
    layout.small("index.json", &index_json(index)?)?;
    layout.made.clear();
    Ok(())
}

/// The entries that the directory's index has; `None` when the directory is empty or not there.
///
/// # Errors
/// [`StoreError::NotALayout`] when something else is there.
pub fn earlier(dir: &Path) -> Result<Option<Vec<Descriptor>>, StoreError> {
    let mut names = match fs::read_dir(dir) {
        Ok(names) => names,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io("reading", dir)(e)),
    };
    if names.next().is_none() {
        return Ok(None);
    }
    if !dir.join("oci-layout").is_file() {
        return Err(StoreError::NotALayout { path: dir.to_owned(), reason: "it holds files, and no OCI layout" });
    }
    let path = dir.join("index.json");
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|f| f.take(limits::MANIFEST_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(Vec::new())),
        other => other.map_err(StoreError::io("reading", &path))?,
    };
    match Document::parse(&bytes, Some(&MediaType::OciIndex)) {
        Ok(Document::Index(index)) => Ok(Some(index.manifests)),
        _ => Err(StoreError::NotALayout { path: dir.to_owned(), reason: "its index.json is no index" }),
    }
}

/// The earlier entries with other names, then the new ones.
pub fn merged(earlier: Vec<Descriptor>, new: Vec<Descriptor>) -> Vec<Descriptor> {
    let name = |d: &Descriptor| {
        let of = |key: &str| d.annotations.get(key).cloned();
        of(NAME_ANNOTATION).or_else(|| of(TAG_ANNOTATION))
    };
    let replaced = |old: &Descriptor| new.iter().any(|n| name(n) == name(old));
    let mut all: Vec<Descriptor> = earlier.into_iter().filter(|old| !replaced(old)).collect();
    all.extend(new);
    all
}

/// What was made so far; taken back on drop unless it was cleared.
struct Layout<'a> {
    dir: &'a Path,
    made: Vec<PathBuf>,
}

impl Layout<'_> {
    fn make_dir(&mut self, dir: &Path) -> Result<(), StoreError> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(above) = dir.parent().filter(|p| dir == self.dir && !p.as_os_str().is_empty()) {
            fs::create_dir_all(above).map_err(StoreError::io("creating", above))?;
        }
        fs::create_dir(dir).map_err(StoreError::io("creating", dir))?;
        self.made.push(dir.to_owned());
        Ok(())
    }

    fn blob(&mut self, store: &Store, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let path = self.dir.join(blob_path(digest));
        if is_whole(&path, digest).unwrap_or(false) {
            return Ok(());
        }
        let mut blob = Stored::open(store, digest, size)?;
        self.put(&path, |file| io::copy(&mut blob, file).map(drop))?;
        blob.check()
    }

    fn small(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(&self.dir.join(name), |file| file.write_all(bytes))
    }

    /// Writes beside the name and renames.
    fn put(&mut self, path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), StoreError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".partial.{}", std::process::id()));
        let partial = PathBuf::from(partial);
        let is_new = !path.exists();
        let done = File::create(&partial).and_then(|mut file| {
            fill(&mut file)?;
            file.sync_all()?;
            fs::rename(&partial, path)
        });
        if done.is_err() {
            // The failure that made it partial is the one to report.
            let _ = fs::remove_file(&partial);
        }
        done.map_err(StoreError::io("writing", path))?;
        if is_new {
            self.made.push(path.to_owned());
        }
        Ok(())
    }
}

impl Drop for Layout<'_> {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // The failure that led here is the one to report.
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}

/// Is there a regular file with this digest?
///
/// # Errors
/// What the system says, for instance that there is none.
pub fn is_whole(path: &Path, digest: &Digest) -> io::Result<bool> {
    if !path.symlink_metadata()?.is_file() {
        return Ok(false);
    }
    let mut hasher = Hasher::with(digest.algorithm());
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finish() == *digest)
}
