//! Which files were hashed before and are the same still: a stat cache, with the rule of git's index for files that
//! are racily clean.
//!
//! Takes: the bytes that an earlier scan left, and metadata. Gives: the digest of a file whose device, inode number,
//! size, mtime and ctime are what they were. Every write, and every change of mode, owner or attributes, sets the
//! ctime to the clock of the kernel, and no program can set it otherwise; so an equal ctime means equal bytes, unless
//! the write came within the clock's grain after the file was read. Files whose ctime is not older than
//! [`RACY_SECONDS`] when the scan begins are therefore not remembered. Only file systems of the kernel's own that keep
//! ctimes are trusted ([`Seen::trusted`]), and of them only the one that the root of the context is on; only files
//! without attributes that travel are remembered.
//!
//! What this cannot see: a write through a shared mapping sets the ctime when a page is first made writable and not at
//! each store, so that a program that keeps a file mapped can change it after it was hashed. What is packed is compared
//! with its digest, and a file that turns out to be another makes everything be forgotten ([`Seen::doubt`]).
//! Must never: do I/O, or vouch for a file that may have changed.
//!
//! ```text
//! "cooper-seen/2\n" | records of 80 bytes, sorted | BLAKE3 of all that (32)
//! record = device (8) | inode (8) | size (8) | mtime (8 + 4) | ctime (8 + 4) | BLAKE3 of the content (32), big-endian
//! ```

use crate::root::Root;
use crate::stat::{Meta, Time};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A file that was changed within so many seconds before a scan is not remembered: file systems with the coarsest
/// clock count whole seconds, some in twos.
pub const RACY_SECONDS: i64 = 2;

const MAGIC: &[u8] = b"cooper-seen/2\n";
const RECORD: usize = 80;
const STAMP: usize = 48;
const FILE: usize = 16;
const CHECK: usize = 32;
/// Old records that no scan has asked for are kept while they are not more than this, or than those that were asked for.
const SPARE: usize = 10_000;

/// BLAKE3 of a file's content.
type Sum = [u8; 32];
/// Everything of a file that says whether it is the same still.
type Stamp = [u8; STAMP];

/// What is remembered of files, and what a scan adds.
#[derive(Debug)]
pub struct Seen {
    /// Sorted by device and inode.
    old: Vec<[u8; RECORD]>,
    asked: Vec<AtomicBool>,
    fresh: Mutex<BTreeMap<[u8; FILE], [u8; RECORD]>>,
    /// The device whose files are remembered.
    dev: u64,
    /// When the scan began, in seconds since 1970.
    begun: i64,
    /// A file was not what was remembered of it.
    doubted: AtomicBool,
}

impl Seen {
    /// Reads what an earlier scan left; damage is nothing remembered. `dev` is the device that [`Seen::trusted`] gave,
    /// `begun` is now, in seconds since 1970.
    pub fn decode(bytes: &[u8], dev: u64, begun: i64) -> Self {
        let old = records(bytes).unwrap_or_default();
        let asked = old.iter().map(|_| AtomicBool::new(false)).collect();
        Self { old, asked, fresh: Mutex::default(), dev, begun, doubted: AtomicBool::new(false) }
    }

