//! The images of an index and of the indexes within it, in the order in which they are written: an entry may be an index
//! itself (image-spec, image-index.md), and what is in there counts like an entry of the outer one.
//!
//! Takes parsed indexes, and says which one has to be read next; it reads nothing itself. Must never follow a document
//! without end.

use crate::index::DocumentError;
use crate::{Descriptor, Digest, Index, Platform, limits};
use std::collections::BTreeSet;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// An image.
    Image(Descriptor),
    /// An index: whoever wants what is in it reads it and gives it to [`Leaves::enter`].
    Index(Descriptor),
}

/// The images of an index that were not given out yet.
#[derive(Debug, Default)]
pub struct Leaves {
    wanted: Option<Platform>,
    /// The next one last, each with the number of indexes around it.
    pending: Vec<(Descriptor, usize)>,
    /// Around what was given out last.
    around: usize,
    opened: BTreeSet<Digest>,
    passed: Vec<Platform>,
}

impl Leaves {
    /// Those of an index; attestations are no images.
    pub fn of(index: Index) -> Self {
        let mut leaves = Self::default();
        leaves.enter(index);
        leaves
    }

    /// Those of an index that are for a platform. What says of itself that it is for another one is not looked into.
    pub fn satisfying(index: Index, wanted: &Platform) -> Self {
        let wanted = Some(wanted.clone());
        Self { wanted, ..Self::of(index) }
    }

    /// What is in the index that was given out last comes next.
    pub fn enter(&mut self, index: Index) {
        let around = self.around + 1;
        let images: Vec<Descriptor> = index.images().cloned().collect();
        self.pending.extend(images.into_iter().rev().map(|d| (d, around)));
    }

    /// The next image, or an index that may hold it.
    ///
    /// # Errors
    /// [`DocumentError::Nesting`] when they nest too deep, or are too many.
    pub fn step(&mut self) -> Result<Option<Leaf>, DocumentError> {
        while let Some((d, around)) = self.pending.pop() {
            let fits = |wanted: &Platform| match &d.platform {
                Some(platform) => platform.satisfies(wanted),
                None => d.media_type.is_index(),
            };
            if !self.wanted.as_ref().is_none_or(fits) {
                self.passed.extend(d.platform);
                continue;
            }
            if !d.media_type.is_index() {
                return Ok(Some(Leaf::Image(d)));
            }
            // What is in it was given out already.
            if !self.opened.insert(d.digest.clone()) {
                continue;
            }
            if around >= limits::INDEX_DEPTH {
                return Err(DocumentError::Nesting(format!("more than {} within each other", limits::INDEX_DEPTH)));
            }
            if self.opened.len() > limits::INDEXES {
                return Err(DocumentError::Nesting(format!("more than {}", limits::INDEXES)));
            }
            self.around = around;
            return Ok(Some(Leaf::Index(d)));
        }
        Ok(None)
    }

    /// The platforms of what was passed over because it is for another one.
    pub fn passed(&self) -> &[Platform] {
        &self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MediaType;
    use std::collections::BTreeMap;

    fn entry(name: &str, platform: Option<&str>) -> Descriptor {
        Descriptor {
            platform: platform.map(|p| p.parse().unwrap()),
            ..Descriptor::of(MediaType::OciManifest, name.as_bytes())
        }
    }

    /// Indexes by their digests.
    #[derive(Default)]
    struct Indexes(BTreeMap<Digest, Index>, usize);

    impl Indexes {
        fn keep(&mut self, entries: Vec<Descriptor>, platform: Option<&str>) -> Descriptor {
            let index = Index::of(entries);
            let d = Descriptor::of(MediaType::OciIndex, &serde_json::to_vec(&index).unwrap());
            self.0.insert(d.digest.clone(), index);
            Descriptor { platform: platform.map(|p| p.parse().unwrap()), ..d }
        }

        fn all(&mut self, mut leaves: Leaves) -> Result<(Vec<Descriptor>, Vec<Platform>), DocumentError> {
            let mut found = Vec::new();
            while let Some(leaf) = leaves.step()? {
                match leaf {
                    Leaf::Image(d) => found.push(d),
                    Leaf::Index(d) => {
                        self.1 += 1;
                        leaves.enter(self.0[&d.digest].clone());
                    }
                }
            }
            Ok((found, leaves.passed().to_vec()))
        }
    }

    #[test]
    fn images_come_in_the_order_of_one_flat_index() {
        let mut indexes = Indexes::default();
        let of = |n: &str, arch: &str| entry(n, Some(&format!("linux/{arch}")));
        let deep = indexes.keep(vec![of("c", "amd64"), of("d", "s390x")], None);
        let inner = indexes.keep(vec![of("b", "arm64"), deep.clone(), of("e", "amd64")], None);
        let said = indexes.keep(vec![of("f", "riscv64")], Some("linux/riscv64"));
        let statement = entry("s", Some("unknown/unknown"));
        let top = Index::of(vec![of("a", "ppc64le"), statement, inner, deep, said, of("g", "amd64")]);
        let (all, _) = indexes.all(Leaves::of(top.clone())).unwrap();
        assert_eq!(
            all.iter().map(|d| &d.digest).collect::<Vec<_>>(),
            ["a", "b", "c", "d", "e", "f", "g"].map(|n| entry(n, None).digest).iter().collect::<Vec<_>>()
        );

        indexes.1 = 0;
        let (amd64, passed) = indexes.all(Leaves::satisfying(top, &Platform::linux("amd64"))).unwrap();
        assert_eq!(amd64, [of("c", "amd64"), of("e", "amd64"), of("g", "amd64")]);
        let passed: Vec<String> = passed.iter().map(ToString::to_string).collect();
        assert_eq!(passed, ["linux/ppc64le", "linux/arm64", "linux/s390x", "linux/riscv64"]);
        assert_eq!(indexes.1, 2, "neither twice, nor what is for another platform");
    }

    #[test]
    fn nesting_has_an_end() {
        for (indexes_around, fine) in [(limits::INDEX_DEPTH, true), (limits::INDEX_DEPTH + 1, false)] {
            let mut indexes = Indexes::default();
            let mut d = entry("image", Some("linux/amd64"));
            for _ in 1..indexes_around {
                d = indexes.keep(vec![d], None);
            }
            let found = indexes.all(Leaves::of(Index::of(vec![d])));
            assert_eq!(found.is_ok(), fine, "{indexes_around}: {found:?}");
        }
        for (count, fine) in [(limits::INDEXES, true), (limits::INDEXES + 1, false)] {
            let mut indexes = Indexes::default();
            let entries = (0..count).map(|n| indexes.keep(vec![entry(&n.to_string(), None)], None)).collect();
            let found = indexes.all(Leaves::of(Index::of(entries)));
            assert_eq!(found.map(|(all, _)| all.len()).ok(), fine.then_some(count));
        }
    }
}
