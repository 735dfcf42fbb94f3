//! Where a stream is cut: boundaries that depend on the bytes around them alone (FastCDC, 2020 variant).
//!
//! Takes: bytes in any portions. Gives: the same chunks whatever the portions were. An edit moves the boundaries near
//! it and no others. The sizes and the version of the algorithm are part of what a compressed layer is: with others,
//! the same tar gives other bytes (see [`super::Method::id`]).

use fastcdc::v2020::FastCDC;

const MIB: usize = 1024 * 1024;

/// How large chunks are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// At least, but for the last one.
    pub least: usize,
    /// In the middle of the distribution.
    pub average: usize,
    /// At most.
    pub most: usize,
    /// Neighbours are joined until they have as many bytes. Where they begin to be the same again after an edit, they
    /// soon are joined in the same way again.
    pub joined: usize,
}

impl Sizes {
    /// For methods that look back 32 KiB: what a chunk loses by standing alone is a few parts in a thousand.
    pub const SMALL: Self = Self { least: MIB / 4, average: MIB, most: 2 * MIB, joined: 0 };
    /// For methods that look back 2 MiB.
    pub const MIDDLE: Self = Self { least: MIB, average: 4 * MIB, most: 8 * MIB, joined: 0 };
    /// For methods that look back 4 MiB. The algorithm knows no larger chunks than the middle ones.
    pub const LARGE: Self = Self { joined: 10 * MIB, ..Self::MIDDLE };
    /// For methods that look back 8 MiB and more.
    pub const LARGEST: Self = Self { joined: 16 * MIB, ..Self::MIDDLE };
}

/// Collects bytes until a chunk is whole.
pub struct Cutter {
    sizes: Sizes,
    held: Vec<u8>,
    /// How many of the bytes are cut already, and wait for more to be joined with.
    cut: usize,
    /// Memory for what follows the next chunk.
    spare: Option<Vec<u8>>,
}

impl Cutter {
    /// Holds nothing yet.
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes, held: Vec::new(), cut: 0, spare: None }
    }

    /// Takes some of the bytes, at most as many as a boundary needs to be seen; says how many.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let room = self.sizes.most.saturating_sub(self.uncut()).min(bytes.len());
        self.held.extend_from_slice(bytes.get(..room).unwrap_or_default());
        room
    }

    /// Takes the memory of a chunk that nobody wants any more, unless it has some: fresh memory for each chunk costs time,
    /// and leaves gaps between the pieces that no other piece fits into.
    pub fn reuse(&mut self, spare: impl FnOnce() -> Option<Vec<u8>>) {
        if self.spare.is_none() {
            self.spare = spare();
        }
    }

    /// Are no bytes held?
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The next chunk, when enough bytes are held to tell where it ends.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        while self.uncut() >= self.sizes.most {
            self.advance();
            if self.cut >= self.sizes.joined {
                return self.split();
            }
        }
        None
    }

    /// The next chunk, when no more bytes come; `None` when nothing is left.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        while self.uncut() > 0 {
            self.advance();
            if self.cut >= self.sizes.joined {
                break;
            }
        }
        self.split()
    }

    fn uncut(&self) -> usize {
        self.held.len().saturating_sub(self.cut)
    }

    /// Finds the next boundary.
    fn advance(&mut self) {
        let Sizes { least, average, most, .. } = self.sizes;
        let bytes = self.held.get(self.cut..).unwrap_or_default();
        let (_, end) = FastCDC::new(bytes, least, average, most).cut(0, bytes.len());
        self.cut += end.clamp(1, bytes.len().max(1));
    }

    /// What is cut.
    fn split(&mut self) -> Option<Vec<u8>> {
        let rest = self.held.get(self.cut..).unwrap_or_default();
        let mut after = self.spare.take().unwrap_or_else(|| Vec::with_capacity(self.held.len().max(rest.len())));
        after.clear();
        after.extend_from_slice(rest);
        let cut = std::mem::take(&mut self.cut);
        let mut chunk = std::mem::replace(&mut self.held, after);
        chunk.truncate(cut);
        (!chunk.is_empty()).then_some(chunk)
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

    #[test]
    fn memory_that_is_given_back_is_used_again() {
        let bytes = noise(5 * MOST, 3);
        let mut cutter = Cutter::new(Sizes::SMALL);
        let (mut chunks, mut places) = (Vec::new(), Vec::new());
        let mut left = &bytes[..];
        while !left.is_empty() {
            left = &left[cutter.take(&left[..left.len().min(100_000)])..];
            if let Some(chunk) = cutter.chunk() {
                chunks.push(chunk.clone());
                places.push(chunk.as_ptr());
                cutter.reuse(|| Some(chunk));
            }
        }
        while let Some(chunk) = cutter.rest() {
            chunks.push(chunk);
        }
        assert!(chunks == cut(&bytes, 100_000), "the chunks are the same");
        places.sort_unstable();
        places.dedup();
        assert!(places.len() <= 3, "{} chunks lay in {} places", chunks.len(), places.len());
    }

    fn cut(bytes: &[u8], portion: usize) -> Vec<Vec<u8>> {
        cut_to(Sizes::SMALL, bytes, portion)
    }

    fn cut_to(sizes: Sizes, bytes: &[u8], portion: usize) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::new(sizes);
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
    fn joined_chunks_are_whole_ones_do_not_depend_on_portions_and_are_soon_the_same_after_an_edit() {
        let sizes = Sizes { joined: 3 * MIB, ..Sizes::SMALL };
        let bytes = noise(40_000_000, 5);
        let (parts, whole) = (cut(&bytes, 65_536), cut_to(sizes, &bytes, 65_536));
        assert!(whole.concat() == bytes);
        assert!(whole.iter().rev().skip(1).all(|chunk| (3 * MIB..3 * MIB + MOST).contains(&chunk.len())));
        let mut ends = parts.iter().scan(0, |end, part| {
            *end += part.len();
            Some(*end)
        });
        let mut end = 0;
        for chunk in &whole {
            end += chunk.len();
            assert!(ends.any(|part| part == end), "{end} is no boundary");
        }
        for portion in [4_099, MOST, 7 * MIB] {
            assert!(cut_to(sizes, &bytes, portion) == whole, "portions of {portion}");
        }
        let mut edited = bytes;
        edited.splice(9_000_000..9_000_010, *b"something longer than it was");
        let new = cut_to(sizes, &edited, 65_536);
        let other = new.iter().filter(|chunk| !whole.contains(chunk)).count();
        assert!((1..=5).contains(&other), "{other} of {} chunks are new", new.len());
        assert_eq!(cut_to(sizes, b"x", 1), [b"x"]);
        assert!(cut_to(sizes, b"", 1).is_empty());
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
