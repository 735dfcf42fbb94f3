//! What an image can be read from.

use crate::EngineError;
use crate::layers::io;
use cooper_image::{Descriptor, Digest, DigestError, Hasher, Reference};
use std::io::{self as stdio, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a blob; a failure of the place that they come from is in the error.
pub type Reader = Box<dyn Read + Send>;

/// A place from which an image can be read.
pub trait Origin: Send + Sync {
    /// The place in words, for errors.
    fn place(&self) -> String;
    /// What the place itself leads to.
    ///
    /// # Errors
    /// When there is nothing, and what the place says.
    fn top(&self) -> Result<Descriptor, EngineError>;
    /// A document's bytes, which are what the descriptor says.
    ///
    /// # Errors
    /// When it is not there, is too large, or something else.
    fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError>;
    /// A blob's bytes. Reading fails at the end when they are not what the descriptor says.
    ///
    /// # Errors
    /// When it is not there.
    fn open(&self, d: &Descriptor) -> Result<Reader, EngineError>;
    /// A blob's bytes from this one on, for an upload that goes on: whoever takes them compares the whole, and this
    /// does perhaps not.
    ///
    /// # Errors
    /// As [`Origin::open`].
    fn open_at(&self, d: &Descriptor, from: u64) -> Result<Reader, EngineError> {
        skipped(self, d, from)
    }
    /// How many bytes of a blob are there; `None` when there is none. Nothing is read.
    ///
    /// # Errors
    /// What the place says.
    fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError>;
    /// What refers to a manifest.
    ///
    /// # Errors
    /// What the place says.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, EngineError>;
    /// The repository of a registry that it is, from which other repositories there can take blobs.
    fn repository(&self) -> Option<&Reference> {
        None
    }
}

/// A blob that is read whole: at most `limit` bytes.
///
/// # Errors
/// [`EngineError::InvalidImage`] when it is larger, and what the place says.
pub fn small(origin: &dyn Origin, d: &Descriptor, limit: u64) -> Result<Vec<u8>, EngineError> {
    if d.size > limit {
        let reason = format!("{} is larger than {limit} bytes", d.digest);
        return Err(EngineError::InvalidImage { reference: origin.place(), reason });
    }
    let mut bytes = Vec::new();
    let read = origin.open(d)?.read_to_end(&mut bytes);
    read.map_err(|e| cause(e, || format!("reading {} of {}", d.digest, origin.place())))?;
    Ok(bytes)
}

/// A blob's bytes from this one on, where those before it have to be read.
pub(super) fn skipped<O: Origin + ?Sized>(origin: &O, d: &Descriptor, from: u64) -> Result<Reader, EngineError> {
    let mut reader = origin.open(d)?;
    let read = stdio::copy(&mut reader.by_ref().take(from), &mut stdio::sink());
    read.map_err(|e| cause(e, || format!("reading {} of {}", d.digest, origin.place())))?;
    Ok(reader)
}

/// A place of which is known how much of the one blob was read that is taken from there.
pub(super) struct Counted {
    pub(super) inner: Arc<dyn Origin>,
    pub(super) at: Arc<AtomicU64>,
}

impl Counted {
    fn counting(&self, inner: Reader, from: u64) -> Reader {
        self.at.store(from, Ordering::Relaxed);
        Box::new(Counting { inner, at: Arc::clone(&self.at) })
    }
}

impl Origin for Counted {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn top(&self) -> Result<Descriptor, EngineError> {
        self.inner.top()
    }
    fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError> {
        self.inner.document(d)
    }
    fn open(&self, d: &Descriptor) -> Result<Reader, EngineError> {
        Ok(self.counting(self.inner.open(d)?, 0))
    }
    fn open_at(&self, d: &Descriptor, from: u64) -> Result<Reader, EngineError> {
        Ok(self.counting(self.inner.open_at(d, from)?, from))
    }
    fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError> {
        self.inner.size(d)
    }
    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, EngineError> {
        self.inner.referrers(subject)
    }
    fn repository(&self) -> Option<&Reference> {
        self.inner.repository()
    }
}

struct Counting {
    inner: Reader,
    at: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buf: &mut [u8]) -> stdio::Result<usize> {
        let n = self.inner.read(buf)?;
        self.at.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// What is said of a blob that is not what its name says.
pub(crate) fn damaged(digest: &Digest, place: &str, source: DigestError) -> EngineError {
    EngineError::Damaged { what: format!("{digest} of {place}"), source }
}

/// What is said of a blob, by its digest and the place, that is not what its name says.
type Fault = fn(&Digest, &str, DigestError) -> EngineError;

/// The failure that a reader's error stands for.
pub(super) fn cause(error: stdio::Error, what: impl FnOnce() -> String) -> EngineError {
    match error.downcast::<EngineError>() {
        Ok(known) => known,
        Err(other) => io(what(), other),
    }
}

/// Compares what is read with its descriptor.
pub(super) struct Checked<R> {
    inner: R,
    wanted: Descriptor,
    /// What it is read from, in words.
    place: String,
    fault: Fault,
    hasher: Option<Hasher>,
    read: u64,
}

impl<R: Read> Checked<R> {
    /// Of a place that somebody else filled.
    pub(super) fn new(inner: R, wanted: &Descriptor, place: String) -> Self {
        Self::blaming(inner, wanted, place, damaged)
    }

    /// Of a place of which more can be said.
    pub(super) fn blaming(inner: R, wanted: &Descriptor, place: String, fault: Fault) -> Self {
        let hasher = Some(Hasher::with(wanted.digest.algorithm()));
        Self { inner, wanted: wanted.clone(), place, fault, hasher, read: 0 }
    }

    fn wrong(&self, source: DigestError) -> stdio::Error {
        // The kind by which an upload knows that going on with it is of no use.
        stdio::Error::new(stdio::ErrorKind::InvalidData, (self.fault)(&self.wanted.digest, &self.place, source))
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> stdio::Result<usize> {
        let n = self.inner.read(buf)?;
        self.read += n as u64;
        let over = self.read > self.wanted.size;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(buf.get(..n).unwrap_or_default());
        }
        if over || (n == 0 && !buf.is_empty() && self.read < self.wanted.size) {
            return Err(self.wrong(DigestError::Size { expected: self.wanted.size, actual: self.read }));
        }
        // The last byte is not given away before all of them are known to be right.
        if self.read == self.wanted.size
            && let Some(hasher) = self.hasher.take()
        {
            let actual = hasher.finish();
            if actual != self.wanted.digest {
                return Err(self.wrong(DigestError::Mismatch { expected: self.wanted.digest.clone(), actual }));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::MediaType;

    #[test]
    fn wrong_bytes_are_not_given_away_to_the_last() {
        let right = Descriptor::of(MediaType::OciLayer, b"bytes");
        for (bytes, fine) in [(&b"bytes"[..], true), (b"byte", false), (b"bytes!", false), (b"bytex", false)] {
            let mut got = Vec::new();
            let read = Checked::new(bytes, &right, "a/place".to_owned()).read_to_end(&mut got);
            assert_eq!(read.is_ok(), fine, "{bytes:?}");
            if let Err(error) = read {
                assert!(cause(error, String::new).to_string().ends_with("of a/place is damaged"));
                assert!(got.len() < 5, "{got:?}");
            }
        }
        let none = Descriptor::of(MediaType::OciLayer, b"");
        assert_eq!(Checked::new(&b""[..], &none, String::new()).read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}
