//! Which repository of a registry has a blob already, by the names in the store: a registry takes a blob from there
//! without it being sent (distribution-spec, "Mounting a blob from another repository").
//!
//! Takes: the name that is pushed. Gives: guesses, no more. Must never: let a push fail for what else is in the store.

use cooper_image::{Descriptor, Digest, Document, Reference, limits};
use cooper_store::Store;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

/// Most names of one registry that are looked at.
const NAMES: usize = 256;

/// The blobs of other repositories of one registry.
pub(crate) struct Neighbours {
    store: Store,
    name: Reference,
    found: OnceLock<HashMap<Digest, Reference>>,
}

impl Neighbours {
    /// Those of a name's repository; nothing is looked at yet.
    pub fn of(store: &Store, name: &Reference) -> Self {
        Self { store: store.clone(), name: name.clone(), found: OnceLock::new() }
    }

    /// A name of a repository that seems to have the blob.
    pub fn having(&self, blob: &Digest) -> Option<&Reference> {
        self.found.get_or_init(|| self.look()).get(blob)
    }

    fn look(&self) -> HashMap<Digest, Reference> {
        let mut found = HashMap::new();
        let mut seen = HashSet::new();
        // Nothing of it has to stay: a guess that is wrong costs one question.
        let store = self.store.passing();
        let refs = store.refs().unwrap_or_default().into_iter();
        let near = refs.filter(|(n, _)| n.host() == self.name.host() && n.repository() != self.name.repository());
        for (name, top) in near.take(NAMES) {
            let mut pending = vec![(top, 0)];
            while let Some((document, depth)) = pending.pop() {
                // Many tags lead to the same documents, and one repository for each blob is enough.
                if !seen.insert(document.digest.clone()) {
                    continue;
                }
                match read(&store, &document).filter(|_| depth <= limits::INDEX_DEPTH) {
                    Some(Document::Manifest(manifest)) => {
                        let blobs = manifest.layers.into_iter().chain([manifest.config]);
                        found.extend(blobs.map(|blob| (blob.digest, name.clone())));
                    }
                    Some(Document::Index(index)) => pending.extend(index.manifests.into_iter().map(|m| (m, depth + 1))),
                    None => {}
                }
            }
        }
        found
    }
}

/// A document of the store; one that cannot be read is somebody else's to tell.
fn read(store: &Store, document: &Descriptor) -> Option<Document> {
    let is_document = document.media_type.is_index() || document.media_type.is_manifest();
    let bytes = is_document.then(|| store.read_blob(document, limits::MANIFEST_BYTES))?.ok()?;
    Document::parse(bytes.get(), Some(&document.media_type)).ok()
}
