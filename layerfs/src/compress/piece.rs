//! One chunk compressed on its own: a gzip member (RFC 1952, by libdeflate) or a zstd frame (RFC 8878, by libzstd).
//!
//! Pieces one after another are one ordinary stream: RFC 1952, section 2.2, and RFC 8878, section 3, say that members
//! and frames follow each other. The bytes depend on the chunk, the method and the versions of the libraries alone.

use super::Method;
use crate::LayerfsError;
use libdeflater::{CompressionLvl, Compressor};
use std::io;

/// Compresses chunk after chunk; one for each thread, since its tables are costly to set up.
pub enum Press {
    /// As they are.
    Plain,
    /// One gzip member each, made in the same memory: fresh pages for each would cost a tenth of the time.
    Gzip(Compressor, Vec<u8>),
    /// One zstd frame each.
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Press {
    /// Sets the tables up.
    pub fn new(method: Method) -> Result<Self, LayerfsError> {
        match method {
            Method::Plain => Ok(Self::Plain),
            Method::Gzip(level) => {
                let level = i32::try_from(level).ok().and_then(|l| CompressionLvl::new(l).ok());
                let level = level.ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
                Ok(Self::Gzip(Compressor::new(level), Vec::new()))
            }
            Method::Zstd(level) => {
                let mut press = zstd::bulk::Compressor::new(level).map_err(failed)?;
                // Readers find damage before the digest of the whole does.
                press.include_checksum(true).map_err(failed)?;
                Ok(Self::Zstd(press))
            }
        }
    }

    /// The compressed form of a chunk.
    pub fn press(&mut self, chunk: Vec<u8>) -> Result<Vec<u8>, LayerfsError> {
        match self {
            Self::Plain => Ok(chunk),
            Self::Gzip(press, out) => {
                let bound = press.gzip_compress_bound(chunk.len());
                if out.len() < bound {
                    out.resize(bound, 0);
                }
                let length = press.gzip_compress(&chunk, out).map_err(|e| failed(io::Error::other(e)))?;
                Ok(out.get(..length).unwrap_or_default().to_vec())
            }
            Self::Zstd(press) => press.compress(&chunk).map_err(failed),
        }
    }
}

fn failed(source: io::Error) -> LayerfsError {
    LayerfsError::Io { what: "compressing a layer".into(), source }
}
