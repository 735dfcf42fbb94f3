//! Image names and what they lead to. A ref is written after everything that it needs is durable.

use crate::layout::{DIGESTS, TAGS};
use crate::publish::{Removed, bounded, names, read_json, remove_file};
use crate::{Store, StoreError};
use cooper_image::{Descriptor, Reference};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;

/// Version of the file that is written here.
const VERSION: u32 = 1;
/// Deepest repository name: 255 bytes of one-letter components.
const DEPTH: usize = 130;

#[derive(Serialize, Deserialize)]
struct RefFile {
    version: u32,
    reference: Reference,
    descriptor: Descriptor,
}

impl Store {
    /// What a name leads to: a manifest, an index or, for an image that was never compressed, a
    /// configuration. A name without tag and digest means `latest`.
    ///
    /// # Errors
    /// [`StoreError::DamagedFile`], or what the system says.
    pub fn get_ref(&self, name: &Reference) -> Result<Option<Descriptor>, StoreError> {
        let path = self.layout().reference(name);
        Ok(read_ref(&path)?.map(|file| file.descriptor))
    }

    /// Names an image, durably, replacing what had the name.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_ref(&self, name: &Reference, descriptor: &Descriptor) -> Result<(), StoreError> {
        let descriptor = &*bounded(descriptor);
        let path = self.layout().reference(name);
        // Together with others who name something, but not while somebody takes away the names of what is broken.
        let refs = self.open_refs()?;
        refs.lock_shared().map_err(StoreError::io("locking", &self.layout().refs()))?;
        self.settle_parts()?;
        if let Ok(Some(now)) = read_ref(&path)
            && now.descriptor == *descriptor
        {
            return self.settle(&path);
        }
        let file = RefFile { version: VERSION, reference: name.clone().or_latest(), descriptor: descriptor.clone() };
        self.write_json(&path, "a ref", &file)
    }

    /// Held by whoever looks whether a name leads to something whole, and takes it away if not: nobody gives it again
    /// in between.
    pub(crate) fn unnaming(&self) -> Result<File, StoreError> {
        let refs = self.open_refs()?;
        refs.lock().map_err(StoreError::io("locking", &self.layout().refs()))?;
        Ok(refs)
    }

    fn open_refs(&self) -> Result<File, StoreError> {
        let dir = self.layout().refs();
        File::open(&dir).map_err(StoreError::io("opening", &dir))
    }

    /// Takes a name away; says whether there was one.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_ref(&self, name: &Reference) -> Result<Removed, StoreError> {
        remove_file(&self.layout().reference(name))
    }

    /// Has a name lead to something else, durably, if it leads to what it is thought to; says whether it did.
    ///
    /// # Errors
    /// What the system says.
    pub fn replace_ref(&self, name: &Reference, from: &Descriptor, to: &Descriptor) -> Result<bool, StoreError> {
        let path = self.layout().reference(name);
        // Nobody else names anything between the look and the change.
        let refs = self.open_refs()?;
        refs.lock().map_err(StoreError::io("locking", &self.layout().refs()))?;
        self.settle_parts()?;
        if read_ref(&path)?.is_none_or(|now| now.descriptor != *bounded(from)) {
            return Ok(false);
        }
        let reference = name.clone().or_latest();
        let file = RefFile { version: VERSION, reference, descriptor: bounded(to).into_owned() };
        self.write_json(&path, "a ref", &file)?;
        Ok(true)
    }

    /// Every name, sorted. Damaged ones are told to the log and left out; [`Store::fsck`] lists them.
    ///
    /// # Errors
    /// What the system says.
    pub fn refs(&self) -> Result<Vec<(Reference, Descriptor)>, StoreError> {
        let mut all = Vec::new();
        self.each_ref(&mut |found| match found {
            Ok(pair) => all.push(pair),
            Err(error) => tracing::warn!(%error, "a name is left out"),
        })?;
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// Calls `found` for each ref file, damaged ones too.
    pub(crate) fn each_ref(
        &self,
        found: &mut dyn FnMut(Result<(Reference, Descriptor), StoreError>),
    ) -> Result<(), StoreError> {
        walk(&self.layout().refs(), DEPTH, found)
    }
}

