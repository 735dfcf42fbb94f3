//! One entry becomes one file, with contents, owner, mode, time and attributes.
//!
//! Takes: a held parent directory and one name in it. Must never: follow a link in the last component, or
//! chmod before chown, which would lose the setuid bit.

use super::place::Place;
use super::remove::{Before, remove};
use super::{Applier, Devices, DirMeta, failed};
use crate::error::{LayerfsError, Reason};
use crate::owners::{self, Owners};
use crate::root::absent;
use crate::sparse;
use crate::stat::{Kind, Rdev, Time};
use crate::tar::read::{ReadEntry, ReadKind, TarReader};
use crate::walk::{self, Dir};
use crate::whiteout;
use cooper_image::{Owner, RelPath};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{BufRead, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// Where an entry goes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) place: &'a Place,
    pub(super) name: &'a [u8],
    /// For messages.
    pub(super) path: &'a RelPath,
}

impl Target<'_> {
    fn refuse(&self, reason: Reason) -> LayerfsError {
        LayerfsError::Entry { entry: self.path.display(), reason }
    }
}

impl Applier {
    pub(super) fn make<R: Read>(
        &mut self,
        target: &Target<'_>,
        entry: &ReadEntry,
        tar: &mut TarReader<R>,
    ) -> Result<(), LayerfsError> {
        match &entry.kind {
            ReadKind::Dir => self.dir(target, entry),
            ReadKind::File { size } => self.file(target, entry, tar, *size),
            ReadKind::Symlink(link) => self.symlink(target, entry, link),
            ReadKind::Hardlink(link) => self.hardlink(target, link),
            ReadKind::Char(rdev) if rdev.is_whiteout() => Err(target.refuse(Reason::DeviceZero)),
            ReadKind::Char(rdev) => self.device(target, entry, FileType::CharacterDevice, *rdev),
            ReadKind::Block(rdev) => self.device(target, entry, FileType::BlockDevice, *rdev),
            ReadKind::Fifo => self.node(target, entry, FileType::Fifo, Rdev::default()),
        }
    }

