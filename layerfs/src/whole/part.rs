//! A directory parted from what else has its files under other names.
//!
//! Where a directory was part of a root for some time, a step could make hard links between the two. What is written
//! through one name would then be written to both.

use super::copy;
use super::lay::at;
use crate::LayerfsError;
use crate::root::Root;
use crate::stat::Kind;
use crate::walk::Dir;
use cooper_image::RelPath;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;

/// Replaces every file that has names outside of the directory by a copy. Names of one file inside stay names of one file.
///
/// # Errors
/// [`LayerfsError::Io`] with the path.
pub fn part(root: &Root) -> Result<(), LayerfsError> {
    let mut names: HashMap<(u64, u64), (u64, Vec<RelPath>)> = HashMap::new();
    let mut pending = vec![RelPath::root()];
    while let Some(path) = pending.pop() {
        let dir = root.dir(&path).map_err(at("opening", &path))?;
        for entry in dir.entries().map_err(at("listing", &path))? {
            let child = path.join(&entry.name);
            let meta = dir.stat(&entry.name).map_err(at("reading", &child))?;
            match meta.kind {
                Kind::Dir => pending.push(child),
                Kind::File if meta.nlink > 1 => {
                    let (_, paths) = names.entry((meta.dev, meta.ino)).or_insert((meta.nlink, Vec::new()));
                    paths.push(child);
                }
                _ => {}
            }
        }
    }
    for (count, paths) in names.values() {
        if (paths.len() as u64) < *count {
            copy_all(root, paths)?;
        }
    }
    Ok(())
}

/// Gives all names to one copy of the file.
fn copy_all(root: &Root, paths: &[RelPath]) -> Result<(), LayerfsError> {
    let mut first: Option<(Dir, &[u8])> = None;
    for path in paths {
        let failed = |e: io::Error| at("parting", path)(e);
        let dir = root.dir(&path.parent().unwrap_or_default()).map_err(failed)?;
        let name = path.file_name().unwrap_or_default();
        let mut new = b".parted-".to_vec();
        new.extend(dir.stat(name).map_err(failed)?.ino.to_string().bytes());
        // Of one who was killed at this.
        match rustix::fs::unlinkat(dir.as_fd(), &*new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(failed(e.into())),
        }
        let made = match &first {
            None => {
                let meta = dir.stat(name).map_err(failed)?;
                dir.open_file(name).and_then(|from| copy::file(&from, &meta, &dir, &new, &|| false))
            }
            Some((other, copy)) => {
                let linked = rustix::fs::linkat(other.as_fd(), *copy, dir.as_fd(), &*new, AtFlags::empty());
                linked.map_err(io::Error::from)
            }
        };
        let renamed = made.and_then(|()| Ok(rustix::fs::renameat(dir.as_fd(), &*new, dir.as_fd(), name)?));
        if let Err(error) = renamed {
            // It is the first error that counts.
            let _ = rustix::fs::unlinkat(dir.as_fd(), &*new, AtFlags::empty());
            return Err(failed(error));
        }
        first.get_or_insert((dir, name));
    }
    Ok(())
}
