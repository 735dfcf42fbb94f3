//! The forms of a layer, by DiffId: unpacked tree, uncompressed tar, compressed blobs.

use crate::boot::Trees;
use crate::held::{Held, claim};
use crate::ingest::random_name;
use crate::publish::{Durability, Name, bounded, give_free_name, make_dirs, names, read_json};
use crate::remove::remove_tree;
use crate::{Store, StoreError};
use cooper_image::{Descriptor, DiffId, Digest};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Most blobs of one layer that are looked at.
const BLOBS: usize = 64;

/// Which forms of a layer the store has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerForms {
    /// The unpacked directory.
    pub tree: Option<PathBuf>,
    /// Size of the uncompressed tar, in bytes; its blob is named by the DiffId.
    pub tar: Option<u64>,
    /// Compressed blobs that are there and were seen to inflate to the DiffId.
    pub blobs: Vec<Descriptor>,
}

impl Store {
    /// The forms of a layer. From a handle that keeps leases they stay.
    ///
    /// # Errors
    /// What the system says.
    pub fn layer(&self, diff: &DiffId) -> Result<LayerForms, StoreError> {
        let tree = self.layout().tree(diff);
        let known = self.layout().layer(diff);
        let mut blobs = Vec::new();
        for name in names(&known)?.into_iter().take(BLOBS) {
            match read_json::<Descriptor>(&known.join(name)) {
                Ok(Some(blob)) if self.blob_size(&blob.digest)? == Some(blob.size) => blobs.push(blob),
                Ok(_) => {}
                Err(StoreError::DamagedFile { path, reason }) => {
                    tracing::warn!(path = %path.display(), reason, "a layer's record is damaged; it counts as absent");
                }
                Err(e) => return Err(e),
            }
        }
        let counts = self.trees() == Trees::All || self.layout().synced_tree(diff).exists();
        let tree = (counts && self.find(&tree)?.is_some()).then_some(tree);
        Ok(LayerForms { tree, tar: self.blob_size(&diff.0)?, blobs })
    }

    /// Records that a blob inflates to a layer. The caller has inflated and hashed it.
    ///
    /// # Errors
    /// What the system says.
    pub fn add_layer_blob(&self, diff: &DiffId, blob: &Descriptor) -> Result<(), StoreError> {
        let blob = &*bounded(blob);
        let encode = |source| StoreError::Encode { what: "a layer's descriptor", source };
        let name = Digest::sha256(serde_json::to_vec(blob).map_err(encode)?);
        let path = self.layout().layer(diff).join(name.hex());
        if read_json::<Descriptor>(&path).is_ok_and(|known| known.as_ref() == Some(blob)) {
            return self.settle(&path);
        }
        self.write_json(&path, "a layer's descriptor", blob)
    }

    /// Makes a directory of an [`crate::Ingest`] the tree of a layer, and gives its path. It need not survive a power
    /// cut, until [`Store::make_durable`] is asked. When there is a tree already, that one stays and the new one is
    /// deleted.
    ///
    /// # Errors
    /// What the system says.
    pub fn publish_tree(&self, dir: &Path, diff: &DiffId) -> Result<PathBuf, StoreError> {
        let target = self.layout().tree(diff);
        make_dirs(target.parent().unwrap_or(self.layout().root()), Durability::Synced)?;
        self.make_way(&target, diff)?;
        // Before it has the name, so that there is no moment in which anybody may delete it.
        let mine = File::open(dir).and_then(Held::unpublished).map_err(StoreError::io("locking", dir))?;
        let held = loop {
            if let Some(there) = self.lease(&target)? {
                remove_tree(dir).map_err(StoreError::io("deleting", dir))?;
                break there;
            }
            if give_free_name(dir, &target).map_err(StoreError::io("creating", &target))? == Name::Given {
                self.note_made(&target);
                break mine;
            }
        };
        self.keep(&target, held);
        if self.trees() == Trees::Marked {
            self.make_durable(std::slice::from_ref(diff))?;
        }
        Ok(target)
    }