    /// Marks a name as gone in lower layers. What this layer has under that name stays; a directory becomes
    /// opaque, which says the same.
    pub(super) fn delete(&mut self, target: &Target<'_>) -> Result<(), LayerfsError> {
        let dir = &target.place.dir;
        match self.options.opaque.delete(dir, target.name) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let meta = dir.stat(target.name).map_err(failed("reading", target.path))?;
                if let Some(node) = self.places.node(&meta).filter(|_| meta.kind == Kind::Dir) {
                    self.places.set_fresh(node);
                }
                Ok(())
            }
            Err(e) => Err(failed("recording the deletion", target.path)(e)),
        }
    }

    fn dir(&mut self, target: &Target<'_>, entry: &ReadEntry) -> Result<(), LayerfsError> {
        let there = absent(target.place.dir.stat(target.name)).map_err(failed("reading", target.path))?;
        let node = match there.filter(|meta| meta.kind == Kind::Dir).and_then(|meta| self.places.node(&meta)) {
            Some(node) => node,
            None => {
                let before = match there {
                    Some(_) => remove(&mut self.places, target.place, target.name, target.path)?,
                    None => Before::Other,
                };
                let node = self.places.make(target.place, target.name, target.path)?;
                if before == Before::Deletion {
                    self.places.set_fresh(node);
                }
                node
            }
        };
        if !entry.xattrs.is_empty() {
            let dir = target.place.dir.open_dir(target.name).map_err(failed("opening", target.path))?;
            self.dir_xattrs(&dir, entry, target.path)?;
        }
        self.places.set_meta(node, DirMeta::of(entry));
        Ok(())
    }

    pub(super) fn dir_xattrs(&mut self, dir: &Dir, entry: &ReadEntry, path: &RelPath) -> Result<(), LayerfsError> {
        self.xattrs(dir.as_fd(), entry, path)
    }

    fn file<R: Read>(
        &mut self,
        target: &Target<'_>,
        entry: &ReadEntry,
        tar: &mut TarReader<R>,
        size: u64,
    ) -> Result<(), LayerfsError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.create(target, |dir, name| rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR))?;
        let mut file = File::from(fd);
        fill(&mut file, tar, target.path)?;
        self.applied.bytes += size;
        self.own_open(file.as_fd(), entry, target.path)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
            .map_err(failed("setting the mode of", target.path))?;
        self.xattrs(file.as_fd(), entry, target.path)?;
        rustix::fs::futimens(&file, &times(entry.mtime)).map_err(failed("setting the time of", target.path))
    }

    fn symlink(&mut self, target: &Target<'_>, entry: &ReadEntry, link: &[u8]) -> Result<(), LayerfsError> {
        self.create(target, |dir, name| rustix::fs::symlinkat(link, dir, name))?;
        self.applied.xattrs_skipped += entry.xattrs.len() as u64;
        self.by_name(target, entry)
    }

    /// The link is made to the file itself, never through it; its metadata is that of the file.
    fn hardlink(&mut self, target: &Target<'_>, link: &[u8]) -> Result<(), LayerfsError> {
        let refuse = || target.refuse(Reason::Hardlink);
        let source = RelPath::clean(link);
        let (parent, name) = source.parent().zip(source.file_name()).ok_or_else(refuse)?;
        let place = self.places.existing(&parent, target.path)?.ok_or_else(refuse)?;
        let meta = absent(place.dir.stat(name)).map_err(failed("reading", target.path))?.ok_or_else(refuse)?;
        if meta.kind == Kind::Dir || whiteout::is_whiteout(&meta) {
            return Err(refuse());
        }
        let there = absent(target.place.dir.stat(target.name)).map_err(failed("reading", target.path))?;
        if there.is_some_and(|there| (there.dev, there.ino) == (meta.dev, meta.ino)) {
            return Ok(());
        }
        // Replacing a directory may take away the file that is to be linked.
        if there.is_some() {
            remove(&mut self.places, target.place, target.name, target.path)?;
        }
        match rustix::fs::linkat(place.dir.as_fd(), name, target.place.dir.as_fd(), target.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Err(refuse()),
            other => other.map_err(failed("linking", target.path)),
        }
    }

    fn device(
        &mut self,
        target: &Target<'_>,
        entry: &ReadEntry,
        kind: FileType,
        rdev: Rdev,
    ) -> Result<(), LayerfsError> {
        if self.options.devices == Devices::SkipUnprivileged {
            remove(&mut self.places, target.place, target.name, target.path)?;
            self.applied.devices_skipped += 1;
            return Ok(());
        }
        self.node(target, entry, kind, rdev)
    }

    fn node(&mut self, target: &Target<'_>, entry: &ReadEntry, kind: FileType, rdev: Rdev) -> Result<(), LayerfsError> {
        let device = rustix::fs::makedev(rdev.major, rdev.minor);
        self.create(target, |dir, name| rustix::fs::mknodat(dir, name, kind, Mode::empty(), device))?;
        self.applied.xattrs_skipped += entry.xattrs.len() as u64;
        self.by_name(target, entry)?;
        // The kernel follows links in this call, and opening a device to avoid it would wake its driver. The
        // name was free when the node was made, and nobody else can reach the tree yet.
        rustix::fs::chmodat(target.place.dir.as_fd(), target.name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
            .map_err(failed("setting the mode of", target.path))
    }

    /// Owner and time of what cannot be opened.
    fn by_name(&self, target: &Target<'_>, entry: &ReadEntry) -> Result<(), LayerfsError> {
        let (dir, flags) = (target.place.dir.as_fd(), AtFlags::SYMLINK_NOFOLLOW);
        match self.options.owners {
            Owners::Kernel => {
                chown(entry, target.path, |uid, gid| rustix::fs::chownat(dir, target.name, uid, gid, flags))?;
            }
            Owners::Recorded => {
                let owner = Owner { uid: entry.uid, gid: entry.gid };
                owners::record_special(dir, target.name, owner)
                    .map_err(failed("recording the owner of", target.path))?;
            }
        }
        rustix::fs::utimensat(dir, target.name, &times(entry.mtime), flags)
            .map_err(failed("setting the time of", target.path))
    }

    /// Gives an open file or directory to its owner.
    pub(super) fn own_open(&self, fd: BorrowedFd<'_>, owned: &impl Owned, path: &RelPath) -> Result<(), LayerfsError> {
        match self.options.owners {
            Owners::Kernel => chown(owned, path, |uid, gid| rustix::fs::fchown(fd, uid, gid)),
            Owners::Recorded => {
                let owner = Owner { uid: owned.uid(), gid: owned.gid() };
                owners::record_open(fd, owner).map_err(failed("recording the owner of", path))
            }
        }
    }

    /// Runs a call that makes a new name; when the name is taken, the last entry wins.
    fn create<T>(
        &mut self,
        target: &Target<'_>,
        call: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T, LayerfsError> {
        match call(target.place.dir.as_fd(), target.name) {
            Err(Errno::EXIST) => {
                remove(&mut self.places, target.place, target.name, target.path)?;
                call(target.place.dir.as_fd(), target.name).map_err(failed("creating", target.path))
            }
            other => other.map_err(failed("creating", target.path)),
        }
    }

    fn xattrs(&mut self, fd: BorrowedFd<'_>, entry: &ReadEntry, path: &RelPath) -> Result<(), LayerfsError> {
        for (name, value) in &entry.xattrs {
            if !walk::travels_with(name, value) {
                self.applied.xattrs_skipped += 1;
                continue;
            }
            rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())
                .map_err(failed("setting the extended attributes of", path))?;
        }
        Ok(())
    }
}

fn fill<R: Read>(file: &mut File, tar: &mut TarReader<R>, path: &RelPath) -> Result<(), LayerfsError> {
    let mut body = tar.body();
    let mut file = sparse::Writer::new(file);
    loop {
        let chunk = body.fill_buf().map_err(LayerfsError::stream)?;
        if chunk.is_empty() {
            return file.finish().map_err(failed("writing", path));
        }
        file.write(chunk).map_err(failed("writing", path))?;
        let done = chunk.len();
        body.consume(done);
    }
}

pub(super) fn times(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Who owns an entry.
pub(super) trait Owned {
    fn uid(&self) -> u32;
    fn gid(&self) -> u32;
}
impl Owned for ReadEntry {
    fn uid(&self) -> u32 {
        self.uid
    }
    fn gid(&self) -> u32 {
        self.gid
    }
}
impl Owned for DirMeta {
    fn uid(&self) -> u32 {
        self.uid
    }
    fn gid(&self) -> u32 {
        self.gid
    }
}

/// Changes the owner; when the kernel refuses, finds out which of both ids it does not accept.
fn chown(
    owned: &impl Owned,
    path: &RelPath,
    call: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
) -> Result<(), LayerfsError> {
    let (uid, gid) = (Uid::from_raw(owned.uid()), Gid::from_raw(owned.gid()));
    match call(Some(uid), Some(gid)) {
        // The kernel says EINVAL for ids outside the namespace, EPERM for ids that an ordinary user has not.
        Err(Errno::INVAL | Errno::PERM) => {
            let (id, number) = match call(Some(uid), None) {
                Ok(()) => ("gid", owned.gid()),
                Err(_) => ("uid", owned.uid()),
            };
            Err(LayerfsError::Unmapped { path: path.display(), id, number })
        }
        other => other.map_err(failed("setting the owner of", path)),
    }
}
