//! The 512-byte header block of ustar: where its fields are, and how numbers and sums are spelt.
//!
//! Takes and gives: one block. Must never: allocate for, or trust, what a block says.

/// Size of a block; headers are one, bodies are padded to whole ones.
pub(crate) const BLOCK: usize = 512;

/// A field: first byte and length.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    start: usize,
    len: usize,
}

const fn field(start: usize, len: usize) -> Field {
    Field { start, len }
}

pub(crate) const NAME: Field = field(0, 100);
pub(crate) const MODE: Field = field(100, 8);
pub(crate) const UID: Field = field(108, 8);
pub(crate) const GID: Field = field(116, 8);
pub(crate) const SIZE: Field = field(124, 12);
pub(crate) const MTIME: Field = field(136, 12);
pub(crate) const CHECKSUM: Field = field(148, 8);
pub(crate) const TYPE: Field = field(156, 1);
pub(crate) const LINK: Field = field(157, 100);
pub(crate) const MAGIC: Field = field(257, 8);
pub(crate) const MAJOR: Field = field(329, 8);
pub(crate) const MINOR: Field = field(337, 8);
pub(crate) const PREFIX: Field = field(345, 155);

/// `ustar`, NUL, version `00`.
pub(crate) const USTAR: &[u8; 8] = b"ustar\x0000";

impl Field {
    /// How many bytes fit.
    pub(crate) const fn len(self) -> usize {
        self.len
    }
    /// Largest number that fits in octal before the closing NUL.
    pub(crate) const fn max_octal(self) -> u64 {
        (1 << (3 * (self.len - 1))) - 1
    }
    fn of(self, block: &[u8; BLOCK]) -> &[u8] {
        block.get(self.start..self.start + self.len).unwrap_or_default()
    }
    fn of_mut(self, block: &mut [u8; BLOCK]) -> &mut [u8] {
        block.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

/// One header block.
pub(crate) struct Header([u8; BLOCK]);

impl Header {
    /// An empty ustar header; user and group names stay empty on purpose, ids are what counts.
    pub(crate) fn ustar(kind: u8) -> Self {
        let mut header = Self([0; BLOCK]);
        header.put(TYPE, &[kind]);
        header.put(MAGIC, USTAR);
        header
    }
    /// A block that was read.
    pub(crate) fn from_block(block: [u8; BLOCK]) -> Self {
        Self(block)
    }
    /// Writes bytes at the start of a field, as many as fit.
    pub(crate) fn put(&mut self, field: Field, bytes: &[u8]) {
        for (to, from) in field.of_mut(&mut self.0).iter_mut().zip(bytes) {
            *to = *from;
        }
    }
    /// Writes a number in octal, filled with zeros and closed by NUL; zero when it does not fit, because a
    /// PAX record then carries it.
    pub(crate) fn put_octal(&mut self, field: Field, number: u64) {
        let mut rest = if number > field.max_octal() { 0 } else { number };
        let bytes = field.of_mut(&mut self.0);
        let Some((_, digits)) = bytes.split_last_mut() else { return };
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest & 7) as u8;
            rest >>= 3;
        }
    }
    /// Computes the sum and gives the finished block.
    pub(crate) fn seal(mut self) -> [u8; BLOCK] {
        let sum = self.sum();
        self.put(CHECKSUM, b"\0\0\0\0\0\0\0 ");
        // Six digits, NUL, space: the spelling of every tar since the seventh edition.
        let six = Field { start: CHECKSUM.start, len: 7 };
        self.put_octal(six, sum);
        self.0
    }
    /// The bytes of a field.
    pub(crate) fn get(&self, field: Field) -> &[u8] {
        field.of(&self.0)
    }
    /// The bytes of a field up to the first NUL.
    pub(crate) fn text(&self, field: Field) -> &[u8] {
        let bytes = self.get(field);
        bytes.split(|b| *b == 0).next().unwrap_or_default()
    }
    /// The type flag.
    pub(crate) fn kind(&self) -> u8 {
        self.get(TYPE).first().copied().unwrap_or_default()
    }
    /// Does the stored sum match? Ancient tars added signed bytes, which is accepted too.
    pub(crate) fn checks(&self) -> bool {
        let Some(stored) = octal(self.get(CHECKSUM)) else { return false };
        stored == self.sum() || i64::try_from(stored) == Ok(self.signed_sum())
    }
    fn sum(&self) -> u64 {
        self.summands().map(u64::from).sum()
    }
    fn signed_sum(&self) -> i64 {
        self.summands().map(|b| i64::from(b.cast_signed())).sum()
    }
    fn summands(&self) -> impl Iterator<Item = u8> {
        let sum = CHECKSUM.start..CHECKSUM.start + CHECKSUM.len;
        self.0.iter().enumerate().map(move |(at, b)| if sum.contains(&at) { b' ' } else { *b })
    }
    /// A number in octal, or in the base-256 of GNU tar when the first bit is set. `None` when it is
    /// neither, negative where it may not be, or out of range.
    pub(crate) fn number(&self, field: Field) -> Option<u64> {
        u64::try_from(self.signed_number(field)?).ok()
    }
    /// As [`Header::number`], for times, which may lie before the epoch.
    pub(crate) fn signed_number(&self, field: Field) -> Option<i64> {
        let bytes = self.get(field);
        match bytes.first() {
            Some(first) if first & 0x80 != 0 => base256(bytes),
            _ => octal(bytes).and_then(|n| i64::try_from(n).ok()),
        }
    }
}

