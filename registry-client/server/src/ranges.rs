//! The two kinds of range: `Range` of a download (RFC 9110, 14.2) and `Content-Range` of a chunk
//! (distribution-spec, "Pushing a blob in chunks").

/// What a `Range` header asks of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Everything: no header, or one that need not be understood.
    All,
    /// These bytes; both ends belong to it.
    Part { first: u64, last: u64 },
    /// Nothing that the blob has.
    Outside,
}

/// Reads a `Range` header for a blob of `size` bytes. Several ranges in one header are answered
/// with the whole blob, as RFC 9110 allows. One that ends before it begins names no byte: whoever asks for it has
/// miscounted, and would take the whole blob for the part.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let of_bytes = header.and_then(|h| h.split_once('=')).filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = of_bytes.and_then(|(_, h)| h.trim().split_once('-')) else { return Wanted::All };
    match (position(first), position(last)) {
        (Some(first), Some(last)) if first <= last => part(first, last, size),
        (Some(_), Some(_)) => Wanted::Outside,
        (Some(first), None) if last.is_empty() => part(first, u64::MAX, size),
        (None, Some(count)) if first.is_empty() => match count {
            0 => Wanted::Outside,
            _ => part(size.saturating_sub(count), u64::MAX, size),
        },
        _ => Wanted::All,
    }
}

fn part(first: u64, last: u64, size: u64) -> Wanted {
    if first >= size { Wanted::Outside } else { Wanted::Part { first, last: last.min(size - 1) } }
}

/// A chunk that a `Content-Range` header announces; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    pub first: u64,
    pub last: u64,
}

/// Reads `first-last`; also the form of RFC 9110, `bytes first-last/total`, which some clients send.
pub fn chunk(header: &str) -> Option<Chunk> {
    let text = header.strip_prefix("bytes ").map_or(header, |h| h.split('/').next().unwrap_or(h));
    let (first, last) = text.trim().split_once('-')?;
    let chunk = Chunk { first: number(first)?, last: number(last)? };
    // A last byte of u64::MAX would have no length.
    (chunk.first <= chunk.last && chunk.last < u64::MAX).then_some(chunk)
}

impl Chunk {
    /// Bytes in it.
    pub fn len(self) -> u64 {
        self.last - self.first + 1
    }
}

/// Positions may have any number of digits (RFC 9110, section 14.1.1); no blob reaches those that are left out here.
fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Digits and nothing else: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_ranges() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-", part(2, 9)),
            ("bytes=2-99", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-99", part(0, 9)),
            ("bytes=10-", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=5-2", Wanted::Outside),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=99999999999999999999-", Wanted::Outside),
            ("bytes=2-99999999999999999999", part(2, 9)),
            ("bytes=-99999999999999999999", part(0, 9)),
            ("Bytes=2-3", part(2, 3)),
            ("bytes=-", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("", Wanted::All),
        ] {
            assert_eq!(wanted(Some(header), 10), expected, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::All);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Outside);
    }

    #[test]
    fn chunk_ranges() {
        for (header, expected) in [
            ("0-9", Some((0, 10))),
            ("5-5", Some((5, 1))),
            ("bytes 3-4/*", Some((3, 2))),
            ("9-0", None),
            ("-9", None),
            ("0-", None),
            ("a-b", None),
            ("+0-9", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(chunk(header).map(|c| (c.first, c.len())), expected, "{header}");
        }
    }
}
