//! A tar of an image, found entry by entry: nothing is unpacked.
//!
//! Takes: a file that may come from a stranger. Gives: the bytes of its regular files by name, and links of Docker's
//! older archives followed once. Must never: believe a size beyond the file's end, or keep more names than an image
//! can need.

use crate::StoreError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Most entries in an archive; each layer of an older one has a directory and three files.
const ENTRIES: usize = 100_000;

/// Where a file's bytes are.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: u64,
    size: u64,
}

/// An open archive.
#[derive(Debug, Clone)]
pub struct Archive {
    path: PathBuf,
    file: Arc<File>,
    files: Arc<BTreeMap<String, Span>>,
}

impl Archive {
    /// Reads the headers. `path` is for errors.
    ///
    /// # Errors
    /// [`StoreError::NotAnArchive`] for what is no tar of an image, and what the system says.
    pub fn open(path: &Path, file: File) -> Result<Self, StoreError> {
        let invalid = |reason| StoreError::NotAnArchive { path: path.to_owned(), reason };
        let length = file.metadata().map_err(StoreError::io("reading", path))?.len();
        let mut tar = tar::Archive::new(&file);
        let mut files = BTreeMap::new();
        let mut links = Vec::new();
        for (n, entry) in tar.entries_with_seek().map_err(|_| invalid("it is no tar"))?.enumerate() {
            let entry = entry.map_err(|_| invalid("it is no tar, or a damaged one"))?;
            if n >= ENTRIES {
                return Err(invalid("it has more entries than an image can need"));
            }
            let Some(name) = entry.path().ok().as_deref().and_then(plain) else { continue };
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let span = Span { begin: entry.raw_file_position(), size: entry.size() };
                    if span.begin.checked_add(span.size).is_none_or(|end| end > length) {
                        return Err(invalid("it ends in the middle of a file"));
                    }
                    files.insert(name, span);
                }
                kind @ (tar::EntryType::Symlink | tar::EntryType::Link) => {
                    let to = entry.link_name().ok().flatten();
                    // A symbolic link counts from its own directory, a hard link from the archive's root.
                    let base = if kind.is_symlink() { Path::new(&name).parent() } else { None };
                    let target = to.and_then(|to| plain(&base.unwrap_or(Path::new("")).join(to)));
                    links.extend(target.map(|target| (name, target)));
                }
                _ => {}
            }
        }
        for (name, target) in links {
            if let Some(span) = files.get(&target).copied() {
                files.entry(name).or_insert(span);
            }
        }
        Ok(Self { path: path.to_owned(), file: Arc::new(file), files: Arc::new(files) })
    }

    /// The file that it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of a file in it, in bytes; `None` when there is none.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.files.get(name).map(|span| span.size)
    }

    /// Where a file's bytes begin in the archive: the same for all of its names.
    pub fn begin(&self, name: &str) -> Option<u64> {
        self.files.get(name).map(|span| span.begin)
    }

    /// A file's bytes.
    pub fn read(&self, name: &str) -> Option<Part> {
        let span = *self.files.get(name)?;
        Some(Part { file: Arc::clone(&self.file), at: span.begin, left: span.size })
    }
}

/// The bytes of one file of an archive.
#[derive(Debug)]
pub struct Part {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Part {
    /// Without its first bytes: so many, or all that there are.
    #[must_use]
    pub fn after(self, bytes: u64) -> Self {
        let bytes = bytes.min(self.left);
        Self { at: self.at + bytes, left: self.left - bytes, ..self }
    }
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(buf.get_mut(..most).unwrap_or_default(), self.at)?;
        if n == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive has become shorter"));
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// A path in its one spelling; `None` when it leads out of the archive.
fn plain(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, Write as _};

    fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> File {
        let mut tar = tar::Builder::new(Vec::new());
        fill(&mut tar);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&tar.into_inner().unwrap()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn add(tar: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, link: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        if link.is_empty() {
            tar.append_data(&mut header, name, bytes).unwrap();
        } else {
            tar.append_link(&mut header, name, link).unwrap();
        }
    }

    fn text(archive: &Archive, name: &str) -> Option<String> {
        let mut text = String::new();
        archive.read(name)?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn files_are_found_by_their_one_name_and_through_links() {
        let file = archive(|tar| {
            add(tar, tar::EntryType::Symlink, "b/layer.tar", "../a/layer.tar", b"");
            add(tar, tar::EntryType::Regular, "./a/layer.tar", "", b"layer");
            add(tar, tar::EntryType::Link, "c", "a/layer.tar", b"");
            add(tar, tar::EntryType::Symlink, "out", "../../etc/passwd", b"");
        });
        let archive = Archive::open(Path::new("x.tar"), file).unwrap();
        for name in ["a/layer.tar", "b/layer.tar", "c"] {
            assert_eq!(text(&archive, name).as_deref(), Some("layer"), "{name}");
        }
        for (skipped, left) in [(0, "layer"), (2, "yer"), (5, ""), (6, "")] {
            let mut text = String::new();
            archive.read("c").unwrap().after(skipped).read_to_string(&mut text).unwrap();
            assert_eq!(text, left, "{skipped}");
        }
        assert_eq!(archive.size("a/layer.tar"), Some(5));
        assert!(archive.begin("c").is_some() && archive.begin("c") == archive.begin("b/layer.tar"));
        assert!(archive.read("out").is_none() && archive.read("etc/passwd").is_none());
    }

    #[test]
    fn what_is_cut_off_or_no_tar_is_refused() {
        let file = archive(|tar| add(tar, tar::EntryType::Regular, "a", "", &[7; 2000]));
        file.set_len(1000).unwrap();
        assert!(matches!(Archive::open(Path::new("x"), file), Err(StoreError::NotAnArchive { .. })));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[b'x'; 4096]).unwrap();
        file.rewind().unwrap();
        assert!(matches!(Archive::open(Path::new("x"), file), Err(StoreError::NotAnArchive { .. })));
    }
}
