//! What became of a root since it was indexed, as the upper directory of an overlay: files that are others or changed,
//! with the directories that lead to them, and a mark for each that is gone.
//!
//! As overlayfs has it, a directory in another one's place, or in a file's, is opaque. What in the root has several names
//! is changed under all of them.

use super::copy::{self, go_on};
use super::index::{Index, Stamp};
use super::lay::at;
use super::{Scope, is_cut_off, is_wanted};
use crate::LayerfsError;
use crate::root::Root;
use crate::seen::Seen;
use crate::stat::{Kind, Meta};
use crate::view::View;
use crate::walk::{self, Dir};
use crate::whiteout::{OverlayXattr, is_reserved};
use cooper_image::RelPath;
use rustix::fs::{AtFlags, Mode};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;

/// How much of two files is compared at once.
const CHUNK: usize = 64 * 1024;

/// What a root was before.
pub struct Before<'a> {
    /// Its files.
    pub index: &'a Index,
    /// The layers that it was equal to.
    pub view: &'a View,
    /// Paths, with the directories above them, that whoever ran the step has moved out of the way and back: for these a
    /// new ctime alone says nothing.
    pub moved: &'a BTreeSet<RelPath>,
    /// What of it counts.
    pub scope: Scope<'a>,
    /// Does every write change a file's ctime where the root is? Else files that look unchanged are compared with those of
    /// the layers.
    pub ctimes_tell: bool,
}

/// What the changes mean for whoever goes on in the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It is what laying them out would make of it.
    Alike,
    /// Files that were changed have several names in it, which would be parted.
    Linked,
}

/// Writes the changes into an empty directory, with deletions marked as asked for. Ends with
/// [`io::ErrorKind::Interrupted`] soon after `given_up` says so.
///
/// # Errors
/// [`LayerfsError::ReservedName`]; [`LayerfsError::Io`] with the path.
pub fn write_changes(
    root: &Root,
    before: &Before<'_>,
    upper: &Root,
    marks: OverlayXattr,
    given_up: &dyn Fn() -> bool,
) -> Result<Left, LayerfsError> {
    let trusted = before.ctimes_tell && Seen::trusted(root).is_some();
    let moved = before.moved.iter().filter_map(|path| before.index.stamp(path)).map(|stamp| stamp.inode()).collect();
    let (made, links) = (Vec::new(), HashMap::new());
    let mut writer = Writer { root, before, upper, marks, trusted, moved, made, links, given_up };
    let mut pending = vec![(RelPath::root(), Same::Yes)];
    while let Some((path, same)) = pending.pop() {
        pending.extend(writer.directory(&path, same)?);
    }
    writer.finish()?;
    Ok(if writer.links.is_empty() { Left::Alike } else { Left::Linked })
}

/// Is it the directory that was there before, so that what is in it may be what was in it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    Yes,
    No,
}

struct Writer<'a> {
    root: &'a Root,
    before: &'a Before<'a>,
    upper: &'a Root,
    marks: OverlayXattr,
    /// Can ctimes be believed? Not where a write through a mapping leaves them alone.
    trusted: bool,
    /// Of what was moved out of the way and back: its other names have a new ctime as well.
    moved: HashSet<(u64, u64)>,
    /// Directories of the upper, in the order in which they were made, with what is known of them.
    made: Vec<RelPath>,
    /// First path of every file with several names.
    links: HashMap<(u64, u64), RelPath>,
    given_up: &'a dyn Fn() -> bool,
}

