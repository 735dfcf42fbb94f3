//! A tar reader for bytes from anybody: bounded, strict, and one meaning per archive.
//!
//! Understood: ustar, its v7 ancestor, PAX `x` headers, GNU long names (`L`, `K`), base-256 numbers, and
//! `g` headers that only comment. Refused: sparse files, unknown types, malformed or contradictory extended
//! headers, bodies behind entries that have none. Where readers in the field disagree about an archive, it
//! is refused, so that what was scanned elsewhere is what is unpacked here.
//!
//! Takes: any stream. Gives: entries with their names as written, not yet cleaned. Must never: allocate by a
//! number that the stream states without comparing it with a bound first.

use super::header::{self, BLOCK, Header};
use super::pax::Extended;
use crate::error::{LayerfsError, Reason};
use crate::limits;
use crate::stat::{Rdev, Time};
use cooper_image::RelPath;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

/// Read-ahead in bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// How GNU tar marks its headers; the place of the prefix field has another meaning there.
const GNU: &[u8; 8] = b"ustar  \0";
/// First bytes of the magic field in ustar.
const USTAR_MAGIC: &[u8] = b"ustar\0";

/// Do these first bytes begin a tar: a whole header block whose sum is right?
pub fn is_archive(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<BLOCK>() else { return false };
    *block != [0; BLOCK] && Header::from_block(*block).checks()
}

/// How much of a stranger's archive is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most entries.
    pub entries: u64,
    /// Most bytes of file contents.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: cooper_image::limits::LAYER_ENTRIES, bytes: cooper_image::limits::LAYER_BYTES }
    }
}

/// One entry as the archive states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadEntry {
    /// The name as written: it may be absolute and hold `..`; clean it before use.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: ReadKind,
    /// Permission bits, a part of `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change.
    pub mtime: Time,
    /// All extended attributes that it states, also those that nobody should set.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadKind {
    /// A directory.
    Dir,
    /// A regular file whose body follows.
    File {
        /// Bytes that follow.
        size: u64,
    },
    /// A symbolic link, target as written.
    Symlink(Vec<u8>),
    /// Another name for an entry, name as written.
    Hardlink(Vec<u8>),
    /// A character device.
    Char(Rdev),
    /// A block device.
    Block(Rdev),
    /// A named pipe.
    Fifo,
}

/// Reads entries one after another.
pub struct TarReader<R> {
    input: BufReader<R>,
    bounds: Bounds,
    /// Body bytes of the last entry that were not read yet.
    left: u64,
    /// Zero bytes that follow the body.
    padding: u64,
    entries: u64,
    bytes: u64,
}

/// Headers that speak about the next entry.
#[derive(Default)]
struct Pending {
    extended: Option<Extended>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Starts at the beginning of an archive.
    pub fn new(input: R, bounds: Bounds) -> Self {
        Self { input: BufReader::with_capacity(BUFFER_BYTES, input), bounds, left: 0, padding: 0, entries: 0, bytes: 0 }
    }

    /// The next entry; what is left of the last one's body is skipped. `None` at the end of the archive.
    ///
    /// # Errors
    /// [`LayerfsError::Entry`], [`LayerfsError::Limit`] or [`LayerfsError::Stream`].
    pub fn next_entry(&mut self) -> Result<Option<ReadEntry>, LayerfsError> {
        self.skip_body()?;
        let mut pending = Pending::default();
        loop {
            let Some(header) = self.next_header()? else {
                let speaks = pending.extended.is_some() || pending.long_name.is_some() || pending.long_link.is_some();
                return if speaks { Err(refuse(b"", Reason::Truncated)) } else { Ok(None) };
            };
            match header.kind() {
                b'x' => {
                    let body = self.special_body(&header, limits::EXTENDED_HEADER_BYTES)?;
                    let parsed = Extended::parse(&body).map_err(|r| refuse(header.text(header::NAME), r))?;
                    once(&mut pending.extended, parsed)?;
                }
                b'g' => {
                    let body = self.special_body(&header, limits::EXTENDED_HEADER_BYTES)?;
                    Extended::check_global(&body).map_err(|r| refuse(header.text(header::NAME), r))?;
                }
                b'L' => once(&mut pending.long_name, self.long_text(&header)?)?,
                b'K' => once(&mut pending.long_link, self.long_text(&header)?)?,
                _ => return self.entry(&header, pending).map(Some),
            }
        }
    }

