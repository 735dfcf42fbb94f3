//! The encoding of ssh's messages and keys (RFC 4251 section 5).
//!
//! Takes bytes; gives fields. Must never read beyond what was given.

/// Reads one field after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next bytes, as they are.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A `byte`.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A `uint32`.
    pub(super) fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A `string`.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let size = self.number()?;
        self.take(usize::try_from(size).ok()?)
    }

    /// An `mpint` that is not negative, without zeros in front.
    pub(super) fn natural(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        (bytes.first().is_none_or(|first| *first < 0x80)).then(|| without_zeros(bytes))
    }
}

/// Appends a `string`.
pub(super) fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    put_number(to, bytes.len());
    to.extend_from_slice(bytes);
}

/// Appends a number that is not negative, big-endian, as an `mpint`.
pub(super) fn put_natural(to: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = without_zeros(bytes);
    let sign = usize::from(bytes.first().is_some_and(|first| *first >= 0x80));
    put_number(to, bytes.len() + sign);
    to.extend(std::iter::repeat_n(0, sign));
    to.extend_from_slice(bytes);
}

/// Appends a `uint32`: a length or a count of what is in memory here, which is far below its limit.
pub(super) fn put_number(to: &mut Vec<u8>, number: usize) {
    to.extend(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    bytes.get(bytes.iter().take_while(|byte| **byte == 0).count()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_specification() {
        // The examples of RFC 4251 section 5.
        for (number, encoded) in [
            (&[][..], &[0, 0, 0, 0][..]),
            (&[0x09, 0xa3, 0x78, 0xf9], &[0, 0, 0, 4, 0x09, 0xa3, 0x78, 0xf9]),
            (&[0, 0x80], &[0, 0, 0, 2, 0, 0x80]),
        ] {
            let mut put = Vec::new();
            put_natural(&mut put, number);
            assert_eq!(put, encoded);
            assert_eq!(Fields(&put).natural(), Some(without_zeros(number)));
        }
        assert_eq!(Fields(&[0, 0, 0, 1, 0x80]).natural(), None, "it is negative");
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut fields = Fields(&[0, 0, 0, 3, 1, 2]);
        assert_eq!((fields.string(), Fields(&[0, 0]).number(), Fields(&[]).byte()), (None, None, None));
    }
}
