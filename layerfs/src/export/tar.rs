//! The merged root as one tar, with true owners, modes, times and attributes.
//!
//! Directories come before what is in them, names in the order of their bytes. The root itself has no entry.

use super::FirstNames;
use crate::LayerfsError;
use crate::select::Reader;
use crate::stat::{Kind, Meta};
use crate::tar::write::{Entry, EntryKind, TarWriter};
use crate::view::{Found, View};
use crate::walk::{self, Xattrs};
use cooper_image::RelPath;
use std::io::Write;
use std::os::fd::AsFd as _;

/// Writes everything in the view. Sockets are left out.
///
/// # Errors
/// [`LayerfsError::Io`] with the path, or when the output fails; [`LayerfsError::Changed`].
pub fn export_tar(view: &View, out: &mut dyn Write) -> Result<(), LayerfsError> {
    let mut exporter =
        Exporter { view, tar: TarWriter::new(out), reader: Reader::new(view), names: FirstNames::default() };
    // Next path last, so that a directory is followed by what is in it.
    let mut pending = sorted_children(view, &RelPath::root())?;
    while let Some((path, found)) = pending.pop() {
        exporter.add(&path, &found)?;
        if found.meta.kind == Kind::Dir {
            pending.extend(sorted_children(view, &path)?);
        }
    }
    exporter.tar.finish()?.flush().map_err(LayerfsError::io("writing a tar"))
}

/// Paths in a directory, the first name last.
fn sorted_children(view: &View, dir: &RelPath) -> Result<Vec<(RelPath, Found)>, LayerfsError> {
    Ok(view.children(dir)?.into_iter().rev().map(|(name, found)| (dir.join(&name), found)).collect())
}

struct Exporter<'a> {
    view: &'a View,
    tar: TarWriter<&'a mut dyn Write>,
    reader: Reader<'a>,
    names: FirstNames,
}

impl Exporter<'_> {
    fn add(&mut self, path: &RelPath, found: &Found) -> Result<(), LayerfsError> {
        let Meta { kind, mode, uid, gid, mtime, rdev, .. } = found.meta;
        let none = Xattrs::new();
        let entry = |kind, xattrs| Entry { path, kind, mode, uid, gid, mtime, xattrs };
        match kind {
            Kind::Dir => {
                let xattrs = self.view.xattrs(path)?;
                self.tar.entry(&entry(EntryKind::Dir, &xattrs))
            }
            Kind::File => match self.names.seen(found, path) {
                Some(first) => self.tar.entry(&entry(EntryKind::Hardlink(first), &none)),
                None => self.file(path, found),
            },
            Kind::Symlink => {
                let target = self.view.read_link(path)?;
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
        let Meta { mode, uid, gid, mtime, size, .. } = found.meta;
        self.tar.entry(&Entry { path, kind: EntryKind::File { size }, mode, uid, gid, mtime, xattrs: &xattrs })?;
        self.tar.data(&mut file, size)
    }
}