    /// The body of the entry that was returned last.
    pub fn body(&mut self) -> Body<'_, R> {
        Body { reader: self }
    }

    fn entry(&mut self, header: &Header, pending: Pending) -> Result<ReadEntry, LayerfsError> {
        let extended = pending.extended.unwrap_or_default();
        let name = one_of(extended.path, pending.long_name)?.unwrap_or_else(|| short_name(header));
        let fail = |reason| refuse(&name, reason);
        let link = one_of(extended.link, pending.long_link)?.unwrap_or_else(|| header.text(header::LINK).to_vec());
        if name.len() as u64 > limits::NAME_BYTES || link.len() as u64 > limits::NAME_BYTES {
            return Err(LayerfsError::Limit { what: "bytes in the name of a layer entry", limit: limits::NAME_BYTES });
        }
        let stated = header.number(header::SIZE).ok_or_else(|| fail(Reason::Number))?;
        let kind = kind(header, &name, link, extended.size.unwrap_or(stated), stated).map_err(fail)?;
        let id = |given: Option<u32>, field| {
            let stated = || header.number(field).and_then(|n| u32::try_from(n).ok()).filter(|n| *n != u32::MAX);
            given.or_else(stated).ok_or_else(|| fail(Reason::Number))
        };
        let secs = || header.signed_number(header::MTIME).map(|secs| Time { secs, nanos: 0 });
        let entry = ReadEntry {
            mode: (header.number(header::MODE).ok_or_else(|| fail(Reason::Number))? & 0o7777) as u32,
            uid: id(extended.uid, header::UID)?,
            gid: id(extended.gid, header::GID)?,
            mtime: extended.mtime.or_else(secs).ok_or_else(|| fail(Reason::Number))?,
            xattrs: extended.xattrs,
            kind,
            name,
        };
        self.count(&entry)?;
        Ok(entry)
    }

    fn count(&mut self, entry: &ReadEntry) -> Result<(), LayerfsError> {
        self.entries += 1;
        if self.entries > self.bounds.entries {
            return Err(LayerfsError::Limit { what: "entries in a layer", limit: self.bounds.entries });
        }
        if let ReadKind::File { size } = entry.kind {
            self.bytes = self.bytes.saturating_add(size);
            if self.bytes > self.bounds.bytes {
                return Err(LayerfsError::Limit { what: "bytes of files in a layer", limit: self.bounds.bytes });
            }
            self.left = size;
            self.padding = padding(size);
        }
        Ok(())
    }

    /// The next header block; `None` at the end. As Go's reader has it, which decides what is a layer in
    /// practice: the end is the end of the stream, or a zero block followed by another or by the end.
    fn next_header(&mut self) -> Result<Option<Header>, LayerfsError> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block != [0; BLOCK] {
            let header = Header::from_block(block);
            return if header.checks() { Ok(Some(header)) } else { Err(refuse(b"", Reason::Checksum)) };
        }
        match self.block()? {
            None => Ok(None),
            Some(second) if second == [0; BLOCK] => Ok(None),
            Some(_) => Err(refuse(b"", Reason::Checksum)),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerfsError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let chunk = self.input.fill_buf().map_err(LayerfsError::stream)?;
            let take = chunk.len().min(BLOCK - filled);
            if take == 0 {
                return if filled == 0 { Ok(None) } else { Err(refuse(b"", Reason::Truncated)) };
            }
            for (to, from) in block.iter_mut().skip(filled).zip(chunk) {
                *to = *from;
            }
            filled += take;
            self.input.consume(take);
        }
        Ok(Some(block))
    }

    /// The body of a header that is not an entry. Its size is its own: no extended header speaks about it.
    fn special_body(&mut self, header: &Header, limit: u64) -> Result<Vec<u8>, LayerfsError> {
        let size = header.number(header::SIZE).ok_or_else(|| refuse(header.text(header::NAME), Reason::Number))?;
        if size > limit {
            return Err(LayerfsError::Limit { what: "bytes in an extended header of a layer", limit });
        }
        let mut body = Vec::new();
        (&mut self.input).take(size).read_to_end(&mut body).map_err(LayerfsError::stream)?;
        if body.len() as u64 != size {
            return Err(refuse(header.text(header::NAME), Reason::Truncated));
        }
        self.skip(padding(size))?;
        Ok(body)
    }

    fn long_text(&mut self, header: &Header) -> Result<Vec<u8>, LayerfsError> {
        // The text is closed by a NUL, which is counted.
        let mut text = self.special_body(header, limits::NAME_BYTES + 1)?;
        let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
        text.truncate(end);
        if text.is_empty() { Err(refuse(header.text(header::NAME), Reason::Name)) } else { Ok(text) }
    }

    fn skip_body(&mut self) -> Result<(), LayerfsError> {
        let bytes = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        self.skip(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), LayerfsError> {
        let skipped = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink()).map_err(LayerfsError::stream)?;
        if skipped == bytes { Ok(()) } else { Err(refuse(b"", Reason::Truncated)) }
    }
}

