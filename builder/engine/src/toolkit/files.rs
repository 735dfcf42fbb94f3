//! What layers do to the files below them, by path: the layers of one image that another one does not have.
//!
//! Takes layers, lowest first; gives for a path what these layers make of it, or that they leave it as it is. Must never
//! keep a file's bytes.

use super::origin::{Origin, cause};
use crate::EngineError;
use cooper_image::{Descriptor, Hasher, RelPath};
use cooper_layerfs::compress;
use cooper_layerfs::tar::read::{ReadEntry, ReadKind, TarReader};
use cooper_layerfs::whiteout::{self, Marker};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most paths that are kept of one image.
const PATHS: usize = 5_000_000;

/// A file as a tar says it, times left away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileState {
    /// `file`, `directory`, `link`, `device` or `pipe`.
    pub kind: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a regular file.
    pub size: u64,
    /// Digest of a regular file; target of a link; numbers of a device.
    pub content: String,
    /// Extended attributes, by a digest of all of them.
    #[serde(skip)]
    xattrs: Option<String>,
}

impl FileState {
    fn of(entry: &ReadEntry, content: String) -> Self {
        let (kind, size) = match &entry.kind {
            ReadKind::Dir => ("directory", 0),
            ReadKind::File { size } => ("file", *size),
            ReadKind::Hardlink(_) => ("file", 0),
            ReadKind::Symlink(_) => ("link", 0),
            ReadKind::Char(_) | ReadKind::Block(_) => ("device", 0),
            ReadKind::Fifo => ("pipe", 0),
        };
        let mut xattrs = Hasher::new();
        for (name, value) in &entry.xattrs {
            xattrs.update(&[name.as_slice(), b"=", value, b"\n"].concat());
        }
        let xattrs = (!entry.xattrs.is_empty()).then(|| xattrs.finish().to_string());
        // A link's own mode means nothing, and tools write what they like.
        let mode = if kind == "link" { 0o777 } else { entry.mode };
        Self { kind, mode, uid: entry.uid, gid: entry.gid, size, content, xattrs }
    }

    /// A directory that no layer speaks of, and in which one has something.
    pub(super) fn implied() -> Self {
        let (kind, mode, content) = ("directory", 0o755, String::new());
        Self { kind, mode, uid: 0, gid: 0, size: 0, content, xattrs: None }
    }

    /// What is not the same, in words.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let content = self.content != other.content || self.size != other.size;
        let all = [
            (self.kind != other.kind, "type"),
            (content, "content"),
            (self.mode != other.mode, "mode"),
            (self.uid != other.uid || self.gid != other.gid, "owner"),
            (self.xattrs != other.xattrs, "attributes"),
        ];
        all.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| name).collect()
    }
}

/// What layers make of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'f> {
    /// A file.
    Is(&'f FileState),
    /// Nothing is there, whatever was below.
    Gone,
    /// What is below, if anything is.
    Below,
    /// The directory that is below, and if none is, one that was made for what is in it ([`FileState::implied`]).
    Implied,
}

/// What layers make of all paths.
#[derive(Debug, Default)]
pub struct Files {
    /// By the path's bytes, so that what is below a directory follows on `DIR/`.
    files: BTreeMap<Vec<u8>, FileState>,
    /// Of these nothing shows that is below: they were deleted, or something else took their place.
    gone: BTreeSet<Vec<u8>>,
    /// Directories of which nothing shows that is below.
    opaque: BTreeSet<Vec<u8>>,
    /// Directories without an entry of their own.
    implied: BTreeSet<Vec<u8>>,
    deletes: bool,
}

impl Files {
    /// Reads layers.
    ///
    /// # Errors
    /// What the place says, and layers that are no tar.
    pub fn read(origin: &dyn Origin, layers: &[Descriptor]) -> Result<Self, EngineError> {
        let mut files = Self::default();
        for layer in layers {
            let added = files.add(origin, layer, PATHS);
            added.map_err(|e| e.of_foreign(layer, &origin.place()).of_layer(&layer.digest))?;
        }
        Ok(files)
    }

