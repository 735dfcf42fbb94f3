//! Is all of an image in a layout?
//!
//! Takes what the layout says it has. Of blobs only the sizes are asked, each once however many images have it: whoever
//! mirrors does that often, and reading all of them is what `validate` is for.

use super::shipment::{DocumentKey, PARTS, key, parts};
use crate::context::LayoutName;
use crate::context::layout::{Layout, blob_path};
use crate::layers::lock;
use crate::{EngineError, ErrorClass};
use cooper_image::{Descriptor, Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

/// What is known of a layout's blobs.
pub(super) struct Stocked {
    name: LayoutName,
    /// What is there in full; nothing is said of the others, which may come.
    whole: Mutex<Whole>,
}

#[derive(Default)]
struct Whole {
    /// Documents with everything that they lead to.
    documents: BTreeSet<DocumentKey>,
    /// Sizes of other blobs.
    blobs: BTreeMap<Digest, u64>,
}

impl Stocked {
    /// Of the layout in a directory, which need not be there before it is asked about.
    pub(super) fn of(dir: &Path) -> Self {
        let name = LayoutName { path: dir.to_owned(), tag: None, digest: None };
        Self { name, whole: Mutex::default() }
    }

    /// Is it there, with everything that it leads to? What cannot be read as what it says it is has to come again.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn has(&self, top: &Descriptor) -> Result<bool, EngineError> {
        match self.walk(top) {
            Err(e) if e.class() != ErrorClass::Storage => Ok(false),
            found => found,
        }
    }

    fn walk(&self, top: &Descriptor) -> Result<bool, EngineError> {
        let layout = Layout::open_at(&self.name)?;
        let (mut seen, mut pending) = (BTreeSet::new(), vec![top.clone()]);
        while let Some(d) = pending.pop() {
            if lock(&self.whole).documents.contains(&key(&d)) || !seen.insert(key(&d)) {
                continue;
            }
            let bytes = layout.document(&d.digest)?;
            let Ok(parts) = parts(&bytes, &d.media_type) else { return Ok(false) };
            if bytes.len() as u64 != d.size || seen.len() > PARTS {
                return Ok(false);
            }
            for blob in parts.blobs.iter().filter(|blob| !blob.media_type.is_foreign()) {
                if !self.has_blob(&layout, blob)? {
                    return Ok(false);
                }
            }
            pending.extend(parts.documents);
        }
        lock(&self.whole).documents.append(&mut seen);
        Ok(true)
    }

    fn has_blob(&self, layout: &Layout<'_>, blob: &Descriptor) -> Result<bool, EngineError> {
        if let Some(size) = lock(&self.whole).blobs.get(&blob.digest) {
            return Ok(*size == blob.size);
        }
        let size = layout.size(&blob_path(&blob.digest))?;
        if size == Some(blob.size) {
            lock(&self.whole).blobs.insert(blob.digest.clone(), blob.size);
        }
        Ok(size == Some(blob.size))
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout_target::LayoutTarget;
    use super::super::memory::{Memory, Types};
    use super::super::shipment::{Name, Referrers, Shipment, Top, ship};
    use super::*;
    use crate::event::{Event, Sink};
    use cooper_image::{MediaType, Platform};
    use serde_json::json;
    use std::fs;

    struct Silent;

    impl Sink for Silent {
        fn event(&self, _: Event) {}
    }

    #[test]
    fn all_that_an_index_leads_to_has_to_be_there() {
        let mut place = Memory::default();
        let layer = place.put("application/vnd.oci.image.layer.v1.tar", b"layer");
        let layers = [(layer.clone(), Digest::sha256(b"layer"))];
        let images = ["amd64", "arm64"].map(|arch| place.image(Types::Oci, &Platform::linux(arch), &layers));
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": images});
        let top = place.lead(&MediaType::OciIndex, &index);
        let dir = tempfile::tempdir().unwrap();
        let mut shipment = Shipment::default();
        let tops = Top { descriptor: top.clone(), names: vec![Name::Tag("1".to_owned())] };
        shipment.add(&place.shared(), tops, Referrers::Stay).unwrap();
        ship(&shipment, &LayoutTarget::new(dir.path()).unwrap(), &Silent).unwrap();
        let has = || Stocked::of(dir.path()).has(&top).unwrap();
        assert!(has());
        assert_eq!(place.blobs.len(), 6);
        for digest in place.blobs.keys() {
            let (path, aside) = (dir.path().join(blob_path(digest)), dir.path().join("aside"));
            fs::rename(&path, &aside).unwrap();
            assert!(!has(), "without {digest}");
            fs::write(&path, b"half").unwrap();
            assert!(!has(), "with half of {digest}");
            fs::rename(&aside, &path).unwrap();
            assert!(has());
        }
        // Of what was there nothing is asked again; of what was not, it is.
        let path = dir.path().join(blob_path(&layer.digest));
        let (early, late) = (Stocked::of(dir.path()), Stocked::of(dir.path()));
        assert!(early.has(&images[0]).unwrap());
        fs::remove_file(&path).unwrap();
        assert_eq!([early.has(&top).unwrap(), late.has(&top).unwrap()], [true, false]);
        fs::write(&path, b"layer").unwrap();
        assert!(late.has(&top).unwrap());
        fs::remove_dir_all(dir.path().join("blobs")).unwrap();
        assert!(!has());
    }
}