fn walk(
    dir: &Path,
    depth: usize,
    found: &mut dyn FnMut(Result<(Reference, Descriptor), StoreError>),
) -> Result<(), StoreError> {
    for name in names(dir)? {
        let below = dir.join(&name);
        if name != TAGS && name != DIGESTS {
            if depth > 0 {
                walk(&below, depth - 1, found)?;
            }
            continue;
        }
        for file in names(&below)? {
            match read_ref(&below.join(file)) {
                Ok(Some(file)) => found(Ok((file.reference, file.descriptor))),
                Ok(None) => {}
                Err(e) => found(Err(e)),
            }
        }
    }
    Ok(())
}

/// Can the file of a name be read?
pub fn check(path: &Path) -> Result<(), StoreError> {
    read_ref(path).map(drop)
}

fn read_ref(path: &Path) -> Result<Option<RefFile>, StoreError> {
    let file: Option<RefFile> = read_json(path)?;
    match file {
        Some(file) if file.version != VERSION => {
            let reason = format!("it has version {}, and {VERSION} is known", file.version);
            Err(StoreError::DamagedFile { path: path.to_owned(), reason })
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::{Digest, MediaType};
    use std::fs;

    #[test]
    fn names_do_not_collide_and_come_back_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = Digest::sha256("pinned");
        let pinned = format!("debian@{digest}");
        let given = ["host:5000/a:b", "host:5000/a/b:c", "host:5000/a/b/c:latest", "debian", pinned.as_str()];
        for (n, name) in given.iter().enumerate() {
            let d = Descriptor::of(MediaType::OciManifest, &[n as u8]);
            store.set_ref(&name.parse().unwrap(), &d).unwrap();
        }
        for (n, name) in given.iter().enumerate() {
            let d = store.get_ref(&name.parse().unwrap()).unwrap().unwrap();
            assert_eq!(d.digest, Digest::sha256([n as u8]), "{name}");
        }
        let listed: Vec<Reference> = store.refs().unwrap().into_iter().map(|(r, _)| r).collect();
        assert_eq!(listed.len(), given.len());
        assert!(listed.is_sorted());
        assert!(listed.contains(&"docker.io/library/debian:latest".parse().unwrap()));
        assert_eq!(store.remove_ref(&"host:5000/a:b".parse().unwrap()).unwrap(), Removed::Yes);
        assert_eq!(store.remove_ref(&"host:5000/a:b".parse().unwrap()).unwrap(), Removed::WasAbsent);
        assert_eq!(store.refs().unwrap().len(), given.len() - 1);
    }

    #[test]
    fn only_what_is_thought_to_have_a_name_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let name = "debian:12".parse().unwrap();
        let [old, new, other] = [1, 2, 3].map(|n| Descriptor::of(MediaType::OciManifest, &[n]));
        assert!(!store.replace_ref(&name, &old, &new).unwrap(), "nothing had it");
        assert_eq!(store.get_ref(&name).unwrap(), None);
        store.set_ref(&name, &old).unwrap();
        assert!(!store.replace_ref(&name, &other, &new).unwrap());
        assert_eq!(store.get_ref(&name).unwrap().as_ref(), Some(&old));
        assert!(store.replace_ref(&name, &old, &new).unwrap());
        assert_eq!(store.get_ref(&name).unwrap(), Some(new));
    }

    #[test]
    fn a_name_that_is_being_taken_away_is_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let name: Reference = "debian".parse().unwrap();
        let d = Descriptor::of(MediaType::OciManifest, b"x");
        store.set_ref(&name, &d).unwrap();
        let lock = store.unnaming().unwrap();
        std::thread::scope(|scope| {
            let naming = scope.spawn(|| store.set_ref(&name, &d).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(50));
            store.remove_ref(&name).unwrap();
            drop(lock);
            naming.join().unwrap();
        });
        assert_eq!(store.get_ref(&name).unwrap(), Some(d));
    }

    #[test]
    fn a_damaged_ref_is_an_error_that_writing_heals() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let name: Reference = "debian".parse().unwrap();
        let d = Descriptor::of(MediaType::OciManifest, b"x");
        store.set_ref(&name, &d).unwrap();
        let path = store.layout().reference(&name);
        let whole = fs::read_to_string(&path).unwrap();
        for text in ["", "{", "\0\0", &whole[..whole.len() / 2], &whole.replacen("1", "2", 1)] {
            fs::remove_file(&path).unwrap();
            fs::write(&path, text).unwrap();
            assert!(matches!(store.get_ref(&name), Err(StoreError::DamagedFile { .. })), "{text}");
            assert!(store.refs().unwrap().is_empty());
            store.set_ref(&name, &d).unwrap();
            assert_eq!(store.get_ref(&name).unwrap().as_ref(), Some(&d));
        }
    }
}
