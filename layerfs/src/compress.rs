//! Compressed forms of a layer: three that are written, five that are read.
//!
//! Written: the tar as it is; gzip (RFC 1952), one member by zlib-rs, no file name, MTIME 0, OS 255 ("unknown"),
//! XFL 0; zstd (RFC 8878), one frame by one thread. The bytes depend on the contents, the level and the version of
//! the implementation.
//!
//! Read, by the first bytes and never by a claimed media type: gzip with any number of members, zstd with any
//! number of frames and windows up to 128 MiB, bzip2, xz; everything else is taken as it is. Decoders run in
//! this process. What comes out is bounded by `cooper_image::limits::LAYER_BYTES`.
//! Must never: run another program to decompress, or hold more than a window in memory.

use crate::error::LayerfsError;
use crate::limits;
use flate2::{Compression, GzBuilder};
use std::io::{self, BufReader, Cursor, Read, Write};

/// Deflate level: zlib's middle, where smaller starts to cost much more time.
pub const LEVEL: u32 = 6;
/// RFC 1952, section 2.3.1: the operating system is unknown.
const UNKNOWN_OS: u8 = 255;
/// Bytes moved at once.
const COPY_BYTES: usize = 128 * 1024;
/// As many first bytes as the longest magic number has.
const MAGIC_BYTES: usize = 6;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// Do these first bytes begin a compressed stream? Stricter than decompression with gzip, of which only one method is
/// in use (RFC 1952, section 2.3.1), because other files begin with two such bytes too.
pub fn is_compressed(head: &[u8]) -> bool {
    [&[0x1f, 0x8b, 8], ZSTD, BZIP2, XZ].iter().any(|magic| head.starts_with(magic))
}

/// How the bytes of a layer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As they are.
    Plain,
    /// Gzip with a deflate level from 0 to 9.
    Gzip(u32),
    /// Zstd with a level from 1 to 22; 0 stands for the library's default.
    Zstd(i32),
}

impl Default for Method {
    fn default() -> Self {
        Self::Gzip(LEVEL)
    }
}

/// Writes everything that `reader` gives, compressed.
///
/// # Errors
/// [`LayerfsError::Io`] when writing fails, [`LayerfsError::Stream`] when reading does.
pub fn compress(method: Method, reader: &mut dyn Read, out: &mut dyn Write) -> Result<(), LayerfsError> {
    match method {
        Method::Plain => {
            copy(reader, out)?;
            out.flush().map_err(written)
        }
        Method::Gzip(level) => {
            let header = GzBuilder::new().mtime(0).operating_system(UNKNOWN_OS);
            let mut encoder = header.write(out, Compression::new(level));
            copy(reader, &mut encoder)?;
            encoder.finish().and_then(|out| out.flush()).map_err(written)
        }
        Method::Zstd(level) => {
            let mut encoder = zstd::stream::write::Encoder::new(out, level).map_err(written)?;
            // Readers find damage before the digest of the whole does.
            encoder.include_checksum(true).map_err(written)?;
            copy(reader, &mut encoder)?;
            encoder.finish().and_then(|out| out.flush()).map_err(written)
        }
    }
}

/// Copies to the end, and tells a reader's failure from a writer's.
fn copy(reader: &mut dyn Read, out: &mut dyn Write) -> Result<(), LayerfsError> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let got = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(LayerfsError::stream(e)),
        };
        out.write_all(buffer.get(..got).unwrap_or_default()).map_err(written)?;
    }
}

fn written(source: io::Error) -> LayerfsError {
    LayerfsError::Io { what: "writing a compressed layer".into(), source }
}

/// Gives the bytes of a layer without compression.
///
/// Damage is found while reading: the reader's errors are those of `io`, or carry a [`LayerfsError`] inside.
///
/// # Errors
/// [`LayerfsError::Stream`] when the first bytes cannot be read or a decoder cannot be set up.
pub fn decompress(reader: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, LayerfsError> {
    let inflated = inflate(reader).map_err(LayerfsError::stream)?;
    Ok(Box::new(Bounded { inner: inflated, left: cooper_image::limits::LAYER_BYTES }))
}

fn inflate(mut reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = Vec::with_capacity(MAGIC_BYTES);
    (&mut reader).take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
    let is = |known: &[u8]| magic.starts_with(known);
    let (gzip, zstd, bzip2, xz) = (is(GZIP), is(ZSTD), is(BZIP2), is(XZ));
    let whole = BufReader::with_capacity(COPY_BYTES, Cursor::new(magic).chain(reader));
    if gzip {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(whole)));
    }
    if zstd {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
        decoder.window_log_max(limits::ZSTD_WINDOW_LOG)?;
        return Ok(Box::new(decoder));
    }
    if bzip2 {
        return Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(whole)));
    }
    if xz {
        let stream =
            liblzma::stream::Stream::new_stream_decoder(limits::XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)
                .map_err(io::Error::from)?;
        return Ok(Box::new(liblzma::bufread::XzDecoder::new_stream(whole, stream)));
    }
    Ok(Box::new(whole))
}

