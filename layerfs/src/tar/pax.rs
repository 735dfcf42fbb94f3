//! The records of PAX extended headers (POSIX.1-2017, pax, "pax Extended Header").
//!
//! A record is `LENGTH KEYWORD=VALUE\n`, where LENGTH counts the whole record, itself included.
//! Takes: the body of an extended header. Gives: its records, or an error; a record is never skipped
//! because it is malformed, since two readers that skip differently see two different archives.

use crate::error::Reason;
use crate::limits::{XATTR_BYTES, XATTR_NAME_BYTES};
use crate::stat::Time;
use crate::walk;
use std::collections::BTreeMap;

/// Prefix of the keywords that carry extended attributes.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";
/// The attribute that holds a file's capabilities.
const CAPABILITY: &[u8] = b"security.capability";
/// Prefix of the keywords that GNU tar writes for sparse files.
const SPARSE: &[u8] = b"GNU.sparse.";
/// The keyword that star writes for sparse files.
const REAL_SIZE: &[u8] = b"SCHILY.realsize";
/// Largest owner id; the one above means "leave as it is" to the kernel.
const MAX_ID: u64 = u32::MAX as u64 - 1;

/// Appends one record.
pub(crate) fn push(out: &mut Vec<u8>, keyword: &[u8], value: &[u8]) {
    let fixed = keyword.len() + value.len() + 3;
    let mut length = fixed + digits(fixed);
    if fixed + digits(length) > length {
        length = fixed + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(keyword);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |n| n as usize + 1)
}

