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
    /// One zstd frame each, in the same way.
    Zstd(zstd::bulk::Compressor<'static>, Vec<u8>),
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
                Ok(Self::Zstd(press, Vec::new()))
            }
        }
    }

    /// The compressed form of a chunk, in the chunk's memory.
    pub fn press(&mut self, mut chunk: Vec<u8>) -> Result<Vec<u8>, LayerfsError> {
        let pressed = match self {
            Self::Plain => return Ok(chunk),
            Self::Gzip(press, out) => {
                let bound = press.gzip_compress_bound(chunk.len());
                if out.len() < bound {
                    out.resize(bound, 0);
                }
                let length = press.gzip_compress(&chunk, out).map_err(|e| failed(io::Error::other(e)))?;
                out.get(..length).unwrap_or_default()
            }
            Self::Zstd(press, out) => {
                out.clear();
                out.reserve(zstd::zstd_safe::compress_bound(chunk.len()));
                press.compress_to_buffer(&chunk, out).map_err(failed)?;
                out.as_slice()
            }
        };
        chunk.clear();
        chunk.extend_from_slice(pressed);
        Ok(chunk)
    }
}

fn failed(source: io::Error) -> LayerfsError {
    LayerfsError::Io { what: "compressing a layer".into(), source }
}
