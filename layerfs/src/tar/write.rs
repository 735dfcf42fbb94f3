//! Tar bytes from entries. The bytes depend on the entries and on nothing else.
//!
//! Every entry is one ustar header block. Owner and group names are empty; ids count. Directory names end
//! in `/`. Names that do not fit 100 bytes are split at a `/` into the prefix and name fields when that is
//! possible. What ustar cannot say is said by one PAX extended header (`x`) before the entry, and only then:
//!
//! | record | when |
//! |---|---|
//! | `path`, `linkpath` | too long for the fields, or a byte outside printable ASCII; raw bytes, unescaped |
//! | `size` | over 8 GiB − 1 |
//! | `uid`, `gid` | over 2 097 151 |
//! | `mtime` | before 1970, or over 8 589 934 591 (whole seconds) |
//! | `SCHILY.xattr.NAME` | for every extended attribute |
//!
//! Records are sorted by keyword. The extended header's own name, mode, owner and time are constants. Times
//! are cut to whole seconds, so that a layer made from a tree and one made from its unpacked copy agree. The
//! archive ends with two zero blocks and no further padding.

use super::header::{self, BLOCK, Header};
use super::pax;
use crate::error::LayerfsError;
use crate::stat::{Rdev, Time};
use cooper_image::RelPath;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write};

/// Name of every extended header; readers never make a file of it.
const PAX_NAME: &[u8] = b"PaxHeaders/entry";
/// Bytes moved at once.
const COPY_BYTES: usize = 128 * 1024;