    /// Everything worth remembering; `None` when nothing is new. Nothing is worth it once there was doubt.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.doubted.load(Ordering::Relaxed) {
            return (!self.old.is_empty()).then(|| sealed(std::iter::empty()));
        }
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.is_empty() {
            return None;
        }
        let asked = self.asked.iter().filter(|a| a.load(Ordering::Relaxed)).count();
        let mut spare = SPARE.max(asked + fresh.len());
        let mut all = fresh.clone();
        for (record, asked) in self.old.iter().zip(&self.asked) {
            let asked = asked.load(Ordering::Relaxed);
            let Some(file) = record.first_chunk().filter(|_| asked || spare > 0) else { continue };
            spare -= usize::from(!asked);
            all.entry(*file).or_insert(*record);
        }
        Some(sealed(all.values()))
    }

    /// The device of the root, when the ctimes on it can be believed.
    pub fn trusted(root: &Root) -> Option<u64> {
        /// Magic numbers of statfs(2): ext, XFS, Btrfs, overlay, F2FS, bcachefs. Tmpfs is not among them: a write
        /// through a mapping leaves its times alone.
        const TRUSTED: [u64; 6] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x794C_7630, 0xF2F5_2010, 0xCA45_1A4E];
        let dir = root.as_dir();
        let known = rustix::fs::fstatfs(dir.as_fd()).is_ok_and(|s| TRUSTED.contains(&(s.f_type as u64 & 0xFFFF_FFFF)));
        dir.meta().ok().filter(|_| known).map(|meta| meta.dev)
    }

    /// A file was not what was selected: nothing that is remembered can be believed any more.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// The digest of a file that is what it was.
    pub(crate) fn sum(&self, meta: &Meta) -> Option<Sum> {
        if meta.dev != self.dev || self.doubted.load(Ordering::Relaxed) {
            return None;
        }
        let stamp = stamp(meta);
        let file = stamp.first_chunk::<FILE>()?;
        let at = self.old.binary_search_by(|r| r.first_chunk::<FILE>().cmp(&Some(file))).ok()?;
        let record = self.old.get(at)?;
        let (known, sum) = record.split_first_chunk::<STAMP>()?;
        self.asked.get(at)?.store(true, Ordering::Relaxed);
        (*known == stamp).then(|| sum.first_chunk().copied()).flatten()
    }

    /// Remembers a file that was hashed, unless it was changed so lately that a later change could look the same.
    pub(crate) fn note(&self, meta: &Meta, sum: &Sum) {
        if meta.dev != self.dev || meta.ctime.secs.saturating_add(RACY_SECONDS) >= self.begun {
            return;
        }
        let stamp = stamp(meta);
        let mut record = [0; RECORD];
        record.iter_mut().zip(stamp.iter().chain(sum)).for_each(|(to, from)| *to = *from);
        if let Some(file) = stamp.first_chunk() {
            self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(*file, record);
        }
    }
}

/// The form in which records are kept.
fn sealed<'r>(records: impl Iterator<Item = &'r [u8; RECORD]>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    records.for_each(|record| bytes.extend_from_slice(record));
    let check = blake3::hash(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    bytes
}

fn records(bytes: &[u8]) -> Option<Vec<[u8; RECORD]>> {
    let (body, check) = bytes.split_last_chunk::<CHECK>()?;
    if blake3::hash(body).as_bytes() != check {
        return None;
    }
    let (records, rest) = body.strip_prefix(MAGIC)?.as_chunks::<RECORD>();
    (rest.is_empty() && records.is_sorted()).then(|| records.to_vec())
}

