//! A tree becomes a layer: its tar, and in the same pass the digest that names it.
//!
//! Order of entries: a directory, then what is in it, names sorted by bytes. Within a directory the opaque
//! mark comes first, then deletions, then the rest, so that whoever applies the layer to a full tree deletes
//! before it adds (image-spec, layer.md). The root itself has no entry: layers of Docker and BuildKit have none
//! either, and an entry would let every layer change the mode and time of `/`. Marks of deletion have constant
//! metadata (mode 0, owner 0:0, time 0), because overlayfs keeps none worth telling. Of several names of one
//! file the first in this order has the contents, the others are hard links to it. Sockets are left out, as no
//! tar can hold them. The same tree gives the same bytes, wherever and whenever it is packed.

use crate::error::{LayerfsError, Reason};
use crate::limits::OPEN_DIRECTORIES;
use crate::root::Root;
use crate::stat::{Kind, Meta, Time};
use crate::tar::write::{Entry, EntryKind, TarWriter};
use crate::walk::{self, Dir, Xattrs};
use crate::whiteout;
use cooper_image::{Digest, Hasher, RelPath};
use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Passes bytes on, and hashes and counts them.
pub struct DigestWriter<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

/// What went through a [`DigestWriter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// SHA-256 of all bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

impl<W: Write> DigestWriter<W> {
    /// Starts with no bytes.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new(), size: 0 }
    }

    /// The digest of everything written; the inner writer is dropped.
    pub fn finish(self) -> Finished {
        Finished { digest: self.hasher.finish(), size: self.size }
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.hasher.update(buf.get(..written).unwrap_or(buf));
        self.size += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What a packed tree held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packed {
    /// Entries written, marks of deletion included.
    pub entries: u64,
    /// Bytes of file contents.
    pub bytes: u64,
    /// Sockets that were left out.
    pub sockets_skipped: u64,
}

/// Writes the tar of an overlay's upper directory, or of an unpacked layer.
///
/// # Errors
/// [`LayerfsError::Io`] with the path; [`LayerfsError::ReservedName`]; [`LayerfsError::Changed`]; an
/// [`LayerfsError::Entry`] when the tree depends on the layers below it.
pub fn pack_upper(root: &Root, out: &mut impl Write) -> Result<Packed, LayerfsError> {
    let mut packer = Packer { root, tar: TarWriter::new(out), links: HashMap::new(), packed: Packed::default() };
    packer.walk()?;
    packer.tar.finish()?;
    Ok(packer.packed)
}

/// A directory on the way down.
struct Frame {
    path: RelPath,
    /// Closed while the walk is far below, so that depth does not use up descriptors.
    dir: Option<Dir>,
    rest: std::vec::IntoIter<Item>,
}

/// One name in a directory. The derived order is that of the entries.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Deletion(Vec<u8>),
    Present(Vec<u8>, Kind),
}

struct Packer<'a, W: Write> {
    root: &'a Root,
    tar: TarWriter<&'a mut W>,
    /// First path of every file with several names.
    links: HashMap<(u64, u64), RelPath>,
    packed: Packed,
}