    /// Puts a layer on top; `most` paths are kept.
    fn add(&mut self, origin: &dyn Origin, layer: &Descriptor, most: usize) -> Result<(), EngineError> {
        let mut tar = TarReader::new(compress::decompress(origin.open(layer)?)?, Default::default());
        let mut new: BTreeMap<Vec<u8>, FileState> = BTreeMap::new();
        let mut above_all: BTreeSet<RelPath> = BTreeSet::new();
        while let Some(entry) = tar.next_entry()? {
            let path = RelPath::clean(&entry.name);
            let (above, name) = (path.parent().unwrap_or_default(), path.file_name().unwrap_or_default());
            let marker = whiteout::parse(name).unwrap_or(Marker::Bookkeeping);
            if marker != Marker::Bookkeeping {
                let mut dir = Some(above.clone());
                // Where one of them is known, those above it are.
                while let Some(known) = dir.filter(|dir| !dir.is_root() && above_all.insert(dir.clone())) {
                    dir = known.parent();
                }
            }
            match marker {
                Marker::Opaque => self.hide(&above),
                Marker::Deletes(name) => self.delete(&above.join(name)),
                Marker::Bookkeeping => {}
                Marker::Plain => {
                    let state = match &entry.kind {
                        // Another name of a file: of one that comes with it, else of one below.
                        ReadKind::Hardlink(target) => {
                            let target = RelPath::clean(target);
                            let same = new.get(target.as_bytes()).or_else(|| self.files.get(target.as_bytes()));
                            same.cloned().unwrap_or_else(|| FileState::of(&entry, target.display()))
                        }
                        ReadKind::File { .. } => {
                            let mut hasher = Hasher::new();
                            let read = std::io::copy(&mut tar.body(), &mut hasher);
                            read.map_err(|e| cause(e, || "reading a layer".to_owned()))?;
                            FileState::of(&entry, hasher.finish().to_string())
                        }
                        ReadKind::Symlink(target) => FileState::of(&entry, written(target)),
                        ReadKind::Char(rdev) | ReadKind::Block(rdev) => FileState::of(&entry, format!("{rdev:?}")),
                        ReadKind::Dir | ReadKind::Fifo => FileState::of(&entry, String::new()),
                    };
                    new.insert(path.as_bytes().to_vec(), state);
                }
            }
            let below = self.files.len() + self.gone.len() + self.opaque.len() + self.implied.len();
            if new.len() + above_all.len() + below > most {
                let reason = format!("it has more than {most} files and deletions");
                return Err(EngineError::InvalidImage { reference: origin.place(), reason });
            }
        }
        // Deletions of a layer are about those below it, wherever in the tar they stand.
        for dir in above_all.iter().filter(|dir| !new.contains_key(dir.as_bytes())) {
            self.imply(dir.as_bytes());
        }
        for (path, state) in new {
            if state.kind != "directory" {
                self.drop_below(&path);
                self.gone.insert(path.clone());
            }
            self.files.insert(path, state);
        }
        Ok(())
    }

    /// Something is in a directory of which the layer need not speak.
    fn imply(&mut self, dir: &[u8]) {
        match self.find(dir) {
            Found::Is(state) if state.kind == "directory" => {}
            Found::Implied => {}
            Found::Is(_) | Found::Gone => {
                self.files.insert(dir.to_vec(), FileState::implied());
            }
            Found::Below => {
                self.implied.insert(dir.to_vec());
            }
        }
    }

    fn drop_below(&mut self, dir: &[u8]) {
        let prefix = if dir.is_empty() { Vec::new() } else { [dir, b"/"].concat() };
        let below = self.files.range(prefix.clone()..).map(|(path, _)| path);
        let below: Vec<Vec<u8>> = below.take_while(|path| path.starts_with(&prefix)).cloned().collect();
        for path in below.iter().filter(|path| !path.is_empty()) {
            self.files.remove(path);
        }
        let below = self.implied.range(prefix.clone()..).take_while(|path| path.starts_with(&prefix));
        for path in below.cloned().collect::<Vec<_>>() {
            self.implied.remove(&path);
        }
    }

    fn delete(&mut self, path: &RelPath) {
        self.drop_below(path.as_bytes());
        self.files.remove(path.as_bytes());
        self.implied.remove(path.as_bytes());
        self.gone.insert(path.as_bytes().to_vec());
        self.deletes = true;
    }

    fn hide(&mut self, dir: &RelPath) {
        self.drop_below(dir.as_bytes());
        self.opaque.insert(dir.as_bytes().to_vec());
        self.deletes = true;
    }

    /// What they make of a path.
    pub fn find(&self, path: &[u8]) -> Found<'_> {
        if let Some(state) = self.files.get(path) {
            return Found::Is(state);
        }
        if self.gone.contains(path) {
            return Found::Gone;
        }
        let mut at = path;
        while !at.is_empty() {
            at = at.iter().rposition(|b| *b == b'/').and_then(|cut| at.get(..cut)).unwrap_or_default();
            if self.gone.contains(at) || self.opaque.contains(at) {
                return Found::Gone;
            }
        }
        if self.implied.contains(path) { Found::Implied } else { Found::Below }
    }

    /// The paths that they say something of.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.files.keys().chain(&self.gone).chain(&self.implied).map(Vec::as_slice)
    }

    /// Do they say that something is gone, which may have been a whole directory?
    pub fn deletes(&self) -> bool {
        self.deletes
    }
}