/// Passes at most so many bytes on, then fails.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        match self.left.checked_sub(got as u64) {
            Some(left) => self.left = left,
            None => {
                let limit = cooper_image::limits::LAYER_BYTES;
                return Err(io::Error::other(LayerfsError::Limit { what: "bytes in an inflated layer", limit }));
            }
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(Method::default(), &mut &*bytes, &mut out).unwrap();
        out
    }

    fn inflated(bytes: Vec<u8>) -> Result<Vec<u8>, LayerfsError> {
        let mut out = Vec::new();
        decompress(Box::new(Cursor::new(bytes)))?.read_to_end(&mut out).map_err(LayerfsError::stream)?;
        Ok(out)
    }

    /// Bytes that are neither trivial nor incompressible.
    fn sample() -> Vec<u8> {
        (0u32..200_000).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 22).to_le_bytes()).collect()
    }

    #[test]
    fn the_header_is_constant_and_the_bytes_repeat() {
        let bytes = packed(&sample());
        assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!(bytes, packed(&sample()));
        assert!(bytes.len() < sample().len());
    }

    #[test]
    fn every_method_comes_back_the_same_each_time() {
        let plain = sample();
        for (method, magic) in [
            (Method::Plain, &plain[..4]),
            (Method::Gzip(0), GZIP),
            (Method::Gzip(9), GZIP),
            (Method::Zstd(1), ZSTD),
            (Method::Zstd(22), ZSTD),
        ] {
            let make = || {
                let mut out = Vec::new();
                compress(method, &mut &*plain, &mut out).unwrap();
                out
            };
            let bytes = make();
            assert!(bytes.starts_with(magic) && bytes == make(), "{method:?}");
            assert!(inflated(bytes).unwrap() == plain, "{method:?}");
        }
    }

    #[test]
    fn every_format_comes_back() {
        let plain = sample();
        let mut forms = vec![("plain", plain.clone()), ("gzip", packed(&plain))];
        forms.push(("zstd", zstd::encode_all(&*plain, 3).unwrap()));
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(&plain).unwrap();
        forms.push(("bzip2", bz.finish().unwrap()));
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        forms.push(("xz", xz.finish().unwrap()));
        for (name, bytes) in forms {
            assert!(inflated(bytes).unwrap() == plain, "{name}");
        }
        for short in [b"".as_slice(), b"a", b"tar"] {
            assert_eq!(inflated(short.to_vec()).unwrap(), short);
        }
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let (a, b) = (sample(), b"tail".to_vec());
        let whole = [a.clone(), b.clone()].concat();
        assert!(inflated([packed(&a), packed(&b)].concat()).unwrap() == whole);
        let frames = [zstd::encode_all(&*a, 1).unwrap(), zstd::encode_all(&*b, 1).unwrap()].concat();
        assert!(inflated(frames).unwrap() == whole);
    }

    #[test]
    fn damage_is_the_inputs_fault() {
        let plain = sample();
        let mut bytes = packed(&plain);
        for cut in [bytes.clone(), zstd::encode_all(&*plain, 3).unwrap()].map(|b| b[..b.len() - 7].to_vec()) {
            let error = inflated(cut).map(|b| b.len()).unwrap_err();
            assert!(!error.is_storage() && !error.is_usage(), "{error}");
        }
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        let error = inflated(bytes).map(|b| b.len()).unwrap_err();
        assert!(!error.is_storage(), "{error}");
    }

    #[test]
    fn the_bound_is_exact() {
        for (left, fits) in [(4, true), (3, false)] {
            let mut out = Vec::new();
            let read = Bounded { inner: &b"1234"[..], left }.read_to_end(&mut out);
            assert_eq!(read.is_ok(), fits);
            assert!(fits || matches!(LayerfsError::stream(read.unwrap_err()), LayerfsError::Limit { .. }));
        }
    }

    #[test]
    fn a_zstd_window_beyond_the_bound_is_refused() {
        let frame = |log: u8| {
            // Magic, descriptor without checksum or content size, window descriptor, one empty last block.
            [ZSTD, &[0, (log - 10) << 3, 1, 0, 0]].concat()
        };
        assert_eq!(inflated(frame(27)).unwrap(), b"");
        assert!(inflated(frame(28)).is_err());
    }

    #[test]
    fn a_reader_that_trickles_is_recognised() {
        struct Trickle(Cursor<Vec<u8>>);
        impl Read for Trickle {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let one = buf.len().min(1);
                self.0.read(&mut buf[..one])
            }
        }
        let mut out = Vec::new();
        decompress(Box::new(Trickle(Cursor::new(packed(b"slow"))))).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, b"slow");
    }
}
