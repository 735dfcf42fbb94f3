//! The merged root as one tar, with true owners, modes, times and attributes.
//!
//! Directories come before what is in them, names in the order of their bytes. The root itself has no entry, unless
//! it goes to a directory of the output.

use super::{FirstNames, Part, dated};
use crate::LayerfsError;
use crate::select::Reader;
use crate::stat::{Kind, Meta, Time};
use crate::tar::write::{Entry, EntryKind, TarWriter};
use crate::view::{Found, View};
use crate::walk::{self, Xattrs};
use cooper_image::RelPath;
use std::io::Write;
use std::os::fd::AsFd as _;

/// Owner, mode and time of the directory that a root goes to are constants.
const FOLDER_MODE: u32 = 0o755;

/// Writes everything in the views, one after the other. With `time`, in Unix seconds, every entry has that time.
/// Sockets are left out.
///
/// # Errors
/// [`LayerfsError::Io`] with the path, or when the output fails; [`LayerfsError::Changed`].
pub fn export_tar(parts: &[Part], time: Option<i64>, out: &mut dyn Write) -> Result<(), LayerfsError> {
    let mut tar = TarWriter::new(out);
    for part in parts {
        let Part { into, view } = part;
        if !into.is_root() {
            let (kind, mtime) = (EntryKind::Dir, Time { secs: time.unwrap_or(0), nanos: 0 });
            tar.entry(&Entry { path: into, kind, mode: FOLDER_MODE, uid: 0, gid: 0, mtime, xattrs: &Xattrs::new() })?;
        }
        let (reader, names) = (Reader::new(view), FirstNames::default());
        let mut exporter = Exporter { part, time, tar: &mut tar, reader, names };
        // Next path last, so that a directory is followed by what is in it.
        let mut pending = sorted_children(view, &RelPath::root())?;
        while let Some((path, found)) = pending.pop() {
            exporter.add(&path, &found)?;
            if found.meta.kind == Kind::Dir {
                pending.extend(sorted_children(view, &path)?);
            }
        }
    }
    tar.finish()?.flush().map_err(LayerfsError::io("writing a tar"))
}

/// Paths in a directory, the first name last.
fn sorted_children(view: &View, dir: &RelPath) -> Result<Vec<(RelPath, Found)>, LayerfsError> {
    Ok(view.children(dir)?.into_iter().rev().map(|(name, found)| (dir.join(&name), found)).collect())
}

struct Exporter<'a, W: Write> {
    part: &'a Part,
    time: Option<i64>,
    tar: &'a mut TarWriter<W>,
    reader: Reader<'a>,
    names: FirstNames,
}

impl<W: Write> Exporter<'_, W> {
    /// Where a path of the root is in the output.
    fn placed(&self, path: &RelPath) -> RelPath {
        if self.part.into.is_root() { path.clone() } else { self.part.into.join(path.as_bytes()) }
    }

    fn add(&mut self, path: &RelPath, found: &Found) -> Result<(), LayerfsError> {
        let Meta { kind, mode, uid, gid, rdev, .. } = found.meta;
        let (mtime, none, placed) = (dated(&found.meta, self.time), Xattrs::new(), self.placed(path));
        let entry = |kind, xattrs| Entry { path: &placed, kind, mode, uid, gid, mtime, xattrs };
        match kind {
            Kind::Dir => {
                let xattrs = self.part.view.xattrs(path)?;
                self.tar.entry(&entry(EntryKind::Dir, &xattrs))
            }
            Kind::File => match self.names.seen(found, path) {
                Some(first) => {
                    let first = first.clone();
                    let first = self.placed(&first);
                    self.tar.entry(&entry(EntryKind::Hardlink(&first), &none))
                }
                None => self.file(path, found),
            },
            Kind::Symlink => {
                let target = self.part.view.read_link(path)?;
                self.tar.entry(&entry(EntryKind::Symlink(&target), &none))
            }
            Kind::Char => self.tar.entry(&entry(EntryKind::Char(rdev), &none)),
            Kind::Block => self.tar.entry(&entry(EntryKind::Block(rdev), &none)),
            Kind::Fifo => self.tar.entry(&entry(EntryKind::Fifo, &none)),
            Kind::Socket => {
                tracing::warn!(path = %path.display(), "a socket is not exported");
                Ok(())
            }
        }
    }

    fn file(&mut self, path: &RelPath, found: &Found) -> Result<(), LayerfsError> {
        let failed = || LayerfsError::io(format!("reading {}", path.display()));
        let mut file = self.reader.open(found.layer, path).map_err(failed())?;
        let xattrs = walk::travelling_xattrs(file.as_fd()).map_err(failed())?;
        let Meta { mode, uid, gid, size, .. } = found.meta;
        let (mtime, placed) = (dated(&found.meta, self.time), self.placed(path));
        self.tar.entry(&Entry {
            path: &placed,
            kind: EntryKind::File { size },
            mode,
            uid,
            gid,
            mtime,
            xattrs: &xattrs,
        })?;
        self.tar.data(&mut file, size)
    }
}
