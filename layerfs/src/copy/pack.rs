//! From a plan to tar entries: owners, modes, times, contents.
//!
//! Takes: a plan. Gives: its entries, sorted by path, then those that stream from archives in the archives' own
//! order. Must never: let a byte into the layer's end that the selection's digest does not stand for.

use super::node::{Node, Place, Plan};
use super::{CopyRequest, Owner, Packed, archive};
use crate::LayerfsError;
use crate::seen::Seen;
use crate::select::{Content, Item, Reader, Sum, is_gone};
use crate::stat::{Kind, Meta, Time};
use crate::tar::read::{Body, ReadEntry, ReadKind};
use crate::tar::write::{Entry, EntryKind, TarWriter};
use crate::walk::{self, Xattrs};
use cooper_image::RelPath;
use cooper_image::chmod::Target;
use std::collections::HashMap;
use std::io::{self, Read, Write};

/// Attributes of what has none.
static NONE: Xattrs = Xattrs::new();
/// Mode of files from the Dockerfile.
const INLINE: u32 = 0o644;

/// Writes all entries.
pub(super) fn write<W: Write>(
    request: &CopyRequest<'_>,
    plan: &Plan<'_>,
    tar: &mut TarWriter<W>,
) -> Result<Packed, LayerfsError> {
    let sources = request.parts.iter().flat_map(|p| &p.selection.sources);
    let newest = sources.flat_map(|s| &s.items).map(|i| i.meta.mtime.secs).max();
    let mut packer = Packer {
        request,
        plan,
        tar,
        readers: request.parts.iter().map(|p| Reader::new(p.view)).collect(),
        first_names: HashMap::new(),
        made_at: request.clamp.or(newest).unwrap_or(request.now),
        packed: Packed::default(),
    };
    for (path, node) in &plan.nodes {
        packer.node(path, node)?;
    }
    packer.archives()?;
    Ok(packer.packed)
}

struct Packer<'a, 'w, W: Write> {
    request: &'a CopyRequest<'a>,
    plan: &'a Plan<'a>,
    tar: &'w mut TarWriter<W>,
    /// One for each part of the request.
    readers: Vec<Reader<'a>>,
    /// The first name of each group of hard links, by source and group.
    first_names: HashMap<(usize, u32), &'a RelPath>,
    /// Time of what has none of its own, in seconds.
    made_at: i64,
    packed: Packed,
}

