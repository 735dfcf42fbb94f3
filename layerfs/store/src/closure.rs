//! Everything that a descriptor leads to.

use crate::{Store, StoreError};
use cooper_image::{Descriptor, Digest, Document, limits};
use std::collections::HashSet;

/// Most descriptors of one image that are followed.
const PARTS: usize = 20_000;

/// Calls `found` once for each blob of an image: documents before what they name, in document order.
/// Documents are read and verified; other blobs are not looked at.
pub fn visit(
    store: &Store,
    root: &Descriptor,
    found: &mut dyn FnMut(&Descriptor) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut seen: HashSet<Digest> = HashSet::new();
    let mut pending = vec![(root.clone(), 0)];
    while let Some((next, depth)) = pending.pop() {
        if !seen.insert(next.digest.clone()) {
            continue;
        }
        // What an image names is no further level.
        if seen.len() > PARTS || (depth > limits::INDEX_DEPTH && is_document(&next)) {
            return Err(StoreError::TooMany(root.digest.clone()));
        }
        found(&next)?;
        if let Some(document) = document(store, &next)? {
            let mut children = children(document);
            children.reverse();
            pending.extend(children.into_iter().map(|d| (d, depth + 1)));
        }
    }
    Ok(())
}

/// The document that a descriptor names; `None` when it names another kind of blob.
fn document(store: &Store, d: &Descriptor) -> Result<Option<Document>, StoreError> {
    if !is_document(d) {
        return Ok(None);
    }
    let bytes = store.read_blob(d, limits::MANIFEST_BYTES)?;
    Document::parse(bytes.get(), Some(&d.media_type))
        .map(Some)
        .map_err(|source| StoreError::Document { digest: d.digest.clone(), source })
}

fn is_document(d: &Descriptor) -> bool {
    d.media_type.is_index() || d.media_type.is_manifest()
}

fn children(document: Document) -> Vec<Descriptor> {
    match document {
        Document::Index(index) => index.manifests,
        Document::Manifest(manifest) => std::iter::once(manifest.config).chain(manifest.layers).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::{Index, MediaType};
    use serde_json::json;

    fn index(store: &Store, manifests: Vec<Descriptor>) -> Descriptor {
        let index = Index::of(manifests);
        let bytes = serde_json::to_vec(&index).unwrap();
        store.put_blob(&bytes).unwrap();
        Descriptor::of(MediaType::OciIndex, &bytes)
    }

    #[test]
    fn an_image_in_as_many_indexes_as_there_may_be_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let config = Descriptor::of(MediaType::OciConfig, b"{}");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
        store.put_blob(manifest.as_bytes()).unwrap();
        let mut top = Descriptor::of(MediaType::OciManifest, manifest.as_bytes());
        for _ in 0..limits::INDEX_DEPTH {
            top = index(&store, vec![top]);
        }
        let mut last = None;
        let mut found = |d: &Descriptor| {
            last = Some(d.digest.clone());
            Ok(())
        };
        visit(&store, &top, &mut found).unwrap();
        assert_eq!(last, Some(config.digest));
    }

    #[test]
    fn nesting_is_bounded_at_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut top = index(&store, Vec::new());
        for _ in 0..limits::INDEX_DEPTH {
            top = index(&store, vec![top.clone(), top]);
        }
        let mut count = 0;
        let mut counted = |_: &Descriptor| {
            count += 1;
            Ok(())
        };
        visit(&store, &top, &mut counted).unwrap();
        assert_eq!(count, limits::INDEX_DEPTH + 1);
        let over = index(&store, vec![top]);
        assert!(matches!(visit(&store, &over, &mut |_| Ok(())), Err(StoreError::TooMany(_))));
    }
}