    /// Takes away what is in the way of a new tree: a mark without a tree, or a tree that does not count.
    fn make_way(&self, target: &Path, diff: &DiffId) -> Result<(), StoreError> {
        let mark = self.layout().synced_tree(diff);
        let has_mark = || mark.try_exists().map_err(StoreError::io("looking for", &mark));
        if has_mark()? {
            if !target.is_dir() {
                // Marks are made under the same lock, of trees that are there: this one is not of a tree that another
                // process has just made.
                let _alone = self.marking()?;
                if !target.is_dir() {
                    crate::publish::remove_file(&mark)?;
                }
            }
        } else if self.trees() == Trees::Marked && target.is_dir() {
            match claim(target).map_err(StoreError::io("locking", target))? {
                // Nobody marks it now, since whoever does so holds it.
                Some(_lock) if has_mark()? => {}
                Some(_lock) => {
                    let aside = self.layout().ingest().join(random_name());
                    std::fs::rename(target, aside).map_err(StoreError::io("replacing", target))?;
                }
                None if target.is_dir() && !has_mark()? => {
                    return Err(StoreError::Busy { path: target.to_owned() });
                }
                // Another process was faster.
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::MediaType;
    use std::fs;

    #[test]
    fn forms_appear_as_they_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff = DiffId(Digest::sha256("tar"));
        assert_eq!(store.layer(&diff).unwrap(), LayerForms::default());

        let digest = store.put_blob(b"gzip").unwrap();
        let oci = Descriptor::new(MediaType::OciLayerGzip, digest.clone(), 4);
        let docker = Descriptor::new(MediaType::DockerLayerGzip, digest, 4);
        let lost = Descriptor::of(MediaType::OciLayerGzip, b"never stored");
        for blob in [&oci, &docker, &lost, &oci] {
            store.add_layer_blob(&diff, blob).unwrap();
        }
        let forms = store.layer(&diff).unwrap();
        assert_eq!(forms.blobs.len(), 2);
        assert!(forms.blobs.contains(&oci) && forms.blobs.contains(&docker));

        store.put_blob(b"tar").unwrap();
        assert_eq!(store.layer(&diff).unwrap().tar, Some(3));
        fs::write(store.layout().layer(&diff).join("damaged"), "{").unwrap();
        assert_eq!(store.layer(&diff).unwrap().blobs.len(), 2);
    }

    #[test]
    fn what_is_known_of_a_blob_can_be_read_however_long_its_annotations_are() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff = DiffId(Digest::sha256("tar"));
        store.put_blob(b"gzip").unwrap();
        let mut blob = Descriptor::of(MediaType::OciLayerGzip, b"gzip");
        for (bytes, kept) in [(10_000, 1), (11_000, 0)] {
            blob.annotations.insert("note".to_owned(), "\u{1}".repeat(bytes));
            store.add_layer_blob(&diff, &blob).unwrap();
            let found = store.layer(&diff).unwrap().blobs;
            assert_eq!(found.iter().filter(|b| b.annotations.len() == kept).count(), 1, "{bytes}");
            store.set_ref(&"long".parse().unwrap(), &blob).unwrap();
            assert!(store.get_ref(&"long".parse().unwrap()).unwrap().is_some());
        }
        assert!(store.fsck().unwrap().problems.iter().all(|p| !p.to_string().contains("damaged")));
    }

    #[test]
    fn the_first_tree_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff = DiffId(Digest::sha256("tree"));
        for content in ["first", "second"] {
            let ingest = store.ingest().unwrap();
            let made = ingest.path().join("tree");
            fs::create_dir(&made).unwrap();
            fs::write(made.join("f"), content).unwrap();
            let path = store.publish_tree(&made, &diff).unwrap();
            assert_eq!(fs::read_to_string(path.join("f")).unwrap(), "first");
            assert!(!made.exists());
        }
        assert!(store.layer(&diff).unwrap().tree.is_some());
    }

    fn publish(store: &Store, diff: &DiffId) -> Result<PathBuf, StoreError> {
        let ingest = store.ingest()?;
        let made = ingest.path().join("tree");
        fs::create_dir(&made).unwrap();
        store.publish_tree(&made, diff)
    }

    /// Between the look at a mark without a tree and its deletion, another process makes the tree and marks it.
    #[test]
    fn a_mark_that_was_made_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff = DiffId(Digest::sha256("tree"));
        let mark = store.layout().synced_tree(&diff);
        fs::write(&mark, "").unwrap();
        let lock = store.marking().unwrap();
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| publish(&store, &diff).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(50));
            fs::create_dir(store.layout().tree(&diff)).unwrap();
            drop(lock);
            publishing.join().unwrap();
        });
        assert!(mark.exists());
        // Without the other process it goes.
        fs::remove_dir(store.layout().tree(&diff)).unwrap();
        publish(&store, &diff).unwrap();
        assert!(!mark.exists());
    }

    #[test]
    fn a_tree_that_is_not_believed_is_replaced_unless_somebody_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff = DiffId(Digest::sha256("tree"));
        let user = store.holding();
        fs::write(publish(&user, &diff).unwrap().join("old"), "").unwrap();
        fs::write(store.layout().boot(), "another\n").unwrap();
        let marked = Store::open(dir.path()).unwrap();
        assert_eq!(marked.trees(), Trees::Marked);
        assert!(matches!(publish(&marked, &diff), Err(StoreError::Busy { .. })));
        drop(user);
        let path = publish(&marked, &diff).unwrap();
        assert!(!path.join("old").exists() && store.layout().synced_tree(&diff).exists());
        // The next one finds it whole.
        fs::write(path.join("new"), "").unwrap();
        assert!(publish(&marked, &diff).unwrap().join("new").exists());
    }
}
