//! A context that comes as a stream: told apart from a Dockerfile by its first bytes, and unpacked into a private
//! directory.
//!
//! Takes: bytes from anybody. Gives: text, or the archive's files. Must never: take owners from an archive, write
//! outside the private directory, or accept more than the bounds.

use super::Files;
use super::files::{Hold, Shape};
use crate::layers::{io, set_mode};
use crate::{Engine, EngineError};
use cooper_image::limits;
use cooper_layerfs::apply::{self, ApplyOptions, Bounds, Meaning};
use cooper_layerfs::root::Root;
use cooper_layerfs::{compress, tar};
use std::io::{Cursor, Read};

/// As many first bytes as decide: one block of a tar.
const HEAD_BYTES: u64 = 512;

/// What a stream holds.
pub enum Incoming {
    /// Nothing at all.
    Empty,
    /// A tar, plain or compressed; all of its bytes.
    Archive(Box<dyn Read + Send>),
    /// Anything else; all of its bytes.
    Text(Box<dyn Read + Send>),
}

/// Looks at the first bytes of a stream.
///
/// # Errors
/// When it cannot be read.
pub fn incoming(mut stream: Box<dyn Read + Send>) -> std::io::Result<Incoming> {
    let mut head = Vec::new();
    (&mut stream).take(HEAD_BYTES).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(Incoming::Empty);
    }
    let archive = compress::is_compressed(&head) || tar::read::is_archive(&head);
    let whole = Box::new(Cursor::new(head).chain(stream));
    Ok(if archive { Incoming::Archive(whole) } else { Incoming::Text(whole) })
}

/// Everything, as long as it is not larger than a Dockerfile may be.
pub(super) fn bounded(reader: impl Read, name: &str) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    let read = reader.take(limits::DOCKERFILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| io(format!("reading {name}"), e))?;
    if bytes.len() as u64 > limits::DOCKERFILE_BYTES {
        let message = format!("{name} is larger than {} bytes", limits::DOCKERFILE_BYTES);
        return Err(EngineError::Ignore { message, hint: "make it smaller; is this the right file?" });
    }
    Ok(bytes)
}

impl Engine {
    /// Unpacks an archive, compressed or not, as the files of a context; `name` says where it came from, `time` how old
    /// it is; without it, it is as old as its newest entry.
    ///
    /// # Errors
    /// What is wrong with the archive, or storage.
    pub fn unpack_context(
        &self,
        name: &str,
        archive: Box<dyn Read + Send>,
        time: Option<i64>,
    ) -> Result<Files, EngineError> {
        let unpack = || {
            let ingest = self.store.ingest()?;
            let root = ingest.path().join("context");
            std::fs::create_dir(&root).map_err(|e| io("creating a directory for the context", e))?;
            set_mode(&root)?;
            let mut tar = compress::decompress(archive)?;
            let bounds = Bounds { entries: limits::CONTEXT_ENTRIES, bytes: limits::CONTEXT_BYTES };
            let options = ApplyOptions { meaning: Meaning::Files, bounds, ..self.apply_options() };
            let root = Root::open(&root)?;
            let applied = apply::apply(&mut tar, &root, &options, &|_| Ok(None))?;
            // A cut stream whose last bytes are missing must not pass for a whole one.
            std::io::copy(&mut tar, &mut std::io::sink()).map_err(|e| io("reading the archive to its end", e))?;
            let time = time.or(applied.newest);
            Ok(Files::private(name.to_owned(), root, Hold::Written { _place: ingest }, time, Shape::Tree))
        };
        unpack().map_err(|e: EngineError| EngineError::Context { name: name.to_owned(), source: Box::new(e) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        let mut block = vec![0; 1024];
        block[..4].copy_from_slice(b"file");
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block[..512].iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut wrong = block.clone();
        wrong[0] = b'g';
        for (bytes, wanted) in [
            (b"".to_vec(), "empty"),
            (b"FROM scratch".to_vec(), "text"),
            (b"B".to_vec(), "text"),
            (vec![0; 1024], "text"),
            (block.clone(), "archive"),
            (block[..100].to_vec(), "text"),
            (wrong, "text"),
            (vec![0x1f, 0x8b, 8, 0], "archive"),
            (vec![0x1f, 0x8b, 7, 0], "text"),
            (b"BZh91AY".to_vec(), "archive"),
            (vec![0xfd, b'7', b'z', b'X', b'Z', 0], "archive"),
            (vec![0x28, 0xb5, 0x2f, 0xfd], "archive"),
        ] {
            let (is, mut rest): (_, Box<dyn Read>) = match incoming(Box::new(Cursor::new(bytes.clone()))).unwrap() {
                Incoming::Empty => ("empty", Box::new(std::io::empty())),
                Incoming::Archive(rest) => ("archive", rest),
                Incoming::Text(rest) => ("text", rest),
            };
            assert_eq!(is, wanted, "{bytes:?}");
            let mut all = Vec::new();
            rest.read_to_end(&mut all).unwrap();
            assert_eq!(all, bytes, "no byte is lost");
        }
    }
}
