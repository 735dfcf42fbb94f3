//! How much a file or directory takes on the disk: allocated blocks, a file with several names once.
//!
//! Takes paths, follows no symbolic link. What cannot be read counts as far as it can be seen.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Unit of a file's block count (stat(2)), in bytes.
const BLOCK: u64 = 512;

/// Counts, and remembers which files with several names it has counted.
#[derive(Debug, Default)]
pub struct Meter {
    seen: HashSet<(u64, u64)>,
}

/// What something takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Allocated bytes.
    pub bytes: u64,
    /// Some of its files have further names, so that deleting it frees less than it takes, or were counted with those.
    pub linked: bool,
}

impl Meter {
    /// One entry alone.
    pub fn entry(&mut self, metadata: &Metadata) -> Taken {
        let linked = !metadata.is_dir() && metadata.nlink() > 1;
        if linked && !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Taken { bytes: 0, linked };
        }
        Taken { bytes: metadata.blocks() * BLOCK, linked }
    }

    /// Something with everything below it.
    pub fn all(&mut self, path: &Path) -> Taken {
        let Ok(metadata) = fs::symlink_metadata(path) else { return Taken::default() };
        self.below(path, &metadata)
    }

    fn below(&mut self, path: &Path, metadata: &Metadata) -> Taken {
        let mut taken = self.entry(metadata);
        if !metadata.is_dir() {
            return taken;
        }
        // A list, not recursion: a step may nest directories as deep as it likes.
        let mut pending = vec![path.to_owned()];
        while let Some(dir) = pending.pop() {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                let one = self.entry(&metadata);
                taken.bytes += one.bytes;
                if metadata.is_dir() {
                    pending.push(entry.path());
                }
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn it_agrees_with_du() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("f"), vec![7; 100_000]).unwrap();
        fs::hard_link(inner.join("f"), dir.path().join("again")).unwrap();
        fs::File::create(inner.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/", inner.join("root")).unwrap();
        let said = Command::new("du").args(["-s", "--block-size=1"]).arg(dir.path()).output().unwrap();
        let du: u64 = String::from_utf8_lossy(&said.stdout).split_whitespace().next().unwrap().parse().unwrap();
        assert_eq!(Meter::default().all(dir.path()).bytes, du);
    }
}