/// The contents of one file entry; ends where the entry ends.
pub struct Body<'a, R> {
    reader: &'a mut TarReader<R>,
}

impl<R: Read> BufRead for Body<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.reader.left == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.reader.left).unwrap_or(usize::MAX);
        let chunk = self.reader.input.fill_buf()?;
        if chunk.is_empty() {
            return Err(io::Error::other(refuse(b"", Reason::Truncated)));
        }
        Ok(chunk.get(..left.min(chunk.len())).unwrap_or_default())
    }
    fn consume(&mut self, amount: usize) {
        self.reader.left = self.reader.left.saturating_sub(amount as u64);
        self.reader.input.consume(amount);
    }
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(buf)?;
        self.consume(got);
        Ok(got)
    }
}

fn refuse(name: &[u8], reason: Reason) -> LayerfsError {
    LayerfsError::Entry { entry: RelPath::clean(name).display(), reason }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// Keeps a value that may be given once.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), LayerfsError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(refuse(b"", Reason::Extended)),
    }
}

/// Two ways to give a long name; an archive that uses both says two things.
fn one_of(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, LayerfsError> {
    match (pax, gnu) {
        (Some(name), Some(_)) => Err(refuse(&name, Reason::Extended)),
        (one, other) => Ok(one.or(other)),
    }
}

fn short_name(header: &Header) -> Vec<u8> {
    let name = header.text(header::NAME);
    let prefix = header.text(header::PREFIX);
    if header.get(header::MAGIC).starts_with(USTAR_MAGIC) && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

/// The kind, with the size that counts. `stated` is the size in the entry's own header.
fn kind(header: &Header, name: &[u8], link: Vec<u8>, size: u64, stated: u64) -> Result<ReadKind, Reason> {
    let slash = name.ends_with(b"/");
    let kind = match header.kind() {
        // Readers differ in whether a slash makes a directory of these; of the v7 kind it does everywhere.
        b'0' | b'7' if slash => return Err(Reason::Name),
        0 if slash => ReadKind::Dir,
        b'0' | b'7' | 0 => {
            if size > i64::MAX.unsigned_abs() {
                return Err(Reason::Number);
            }
            return Ok(ReadKind::File { size });
        }
        b'1' if link.is_empty() => return Err(Reason::Name),
        // The size beside a hard link repeats that of its target in some tools; no body follows in any.
        b'1' if size == stated => return Ok(ReadKind::Hardlink(link)),
        b'1' => return Err(Reason::Number),
        b'2' if link.is_empty() => return Err(Reason::Name),
        b'2' => ReadKind::Symlink(link),
        b'3' => ReadKind::Char(rdev(header)?),
        b'4' => ReadKind::Block(rdev(header)?),
        b'5' => ReadKind::Dir,
        b'6' => ReadKind::Fifo,
        b'S' => return Err(Reason::Sparse),
        _ => return Err(Reason::Type),
    };
    // Some readers would skip a body here and some would not.
    if size == 0 { Ok(kind) } else { Err(Reason::Number) }
}

fn rdev(header: &Header) -> Result<Rdev, Reason> {
    let magic = header.get(header::MAGIC);
    if !magic.starts_with(USTAR_MAGIC) && magic != GNU {
        return Ok(Rdev::default());
    }
    let part = |field| header.number(field).and_then(|n| u32::try_from(n).ok()).ok_or(Reason::Number);
    Ok(Rdev { major: part(header::MAJOR)?, minor: part(header::MINOR)? })
}