/// What an extended header says about the next entry. `None` leaves the entry's own header in force.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extended {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Extended {
    /// Reads the body of an `x` header.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Reason> {
        let mut found = Self::default();
        for (keyword, value) in records(body)? {
            found.take(keyword, value)?;
        }
        Ok(found)
    }

    /// Checks the body of a `g` header. Readers differ in whether its records count for the entries that
    /// follow, so only those that change nothing are let through.
    pub(crate) fn check_global(body: &[u8]) -> Result<(), Reason> {
        if Self::parse(body)? == Self::default() { Ok(()) } else { Err(Reason::Extended) }
    }

    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), Reason> {
        if keyword.starts_with(SPARSE) || keyword == REAL_SIZE {
            return Err(Reason::Sparse);
        }
        if let Some(name) = keyword.strip_prefix(XATTR) {
            if name.is_empty() {
                return Err(Reason::Extended);
            }
            // What does not travel is never set, so that its value does not matter.
            if walk::travels(name) && !settable(name, value) {
                return Err(Reason::Attribute);
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        // An empty value takes an earlier record back; there is none, so the header's own field counts.
        if value.is_empty() {
            return Ok(());
        }
        match keyword {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(number(value, i64::MAX.unsigned_abs())?),
            b"uid" => self.uid = Some(id(value)?),
            b"gid" => self.gid = Some(id(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            _ => {}
        }
        Ok(())
    }
}

/// Does the kernel take such an attribute (`fs/xattr.c`, and `validheader` of `security/commoncap.c`)?
fn settable(name: &[u8], value: &[u8]) -> bool {
    let sized = name.len() <= XATTR_NAME_BYTES && value.len() <= XATTR_BYTES && name != b"user.";
    sized && (name != CAPABILITY || is_capability(value))
}

/// A revision and at most the flag that makes it effective, then two masks of 64 bits; the third revision ends with
/// the root's user id. The first revision can be read from old disks, but not set any more.
fn is_capability(value: &[u8]) -> bool {
    const EFFECTIVE: u32 = 1;
    let revision = value.first_chunk().map(|magic| u32::from_le_bytes(*magic) & !EFFECTIVE);
    matches!((revision, value.len()), (Some(0x0200_0000), 20) | (Some(0x0300_0000), 24))
}

/// Splits a body into records. A keyword that comes twice is refused: which one counts differs by reader.
fn records(body: &[u8]) -> Result<BTreeMap<&[u8], &[u8]>, Reason> {
    let mut found = BTreeMap::new();
    let mut rest = body;
    while !rest.is_empty() {
        let space = rest.iter().take(20).position(|b| *b == b' ').ok_or(Reason::Extended)?;
        let (digits, _) = rest.split_at(space);
        let length = number(digits, rest.len() as u64).map_err(|_| Reason::Extended)?;
        let length = usize::try_from(length).map_err(|_| Reason::Extended)?;
        let (record, after) = rest.split_at_checked(length).ok_or(Reason::Extended)?;
        let text = record.get(space + 1..).and_then(|r| r.strip_suffix(b"\n")).ok_or(Reason::Extended)?;
        let equals = text.iter().position(|b| *b == b'=').ok_or(Reason::Extended)?;
        let (keyword, value) = (text.get(..equals).unwrap_or_default(), text.get(equals + 1..).unwrap_or_default());
        if keyword.is_empty() || keyword.contains(&0) || found.insert(keyword, value).is_some() {
            return Err(Reason::Extended);
        }
        rest = after;
    }
    Ok(found)
}

fn name(value: &[u8]) -> Result<Vec<u8>, Reason> {
    if value.contains(&0) { Err(Reason::Extended) } else { Ok(value.to_vec()) }
}

fn id(value: &[u8]) -> Result<u32, Reason> {
    u32::try_from(number(value, MAX_ID)?).map_err(|_| Reason::Number)
}

/// Plain decimal digits, at most `max`.
fn number(text: &[u8], max: u64) -> Result<u64, Reason> {
    if text.is_empty() {
        return Err(Reason::Number);
    }
    let value = text.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    });
    value.filter(|n| *n <= max).ok_or(Reason::Number)
}

/// Decimal seconds with an optional sign and fraction; digits beyond nanoseconds are cut.
fn time(text: &[u8]) -> Result<Time, Reason> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |b| *b == b'.');
    let whole = number(parts.next().unwrap_or_default(), i64::MAX.unsigned_abs())?;
    let mut secs = i64::try_from(whole).map_err(|_| Reason::Number)?;
    let mut nanos = 0;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return Err(Reason::Number);
        }
        let padded = fraction.iter().copied().chain(std::iter::repeat(b'0'));
        nanos = padded.take(9).fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
    }
    if negative {
        secs = -secs;
        if nanos > 0 {
            secs -= 1;
            nanos = 1_000_000_000 - nanos;
        }
    }
    Ok(Time { secs, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        for value in [0usize, 1, 80, 85, 86, 87, 88, 89, 90, 91, 92, 93, 985, 986, 987, 988, 989, 990, 10_000] {
            let mut out = Vec::new();
            push(&mut out, b"path", &vec![b'x'; value]);
            let stated: usize = std::str::from_utf8(&out).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(stated, out.len(), "value of {value} bytes");
            assert_eq!(records(&out).unwrap()[b"path".as_slice()].len(), value);
        }
    }

    #[test]
    fn malformed_bodies_are_errors() {
        for bad in [
            b"10 path=ab".as_slice(),
            b"9 path=ab\n",
            b"12 path=ab\n",
            b"99 path=ab\n",
            b"path=ab\n",
            b" 10 path=a\n",
            b"+9 path=a\n",
            b"5 =a\n",
            b"7 path\n",
            b"0 path=a\n",
            b"18446744073709551616 path=a\n",
            b"9 path=a\n\0",
            b"9 path=a\n9 path=b\n",
            b"16 size=-00001\n\n",
            b"11 pa\0h=ab\n",
            b"11 path=a\0\n\n",
            b"12 size=0x1\n",
            b"13 mtime=1.x\n",
            b"30 size=18446744073709551615\n",
            b"18 uid=4294967295\n",
        ] {
            assert!(Extended::parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn attributes_that_cannot_be_set_are_refused() {
        let capability = |revision: u32, length: usize| {
            let mut value = revision.to_le_bytes().to_vec();
            value.resize(length, 0);
            value
        };
        let name = |length: usize| [b"user.".as_slice(), &vec![b'n'; length - 5]].concat();
        let cases: &[(&[u8], Vec<u8>, bool)] = &[
            (CAPABILITY, capability(0x0200_0000, 20), true),
            (CAPABILITY, capability(0x0200_0001, 20), true),
            (CAPABILITY, capability(0x0300_0001, 24), true),
            (CAPABILITY, b"bad".to_vec(), false),
            (CAPABILITY, Vec::new(), false),
            (CAPABILITY, capability(0x0200_0000, 24), false),
            (CAPABILITY, capability(0x0300_0000, 20), false),
            (CAPABILITY, capability(0x0100_0000, 12), false),
            (CAPABILITY, capability(0x0200_0002, 20), false),
            (CAPABILITY, capability(0x0400_0000, 24), false),
            (b"user.", b"1".to_vec(), false),
            (&name(255), b"1".to_vec(), true),
            (&name(256), b"1".to_vec(), false),
            (b"user.a", vec![0; 65_536], true),
            (b"user.a", vec![0; 65_537], false),
            (b"security.selinux", b"any".to_vec(), true),
        ];
        for (name, value, taken) in cases {
            let mut body = Vec::new();
            push(&mut body, &[XATTR, name].concat(), value);
            let found = Extended::parse(&body).map(|_| ());
            let expected = if *taken { Ok(()) } else { Err(Reason::Attribute) };
            assert_eq!(found, expected, "{} of {} bytes", name.escape_ascii(), value.len());
        }
    }

    #[test]
    fn sparse_maps_are_refused() {
        for keyword in [b"GNU.sparse.major".as_slice(), b"GNU.sparse.size", b"SCHILY.realsize"] {
            let mut body = Vec::new();
            push(&mut body, keyword, b"1");
            assert_eq!(Extended::parse(&body), Err(Reason::Sparse));
        }
    }

    #[test]
    fn a_global_header_may_only_comment() {
        let mut comment = Vec::new();
        push(&mut comment, b"comment", b"0123456789");
        assert_eq!(Extended::check_global(&comment), Ok(()));
        for keyword in [b"path".as_slice(), b"size", b"uid", b"SCHILY.xattr.user.a"] {
            let mut body = Vec::new();
            push(&mut body, keyword, b"1");
            assert_eq!(Extended::check_global(&body), Err(Reason::Extended));
        }
    }

    #[test]
    fn times_round_towards_the_past() {
        for (text, secs, nanos) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("3.0123456789", 3, 12_345_678),
            ("7.", 7, 0),
        ] {
            assert_eq!(time(text.as_bytes()), Ok(Time { secs, nanos }), "{text}");
        }
        for bad in ["", "-", "--1", ".5", "1e3", "9223372036854775808"] {
            assert!(time(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_attribute_is_an_attribute() {
        let mut body = Vec::new();
        push(&mut body, b"SCHILY.xattr.user.e", b"");
        assert_eq!(Extended::parse(&body).unwrap().xattrs[b"user.e".as_slice()], b"");
    }
}