/// One entry, without its body.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Where it is.
    pub path: &'a RelPath,
    /// What it is.
    pub kind: EntryKind<'a>,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change; written in whole seconds.
    pub mtime: Time,
    /// Extended attributes; all are written.
    pub xattrs: &'a BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// A directory.
    Dir,
    /// A regular file; [`TarWriter::data`] has to follow when `size` is not zero.
    File {
        /// Bytes that follow.
        size: u64,
    },
    /// A symbolic link with its target as stored.
    Symlink(&'a [u8]),
    /// Another name for an earlier entry.
    Hardlink(&'a RelPath),
    /// A character device.
    Char(Rdev),
    /// A block device.
    Block(Rdev),
    /// A named pipe.
    Fifo,
}

impl EntryKind<'_> {
    fn flag(&self) -> u8 {
        match self {
            Self::File { .. } => b'0',
            Self::Hardlink(_) => b'1',
            Self::Symlink(_) => b'2',
            Self::Char(_) => b'3',
            Self::Block(_) => b'4',
            Self::Dir => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// Writes entries one after another.
pub struct TarWriter<W: Write> {
    out: BufWriter<W>,
    /// Body bytes that the last entry promised and that have not come yet.
    owed: u64,
    /// The last entry's path, for messages.
    current: RelPath,
    buffer: Box<[u8]>,
    records: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(COPY_BYTES, out),
            owed: 0,
            current: RelPath::root(),
            buffer: vec![0; COPY_BYTES].into_boxed_slice(),
            records: Vec::new(),
        }
    }

    /// Writes the headers of one entry. A file's body follows by [`TarWriter::data`].
    ///
    /// # Errors
    /// [`LayerfsError::Io`] when the output fails, [`LayerfsError::Changed`] when the last body is missing.
    pub fn entry(&mut self, entry: &Entry<'_>) -> Result<(), LayerfsError> {
        self.settled()?;
        self.current.clone_from(entry.path);
        self.records.clear();
        let block = compose(entry, &mut self.records);
        let written = if self.records.is_empty() { Ok(()) } else { write_records(&mut self.out, &self.records) };
        written.and_then(|()| self.out.write_all(&block)).map_err(output_failed)?;
        if let EntryKind::File { size } = entry.kind {
            self.owed = size;
        }
        Ok(())
    }

    /// Writes the body of the file entry just written: all of `reader`, which must hold exactly `size` bytes.
    ///
    /// # Errors
    /// [`LayerfsError::Changed`] when `reader` holds fewer or more bytes, or `size` is not what the entry said;
    /// [`LayerfsError::Io`] when reading or writing fails.
    pub fn data(&mut self, reader: &mut dyn Read, size: u64) -> Result<(), LayerfsError> {
        if size != self.owed {
            return Err(self.changed());
        }
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(COPY_BYTES);
            let got = self.read_some(reader, want)?;
            if got == 0 {
                return Err(self.changed());
            }
            self.out.write_all(self.buffer.get(..got).unwrap_or_default()).map_err(output_failed)?;
            left -= got as u64;
        }
        if self.read_some(reader, 1)? != 0 {
            return Err(self.changed());
        }
        self.owed = 0;
        let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        self.out.write_all([0; BLOCK].get(..padding).unwrap_or_default()).map_err(output_failed)
    }

    /// Writes the end of the archive and gives the output back.
    ///
    /// # Errors
    /// As for [`TarWriter::entry`].
    pub fn finish(mut self) -> Result<W, LayerfsError> {
        self.settled()?;
        self.out.write_all(&[0; 2 * BLOCK]).map_err(output_failed)?;
        self.out.into_inner().map_err(|e| output_failed(e.into_error()))
    }

    fn settled(&self) -> Result<(), LayerfsError> {
        if self.owed == 0 { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> LayerfsError {
        LayerfsError::Changed { path: self.current.display() }
    }

    fn read_some(&mut self, reader: &mut dyn Read, want: usize) -> Result<usize, LayerfsError> {
        let buffer = self.buffer.get_mut(..want).unwrap_or_default();
        loop {
            match reader.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => {
                    return other.map_err(|e| LayerfsError::io(format!("reading {}", self.current.display()))(e));
                }
            }
        }
    }
}

fn output_failed(source: io::Error) -> LayerfsError {
    LayerfsError::Io { what: "writing a layer".into(), source }
}

/// The header block of an entry; what does not fit goes to `records`, sorted by keyword.
fn compose(entry: &Entry<'_>, records: &mut Vec<u8>) -> [u8; BLOCK] {
    let mut header = Header::ustar(entry.kind.flag());
    let mut extra: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    put_path(&mut header, &mut extra, entry);
    header.put_octal(header::MODE, u64::from(entry.mode & 0o7777));
    put_number(&mut header, &mut extra, header::UID, "uid", u64::from(entry.uid));
    put_number(&mut header, &mut extra, header::GID, "gid", u64::from(entry.gid));
    let size = if let EntryKind::File { size } = entry.kind { size } else { 0 };
    put_number(&mut header, &mut extra, header::SIZE, "size", size);
    match u64::try_from(entry.mtime.secs) {
        Ok(secs) => put_number(&mut header, &mut extra, header::MTIME, "mtime", secs),
        Err(_) => {
            header.put_octal(header::MTIME, 0);
            extra.insert(b"mtime".to_vec(), entry.mtime.secs.to_string().into_bytes());
        }
    }
    match entry.kind {
        EntryKind::Symlink(target) => put_link(&mut header, &mut extra, target),
        EntryKind::Hardlink(target) => put_link(&mut header, &mut extra, target.as_bytes()),
        _ => {}
    }
    let rdev = if let EntryKind::Char(rdev) | EntryKind::Block(rdev) = entry.kind { rdev } else { Rdev::default() };
    header.put_octal(header::MAJOR, u64::from(rdev.major));
    header.put_octal(header::MINOR, u64::from(rdev.minor));
    for (name, value) in entry.xattrs {
        extra.insert([pax::XATTR, name].concat(), value.clone());
    }
    for (keyword, value) in &extra {
        pax::push(records, keyword, value);
    }
    header.seal()
}

fn put_number(
    header: &mut Header,
    extra: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    field: header::Field,
    keyword: &str,
    number: u64,
) {
    header.put_octal(field, number);
    if number > field.max_octal() {
        extra.insert(keyword.as_bytes().to_vec(), number.to_string().into_bytes());
    }
}

fn put_path(header: &mut Header, extra: &mut BTreeMap<Vec<u8>, Vec<u8>>, entry: &Entry<'_>) {
    let mut name = entry.path.as_bytes().to_vec();
    if entry.kind == EntryKind::Dir {
        if name.is_empty() {
            name.push(b'.');
        }
        name.push(b'/');
    }
    if plain(&name) {
        if name.len() <= header::NAME.len() {
            return header.put(header::NAME, &name);
        }
        if let Some((prefix, rest)) = split(&name) {
            header.put(header::PREFIX, prefix);
            return header.put(header::NAME, rest);
        }
    }
    header.put(header::NAME, &stand_in(&name));
    extra.insert(b"path".to_vec(), name);
}

fn put_link(header: &mut Header, extra: &mut BTreeMap<Vec<u8>, Vec<u8>>, target: &[u8]) {
    if plain(target) && target.len() <= header::LINK.len() {
        return header.put(header::LINK, target);
    }
    header.put(header::LINK, &stand_in(target));
    extra.insert(b"linkpath".to_vec(), target.to_vec());
}

/// Only printable ASCII is read the same way by everybody.
fn plain(name: &[u8]) -> bool {
    name.iter().all(|b| matches!(b, 0x20..=0x7e))
}

/// What old readers see of a name that only PAX can carry.
fn stand_in(name: &[u8]) -> Vec<u8> {
    name.iter().take(header::NAME.len()).map(|b| if matches!(b, 0x20..=0x7e) { *b } else { b'_' }).collect()
}

/// Cuts a name into the prefix and name fields, at the last `/` that gives both a place.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let limit = (header::PREFIX.len() + 1).min(name.len() - 1);
    let cut = name.get(..limit)?.iter().rposition(|b| *b == b'/')?;
    let (prefix, rest) = (name.get(..cut)?, name.get(cut + 1..)?);
    (!prefix.is_empty() && !rest.is_empty() && rest.len() <= header::NAME.len()).then_some((prefix, rest))
}

fn write_records(out: &mut impl Write, records: &[u8]) -> io::Result<()> {
    let mut header = Header::ustar(b'x');
    header.put(header::NAME, PAX_NAME);
    header.put_octal(header::MODE, 0o644);
    for field in [header::UID, header::GID, header::MTIME, header::MAJOR, header::MINOR] {
        header.put_octal(field, 0);
    }
    header.put_octal(header::SIZE, records.len() as u64);
    out.write_all(&header.seal())?;
    out.write_all(records)?;
    let padding = (BLOCK - records.len() % BLOCK) % BLOCK;
    out.write_all([0; BLOCK].get(..padding).unwrap_or_default())
}
