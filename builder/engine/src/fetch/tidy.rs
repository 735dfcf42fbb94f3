//! What a checkout looks like in the end: the same on every machine, whatever the umask and the time.
//!
//! Takes a directory that git filled and nobody else writes to. Directories and executable files become 0755, other
//! files 0644; all get one time; what git itself needs goes, unless it is wanted. Must never: follow a link.

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Does `.git` stay?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GitDir {
    Keep,
    Remove,
}

/// Tidies up.
pub(super) fn tidy(tree: &Path, git_dir: GitDir, mtime: i64) -> io::Result<()> {
    let mut all = Vec::new();
    let mut open = vec![tree.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let (entry, path) = entry.map(|e| (e.file_type(), e.path()))?;
            let kind = entry?;
            if git_dir == GitDir::Remove && path.file_name().is_some_and(|n| n == ".git") {
                remove(&path, kind)?;
                continue;
            }
            if kind.is_dir() {
                open.push(path);
                continue;
            }
            if kind.is_file() {
                let executable = std::fs::symlink_metadata(&path)?.permissions().mode() & 0o100 != 0;
                set_mode(&path, if executable { 0o755 } else { 0o644 })?;
            }
            all.push(path);
        }
        set_mode(&dir, 0o755)?;
        all.push(dir);
    }
    // Nothing is made or removed from here on, so that times stay.
    all.iter().try_for_each(|path| set_time(path, mtime))
}

fn remove(path: &PathBuf, kind: std::fs::FileType) -> io::Result<()> {
    if kind.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    #[test]
    fn modes_times_and_what_is_gits() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("d/.git/x")).unwrap();
        fs::create_dir(tree.join(".git")).unwrap();
        fs::create_dir(tree.join("sub")).unwrap();
        fs::create_dir(&outside).unwrap();
        for (name, mode) in [("d/plain", 0o600), ("d/run", 0o700), ("sub/.git", 0o644), ("sub/.gitignore", 0o664)] {
            fs::write(tree.join(name), "x").unwrap();
            set_mode(&tree.join(name), mode).unwrap();
        }
        set_mode(&tree.join("d"), 0o700).unwrap();
        set_mode(&outside, 0o700).unwrap();
        symlink(&outside, tree.join("d/link")).unwrap();
        tidy(&tree, GitDir::Keep, 7).unwrap();
        assert!(tree.join("d/.git/x").exists());
        tidy(&tree, GitDir::Remove, 5).unwrap();
        for (name, mode) in [
            ("", 0o755),
            ("d", 0o755),
            ("d/plain", 0o644),
            ("d/run", 0o755),
            ("sub/.gitignore", 0o644),
            ("d/link", 0o777),
        ] {
            let meta = fs::symlink_metadata(tree.join(name)).unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.mtime()), (mode, 5), "{name}");
        }
        for name in [".git", "d/.git", "sub/.git"] {
            assert!(!tree.join(name).exists(), "{name}");
        }
        let meta = fs::metadata(&outside).unwrap();
        assert!(meta.mode() & 0o7777 == 0o700 && meta.mtime() > 5);
    }
}
