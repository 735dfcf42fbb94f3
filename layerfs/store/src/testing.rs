//! What the tests of this package share.

use crate::Store;

/// An empty store, and the directory that it goes with.
pub fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}
