//! No time later than asked: what a step left is made older, so that the same step gives the same layer.
//!
//! Takes: a tree and a limit. Gives: the same tree, its later modification times set to the limit, as
//! SOURCE_DATE_EPOCH asks. Must never: follow a link, or touch a time that is early enough.

use crate::error::LayerfsError;
use crate::root::Root;
use crate::stat::Kind;
use crate::walk::Dir;
use cooper_image::RelPath;
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_OMIT};
use std::os::fd::AsFd;

/// Sets every modification time after `latest` (seconds since the epoch) to `latest`, children before parents.
///
/// # Errors
/// [`LayerfsError::Io`] when an entry can neither be read nor changed.
pub fn clamp_times(tree: &Root, latest: i64) -> Result<(), LayerfsError> {
    // A stack of its own, because a step may nest deeper than this program's.
    let mut pending = vec![RelPath::root()];
    while let Some(path) = pending.pop() {
        let failed = |e: std::io::Error| LayerfsError::io(format!("setting times below {}", path.display()))(e);
        let dir = tree.dir(&path).map_err(failed)?;
        for entry in dir.entries().map_err(failed)? {
            clamp(&dir, &entry.name, latest).map_err(failed)?;
            if dir.stat(&entry.name).map_err(failed)?.kind == Kind::Dir {
                pending.push(path.join(&entry.name));
            }
        }
    }
    Ok(())
}

fn clamp(dir: &Dir, name: &[u8], latest: i64) -> std::io::Result<()> {
    if dir.stat(name)?.mtime.secs <= latest {
        return Ok(());
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: latest, tv_nsec: 0 },
    };
    Ok(rustix::fs::utimensat(dir.as_fd().as_fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn only_later_times_change_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/new"), "").unwrap();
        let old = fs::File::create(dir.path().join("old")).unwrap();
        old.set_modified(UNIX_EPOCH + Duration::from_secs(5)).unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        let before = fs::metadata(outside.path()).unwrap().mtime();
        clamp_times(&Root::open(dir.path()).unwrap(), 1_000).unwrap();
        let time = |name: &str| fs::symlink_metadata(dir.path().join(name)).unwrap().mtime();
        assert_eq!([time("d"), time("d/new"), time("old"), time("link")], [1_000, 1_000, 5, 1_000]);
        assert_eq!(fs::metadata(outside.path()).unwrap().mtime(), before);
    }
}
