//! Taking away what an earlier entry of the same layer made, whatever it is and however deep.
//!
//! Must never: recurse, or hold a descriptor per level; the depth is the layer's choice.

use super::failed;
use super::place::{Place, Places};
use crate::error::LayerfsError;
use crate::root::absent;
use crate::stat::Kind;
use crate::walk::Dir;
use crate::whiteout;
use cooper_image::RelPath;
use rustix::fs::{AtFlags, RenameFlags};
use std::collections::VecDeque;
use std::io;

/// What was at a place before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing, or an entry that says nothing about lower layers.
    Other,
    /// A deletion of the same name in lower layers.
    Deletion,
}

/// Removes whatever has this name.
pub(super) fn remove(places: &mut Places, place: &Place, name: &[u8], entry: &RelPath) -> Result<Before, LayerfsError> {
    let Some(meta) = absent(place.dir.stat(name)).map_err(failed("reading", entry))? else { return Ok(Before::Other) };
    if meta.kind == Kind::Dir {
        places.forget_paths();
        let doomed = place.dir.open_dir(name).map_err(failed("opening", entry))?;
        empty(places, &doomed).map_err(failed("replacing", entry))?;
        places.removed(&meta);
        rustix::fs::unlinkat(place.dir.as_fd(), name, AtFlags::REMOVEDIR).map_err(failed("replacing", entry))?;
        return Ok(Before::Other);
    }
    if meta.kind == Kind::Symlink {
        places.forget_paths();
    }
    rustix::fs::unlinkat(place.dir.as_fd(), name, AtFlags::empty()).map_err(failed("replacing", entry))?;
    Ok(if whiteout::is_whiteout(&meta) { Before::Deletion } else { Before::Other })
}

/// Empties a directory. Directories found deeper are moved up into it before their turn comes, so that two
/// descriptors are enough for any depth.
fn empty(places: &mut Places, top: &Dir) -> io::Result<()> {
    let mut queue: VecDeque<Vec<u8>> = VecDeque::new();
    let mut fresh = 0u64;
    sweep(top, |name| {
        queue.push_back(name.to_vec());
        Ok(())
    })?;
    while let Some(name) = queue.pop_front() {
        let dir = top.open_dir(&name)?;
        sweep(&dir, |deeper| {
            let moved = loop {
                let free = format!(".{fresh}").into_bytes();
                fresh += 1;
                match rustix::fs::renameat_with(dir.as_fd(), deeper, top.as_fd(), &free, RenameFlags::NOREPLACE) {
                    Err(rustix::io::Errno::EXIST) => {}
                    other => break other.map(|()| free)?,
                }
            };
            queue.push_back(moved);
            Ok(())
        })?;
        places.removed(&dir.meta()?);
        rustix::fs::unlinkat(top.as_fd(), &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Unlinks everything but directories, which are handed out.
fn sweep(dir: &Dir, mut found: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    for entry in dir.entries()? {
        let kind = match entry.kind {
            Some(kind) => kind,
            None => dir.stat(&entry.name)?.kind,
        };
        match kind {
            Kind::Dir => found(&entry.name)?,
            _ => rustix::fs::unlinkat(dir.as_fd(), &entry.name, AtFlags::empty())?,
        }
    }
    Ok(())
}