impl<W: Write> Packer<'_, W> {
    fn walk(&mut self) -> Result<(), LayerfsError> {
        let root = RelPath::root();
        let dir = self.root.dir(&root).map_err(at("opening", &root))?;
        let mut stack = vec![self.enter(root, dir)?];
        while let Some(depth) = stack.len().checked_sub(1) {
            let Some(frame) = stack.last_mut() else { break };
            let Some(item) = frame.rest.next() else {
                stack.pop();
                continue;
            };
            let (name, kind) = match item {
                Item::Deletion(name) => {
                    self.mark(&frame.path.join(&whiteout::deletion_of(&name)))?;
                    continue;
                }
                Item::Present(name, kind) => (name, kind),
            };
            let path = frame.path.join(&name);
            if frame.dir.is_none() {
                frame.dir = Some(self.root.dir(&frame.path).map_err(at("opening", &frame.path))?);
            }
            let Some(dir) = &frame.dir else { break };
            if let Some(child) = self.item(dir, &name, kind, &path)? {
                stack.push(self.enter(path, child)?);
                if let Some(far) = depth.checked_sub(OPEN_DIRECTORIES).and_then(|far| stack.get_mut(far)) {
                    far.dir = None;
                }
            }
        }
        Ok(())
    }

    /// Lists a directory whose own entry is written, and writes its opaque mark.
    fn enter(&mut self, path: RelPath, dir: Dir) -> Result<Frame, LayerfsError> {
        if whiteout::is_opaque(&dir).map_err(at("reading the attributes of", &path))? {
            self.mark(&path.join(whiteout::OPAQUE))?;
        }
        let mut items = Vec::new();
        for entry in dir.entries().map_err(at("listing", &path))? {
            if whiteout::is_reserved(&entry.name) {
                return Err(LayerfsError::ReservedName { path: path.join(&entry.name).display() });
            }
            let item = match entry.kind {
                Some(kind) if !matches!(kind, Kind::Char | Kind::Socket) => Item::Present(entry.name, kind),
                _ => {
                    let meta = dir.stat(&entry.name).map_err(at("reading", &path.join(&entry.name)))?;
                    match whiteout::is_whiteout(&meta) {
                        true => Item::Deletion(entry.name),
                        false => Item::Present(entry.name, meta.kind),
                    }
                }
            };
            items.push(item);
        }
        items.sort_unstable();
        Ok(Frame { path, dir: Some(dir), rest: items.into_iter() })
    }

    /// Writes one file of any kind; gives the handle of a directory that is to be entered.
    fn item(&mut self, dir: &Dir, name: &[u8], kind: Kind, path: &RelPath) -> Result<Option<Dir>, LayerfsError> {
        match kind {
            Kind::Dir => {
                let child = dir.open_dir(name).map_err(at("opening", path))?;
                let meta = child.meta().map_err(at("reading", path))?;
                let xattrs = attributes(child.as_fd(), path)?;
                self.entry(path, EntryKind::Dir, &meta, &xattrs)?;
                return Ok(Some(child));
            }
            Kind::File => self.file(dir, name, path)?,
            Kind::Socket => self.packed.sockets_skipped += 1,
            Kind::Symlink | Kind::Char | Kind::Block | Kind::Fifo => self.special(dir, name, path)?,
        }
        Ok(None)
    }

    fn file(&mut self, dir: &Dir, name: &[u8], path: &RelPath) -> Result<(), LayerfsError> {
        let mut file = dir.open_file(name).map_err(at("opening", path))?;
        let meta = dir.meta_of(file.as_fd()).map_err(at("reading", path))?;
        if self.linked(path, &meta)? {
            return Ok(());
        }
        let xattrs = attributes(file.as_fd(), path)?;
        self.entry(path, EntryKind::File { size: meta.size }, &meta, &xattrs)?;
        self.packed.bytes += meta.size;
        self.tar.data(&mut file, meta.size)
    }

    fn special(&mut self, dir: &Dir, name: &[u8], path: &RelPath) -> Result<(), LayerfsError> {
        let meta = dir.stat(name).map_err(at("reading", path))?;
        if self.linked(path, &meta)? {
            return Ok(());
        }
        let target = match meta.kind {
            Kind::Symlink => dir.read_link(name).map_err(at("reading", path))?,
            _ => Vec::new(),
        };
        let kind = match meta.kind {
            Kind::Symlink => EntryKind::Symlink(&target),
            Kind::Char => EntryKind::Char(meta.rdev),
            Kind::Block => EntryKind::Block(meta.rdev),
            Kind::Fifo => EntryKind::Fifo,
            Kind::Dir | Kind::File | Kind::Socket => return Err(LayerfsError::Changed { path: path.display() }),
        };
        self.entry(path, kind, &meta, &Xattrs::new())
    }

    /// Writes a hard link when an earlier entry is the same file.
    fn linked(&mut self, path: &RelPath, meta: &Meta) -> Result<bool, LayerfsError> {
        if meta.nlink < 2 {
            return Ok(false);
        }
        let Some(first) = self.links.get(&(meta.dev, meta.ino)).cloned() else {
            self.links.insert((meta.dev, meta.ino), path.clone());
            return Ok(false);
        };
        self.entry(path, EntryKind::Hardlink(&first), meta, &Xattrs::new())?;
        Ok(true)
    }

    fn entry(&mut self, path: &RelPath, kind: EntryKind<'_>, meta: &Meta, xattrs: &Xattrs) -> Result<(), LayerfsError> {
        self.packed.entries += 1;
        let Meta { mode, uid, gid, mtime, .. } = *meta;
        self.tar.entry(&Entry { path, kind, mode, uid, gid, mtime, xattrs })
    }

    /// Writes a mark of deletion.
    fn mark(&mut self, path: &RelPath) -> Result<(), LayerfsError> {
        self.packed.entries += 1;
        let kind = EntryKind::File { size: 0 };
        self.tar.entry(&Entry { path, kind, mode: 0, uid: 0, gid: 0, mtime: Time::default(), xattrs: &Xattrs::new() })
    }
}

/// The attributes that travel; an error when overlayfs says that the file is not whole without lower layers.
fn attributes(fd: BorrowedFd<'_>, path: &RelPath) -> Result<Xattrs, LayerfsError> {
    let names = walk::xattr_names(fd).map_err(at("reading the attributes of", path))?;
    if whiteout::is_dependent(&names) {
        return Err(LayerfsError::Entry { entry: path.display(), reason: Reason::Dependent });
    }
    walk::travelling_xattrs_of(fd, &names).map_err(at("reading the attributes of", path))
}

fn at(action: &'static str, path: &RelPath) -> impl FnOnce(io::Error) -> LayerfsError {
    move |source| LayerfsError::Io { what: format!("{action} {}", shown(path)), source }
}

fn shown(path: &RelPath) -> String {
    format!("/{}", path.display())
}