impl<'a, W: Write> Packer<'a, '_, W> {
    fn node(&mut self, path: &'a RelPath, node: &'a Node<'a>) -> Result<(), LayerfsError> {
        match node {
            Node::Made { mode } => {
                let entry = self.own(path, EntryKind::Dir, *mode);
                self.bodiless(&entry)
            }
            Node::Kept { meta, xattrs } => {
                let Meta { mode, uid, gid, mtime, .. } = *meta;
                let entry = Entry { path, kind: EntryKind::Dir, mode, uid, gid, mtime: self.time(mtime), xattrs };
                self.bodiless(&entry)
            }
            Node::Item { source, item } => self.item(path, *source, item),
            Node::Inline(bytes) => {
                let kind = EntryKind::File { size: bytes.len() as u64 };
                let mtime = Time { secs: self.request.clamp.unwrap_or(self.request.now), nanos: 0 };
                let entry = Entry { mtime, ..self.own(path, kind, self.mode_of(kind, INLINE)) };
                self.with_body(&entry, &mut &**bytes)
            }
            Node::Stated(stated) => {
                let kind = match &stated.kind {
                    ReadKind::Dir => EntryKind::Dir,
                    ReadKind::Symlink(target) => EntryKind::Symlink(target),
                    ReadKind::Char(number) => EntryKind::Char(*number),
                    ReadKind::Block(number) => EntryKind::Block(*number),
                    ReadKind::Fifo => EntryKind::Fifo,
                    ReadKind::File { .. } | ReadKind::Hardlink(_) => return Ok(()),
                };
                let xattrs = travelling(stated);
                let entry = self.of_archive(path, kind, stated, &xattrs);
                self.bodiless(&entry)
            }
            Node::Streamed { .. } => Ok(()),
        }
    }

    fn item(&mut self, path: &'a RelPath, source: usize, item: &'a Item) -> Result<(), LayerfsError> {
        let meta = &item.meta;
        let kind = match (meta.kind, &item.content) {
            (Kind::Dir, _) => EntryKind::Dir,
            (Kind::File, _) => EntryKind::File { size: meta.size },
            (Kind::Symlink, Content::Target(target)) => EntryKind::Symlink(target),
            (Kind::Char, _) => EntryKind::Char(meta.rdev),
            (Kind::Block, _) => EntryKind::Block(meta.rdev),
            (Kind::Fifo, _) => EntryKind::Fifo,
            (Kind::Socket | Kind::Symlink, _) => return Ok(()),
        };
        let (uid, gid) = self.owner(meta.uid, meta.gid);
        let mode = self.mode_of(kind, meta.mode);
        let mut entry = Entry { path, kind, mode, uid, gid, mtime: self.time(meta.mtime), xattrs: &item.xattrs };
        let Content::Bytes(sum) = &item.content else { return self.bodiless(&entry) };
        if let Some(group) = item.group {
            if let Some(first) = self.first_names.get(&(source, group)) {
                (entry.kind, entry.xattrs) = (EntryKind::Hardlink(first), &NONE);
                return self.bodiless(&entry);
            }
            self.first_names.insert((source, group), path);
        }
        self.selected_file(&entry, source, item, sum)
    }

    /// A file's entry and bytes, which must be those that were selected.
    fn selected_file(&mut self, entry: &Entry<'_>, source: usize, item: &Item, sum: &Sum) -> Result<(), LayerfsError> {
        let parts = self.request.parts;
        let changed = || {
            parts.iter().filter_map(|part| part.view.seen()).for_each(Seen::doubt);
            LayerfsError::Changed { path: item.path.display() }
        };
        let part = self.plan.sources.get(source).copied().unwrap_or_default();
        let file = self.readers.get_mut(part).ok_or_else(changed)?.open(item.layer, &item.path);
        let file = match file {
            Ok(file) => file,
            Err(e) if is_gone(&e) => return Err(changed()),
            Err(e) => return Err(LayerfsError::io(format!("opening {}", item.path.display()))(e)),
        };
        let mut body = Summing { inner: file, hasher: blake3::Hasher::new() };
        self.with_body(entry, &mut body)?;
        if Sum::from(body.hasher.finalize()) == *sum { Ok(()) } else { Err(changed()) }
    }

    fn archives(&mut self) -> Result<(), LayerfsError> {
        for (number, unpacked) in self.plan.archives.iter().enumerate() {
            let mut at = 0;
            archive::each(unpacked.view, unpacked.item, |entry, body| {
                let place = unpacked.streamed.get(at).and_then(Option::as_ref);
                if let Some(place) = place.filter(|p| self.comes_from(&p.path, number, at)) {
                    self.streamed((number, at), place, &entry, body)?;
                }
                at += 1;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Is this entry the one that the path gets, and not one that was replaced later?
    fn comes_from(&self, path: &RelPath, number: usize, at: usize) -> bool {
        let this =
            |node: &Node<'_>| matches!(node, Node::Streamed { archive, at: n } if (*archive, *n) == (number, at));
        self.plan.nodes.get(path).is_some_and(this)
    }

    fn streamed(
        &mut self,
        (number, at): (usize, usize),
        place: &'a Place,
        stated: &ReadEntry,
        body: &mut Body<'_, archive::Stream>,
    ) -> Result<(), LayerfsError> {
        let xattrs = travelling(stated);
        match (&stated.kind, &place.link) {
            (ReadKind::File { size }, _) => {
                let entry = self.of_archive(&place.path, EntryKind::File { size: *size }, stated, &xattrs);
                self.with_body(&entry, body)
            }
            (ReadKind::Hardlink(_), Some(target)) => {
                self.check_link(number, at, target)?;
                let entry = self.of_archive(&place.path, EntryKind::Hardlink(target), stated, &NONE);
                self.bodiless(&entry)
            }
            _ => Ok(()),
        }
    }

    /// A hard link must name what its archive meant, and what is in the layer already.
    fn check_link(&self, number: usize, at: usize, target: &RelPath) -> Result<(), LayerfsError> {
        let written = match self.plan.nodes.get(target) {
            Some(Node::Stated(_)) => true,
            Some(Node::Streamed { archive, at: n }) => *archive == number && *n < at,
            _ => false,
        };
        match self.plan.archives.get(number) {
            Some(unpacked) if !written => {
                Err(archive::fault(unpacked.item, format!("a hard link to {}, which is replaced", target.display())))
            }
            _ => Ok(()),
        }
    }

    fn bodiless(&mut self, entry: &Entry<'_>) -> Result<(), LayerfsError> {
        self.packed.entries += 1;
        self.tar.entry(entry)
    }

    fn with_body(&mut self, entry: &Entry<'_>, body: &mut dyn Read) -> Result<(), LayerfsError> {
        self.bodiless(entry)?;
        let EntryKind::File { size } = entry.kind else { return Ok(()) };
        self.packed.bytes += size;
        self.tar.data(body, size)
    }

    fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        match self.request.owner {
            Owner::Keep => (uid, gid),
            Owner::Set { uid, gid } => (uid, gid),
        }
    }

    /// The mode after `--chmod`. A symbolic link has none of its own.
    fn mode_of(&self, kind: EntryKind<'_>, mode: u32) -> u32 {
        match (kind, self.request.chmod) {
            (EntryKind::Symlink(_), _) | (_, None) => mode,
            (EntryKind::Dir, Some(chmod)) => chmod.apply(mode, Target::Dir),
            (_, Some(chmod)) => chmod.apply(mode, Target::Other),
        }
    }

    fn time(&self, time: Time) -> Time {
        Time { secs: self.request.clamp.map_or(time.secs, |latest| latest.min(time.secs)), nanos: 0 }
    }

    /// An entry for something that no source has.
    fn own<'e>(&self, path: &'e RelPath, kind: EntryKind<'e>, mode: u32) -> Entry<'e> {
        let (uid, gid) = self.owner(0, 0);
        Entry { path, kind, mode, uid, gid, mtime: Time { secs: self.made_at, nanos: 0 }, xattrs: &NONE }
    }

    /// An entry as an archive states it. `--chown` is for what is in it too, `--chmod` is not, as in BuildKit: one
    /// mode cannot fit the files and the directories of a whole tree.
    fn of_archive<'e>(
        &self,
        path: &'e RelPath,
        kind: EntryKind<'e>,
        stated: &ReadEntry,
        xattrs: &'e Xattrs,
    ) -> Entry<'e> {
        let (uid, gid) = self.owner(stated.uid, stated.gid);
        Entry { path, kind, mode: stated.mode, uid, gid, mtime: self.time(stated.mtime), xattrs }
    }
}

