//! Where a stream is cut: boundaries that depend on the bytes around them alone (FastCDC, 2020 variant).
//!
//! Takes: bytes in any portions. Gives: the same chunks whatever the portions were. An edit moves the boundaries near
//! it and no others. The sizes and the version of the algorithm are part of what a compressed layer is: with others,
//! the same tar gives other bytes (see [`super::Method::id`]).

use fastcdc::v2020::FastCDC;

/// How large chunks are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// At least, but for the last one.
    pub least: usize,
    /// In the middle of the distribution.
    pub average: usize,
    /// At most.
    pub most: usize,
}

impl Sizes {
    /// For methods that look back 32 KiB: what a chunk loses by standing alone is a few parts in a thousand.
    pub const SMALL: Self = Self { least: 256 * 1024, average: 1024 * 1024, most: 2 * 1024 * 1024 };
    /// For methods that look back megabytes.
    pub const LARGE: Self = Self { least: 1024 * 1024, average: 4 * 1024 * 1024, most: 8 * 1024 * 1024 };
}

/// Collects bytes until a chunk is whole.
pub struct Cutter {
    sizes: Sizes,
    held: Vec<u8>,
}

impl Cutter {
    /// Holds nothing yet.
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes, held: Vec::new() }
    }

    /// Takes some of the bytes, at most as many as a boundary needs to be seen; says how many.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let room = self.sizes.most.saturating_sub(self.held.len()).min(bytes.len());
        self.held.extend_from_slice(bytes.get(..room).unwrap_or_default());
        room
    }

    /// Are no bytes held?
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The next chunk, when enough bytes are held to tell where it ends.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        if self.held.len() < self.sizes.most { None } else { self.rest() }
    }

    /// The next chunk, when no more bytes come; `None` when nothing is left.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        if self.held.is_empty() {
            return None;
        }
        let Sizes { least, average, most } = self.sizes;
        let (_, end) = FastCDC::new(&self.held, least, average, most).cut(0, self.held.len());
        let after = self.held.split_off(end.clamp(1, self.held.len()));
        Some(std::mem::replace(&mut self.held, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = Sizes::SMALL.least;
    const MOST: usize = Sizes::SMALL.most;

    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn cut(bytes: &[u8], portion: usize) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::new(Sizes::SMALL);
        let mut chunks = Vec::new();
        for mut part in bytes.chunks(portion) {
            while !part.is_empty() {
                let taken = cutter.take(part);
                part = &part[taken..];
                chunks.extend(cutter.chunk());
            }
        }
        while let Some(last) = cutter.rest() {
            chunks.push(last);
        }
        chunks
    }

    #[test]
    fn chunks_are_the_stream_and_do_not_depend_on_portions() {
        let bytes = noise(9_000_001, 7);
        let whole = cut(&bytes, bytes.len());
        assert!(whole.len() > 4, "{}", whole.len());
        assert!(whole.concat() == bytes);
        for portion in [4_099, 131_072, MOST, MOST + 1] {
            assert!(cut(&bytes, portion) == whole, "portions of {portion}");
        }
        let sizes = whole.iter().rev().skip(1).map(Vec::len);
        assert!(sizes.clone().all(|s| (LEAST..=MOST).contains(&s)), "{:?}", sizes.collect::<Vec<_>>());
        assert!(cut(b"", 1).is_empty());
        assert_eq!(cut(b"x", 1), [b"x"]);
        // No boundary is found in zeros: the greatest size ends the chunk.
        assert_eq!(cut(&vec![0; 2 * MOST + 1], 65_536).iter().map(Vec::len).collect::<Vec<_>>(), [MOST, MOST, 1]);
    }

    #[test]
    fn an_edit_moves_only_the_boundaries_near_it() {
        let bytes = noise(20_000_000, 3);
        let mut edited = bytes.clone();
        edited.splice(7_000_000..7_000_010, *b"something longer than it was");
        let (old, new) = (cut(&bytes, 65_536), cut(&edited, 65_536));
        let other = new.iter().filter(|chunk| !old.contains(chunk)).count();
        assert!((1..=3).contains(&other), "{other} of {} chunks are new", new.len());
    }
}