impl Writer<'_> {
    /// Writes the changes directly in a directory; gives the directories in it.
    fn directory(&mut self, path: &RelPath, same: Same) -> Result<Vec<(RelPath, Same)>, LayerfsError> {
        let none = BTreeMap::new();
        let old = self.before.index.get(path).unwrap_or(&none);
        let dir = self.root.dir(path).map_err(at("opening", path))?;
        let mut present = BTreeSet::new();
        let mut below = Vec::new();
        for entry in dir.entries().map_err(at("listing", path))? {
            if is_cut_off(path, &entry.name, self.before.scope.cut_off) {
                continue;
            }
            let child = path.join(&entry.name);
            let failed = |e| at("reading", &child)(e);
            go_on(self.given_up).map_err(failed)?;
            let meta = dir.stat(&entry.name).map_err(failed)?;
            if !is_wanted(&meta, self.before.scope.devices) {
                continue;
            }
            if is_reserved(&entry.name) {
                return Err(LayerfsError::ReservedName { path: child.display() });
            }
            let was = old.get(&entry.name).filter(|_| same == Same::Yes);
            let unchanged = was.is_some_and(|was| was.is_still(&meta)) || self.is_moved(&dir, &child, was, &meta)?;
            if meta.kind == Kind::Dir {
                let is = was.is_some_and(|was| was.is(&meta));
                below.push((child.clone(), if is { Same::Yes } else { Same::No }));
                if !unchanged {
                    let out = self.make_dir(&child)?;
                    // What is in a new one is new as well, so that nothing below it is to be marked.
                    if was.is_some() && !is {
                        self.marks.hide_below(&out).map_err(|e| at("marking", &child)(e.into()))?;
                    }
                }
            } else if !(unchanged && self.is_believed(&dir, &child, &entry.name, &meta)?) {
                self.copy(&dir, &child, &entry.name, &meta)?;
            }
            present.insert(entry.name);
        }
        for name in old.keys().filter(|name| same == Same::Yes && !present.contains(*name)) {
            let out = self.make_dir(path)?;
            self.marks.delete(&out, name).map_err(|e| at("recording the deletion of", &path.join(name))(e.into()))?;
        }
        Ok(below)
    }

    /// Has a file nothing but another ctime, because it or what is in it was moved away and back? Its bytes are compared:
    /// a step can write to it by another name, or before it is moved back, and give it its former time.
    fn is_moved(&self, dir: &Dir, path: &RelPath, was: Option<&Stamp>, meta: &Meta) -> Result<bool, LayerfsError> {
        let was_moved = self.before.moved.contains(path) || self.moved.contains(&(meta.dev, meta.ino));
        if !was_moved || !was.is_some_and(|was| was.is(meta)) {
            return Ok(false);
        }
        let Some(old) = self.before.view.lstat(path)? else { return Ok(false) };
        let all = |m: &Meta| (m.kind, m.mode, m.uid, m.gid, m.mtime, (m.kind != Kind::Dir).then_some(m.size));
        if all(&old) != all(meta) {
            return Ok(false);
        }
        let name = path.file_name().unwrap_or_default();
        if meta.kind == Kind::File && !self.has_same_bytes(dir, path, name)? {
            return Ok(false);
        }
        let now = match meta.kind {
            Kind::Dir => dir.open_dir(name).and_then(|dir| dir.xattrs()),
            Kind::File => dir.open_file(name).and_then(|file| walk::travelling_xattrs(file.as_fd())),
            _ => return Ok(true),
        };
        Ok(now.map_err(at("reading the attributes of", path))? == self.before.view.xattrs(path)?)
    }

    /// Where ctimes say nothing of some writes, has an unchanged file the bytes of its layer?
    fn is_believed(&self, dir: &Dir, path: &RelPath, name: &[u8], meta: &Meta) -> Result<bool, LayerfsError> {
        if self.trusted || meta.kind != Kind::File || meta.size == 0 {
            return Ok(true);
        }
        self.has_same_bytes(dir, path, name)
    }

    /// Has a file the bytes of its layer?
    fn has_same_bytes(&self, dir: &Dir, path: &RelPath, name: &[u8]) -> Result<bool, LayerfsError> {
        let old = self.before.view.open_file(path)?;
        let now = dir.open_file(name).map_err(at("opening", path))?;
        are_equal(old, now).map_err(at("comparing", path))
    }

    fn copy(&mut self, dir: &Dir, path: &RelPath, name: &[u8], meta: &Meta) -> Result<(), LayerfsError> {
        let failed = |e| at("keeping", path)(e);
        let out = self.make_dir(&path.parent().unwrap_or_default())?;
        if meta.nlink > 1 {
            match self.links.get(&(meta.dev, meta.ino)) {
                None => drop(self.links.insert((meta.dev, meta.ino), path.clone())),
                Some(first) => {
                    let from = self.upper.dir(&first.parent().unwrap_or_default()).map_err(failed)?;
                    let (from, first) = (from.as_fd(), first.file_name().unwrap_or_default());
                    let linked = rustix::fs::linkat(from, first, out.as_fd(), name, AtFlags::empty());
                    return linked.map_err(|e| failed(e.into()));
                }
            }
        }
        let devices = self.before.scope.devices;
        let copied = match meta.kind {
            Kind::File => dir.open_file(name).and_then(|from| copy::file(&from, meta, &out, name, self.given_up)),
            Kind::Symlink => dir.read_link(name).and_then(|target| copy::special(meta, &target, &out, name, devices)),
            _ => copy::special(meta, &[], &out, name, devices),
        };
        copied.map_err(failed)
    }

    /// A directory of the upper; it and those above it are made when they are not there.
    fn make_dir(&mut self, path: &RelPath) -> Result<Dir, LayerfsError> {
        let failed = |e| at("making", path)(e);
        if let Ok(dir) = self.upper.dir(path) {
            return Ok(dir);
        }
        let mut so_far = RelPath::root();
        for name in path.components() {
            let above = self.upper.dir(&so_far).map_err(failed)?;
            so_far = so_far.join(name);
            match rustix::fs::mkdirat(above.as_fd(), name, Mode::RWXU) {
                Ok(()) => self.made.push(so_far.clone()),
                Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(failed(e.into())),
            }
        }
        self.upper.dir(path).map_err(failed)
    }

    /// Gives the directories of the upper what those of the root have; last, since making names changes times.
    fn finish(&self) -> Result<(), LayerfsError> {
        for path in self.made.iter().rev() {
            let failed = |e| at("keeping", path)(e);
            let from = self.root.dir(path).map_err(failed)?;
            let to = self.upper.dir(path).map_err(failed)?;
            let (meta, xattrs) = (from.meta().map_err(failed)?, from.xattrs().map_err(failed)?);
            copy::set(to.as_fd(), &meta, &xattrs, to.owners()).map_err(failed)?;
        }
        Ok(())
    }
}

fn are_equal(mut a: File, mut b: File) -> io::Result<bool> {
    let (mut one, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let count = a.read(&mut one)?;
        let (mine, theirs) = (one.get(..count), other.get_mut(..count));
        let (Some(mine), Some(theirs)) = (mine, theirs) else { return Ok(false) };
        if count == 0 {
            return Ok(b.read(&mut other)? == 0);
        }
        match b.read_exact(theirs) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if mine != theirs {
            return Ok(false);
        }
    }
}
