//! The log of builds: what each of the last ones did, under a number of its own.
//!
//! Takes and gives values that another room understands. It is a cache: not synced, behind a checksum, and one that is
//! torn or damaged is not there. The oldest go when there are many.

use crate::publish::{Name, names, read_small};
use crate::{Store, StoreError, checked};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Most builds that are remembered.
const REMEMBERED: usize = 100;
/// Most bytes of one.
const LIMIT: u64 = 16 * 1024 * 1024;

impl Store {
    /// Remembers a build, and forgets the oldest; gives its number, which is higher than that of any other here. One
    /// that is longer than what is read is remembered as `brief` makes it.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] when that is too long still; what the system says.
    pub fn add_build<T: Serialize>(&self, build: &T, brief: impl FnOnce() -> T) -> Result<u64, StoreError> {
        let mut bytes = checked::encode("a build", build)?;
        if bytes.len() as u64 > LIMIT {
            bytes = checked::encode("a build", &brief())?;
        }
        if bytes.len() as u64 > LIMIT {
            return Err(StoreError::TooLong { what: "a build", limit: LIMIT });
        }
        let known = self.builds()?;
        let mut number = known.last().map_or(1, |last| last.saturating_add(1));
        // Another process may take a number at the same time.
        while self.write_new(&self.layout().build(number), &bytes)? == Name::Taken {
            number = number.saturating_add(1);
        }
        for old in known.iter().take((known.len() + 1).saturating_sub(REMEMBERED)) {
            // One that is gone already, or that cannot go, is no failure of the build.
            let _ = std::fs::remove_file(self.layout().build(*old));
        }
        Ok(number)
    }

    /// The numbers of the builds that are remembered, the newest last.
    ///
    /// # Errors
    /// What the system says.
    pub fn builds(&self) -> Result<Vec<u64>, StoreError> {
        let mut numbers: Vec<u64> = names(&self.layout().builds())?.iter().filter_map(|n| n.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// One build; nothing when it is not remembered, or damaged.
    ///
    /// # Errors
    /// What the system says.
    pub fn build<T: DeserializeOwned>(&self, number: u64) -> Result<Option<T>, StoreError> {
        match read_small(&self.layout().build(number), LIMIT) {
            Ok(bytes) => Ok(bytes.and_then(|b| checked::decode(&b).ok())),
            Err(StoreError::DamagedFile { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Is the file of a build whole?
    pub(crate) fn check_build(path: &Path) -> Result<(), StoreError> {
        let Some(bytes) = read_small(path, LIMIT)? else { return Ok(()) };
        let whole = checked::decode::<serde_json::Value>(&bytes);
        whole.map(drop).map_err(|why| StoreError::DamagedFile { path: path.to_owned(), reason: why.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn add(store: &Store, build: &str) -> Result<u64, StoreError> {
        store.add_build(&build.to_owned(), || "brief".to_owned())
    }

    #[test]
    fn the_last_builds_are_remembered_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.builds().unwrap().is_empty());
        for n in 1..=REMEMBERED as u64 + 3 {
            assert_eq!(add(&store, &format!("build {n}")).unwrap(), n);
        }
        let numbers = store.builds().unwrap();
        assert_eq!((numbers.len(), numbers.first(), numbers.last()), (REMEMBERED, Some(&4), Some(&103)));
        assert_eq!(store.build::<String>(3).unwrap(), None);
        assert_eq!(store.build::<String>(103).unwrap().as_deref(), Some("build 103"));
        assert!(store.fsck().unwrap().problems.is_empty());
    }

    #[test]
    fn two_builds_never_have_one_number() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut numbers: Vec<u64> = std::thread::scope(|scope| {
            let store = &store;
            let adding: Vec<_> = (0..8).map(|n| scope.spawn(move || store.add_build(&n, || n).unwrap())).collect();
            adding.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_build_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        add(&store, "whole").unwrap();
        let path = store.layout().build(1);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        assert_eq!(store.build::<String>(1).unwrap(), None);
        assert_eq!(store.fsck().unwrap().problems.len(), 1);
        assert_eq!(add(&store, "next").unwrap(), 2);
    }

    #[test]
    fn a_build_that_is_too_long_is_remembered_in_brief() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let long = "x".repeat(LIMIT as usize);
        let number = add(&store, &long).unwrap();
        assert_eq!(store.build::<String>(number).unwrap().as_deref(), Some("brief"));
        assert!(matches!(store.add_build(&long, || long.clone()), Err(StoreError::TooLong { .. })));
        assert_eq!(store.builds().unwrap(), [number]);
    }
}