fn stamp(meta: &Meta) -> Stamp {
    let Meta { dev, ino, size, mtime, ctime, .. } = *meta;
    let time = |t: Time| t.secs.to_be_bytes().into_iter().chain(t.nanos.to_be_bytes());
    let numbers = [dev, ino, size].into_iter().flat_map(u64::to_be_bytes);
    let mut stamp = [0; STAMP];
    stamp.iter_mut().zip(numbers.chain(time(mtime)).chain(time(ctime))).for_each(|(to, from)| *to = from);
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat::Kind;

    const NOW: i64 = 1_000_000;
    const DEV: u64 = 9;

    fn meta(ino: u64, changed: i64) -> Meta {
        let time = Time { secs: changed, nanos: 5 };
        let (kind, mode, rdev) = (Kind::File, 0o644, crate::stat::Rdev::default());
        Meta {
            kind,
            mode,
            uid: 1,
            gid: 1,
            size: 3,
            mtime: time,
            ctime: time,
            btime: time,
            dev: DEV,
            ino,
            nlink: 1,
            rdev,
        }
    }

    fn remembered(metas: &[Meta]) -> Vec<u8> {
        let seen = Seen::decode(b"", DEV, NOW);
        metas.iter().for_each(|m| seen.note(m, &[m.ino as u8; 32]));
        seen.encode().unwrap()
    }

    #[test]
    fn a_file_is_known_while_nothing_about_it_changes() {
        let metas: Vec<Meta> = (0..300).rev().map(|ino| meta(ino, 7)).collect();
        let seen = Seen::decode(&remembered(&metas), DEV, NOW);
        for m in &metas {
            assert_eq!(seen.sum(m), Some([m.ino as u8; 32]));
        }
        let m = metas[0];
        let later = Time { nanos: 6, ..m.ctime };
        for other in [
            Meta { ctime: later, ..m },
            Meta { mtime: later, ..m },
            Meta { size: 4, ..m },
            Meta { dev: 8, ..m },
            Meta { ino: 300, ..m },
        ] {
            assert_eq!(seen.sum(&other), None, "{other:?}");
        }
        // What the copy takes from the metadata itself is none of the cache's business.
        assert!(seen.sum(&Meta { uid: 7, nlink: 2, ..m }).is_some());
        assert!(seen.encode().is_none());
    }

    #[test]
    fn what_was_changed_just_now_is_not_remembered() {
        let seen = Seen::decode(b"", DEV, NOW);
        for (changed, kept) in [(NOW - RACY_SECONDS - 1, true), (NOW - RACY_SECONDS, false), (NOW + 99, false)] {
            let m = meta(u64::try_from(changed).unwrap(), changed);
            seen.note(&m, &[1; 32]);
            let after = seen.encode().map(|bytes| Seen::decode(&bytes, DEV, NOW));
            assert_eq!(after.and_then(|s| s.sum(&m)).is_some(), kept, "{changed}");
        }
    }

    #[test]
    fn newer_records_replace_older_ones_and_the_others_stay_a_while() {
        let first = remembered(&[meta(1, 7), meta(2, 7)]);
        let seen = Seen::decode(&first, DEV, NOW);
        seen.note(&meta(2, 8), &[99; 32]);
        let again = Seen::decode(&seen.encode().unwrap(), DEV, NOW);
        assert_eq!(again.sum(&meta(2, 8)), Some([99; 32]));
        assert_eq!(again.sum(&meta(2, 7)), None);
        assert!(again.sum(&meta(1, 7)).is_some());
        let many: Vec<Meta> = (0..2 * SPARE as u64).map(|ino| meta(ino, 7)).collect();
        let seen = Seen::decode(&remembered(&many), DEV, NOW);
        seen.note(&meta(u64::MAX, 7), &[1; 32]);
        let kept = records(&seen.encode().unwrap()).unwrap().len();
        assert_eq!(kept, SPARE + 1);
    }

    #[test]
    fn damage_is_nothing_remembered() {
        let m = meta(1, 7);
        let whole = remembered(&[m]);
        for n in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[n] ^= 1;
            for bytes in [&whole[..n], &flipped] {
                assert_eq!(Seen::decode(bytes, DEV, NOW).sum(&m), None, "byte {n}");
            }
        }
        assert!(Seen::decode(&whole, DEV, NOW).sum(&m).is_some());
    }

    #[test]
    fn files_of_another_device_are_not_remembered() {
        let (own, other) = (meta(1, 7), Meta { dev: DEV + 1, ..meta(1, 7) });
        let seen = Seen::decode(b"", DEV, NOW);
        seen.note(&other, &[1; 32]);
        assert!(seen.encode().is_none());
        // Another file system is mounted on the context, and was not when the records were made.
        assert!(Seen::decode(&remembered(&[own]), DEV + 1, NOW).sum(&other).is_none());
    }

    #[test]
    fn doubt_forgets_everything() {
        let m = meta(1, 7);
        let seen = Seen::decode(&remembered(&[m]), DEV, NOW);
        assert!(seen.sum(&m).is_some());
        seen.note(&meta(2, 7), &[2; 32]);
        seen.doubt();
        assert_eq!(seen.sum(&m), None);
        let after = Seen::decode(&seen.encode().unwrap(), DEV, NOW);
        assert_eq!((after.sum(&m), after.old.len()), (None, 0));
        // Where nothing was remembered there is nothing to write.
        let empty = Seen::decode(b"", DEV, NOW);
        empty.doubt();
        assert!(empty.encode().is_none());
    }

    #[test]
    fn only_file_systems_that_keep_ctimes_are_trusted() {
        for untrusted in ["/proc", "/dev/shm"] {
            assert_eq!(Seen::trusted(&Root::open(std::path::Path::new(untrusted)).unwrap()), None, "{untrusted}");
        }
        let here = Root::open(std::path::Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(Seen::trusted(&here), Some(here.as_dir().meta().unwrap().dev));
    }
}
