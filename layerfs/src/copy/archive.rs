//! Archives that ADD unpacks: recognised by content, read as hostile input, verified like any other file.
//!
//! Takes: a selected file. Gives: its entries, one after another. Must never: let an entry's name climb, give
//! entries of bytes that were not selected without an error, or take a damaged file for an archive.

use crate::LayerfsError;
use crate::compress;
use crate::select::{Content, Item, Reader};
use crate::stat::Kind;
use crate::tar::header::{BLOCK, Header};
use crate::tar::read::{Body, Bounds, ReadEntry, ReadKind, TarReader};
use crate::view::View;
use cooper_image::RelPath;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

/// A decompressed archive.
pub(super) type Stream = Box<dyn Read + Send>;

/// Is the file a tar by its content, plain or compressed?
pub(super) fn is_archive(view: &View, item: &Item) -> Result<bool, LayerfsError> {
    if item.meta.kind != Kind::File {
        return Ok(false);
    }
    let mut stream = match compress::decompress(Box::new(open(view, item)?)) {
        Ok(stream) => stream,
        // The first bytes promise what the others do not hold: a file like any other.
        Err(e) if !e.is_storage() => return Ok(false),
        Err(e) => return Err(e),
    };
    let mut block = [0; BLOCK];
    match stream.read_exact(&mut block) {
        Ok(()) => Ok(block != [0; BLOCK] && Header::from_block(block).checks()),
        Err(e) => match LayerfsError::stream(e) {
            e if e.is_storage() => Err(e),
            _ => Ok(false),
        },
    }
}

/// Calls `run` with every entry and its body, then compares the file with what was selected.
pub(super) fn each(
    view: &View,
    item: &Item,
    mut run: impl FnMut(ReadEntry, &mut Body<'_, Stream>) -> Result<(), LayerfsError>,
) -> Result<(), LayerfsError> {
    let file = open(view, item)?;
    let hasher = Arc::new(Mutex::new(blake3::Hasher::new()));
    let reading = LayerfsError::io(format!("reading {}", item.path.display()));
    // The copy of the descriptor shares its position, and so takes up where the decoder stops.
    let mut rest = match file.try_clone() {
        Ok(file) => Hashing { file, hasher: Arc::clone(&hasher) },
        Err(e) => return Err(reading(e)),
    };
    let stream = compress::decompress(Box::new(Hashing { file, hasher: Arc::clone(&hasher) }))?;
    let mut tar = TarReader::new(stream, Bounds::default());
    while let Some(entry) = tar.next_entry().map_err(|e| blame(item, e))? {
        run(entry, &mut tar.body())?;
    }
    drop(tar);
    io::copy(&mut rest, &mut io::sink()).map_err(reading)?;
    let sum = hasher.lock().unwrap_or_else(PoisonError::into_inner).finalize();
    if item.content == Content::Bytes(sum.into()) {
        Ok(())
    } else {
        Err(LayerfsError::Changed { path: item.path.display() })
    }
}

/// Where an entry goes below the destination; `None` for the root of the archive, which is already there.
pub(super) fn tail(item: &Item, entry: &ReadEntry) -> Result<Option<RelPath>, LayerfsError> {
    let tail = confined(item, &entry.name)?;
    match &entry.kind {
        ReadKind::Char(number) if number.is_whiteout() => {
            Err(fault(item, format!("{}: device 0:0 would become a whiteout", tail.display())))
        }
        ReadKind::Dir if tail.is_root() => Ok(None),
        _ if tail.is_root() => Err(fault(item, "its root is not a directory".to_owned())),
        _ => Ok(Some(tail)),
    }
}

/// A name or hard link target of an archive, cleaned as text. Absolute ones start at the destination; none climbs.
fn confined(item: &Item, name: &[u8]) -> Result<RelPath, LayerfsError> {
    let mut depth = 0usize;
    for component in name.split(|b| *b == b'/') {
        depth = match component {
            b"" | b"." => depth,
            b".." => depth
                .checked_sub(1)
                .ok_or_else(|| fault(item, format!("{} climbs out of the destination", name.escape_ascii())))?,
            _ => depth + 1,
        };
    }
    Ok(RelPath::clean(name))
}

/// The final path of what a hard link names, which has to have come before it.
pub(super) fn earlier<'n>(
    item: &Item,
    target: &[u8],
    names: &'n HashMap<RelPath, RelPath>,
) -> Result<&'n RelPath, LayerfsError> {
    let target = confined(item, target)?;
    names
        .get(&target)
        .ok_or_else(|| fault(item, format!("a hard link to {}, which does not come before it", target.display())))
}

/// An error about one archive.
pub(super) fn fault(item: &Item, reason: String) -> LayerfsError {
    LayerfsError::Archive { archive: item.path.display(), reason }
}

/// Says of which file the reader speaks.
fn blame(item: &Item, error: LayerfsError) -> LayerfsError {
    match error {
        LayerfsError::Entry { .. } | LayerfsError::Limit { .. } | LayerfsError::Stream { .. }
            if !error.is_storage() =>
        {
            fault(item, error.to_string())
        }
        other => other,
    }
}

fn open(view: &View, item: &Item) -> Result<File, LayerfsError> {
    Reader::new(view).open(item.layer, &item.path).map_err(LayerfsError::io(format!("opening {}", item.path.display())))
}

/// Hashes what is read through it.
struct Hashing {
    file: File,
    hasher: Arc<Mutex<blake3::Hasher>>,
}

impl Read for Hashing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(buf)?;
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.update(buf.get(..got).unwrap_or_default());
        Ok(got)
    }
}
