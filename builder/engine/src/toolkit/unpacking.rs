//! Can what a layer inflates to be unpacked? Takes its bytes, and gives what is wrong with them. Must never keep them.

use super::origin::cause;
use crate::EngineError;
use cooper_image::Hasher;
use cooper_layerfs::apply::{self, Bounds};
use cooper_layerfs::{LayerfsError, compress};
use std::io::{Cursor, Read};

/// Why nobody can unpack this layer, if so.
pub(super) fn no_tar(plain: &mut impl Read) -> Result<Option<String>, EngineError> {
    let mut head = Vec::new();
    let begun = (&mut *plain).take(compress::MAGIC_BYTES as u64).read_to_end(&mut head);
    begun.map_err(|e| cause(e, || "reading a layer".to_owned()))?;
    if let Some(name) = compress::named(&head) {
        return Ok(Some(format!("it unpacks to {name}, and a layer is a tar")));
    }
    match apply::check(&mut Cursor::new(head).chain(plain), Bounds::default()) {
        Ok(()) => Ok(None),
        // The bytes are what they are said to be, and no archive.
        Err(e @ (LayerfsError::Entry { .. } | LayerfsError::Limit { .. })) => {
            Ok(Some(format!("it is no tar that can be unpacked: {e}")))
        }
        Err(e) => Err(e.into()),
    }
}

/// Hashes what is read.
pub(super) struct Hashed<R> {
    pub(super) inner: R,
    pub(super) hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(buf.get(..n).unwrap_or_default());
        Ok(n)
    }
}
