//! The merged root into a directory of the caller's.
//!
//! Everything becomes the caller's: owners and attributes stay behind, and so do the set-id bits, which would
//! lend the caller's rights to others. Contents, links, the other mode bits and times are kept. Devices and
//! sockets are left out, and told of. A file or link that is in the way is replaced; a directory is not,
//! unless what the view does not have is to be deleted.

use super::{FirstNames, Part, dated};
use crate::LayerfsError;
use crate::root::Root;
use crate::select::Reader;
use crate::sparse;
use crate::stat::{Kind, Meta};
use crate::view::{Found, View};
use crate::walk::Dir;
use cooper_image::RelPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// The bits that are kept: permissions and sticky.
const KEPT: u32 = 0o1777;

/// What happens to names of the destination that the view does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Others {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted, and so is a directory where the view has something else.
    Delete,
}

/// Devices and sockets that a directory of the caller's does not get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Option<RelPath>,
}

/// Writes everything in the view into its folder below `dest`, which is made when it is not there; a link that has the
/// folder's name gives way. With `time`, in Unix seconds, every entry has that time.
///
/// # Errors
/// [`LayerfsError::IsADirectory`] when a directory of `dest` is where a file has to go; [`LayerfsError::Io`].
pub fn export_dir(part: &Part, dest: &Path, others: Others, time: Option<i64>) -> Result<LeftOut, LayerfsError> {
    let Part { into, view } = part;
    let creating = || LayerfsError::io(format!("creating {} in {}", into.display(), dest.display()));
    std::fs::create_dir_all(dest).map_err(LayerfsError::io(format!("creating {}", dest.display())))?;
    let mut root = Root::open(dest)?;
    if !into.is_root() {
        root.dir(&RelPath::root()).and_then(|out| make_dir(&out, into.as_bytes())).map_err(creating())?;
        root = root.sub(into).map_err(creating())?;
    }
    let (reader, names, left_out) = (Reader::new(view), FirstNames::default(), LeftOut::default());
    let mut exporter = Exporter { view, root, reader, names, time, left_out };
    let mut dirs: Vec<(RelPath, Meta)> = Vec::new();
    let mut pending = vec![RelPath::root()];
    while let Some(dir) = pending.pop() {
        let failed = LayerfsError::io(format!("opening {} in the destination", dir.display()));
        let out = exporter.root.dir(&dir).map_err(failed)?;
        let children = view.children(&dir)?;
        if others == Others::Delete {
            let failed = LayerfsError::io(format!("deleting in {} of the destination", dir.display()));
            delete_others(&out, &children).map_err(failed)?;
        }
        for (name, found) in children {
            let path = dir.join(&name);
            exporter.write(&out, &path, &name, &found)?;
            if found.meta.kind == Kind::Dir {
                dirs.push((path.clone(), found.meta));
                pending.push(path);
            }
        }
    }
    // Last, and deepest first: a directory may forbid writing, and writing changes its time.
    for (path, meta) in dirs.iter().rev() {
        let set = exporter.root.dir(path).and_then(|dir| set_meta(dir.as_fd(), meta, time));
        set.map_err(LayerfsError::io(format!("setting the mode of {}", path.display())))?;
    }
    Ok(exporter.left_out)
}

struct Exporter<'a> {
    view: &'a View,
    root: Root,
    reader: Reader<'a>,
    names: FirstNames,
    time: Option<i64>,
    left_out: LeftOut,
}

/// Deletes what the view does not have, and directories that are something else there.
fn delete_others(out: &Dir, children: &[(Vec<u8>, Found)]) -> io::Result<()> {
    for entry in out.entries()? {
        let wanted = children.binary_search_by(|(name, _)| name.as_slice().cmp(&entry.name)).ok();
        let wanted = wanted.and_then(|i| children.get(i)).map(|(_, found)| found.meta.kind);
        let is_dir = out.stat(&entry.name)?.kind == Kind::Dir;
        match wanted {
            // A file or link that is in the way makes way later.
            Some(kind) if kind == Kind::Dir || !is_dir => {}
            _ => delete(out, &entry.name)?,
        }
    }
    Ok(())
}