/// Octal digits between spaces and NULs; an empty field is zero.
fn octal(bytes: &[u8]) -> Option<u64> {
    let start = bytes.iter().position(|b| *b != b' ').unwrap_or(bytes.len());
    let rest = bytes.get(start..)?;
    let end = rest.iter().position(|b| *b == b' ' || *b == 0).unwrap_or(rest.len());
    let (digits, tail) = rest.split_at(end);
    if tail.iter().any(|b| *b != b' ' && *b != 0) {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// Two's complement, big-endian; the first bit is the mark and the second is the sign.
fn base256(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.first()? & 0x40 != 0;
    let mut number: i64 = if negative { -1 } else { 0 };
    for (at, byte) in bytes.iter().enumerate() {
        let byte = match (at, negative) {
            (0, false) => byte & 0x3f,
            (0, true) => byte | 0x80,
            _ => *byte,
        };
        number = number.checked_mul(256)?.checked_add(i64::from(byte))?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_takes_what_tars_write_and_nothing_else() {
        for (text, value) in [
            (b"0000644\0".as_slice(), Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644     ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"64 4\0\0\0\0", None),
            (b"0x1f\0\0\0\0", None),
        ] {
            assert_eq!(octal(text), value, "{text:?}");
        }
        assert_eq!(octal(b"7777777777777777777777777"), None);
    }

    #[test]
    fn base256_is_signed_and_checked() {
        let mut header = Header::ustar(b'0');
        for (bytes, value) in [
            ([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], Some(256)),
            ([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(-1)),
            ([0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(i64::MAX)),
            ([0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], None),
            ([0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], None),
        ] {
            header.put(SIZE, &bytes);
            assert_eq!(header.signed_number(SIZE), value, "{bytes:?}");
            assert_eq!(header.number(SIZE), value.and_then(|n| u64::try_from(n).ok()));
        }
    }

    #[test]
    fn numbers_and_sums_survive() {
        let mut header = Header::ustar(b'0');
        header.put_octal(SIZE, SIZE.max_octal());
        header.put_octal(UID, UID.max_octal() + 1);
        let mut block = header.seal();
        let read = Header::from_block(block);
        assert!(read.checks());
        assert_eq!(read.number(SIZE), Some(8 * 1024 * 1024 * 1024 - 1));
        assert_eq!(read.number(UID), Some(0));
        block[0] ^= 1;
        assert!(!Header::from_block(block).checks());
    }
}