/// A link's target to its last byte, since links are compared by it: what is no character, and what would steer a
/// terminal, as `\\xNN` or `\\u{N}`.
fn written(target: &[u8]) -> String {
    let mut text = String::with_capacity(target.len());
    for chunk in target.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c == '\\' || c.is_control() {
                true => text.extend(c.escape_default()),
                false => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;

    /// One layer of these entries: a link, where there is a target.
    fn layer(place: &mut Memory, entries: &[(&str, &[u8])]) -> Descriptor {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, target) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o644);
            header.set_entry_type(if target.is_empty() { tar::EntryType::Regular } else { tar::EntryType::Symlink });
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
            tar.append_data(&mut header, name, &b""[..]).unwrap();
        }
        place.put("application/vnd.oci.image.layer.v1.tar", &tar.into_inner().unwrap())
    }

    #[test]
    fn links_are_told_apart_by_every_byte_and_steer_no_terminal() {
        let targets: [(&[u8], &str); 7] = [
            (b"../x", "../x"),
            (b"x", "x"),
            (b"/x", "/x"),
            ("\u{e9}".as_bytes(), "\u{e9}"),
            (b"\xe9", "\\xe9"),
            (b"\\xe9", "\\\\xe9"),
            (b"a\x1b[2J\n", "a\\u{1b}[2J\\n"),
        ];
        for (target, shown) in targets {
            let mut place = Memory::default();
            let layer = layer(&mut place, &[("link", target)]);
            let files = Files::read(&place, &[layer]).unwrap();
            let Found::Is(state) = files.find(b"link") else { panic!("{shown} is not there") };
            assert_eq!((state.kind, state.content.as_str()), ("link", shown));
        }
    }

    #[test]
    fn a_layer_that_is_elsewhere_is_said_to_be() {
        use crate::ErrorClass;
        for (media_type, says) in [
            ("application/vnd.oci.image.layer.nondistributable.v1.tar", "which nobody may pass on"),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "which nobody may pass on"),
            ("application/vnd.oci.image.layer.v1.tar", "it has no"),
        ] {
            let absent = Descriptor::of(media_type.into(), b"of a publisher");
            let error = Files::read(&Memory::default(), &[absent]).unwrap_err();
            assert!(error.to_string().contains(says) && error.to_string().contains("memory"), "{media_type}: {error}");
            assert_eq!(error.class(), ErrorClass::Input);
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn deletions_count_like_files() {
        // The directories that they are in count as well.
        for (names, count) in [
            (["a", "b", "c"], 3),
            (["a", ".wh.b", "c/.wh..wh..opq"], 4),
            (["a/.wh.1", "a/.wh.2", "a/.wh.3"], 4),
            (["a/b/c/1", "a/b/d/2", "3"], 7),
        ] {
            let mut place = Memory::default();
            let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b""[..])).collect();
            let d = layer(&mut place, &entries);
            for most in [count - 1, count] {
                let added = Files::default().add(&place, &d, most);
                assert_eq!(added.is_ok(), most == count, "{names:?} {most}: {added:?}");
            }
        }
    }

    fn files(entries: &[(&str, &'static str)]) -> Files {
        let state =
            |kind| FileState { kind, mode: 0o644, uid: 0, gid: 0, size: 0, content: String::new(), xattrs: None };
        let mut files = Files::default();
        for (path, kind) in entries {
            match *kind {
                "gone" => files.delete(&RelPath::from(*path)),
                "opaque" => files.hide(&RelPath::from(*path)),
                kind => drop(files.files.insert(path.as_bytes().to_vec(), state(kind))),
            }
        }
        files
    }

    #[test]
    fn what_is_hidden_is_hidden_with_all_that_is_in_it() {
        let entries = [
            ("a", "directory"),
            ("a-b", "file"),
            ("a/b", "file"),
            ("a", "gone"),
            ("d", "directory"),
            ("d/old", "file"),
            ("d", "opaque"),
            ("d/new", "file"),
        ];
        let files = files(&entries);
        let is = |path: &str| files.find(path.as_bytes());
        assert!(matches!(is("a-b"), Found::Is(_)), "its name only begins like that of what was deleted");
        assert!(matches!(is("d"), Found::Is(_)) && matches!(is("d/new"), Found::Is(_)));
        for gone in ["a", "a/b", "a/b/c", "d/old", "d/other"] {
            assert_eq!(is(gone), Found::Gone, "{gone}");
        }
        for below in ["", "x", "x/y", "a-c"] {
            assert_eq!(is(below), Found::Below, "{below}");
        }
        assert!(files.deletes());
    }
}
