//! Lists of what refers to a manifest, as the upstream has them, remembered for a while.
//!
//! Must never: grow with what strangers ask for, or with what they push to the upstream.

use cooper_image::{Descriptor, Digest, limits};
use cooper_store::{Referrers, RepoName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes of all lists together, as they are sent: there is room for the longest that the client takes.
const BYTES: u64 = 20 * limits::MANIFEST_BYTES;
/// What a list takes that is empty.
const EMPTY: u64 = 1024;

/// A whole list, each entry once and with its length in bytes, sorted by digest.
#[derive(Debug)]
pub struct List(Vec<(Descriptor, u64)>);

impl List {
    /// Puts in order what the upstream said, in however many pieces.
    pub fn of(mut all: Vec<Descriptor>) -> Self {
        all.sort_by_cached_key(|d| d.digest.to_string());
        all.dedup_by(|a, b| a.digest == b.digest);
        let length = |d: &Descriptor| serde_json::to_vec(d).map_or(0, |text| text.len() as u64);
        Self(all.into_iter().map(|d| (length(&d), d)).map(|(length, d)| (d, length)).collect())
    }

    /// Those after `last`, as many as have at most so many bytes together, but one at least.
    pub fn piece(&self, last: Option<&Digest>, bytes: u64) -> Referrers {
        let last = last.map(Digest::to_string);
        let mut piece = Referrers::default();
        let mut taken = 0;
        for (d, length) in self.0.iter().filter(|(d, _)| last.as_ref().is_none_or(|last| d.digest.to_string() > *last))
        {
            // With what stands between two.
            taken += length + 1;
            if taken > bytes && !piece.descriptors.is_empty() {
                piece.more = piece.descriptors.last().map(|d| d.digest.clone());
                break;
            }
            piece.descriptors.push(d.clone());
        }
        piece
    }

    fn bytes(&self) -> u64 {
        self.0.iter().fold(EMPTY, |sum, (_, length)| sum.saturating_add(*length))
    }
}

/// By repository and subject: until when it counts, and the list.
type Remembered = HashMap<(RepoName, Digest), (Instant, Arc<List>)>;

/// Lists, as long as they count.
#[derive(Debug, Default)]
pub struct Lists(Mutex<Remembered>);

impl Lists {
    /// What counts still.
    pub fn recall(&self, name: &RepoName, subject: &Digest) -> Option<Arc<List>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, list) = all.get(&(name.clone(), subject.clone()))?;
        (Instant::now() < *until).then(|| Arc::clone(list))
    }

    /// Remembers a list for so long. Those that count for the shortest time make room: whoever reads a long list page by
    /// page must find it again, else each page is the whole list once more for the upstream.
    pub fn note(&self, name: &RepoName, subject: &Digest, time: Duration, list: &Arc<List>) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.clone(), subject.clone());
        all.retain(|other, (until, _)| now < *until && *other != key);
        if list.bytes() > BYTES {
            return;
        }
        let mut taken: u64 = all.values().map(|(_, list)| list.bytes()).sum();
        while taken + list.bytes() > BYTES {
            let oldest = all.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone());
            let Some((_, gone)) = oldest.and_then(|key| all.remove(&key)) else { break };
            taken -= gone.bytes();
        }
        all.insert(key, (now + time, Arc::clone(list)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::MediaType;

    fn entry(n: u32, note: usize) -> Descriptor {
        let mut d = Descriptor::of(MediaType::OciManifest, &n.to_le_bytes());
        d.annotations.insert("note".to_owned(), "x".repeat(note));
        d
    }

    #[test]
    fn pieces_are_bounded_and_join_and_hold_nothing_twice() {
        let list = List::of([3, 1, 2, 1, 3].map(|n| entry(n, 1000)).to_vec());
        let (mut last, mut sizes, mut all) = (None, Vec::new(), Vec::new());
        loop {
            let piece = list.piece(last.as_ref(), 2 * (list.0[0].1 + 1));
            sizes.push(piece.descriptors.len());
            all.extend(piece.descriptors.into_iter().map(|d| d.digest.to_string()));
            last = piece.more;
            if last.is_none() {
                break;
            }
        }
        assert_eq!(sizes, [2, 1]);
        assert!(all.is_sorted());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (lists, name): (_, RepoName) = (Lists::default(), "a".parse().unwrap());
        let long = Arc::new(List::of(vec![entry(0, 3 << 20)]));
        let subject = |n: u32| Digest::sha256(n.to_le_bytes());
        // Each is there while its pages are read; the one before, too; the oldest made room.
        for n in 0..40 {
            lists.note(&name, &subject(n), Duration::from_secs(60), &long);
            assert!([n, n.saturating_sub(1)].iter().all(|n| lists.recall(&name, &subject(*n)).is_some()), "{n}");
            let taken: u64 = lists.0.lock().unwrap().values().map(|(_, list)| list.bytes()).sum();
            assert!(taken <= BYTES, "{n}: {taken}");
        }
        assert!(lists.recall(&name, &subject(0)).is_none());
        // The same one again takes nobody's room.
        let before = lists.0.lock().unwrap().len();
        lists.note(&name, &subject(39), Duration::from_secs(60), &long);
        assert_eq!(lists.0.lock().unwrap().len(), before);
        lists.note(&name, &subject(50), Duration::ZERO, &Arc::new(List::of(Vec::new())));
        assert!(lists.recall(&name, &subject(50)).is_none());
    }
}