/// The attributes of an archive's entry that may be in a layer.
fn travelling(stated: &ReadEntry) -> Xattrs {
    let kept = stated.xattrs.iter().filter(|(name, value)| walk::travels_with(name, value));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Hashes what is read through it.
struct Summing<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Summing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.hasher.update(buf.get(..got).unwrap_or_default());
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::{Chmod, CopyPart, Unpack, pack_copy};
    use crate::root::Root;
    use crate::select::Selection;
    use crate::tar::read::{Bounds, TarReader};
    use crate::view::View;

    fn archive() -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        for (path, kind, mode) in [("d", EntryKind::Dir, 0o1777), ("d/f", EntryKind::File { size: 0 }, 0o4755)] {
            let path = &RelPath::from(path);
            let entry = Entry { path, kind, mode, uid: 3, gid: 4, mtime: Time { secs: 1, nanos: 0 }, xattrs: &NONE };
            tar.entry(&entry).unwrap();
        }
        tar.finish().unwrap()
    }

    /// Mode, owner and group of every entry.
    fn added(owner: Owner, chmod: Option<&Chmod>) -> Vec<(u32, u32, u32)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.tar"), archive()).unwrap();
        let view = View::dir(Root::open(dir.path()).unwrap());
        let mut selection = Selection::whole_directory(&view).unwrap();
        // The archive itself is what is named, and not the directory that it is in.
        for source in &mut selection.sources {
            (source.shape, source.name) = (crate::select::Shape::Single, b"a.tar".to_vec());
        }
        let mut out = Vec::new();
        let request = CopyRequest {
            parts: &[CopyPart { view: &view, selection: &selection, unpack: Unpack::Local }],
            target: &View::stack(Vec::new()),
            dest: &"/".into(),
            dest_is_dir: true,
            owner,
            chmod,
            clamp: None,
            now: 0,
            inline: &[],
        };
        pack_copy(&request, &mut out).unwrap();
        let mut reader = TarReader::new(&*out, Bounds::default());
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            found.push((entry.mode, entry.uid, entry.gid));
        }
        found
    }

    #[test]
    fn what_an_archive_holds_changes_its_owner_and_not_its_mode() {
        assert_eq!(added(Owner::Keep, None), [(0o1777, 3, 4), (0o4755, 3, 4)]);
        for chmod in ["600", "u=rw,go="] {
            let chmod = Chmod::parse(chmod).unwrap();
            assert_eq!(added(Owner::Set { uid: 1, gid: 2 }, Some(&chmod)), [(0o1777, 1, 2), (0o4755, 1, 2)]);
        }
    }
}
