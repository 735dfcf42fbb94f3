//! An OCI layout to write to: blobs first, `index.json` last, so that a reader finds an image whole or not at all. What
//! is there already stays; a blob of it is taken for what it is called only after it was read.

use super::origin::{Origin, cause};
use super::shipment::{Name, Put, Shipment, Target, entries};
use crate::EngineError;
use crate::context::LayoutName;
use crate::context::layout::{Layout, blob_path, called};
use crate::layers::{io, lock};
use cooper_image::{Descriptor, Digest};
use cooper_store::archive::OCI_LAYOUT;
use cooper_store::archive::directory::{Exchanged, check, exchange, merge_index};
use cooper_store::archive::whole_file::{is_whole, open_regular, put_whole, sweep};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

/// So many entries are written to `index.json` together where many come, or those of so long a time.
const TOGETHER: usize = 1000;
const OFTEN: Duration = Duration::from_secs(5);

/// Writes to a directory, which is made when it is not there.
pub struct LayoutTarget {
    dir: PathBuf,
    manner: Manner,
    /// Of what is under way.
    entries: Mutex<Vec<Descriptor>>,
    common: Arc<Common>,
    has_moved: AtomicBool,
}

/// What all that comes to one directory has in common.
struct Common {
    /// Of what is there and has no name yet, and since when.
    nameless: Mutex<(Vec<Descriptor>, Instant)>,
    /// What was read or written, so that what many have in common is not read for each of them.
    whole: Mutex<BTreeSet<Digest>>,
    /// Is what killed writers left there taken away?
    swept: Once,
}

/// How entries get into `index.json`.
enum Manner {
    /// Once all is there.
    AtOnce,
    /// Many of them together.
    Together,
    /// In the place of this one, whatever names it has.
    Exchanging(Box<Descriptor>),
}

impl LayoutTarget {
    /// Into a directory.
    ///
    /// # Errors
    /// When there is something else.
    pub fn new(dir: &Path) -> Result<Self, EngineError> {
        Self::with(dir, Manner::AtOnce)
    }

    /// Into a directory that gets many things one after the other, and their names at the latest with
    /// [`LayoutTarget::write_names`]: `index.json` is written whole each time, and synchronised.
    ///
    /// # Errors
    /// As [`LayoutTarget::new`].
    pub(super) fn growing(dir: &Path) -> Result<Self, EngineError> {
        Self::with(dir, Manner::Together)
    }

    /// Into a directory, where the one thing that comes takes the place of an entry of `index.json` that was read before.
    ///
    /// # Errors
    /// As [`LayoutTarget::new`].
    pub(super) fn exchanging(dir: &Path, old: Descriptor) -> Result<Self, EngineError> {
        Self::with(dir, Manner::Exchanging(Box::new(old)))
    }

    fn with(dir: &Path, manner: Manner) -> Result<Self, EngineError> {
        check(dir)?;
        let nameless = Mutex::new((Vec::new(), Instant::now()));
        let common = Arc::new(Common { nameless, whole: Mutex::default(), swept: Once::new() });
        let (dir, entries) = (dir.to_owned(), Mutex::default());
        Ok(Self { dir, manner, entries, common, has_moved: AtomicBool::new(false) })
    }

    /// The same for something else that comes at the same time, in a directory that gets many things.
    pub(super) fn beside(&self) -> Self {
        let (dir, common) = (self.dir.clone(), Arc::clone(&self.common));
        Self { dir, manner: Manner::Together, entries: Mutex::default(), common, has_moved: AtomicBool::new(false) }
    }