/// Deletes a name and everything below it. Directories found deeper are moved up before their turn comes, so that
/// no depth needs more than two descriptors.
pub(crate) fn delete(out: &Dir, name: &[u8]) -> io::Result<()> {
    if out.stat(name)?.kind != Kind::Dir {
        return Ok(rustix::fs::unlinkat(out.as_fd(), name, AtFlags::empty())?);
    }
    let top = writable(out, name)?;
    let mut fresh = 0u64;
    loop {
        let entries = top.entries()?;
        if entries.is_empty() {
            return Ok(rustix::fs::unlinkat(out.as_fd(), name, AtFlags::REMOVEDIR)?);
        }
        for entry in entries {
            if top.stat(&entry.name)?.kind != Kind::Dir {
                rustix::fs::unlinkat(top.as_fd(), &entry.name, AtFlags::empty())?;
                continue;
            }
            let dir = writable(&top, &entry.name)?;
            for deeper in dir.entries()? {
                if dir.stat(&deeper.name)?.kind != Kind::Dir {
                    rustix::fs::unlinkat(dir.as_fd(), &deeper.name, AtFlags::empty())?;
                    continue;
                }
                // A directory that may not be written to cannot be moved either.
                writable(&dir, &deeper.name)?;
                while let Err(e) = lift(&dir, &deeper.name, &top, fresh) {
                    if e != Errno::EXIST {
                        return Err(e.into());
                    }
                    fresh += 1;
                }
            }
            rustix::fs::unlinkat(top.as_fd(), &entry.name, AtFlags::REMOVEDIR)?;
        }
    }
}

fn lift(from: &Dir, name: &[u8], to: &Dir, fresh: u64) -> Result<(), Errno> {
    let free = format!(".cooper-{fresh}");
    rustix::fs::renameat_with(from.as_fd(), name, to.as_fd(), free.as_bytes(), RenameFlags::NOREPLACE)
}

/// A directory of the destination that its owner may empty.
fn writable(out: &Dir, name: &[u8]) -> io::Result<Dir> {
    let dir = out.open_dir(name)?;
    let mode = dir.meta()?.mode;
    if mode & 0o700 != 0o700 {
        rustix::fs::fchmod(dir.as_fd(), Mode::from_raw_mode(mode & KEPT | 0o700))?;
    }
    Ok(dir)
}

impl Exporter<'_> {
    fn write(&mut self, out: &Dir, path: &RelPath, name: &[u8], found: &Found) -> Result<(), LayerfsError> {
        let made = match found.meta.kind {
            Kind::Dir => make_dir(out, name),
            Kind::Char | Kind::Block | Kind::Socket => {
                self.left_out.count += 1;
                self.left_out.first.get_or_insert_with(|| path.clone());
                return Ok(());
            }
            Kind::Symlink => {
                let target = self.view.read_link(path)?;
                make_way(out, name).and_then(|()| Ok(rustix::fs::symlinkat(target.as_slice(), out.as_fd(), name)?))
            }
            Kind::Fifo => make_way(out, name).and_then(|()| make_fifo(out, name, &found.meta)),
            Kind::File => make_way(out, name).and_then(|()| self.file(out, path, name, found)),
        };
        made.map_err(|e| match Errno::from_io_error(&e) {
            Some(Errno::ISDIR) => LayerfsError::IsADirectory { path: path.display() },
            _ => LayerfsError::io(format!("exporting {}", path.display()))(e),
        })
    }

    fn file(&mut self, out: &Dir, path: &RelPath, name: &[u8], found: &Found) -> io::Result<()> {
        if let Some(first) = self.names.seen(found, path) {
            let dir = self.root.dir(&first.parent().unwrap_or_default())?;
            let first = first.file_name().unwrap_or_default();
            return Ok(rustix::fs::linkat(dir.as_fd(), first, out.as_fd(), name, AtFlags::empty())?);
        }
        let from = self.reader.open(found.layer, path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(rustix::fs::openat(out.as_fd(), name, flags, Mode::from_raw_mode(0o600))?);
        let written = sparse::copy(&from, &mut to, &|| Ok(())).and_then(|()| set_meta(&to, &found.meta, self.time));
        if written.is_err() {
            // Half a file must not be taken for a whole one. That it cannot be removed says nothing new.
            let _ = rustix::fs::unlinkat(out.as_fd(), name, AtFlags::empty());
        }
        written
    }
}

/// A directory that can be written to for now. One that is there stays; anything else makes way.
fn make_dir(out: &Dir, name: &[u8]) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o700);
    match rustix::fs::mkdirat(out.as_fd(), name, mode) {
        Err(Errno::EXIST) if out.stat(name)?.kind == Kind::Dir => Ok(()),
        Err(Errno::EXIST) => {
            make_way(out, name)?;
            Ok(rustix::fs::mkdirat(out.as_fd(), name, mode)?)
        }
        other => Ok(other?),
    }
}

fn make_fifo(out: &Dir, name: &[u8], meta: &Meta) -> io::Result<()> {
    let mode = Mode::from_raw_mode(meta.mode & KEPT);
    Ok(rustix::fs::mknodat(out.as_fd(), name, FileType::Fifo, mode, 0)?)
}

/// Removes what has the name, unless it is a directory: that is `EISDIR`.
fn make_way(out: &Dir, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(out.as_fd(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn set_meta(fd: impl AsFd, meta: &Meta, time: Option<i64>) -> io::Result<()> {
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(meta.mode & KEPT))?;
    let time = dated(meta, time);
    let time = Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() };
    Ok(rustix::fs::futimens(&fd, &Timestamps { last_access: time, last_modification: time })?)
}
