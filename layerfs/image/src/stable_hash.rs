//! Tagged, length-prefixed encoding, so that two different values never hash alike.
//!
//! Every cache key of Cooper is made with this; `docs/formats/cache-key.md` is its twin.

use crate::{Digest, Hasher};

/// Collects named parts in the order they are given.
pub struct StableHash(Hasher);

impl StableHash {
    /// Begins a hash of one kind of thing; `domain` carries its version, as `step/1`.
    pub fn new(domain: &str) -> Self {
        let mut s = Self(Hasher::new());
        s.bytes(domain.as_bytes());
        s
    }
    /// Adds one named part.
    pub fn part(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.bytes(name.as_bytes());
        self.bytes(value.as_ref());
        self
    }
    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
    fn bytes(&mut self, b: &[u8]) {
        self.0.update(&(b.len() as u64).to_le_bytes());
        self.0.update(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_count() {
        let hash = |parts: &[(&str, &str)]| {
            let mut h = StableHash::new("t/1");
            for (n, v) in parts {
                h.part(n, v);
            }
            h.finish()
        };
        assert_ne!(hash(&[("a", "bc")]), hash(&[("ab", "c")]));
        assert_ne!(hash(&[("a", "")]), hash(&[("", "a")]));
        assert_eq!(hash(&[("a", "b")]), hash(&[("a", "b")]));
    }
}