    /// Gives what is there its names.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn write_names(&self) -> Result<(), EngineError> {
        let (new, since) = &mut *lock(&self.common.nameless);
        if !new.is_empty() {
            merge_index(&self.dir, new)?;
            new.clear();
        }
        *since = Instant::now();
        Ok(())
    }

    /// Is it there, and has not got this name yet, or its place in `index.json` if it is to have no name?
    pub(super) fn is_nameless(&self, digest: &Digest, name: &str) -> bool {
        let names = |d: &Descriptor| d.annotations.is_empty() || d.annotations.values().any(|given| given == name);
        let waits = |d: &Descriptor| d.digest == *digest && names(d);
        lock(&self.common.nameless).0.iter().any(waits)
    }

    /// Has somebody else changed that entry in between, so that it is as they left it?
    pub(super) fn has_moved(&self) -> bool {
        self.has_moved.load(Ordering::Relaxed)
    }

    /// A tag that several full names have is none of a new image.
    fn check_tags(&self, all: &Shipment) -> Result<(), EngineError> {
        let mut tags = all.tops().iter().flat_map(|top| &top.names).filter_map(|name| match name {
            Name::Tag(tag) => Some(tag),
            Name::Full(_) => None,
        });
        let Some(first) = tags.next().filter(|_| self.dir.join("index.json").exists()) else { return Ok(()) };
        let name = LayoutName { path: self.dir.clone(), tag: None, digest: None };
        let index = Layout::open_at(&name)?.index()?;
        let place = format!("the OCI layout {}", self.dir.display());
        std::iter::once(first).chain(tags).try_for_each(|tag| called(&index, (tag, &place)).map(drop))
    }

    fn is_there(&self, digest: &Digest) -> bool {
        if lock(&self.common.whole).contains(digest) {
            return true;
        }
        let found = is_whole(&self.dir.join(blob_path(digest)), digest).unwrap_or(false);
        if found {
            lock(&self.common.whole).insert(digest.clone());
        }
        found
    }

    /// Writes a file, which is there whole or not at all.
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
        self.common.swept.call_once(|| sweep(&self.dir));
        self.check_tags(all)?;
        let named = all.tops().iter().flat_map(|top| entries(&top.descriptor, &top.names));
        *lock(&self.entries) = named.chain(all.loose()).collect();
        let mut said = Vec::new();
        let most = OCI_LAYOUT.len() as u64 + 1;
        match open_regular(&self.dir.join("oci-layout")).and_then(|file| file.take(most).read_to_end(&mut said)) {
            Ok(_) if said == OCI_LAYOUT => Ok(()),
            _ => self.small("oci-layout", OCI_LAYOUT),
        }
    }

    fn put_blob(&self, d: &Descriptor, from: &Arc<dyn Origin>) -> Result<Put, EngineError> {
        if self.is_there(&d.digest) {
            return Ok(Put::Existed);
        }
        let mut reader = from.open(d)?;
        let said = || format!("copying {} of {} to {}", d.digest, from.place(), self.dir.display());
        self.put(&blob_path(&d.digest), |file| std::io::copy(&mut reader, file).map(drop), said)?;
        lock(&self.common.whole).insert(d.digest.clone());
        Ok(Put::Sent)
    }

    fn put_document(&self, d: &Descriptor, bytes: &[u8]) -> Result<(), EngineError> {
        if !self.is_there(&d.digest) {
            self.small(&blob_path(&d.digest), bytes)?;
            lock(&self.common.whole).insert(d.digest.clone());
        }
        Ok(())
    }

    fn name(&self, _: &Descriptor, _: &[u8], _: &[Name]) -> Result<(), EngineError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), EngineError> {
        let new = std::mem::take(&mut *lock(&self.entries));
        match (&self.manner, new.as_slice()) {
            (Manner::Exchanging(old), [top]) => {
                if exchange(&self.dir, old, top)? == Exchanged::Moved {
                    self.has_moved.store(true, Ordering::Relaxed);
                }
            }
            (Manner::Together, _) => {
                let is_much = {
                    let (nameless, since) = &mut *lock(&self.common.nameless);
                    nameless.extend(new);
                    nameless.len() >= TOGETHER || since.elapsed() >= OFTEN
                };
                if is_much {
                    self.write_names()?;
                }
            }
            _ => merge_index(&self.dir, &new)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, Types};
    use super::super::shipment::{Referrers, Top, ship};
    use super::*;
    use crate::event::{Event, Sink};
    use cooper_image::{Index, Platform};

    struct Silent;

    impl Sink for Silent {
        fn event(&self, _: Event) {}
    }

    /// Names and what they lead to; nothing while there is no index.
    fn names(dir: &Path) -> Vec<(String, Digest)> {
        let Ok(bytes) = fs::read(dir.join("index.json")) else { return Vec::new() };
        let index: Index = serde_json::from_slice(&bytes).unwrap();
        let named = index.manifests.into_iter().flat_map(|d| {
            let digest = d.digest.clone();
            d.annotations.into_values().map(move |name| (name, digest.clone())).collect::<Vec<_>>()
        });
        named.collect()
    }

    #[test]
    fn many_images_get_their_names_together_and_share_what_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let target = LayoutTarget::growing(dir.path()).unwrap();
        let mut place = Memory::default();
        let layer = place.put("application/vnd.oci.image.layer.v1.tar", b"shared");
        let layers = [(layer.clone(), Digest::sha256(b"shared"))];
        let mut wanted = Vec::new();
        for (n, arch) in ["amd64", "arm64", "s390x"].into_iter().enumerate() {
            let descriptor = place.image(Types::Oci, &Platform::linux(arch), &layers);
            wanted.push((arch.to_owned(), descriptor.digest.clone()));
            let mut shipment = Shipment::default();
            let top = Top { descriptor, names: vec![Name::Tag(arch.to_owned())] };
            shipment.add(&place.shared(), top, Referrers::Stay).unwrap();
            let shipped = ship(&shipment, &target, &Silent).unwrap();
            assert_eq!((shipped.sent, shipped.existed), if n == 0 { (2, 0) } else { (1, 1) }, "{arch}");
            // It was written by this very target: it is not read for every image that has it.
            fs::write(dir.path().join(blob_path(&layer.digest)), b"not read").unwrap();
        }
        assert_eq!(names(dir.path()), []);
        // What cannot be written is known to be without its names, and gets them by a later try.
        fs::create_dir(dir.path().join("index.json")).unwrap();
        target.write_names().unwrap_err();
        assert!(wanted.iter().all(|(name, digest)| target.is_nameless(digest, name)));
        assert!(!target.is_nameless(&wanted[0].1, "another"));
        fs::remove_dir(dir.path().join("index.json")).unwrap();
        target.write_names().unwrap();
        assert!(!wanted.iter().any(|(name, digest)| target.is_nameless(digest, name)));
        assert_eq!(names(dir.path()), wanted);
        // Another command reads what is there, mends it, and takes away what a killed one left.
        let left = dir.path().join(format!("{}.partial.{}", blob_path(&layer.digest), "0".repeat(32)));
        fs::write(&left, b"half").unwrap();
        let again = LayoutTarget::new(dir.path()).unwrap();
        again.begin(&Shipment::default()).unwrap();
        assert!(!left.exists());
        assert_eq!(again.put_blob(&layer, &place.shared()).unwrap(), Put::Sent);
        assert_eq!(fs::read(dir.path().join(blob_path(&layer.digest))).unwrap(), b"shared");
    }
}
