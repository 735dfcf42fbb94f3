//! Where a stream is cut: boundaries that depend on the bytes around them alone (FastCDC, 2020 variant).
//!
//! Takes: bytes in any portions. Gives: the same chunks whatever the portions were. An edit moves the boundaries near
//! it and no others. The sizes and the version of the algorithm are part of what a compressed layer is: with others,
//! the same tar gives other bytes (see [`super::Method::id`]).

use fastcdc::v2020::FastCDC;

/// Least bytes of a chunk, but for the last one.
pub const LEAST: usize = 256 * 1024;
/// Bytes of a chunk in the middle of the distribution.
pub const AVERAGE: usize = 1024 * 1024;
/// Most bytes of a chunk.
pub const MOST: usize = 2 * 1024 * 1024;

/// Collects bytes until a chunk is whole.
#[derive(Default)]
pub struct Cutter {
    held: Vec<u8>,
}

impl Cutter {
    /// Takes some of the bytes, at most as many as a boundary needs to be seen; says how many.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let room = MOST.saturating_sub(self.held.len()).min(bytes.len());
        self.held.extend_from_slice(bytes.get(..room).unwrap_or_default());
        room
    }

    /// Are no bytes held?
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The next chunk, when enough bytes are held to tell where it ends.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        if self.held.len() < MOST { None } else { self.rest() }
    }

    /// The next chunk, when no more bytes come; `None` when nothing is left.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        if self.held.is_empty() {
            return None;
        }
        let (_, end) = FastCDC::new(&self.held, LEAST, AVERAGE, MOST).cut(0, self.held.len());
        let after = self.held.split_off(end.clamp(1, self.held.len()));
        Some(std::mem::replace(&mut self.held, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut cutter = Cutter::default();
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
