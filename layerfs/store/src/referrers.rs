//! Manifests that name another one as their subject, listed piece by piece.
//!
//! Takes a repository and a subject; gives descriptors. Must never: hold more of a list at once than was asked for,
//! because whoever may push decides how long it and each of its annotations is.

use crate::layout::file_name;
use crate::publish::{names, parse_json, read_small};
use crate::{Repo, StoreError};
use cooper_image::{Descriptor, Digest, limits};

/// A manifest that names another as its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest that is referred to; it need not be there.
    pub subject: Digest,
    /// How the referring manifest is listed.
    pub descriptor: Descriptor,
}

/// A piece of the list of manifests that name one subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referrers {
    /// How they are listed, sorted by digest.
    pub descriptors: Vec<Descriptor>,
    /// The last one of the piece, when there may be more after it.
    pub more: Option<Digest>,
}

impl Repo {
    /// Descriptors of the manifests here whose subject is `subject`, sorted by digest: those after `last`, as many
    /// as have at most `bytes` bytes together, but one at least.
    ///
    /// # Errors
    /// What the system says, [`StoreError::DamagedFile`].
    pub fn referrers(&self, subject: &Digest, last: Option<&Digest>, bytes: u64) -> Result<Referrers, StoreError> {
        let dir = self.store.layout().repository_referrers(&self.name, subject);
        let last = last.map(file_name);
        let mut page = Referrers::default();
        let mut taken = 0;
        for name in names(&dir)?.into_iter().filter(|n| last.as_ref().is_none_or(|last| n > last)) {
            let path = dir.join(name);
            // It repeats the annotations of its manifest, and so can be as long.
            let Some(text) = read_small(&path, limits::MANIFEST_BYTES)? else { continue };
            let descriptor: Descriptor = parse_json(&path, &text)?;
            // The list is written before the manifest and outlives it: the link decides.
            if self.manifest(&descriptor.digest)?.is_none() {
                continue;
            }
            taken += text.len() as u64;
            if taken > bytes && !page.descriptors.is_empty() {
                page.more = page.descriptors.last().map(|d| d.digest.clone());
                break;
            }
            page.descriptors.push(descriptor);
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use cooper_image::MediaType;

    #[test]
    fn long_lists_of_referrers_come_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let repo = store.repository(&"a".parse().unwrap());
        let subject = Digest::sha256("subject");
        for n in 0..3 {
            let bytes = n.to_string();
            let mut descriptor = Descriptor::of(MediaType::OciManifest, bytes.as_bytes());
            // As long as the annotations of a manifest can be.
            descriptor.annotations.insert("note".to_owned(), "x".repeat(4_000_000));
            let plain = Descriptor::of(MediaType::OciManifest, bytes.as_bytes());
            repo.put_manifest(bytes.as_bytes(), &plain, Some(&Referrer { subject: subject.clone(), descriptor }))
                .unwrap();
        }
        // Never more than was asked for, but one.
        for (bytes, expected) in [(1, vec![1, 1, 1]), (5_000_000, vec![1, 1, 1]), (8_100_000, vec![2, 1])] {
            let (mut last, mut sizes, mut all) = (None, Vec::new(), Vec::new());
            loop {
                let page = repo.referrers(&subject, last.as_ref(), bytes).unwrap();
                sizes.push(page.descriptors.len());
                all.extend(page.descriptors.into_iter().map(|d| d.digest));
                last = page.more;
                if last.is_none() {
                    break;
                }
            }
            assert_eq!(sizes, expected, "{bytes}");
            assert!(all.is_sorted_by(|a, b| a.hex() < b.hex()));
        }
    }
}
