//! The `format` file: which version of the layout a directory has. Written last when a store is
//! made, so that its presence says that the store is whole.

use crate::StoreError;
use crate::ingest::Ingest;
use crate::layout::Layout;
use crate::publish::{Durability, read_small, sync_dir, write_new, write_small};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

/// The version that this code reads and writes.
const VERSION: u32 = 2;
/// More than any `format` file has, in bytes.
const LIMIT: u64 = 16 * 1024;

#[derive(Serialize, Deserialize)]
struct Format {
    version: u32,
    /// Names of what a reader has to understand beyond the version.
    #[serde(default)]
    features: Vec<String>,
}

/// Makes the store when there is none, and refuses one that is not understood.
/// Gives the version that it has.
pub fn open_or_create(layout: &Layout) -> Result<u32, StoreError> {
    if let Some(version) = version(layout)? {
        return Ok(version);
    }
    create(layout)?;
    version(layout)?.ok_or_else(|| StoreError::io("reading", &layout.format())(ErrorKind::NotFound.into()))
}

/// The version that a store has; none when it is not whole.
pub fn version(layout: &Layout) -> Result<Option<u32>, StoreError> {
    read_small(&layout.format(), LIMIT)?.map(|bytes| check(layout, &bytes)).transpose()
}

/// Notes that a store has this version now.
pub fn upgrade(layout: &Layout) -> Result<(), StoreError> {
    write_small(Arc::new(Ingest::new(layout)?), &layout.format(), &current()?, Durability::Synced)
}

/// Is this what the code writes?
pub const fn is_current(version: u32) -> bool {
    version == VERSION
}

fn check(layout: &Layout, bytes: &[u8]) -> Result<u32, StoreError> {
    let root = || layout.root().to_owned();
    let format: Format = serde_json::from_slice(bytes)
        .map_err(|_| StoreError::NotAStore { root: root(), reason: "its file `format` is not one of Cooper's" })?;
    if format.version > VERSION || !format.features.is_empty() {
        let found = std::iter::once(format.version.to_string()).chain(format.features).collect::<Vec<_>>().join(" + ");
        return Err(StoreError::Newer { root: root(), found, known: VERSION });
    }
    Ok(format.version)
}

fn create(layout: &Layout) -> Result<(), StoreError> {
    let root = layout.root();
    make_dir(root)?;
    only_ours(layout)?;
    for dir in layout.skeleton() {
        make_dir(&dir)?;
        dir.parent().map_or(Ok(()), sync_dir)?;
    }
    spread(&layout.ingest());
    sync_dir(root)?;
    // Whoever was faster can have been of another version: what is written first counts.
    write_new(Arc::new(Ingest::new(layout)?), &layout.format(), &current()?, Durability::Synced).map(drop)
}

/// Refuses a directory that is not whole as a store and holds what no store has.
pub fn only_ours(layout: &Layout) -> Result<(), StoreError> {
    let root = layout.root();
    let foreign = |name: &std::ffi::OsStr| !layout.skeleton().any(|d| d.starts_with(root.join(name)));
    for entry in std::fs::read_dir(root).map_err(StoreError::io("reading", root))? {
        let name = entry.map_err(StoreError::io("reading", root))?.file_name();
        if foreign(&name) {
            // Another process that made this store at this moment may have gone on since to use it.
            return match version(layout)? {
                Some(_) => Ok(()),
                None => Err(StoreError::NotAStore { root: root.to_owned(), reason: "it holds other files" }),
            };
        }
    }
    Ok(())
}

fn current() -> Result<Vec<u8>, StoreError> {
    let mut bytes = serde_json::to_vec(&Format { version: VERSION, features: Vec::new() })
        .map_err(|source| StoreError::Encode { what: "the store's format", source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Asks the file system to place each directory made below this one far from its siblings, as those of users are placed
/// below `/home`: trees are made there, and have nothing to do with each other.
///
/// Ext4 gives the number of a deleted file to no other for some minutes, and looks at each such number again for every
/// file that it makes nearby (`recently_deleted` in `fs/ext4/ialloc.c`). Where a tree of thousands of files was deleted,
/// the next one takes ten times as long to make, and more each time. A file system that knows no such wish refuses it.
fn spread(dir: &std::path::Path) {
    let asked = std::fs::File::open(dir).and_then(|dir| {
        let flags = ioctl_getflags(&dir)?;
        Ok(ioctl_setflags(&dir, flags | IFlags::TOPDIR)?)
    });
    if let Err(error) = asked {
        tracing::debug!(dir = %dir.display(), %error, "trees will not be placed apart");
    }
}

fn make_dir(dir: &std::path::Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("creating", dir))
}

#[cfg(test)]
mod tests {
    use super::create;
    use crate::{Store, StoreError};
    use rustix::fs::{FsWord, IFlags, ioctl_getflags, ioctl_setflags, statfs};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// What ext4 says that it is (`EXT4_SUPER_MAGIC`); its two predecessors say the same, and take the wish too.
    const EXT4: FsWord = 0xEF53;

    #[test]
    fn a_new_store_is_private_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        Store::open(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(root.join("format")).unwrap(), "{\"version\":2,\"features\":[]}\n");
        Store::open(&root).unwrap();
    }

    /// Where the file system takes the wish, trees are placed apart: on a disk, which the usual place need not be.
    #[test]
    fn trees_are_made_apart_from_each_other() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let flags = |path: &std::path::Path| ioctl_getflags(fs::File::open(path).unwrap());
        let probe = fs::File::open(dir.path()).unwrap();
        let takes = flags(dir.path()).is_ok_and(|old| ioctl_setflags(&probe, old | IFlags::TOPDIR).is_ok());
        let store = Store::open(&dir.path().join("store")).unwrap();
        let apart = flags(&store.layout().ingest()).is_ok_and(|flags| flags.contains(IFlags::TOPDIR));
        assert_eq!(apart, takes);
        // Others may refuse it; that this one does would be a fault.
        let is_ext4 = statfs(dir.path()).unwrap().f_type == EXT4;
        assert!(apart || !is_ext4, "ext4 takes the wish");
    }

    #[test]
    fn what_is_not_understood_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path()).unwrap();
        for (text, newer) in [
            (r#"{"version":3}"#, true),
            (r#"{"version":1,"features":["packed"]}"#, true),
            ("", false),
            ("{", false),
            ("\0\0\0", false),
        ] {
            fs::write(dir.path().join("format"), text).unwrap();
            let error = Store::open(dir.path()).unwrap_err();
            assert_eq!(matches!(error, StoreError::Newer { .. }), newer, "{text}");
            assert!(error.hint().is_some());
            assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), text);
        }
    }

    /// One process finds no store, and before it makes one another does and uses it.
    #[test]
    fn whoever_is_second_takes_the_store_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        create(store.layout()).unwrap();
        let newer = r#"{"version":3}"#;
        fs::write(store.layout().format(), newer).unwrap();
        assert!(matches!(create(store.layout()), Err(StoreError::Newer { .. })));
        assert_eq!(fs::read_to_string(store.layout().format()).unwrap(), newer);
    }

    #[test]
    fn many_may_make_one_store() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("store");
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| Store::open(&root).unwrap().put_blob(b"x").unwrap());
                }
            });
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::NotAStore { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
