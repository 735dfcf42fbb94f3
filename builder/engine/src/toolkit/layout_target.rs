//! An OCI layout to write to: blobs first, `index.json` last, so that a reader finds an image whole or not at all. What
//! is there already stays; a blob of it is taken for what it is called only after it was read.

use super::origin::{Origin, cause};
use super::shipment::{Name, Put, Shipment, Target, entries};
use crate::EngineError;
use crate::context::layout::blob_path;
use crate::layers::{io, lock};
use cooper_image::{Descriptor, Digest};
use cooper_store::archive::OCI_LAYOUT;
use cooper_store::archive::directory::{Exchanged, check, exchange, is_whole, merge_index, put_whole};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Writes to a directory, which is made when it is not there.
pub struct LayoutTarget {
    dir: PathBuf,
    entries: Mutex<Vec<Descriptor>>,
    /// The entry of which the one top takes the place, whatever names it has.
    old: Option<Descriptor>,
    has_moved: AtomicBool,
}

impl LayoutTarget {
    /// Into a directory.
    ///
    /// # Errors
    /// When there is something else.
    pub fn new(dir: &Path) -> Result<Self, EngineError> {
        check(dir)?;
        let (entries, has_moved) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { dir: dir.to_owned(), entries, old: None, has_moved })
    }

    /// Into a directory, where the one thing that comes takes the place of an entry of `index.json` that was read before.
    ///
    /// # Errors
    /// As [`LayoutTarget::new`].
    pub(super) fn exchanging(dir: &Path, old: Descriptor) -> Result<Self, EngineError> {
        Ok(Self { old: Some(old), ..Self::new(dir)? })
    }

    /// Has somebody else changed that entry in between, so that it is as they left it?
    pub(super) fn has_moved(&self) -> bool {
        self.has_moved.load(Ordering::Relaxed)
    }

    fn is_there(&self, digest: &Digest) -> bool {
        is_whole(&self.dir.join(blob_path(digest)), digest).unwrap_or(false)
    }

    /// Writes beside the name and renames.
    fn put(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> std::io::Result<()>,
        said: impl FnOnce() -> String,
    ) -> Result<(), EngineError> {
        let path = self.dir.join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let done = made.and_then(|()| put_whole(&path, fill));
        done.map_err(|e| cause(e, said))
    }

    fn small(&self, name: &str, bytes: &[u8]) -> Result<(), EngineError> {
        let said = || format!("writing {}", self.dir.join(name).display());
        self.put(name, |file| file.write_all(bytes), said)
    }
}

impl Target for LayoutTarget {
    fn begin(&self, all: &Shipment) -> Result<(), EngineError> {
        fs::create_dir_all(&self.dir).map_err(|e| io(format!("creating {}", self.dir.display()), e))?;
        let named = all.tops().iter().flat_map(|top| entries(&top.descriptor, &top.names));
        *lock(&self.entries) = named.chain(all.loose()).collect();
        self.small("oci-layout", OCI_LAYOUT)
    }

    fn put_blob(&self, d: &Descriptor, from: &Arc<dyn Origin>) -> Result<Put, EngineError> {
        if self.is_there(&d.digest) {
            return Ok(Put::Existed);
        }
        let mut reader = from.open(d)?;
        let said = || format!("copying {} of {} to {}", d.digest, from.place(), self.dir.display());
        self.put(&blob_path(&d.digest), |file| std::io::copy(&mut reader, file).map(drop), said)?;
        Ok(Put::Sent)
    }

    fn put_document(&self, d: &Descriptor, bytes: &[u8]) -> Result<(), EngineError> {
        if self.is_there(&d.digest) { Ok(()) } else { self.small(&blob_path(&d.digest), bytes) }
    }

    fn name(&self, _: &Descriptor, _: &[u8], _: &[Name]) -> Result<(), EngineError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), EngineError> {
        let new = std::mem::take(&mut *lock(&self.entries));
        let (Some(old), [top]) = (&self.old, new.as_slice()) else { return Ok(merge_index(&self.dir, &new)?) };
        if exchange(&self.dir, old, top)? == Exchanged::Moved {
            self.has_moved.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
