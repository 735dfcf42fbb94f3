//! Compressed forms of a layer: three that are written, five that are read.
//!
//! Written: the tar as it is; gzip, one member for each chunk; zstd, one frame for each chunk. A tar is cut where its
//! content says (`cut`), each chunk is compressed alone (`piece`), and the pieces one after another are one ordinary
//! stream. The bytes depend on the tar and on the method, which has a name for it ([`Method::id`]); never on threads or
//! on what was known before. Chunks that were compressed before are taken from where they lie ([`Chunks`]).
//!
//! Read, by the first bytes and never by a claimed media type: gzip with any number of members, zstd with any
//! number of frames and windows up to 128 MiB, bzip2, xz; everything else is taken as it is. Decoders run in
//! this process. What comes out is bounded by `cooper_image::limits::LAYER_BYTES`.
//! Must never: run another program to decompress, or hold more than a few chunks in memory.

pub mod cut;
mod line;
mod piece;

use self::cut::Sizes;
use crate::error::LayerfsError;
use crate::limits;
use std::io::{self, BufReader, Cursor, Read, Write};

/// Deflate level: libdeflate's middle, as small as zlib's level 6 and nearly twice as fast.
pub const LEVEL: u32 = 4;
/// Bytes moved at once.
const COPY_BYTES: usize = 128 * 1024;
/// As many first bytes as the longest magic number has.
pub const MAGIC_BYTES: usize = 6;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// Do these first bytes begin a compressed stream? Stricter than decompression with gzip, of which only one method is
/// in use (RFC 1952, section 2.3.1), because other files begin with two such bytes too.
pub fn is_compressed(head: &[u8]) -> bool {
    [&[0x1f, 0x8b, 8], ZSTD, BZIP2, XZ].iter().any(|magic| head.starts_with(magic))
}

/// The name of the compression that these first bytes begin, as decompression sees it; `None` when they begin none.
pub fn named(head: &[u8]) -> Option<&'static str> {
    let known = [(GZIP, "gzip"), (ZSTD, "zstd"), (BZIP2, "bzip2"), (XZ, "xz")];
    known.into_iter().find_map(|(magic, name)| head.starts_with(magic).then_some(name))
}

/// How the bytes of a layer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As they are.
    Plain,
    /// Gzip with a level from 0 to 9.
    Gzip(u32),
    /// Zstd with a level from 1 to 22; 0 stands for the library's default.
    Zstd(i32),
}

impl Default for Method {
    fn default() -> Self {
        Self::Gzip(LEVEL)
    }
}

impl Method {
    /// Names everything but the tar that the bytes depend on: format, level, how chunks are cut, and the versions of
    /// the libraries, whose output can change between releases.
    pub fn id(self) -> String {
        match self {
            Self::Plain => "plain".to_owned(),
            Self::Gzip(level) => format!("gzip-{level}-libdeflate1.26-fastcdc1m"),
            Self::Zstd(level) => {
                let version = zstd::zstd_safe::version_number();
                let joined = match self.sizes().joined / (1024 * 1024) {
                    0 => String::new(),
                    least => format!("-joined{least}m"),
                };
                format!("zstd-{level}-{version}-fastcdc4m{joined}")
            }
        }
    }

    /// How large its chunks are. The further a method looks back, the more a chunk loses by standing alone: these keep
    /// what is lost below 2 % (`docs/performance.md`, "What chunks cost").
    fn sizes(self) -> Sizes {
        match self {
            Self::Plain | Self::Gzip(_) => Sizes::SMALL,
            Self::Zstd(..=4) => Sizes::MIDDLE,
            Self::Zstd(5..=16) => Sizes::LARGE,
            Self::Zstd(17..) => Sizes::LARGEST,
        }
    }
}

/// The identity of a chunk: BLAKE3 of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; 32]);

/// A chunk's compressed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their BLAKE3.
    pub sum: [u8; 32],
}

/// Finds chunks that were compressed before, by one method.
pub trait Chunks: Sync {
    /// The compressed form of a chunk, compared with its sum, or `None`.
    fn find(&self, chunk: &ChunkId) -> Option<Known>;
}

/// Knows no chunk.
pub struct NoChunks;

impl Chunks for NoChunks {
    fn find(&self, _: &ChunkId) -> Option<Known> {
        None
    }
}

/// Where the compressed form of a chunk went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Which chunk.
    pub chunk: ChunkId,
    /// Where in the compressed stream, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// BLAKE3 of these bytes.
    pub sum: [u8; 32],
    /// Was it compressed now, and not found?
    pub fresh: bool,
}

/// Compresses what `produce` writes. Gives what `produce` gives, and where each chunk went; nothing went anywhere
/// when the bytes stay as they are.
///
/// # Errors
/// [`LayerfsError::Io`] when writing or compressing fails; whatever `produce` fails with.
pub fn compress<R, E: From<LayerfsError>>(
    method: Method,
    chunks: &dyn Chunks,
    out: &mut (dyn Write + Send),
    produce: impl FnOnce(&mut dyn Write) -> Result<R, E>,
) -> Result<(R, Vec<Placed>), E> {
    if method == Method::Plain {
        let made = produce(out)?;
        out.flush().map_err(written)?;
        return Ok((made, Vec::new()));
    }
    line::run(method, chunks, out, produce)
}

/// Copies to the end, and tells a reader's failure from a writer's.
///
/// # Errors
/// [`LayerfsError::Io`] when writing fails, [`LayerfsError::Stream`] when reading does.
pub fn copy(reader: &mut dyn Read, out: &mut dyn Write) -> Result<(), LayerfsError> {
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
        pressed(Method::default(), &NoChunks, bytes).0
    }

    fn pressed(method: Method, chunks: &dyn Chunks, bytes: &[u8]) -> (Vec<u8>, Vec<Placed>) {
        let mut out = Vec::new();
        let produce = |writer: &mut dyn Write| copy(&mut &*bytes, writer);
        let ((), placed) = compress(method, chunks, &mut out, produce).unwrap();
        (out, placed)
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
            let make = || pressed(method, &NoChunks, &plain).0;
            let bytes = make();
            assert!(bytes.starts_with(magic) && bytes == make(), "{method:?}");
            assert!(inflated(bytes).unwrap() == plain, "{method:?}");
        }
    }

    /// Several chunks of either size, of bytes that are neither trivial nor incompressible.
    fn several_chunks() -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Sixteen letters, so that every byte can be halved.
            b'a' + (state >> 60) as u8
        };
        (0..24_000_000).map(|_| next()).collect()
    }

    /// Knows what an earlier compression placed.
    struct Before(Vec<u8>, Vec<Placed>);
    impl Chunks for Before {
        fn find(&self, chunk: &ChunkId) -> Option<Known> {
            let p = self.1.iter().find(|p| p.chunk == *chunk)?;
            let bytes = self.0[p.offset as usize..(p.offset + p.length) as usize].to_vec();
            Some(Known { bytes, sum: p.sum })
        }
    }

    #[test]
    fn what_is_known_is_not_compressed_again_and_the_bytes_are_the_same() {
        let old = several_chunks();
        let mut new = old.clone();
        new[3_000_000] ^= 1;
        for method in [Method::Gzip(1), Method::Zstd(3)] {
            let (bytes, placed) = pressed(method, &NoChunks, &old);
            assert!(placed.len() > 3 && placed.iter().all(|p| p.fresh));
            assert_eq!(placed.last().map(|p| p.offset + p.length), Some(bytes.len() as u64));
            for p in &placed {
                let piece = &bytes[p.offset as usize..][..p.length as usize];
                assert_eq!(blake3::hash(piece), p.sum);
                assert_eq!(blake3::hash(&inflated(piece.to_vec()).unwrap()), p.chunk.0);
            }
            let before = Before(bytes, placed);
            let (again, placed) = pressed(method, &before, &new);
            let fresh = placed.iter().filter(|p| p.fresh).count();
            assert!((1..=2).contains(&fresh), "{fresh} of {}", placed.len());
            assert!(again == pressed(method, &NoChunks, &new).0);
            assert!(inflated(again).unwrap() == new);
        }
    }

    /// When this fails because a library makes other bytes now, give [`Method::id`] another name: the same layer has
    /// another digest, and a store must not mix the two.
    #[test]
    fn the_bytes_are_those_of_the_name() {
        let bytes = several_chunks();
        for (method, id, digest) in [
            (
                Method::Gzip(4),
                "gzip-4-libdeflate1.26-fastcdc1m",
                "bace65c3805aae707c09a2ae7116d4ba321b6217ea64c4c0d5b8d33cbbb12dbf",
            ),
            (
                Method::Zstd(3),
                "zstd-3-10507-fastcdc4m",
                "d53d778ecc817f209bb7fd1acc2245defd890492da3d407d0a1ad0b22c29e7f8",
            ),
            (
                Method::Zstd(9),
                "zstd-9-10507-fastcdc4m-joined10m",
                "dd4c5cea5480cb083419f9af64879d0329f6899921141f0e7bd06461128d571a",
            ),
        ] {
            assert_eq!(method.id(), id);
            assert_eq!(cooper_image::Digest::sha256(pressed(method, &NoChunks, &bytes).0).hex(), digest, "{id}");
        }
    }

    /// Also the sizes of chunks are in the name: levels that are cut otherwise have another one.
    #[test]
    fn chunks_are_as_large_as_the_name_says() {
        let name = |level| Method::Zstd(level).id().rsplit('-').next().map(str::to_owned).unwrap();
        for (levels, sizes) in [(0..=4, "fastcdc4m"), (5..=16, "joined10m"), (17..=22, "joined16m")] {
            assert!(levels.clone().all(|level| name(level) == sizes), "{levels:?}");
        }
        let bytes = several_chunks();
        for (level, chunks) in [(1, 3..=12), (5, 2..=3)] {
            let placed = pressed(Method::Zstd(level), &NoChunks, &bytes).1;
            assert!(chunks.contains(&placed.len()), "{} chunks at level {level}", placed.len());
        }
    }

    #[test]
    fn nothing_is_a_whole_stream() {
        for (method, magic) in [(Method::Gzip(6), GZIP), (Method::Zstd(1), ZSTD)] {
            let (bytes, placed) = pressed(method, &NoChunks, b"");
            assert!(bytes.starts_with(magic) && placed.len() == 1, "{method:?}");
            assert_eq!(inflated(bytes).unwrap(), b"");
        }
    }

    #[test]
    fn a_failure_on_either_side_ends_the_whole_and_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes = several_chunks();
        let produce = |writer: &mut dyn Write| copy(&mut &*bytes.repeat(2), writer);
        let full = compress(Method::default(), &NoChunks, &mut Full, produce).unwrap_err();
        assert!(
            matches!(&full, LayerfsError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull),
            "{full}"
        );
        let broken = |writer: &mut dyn Write| -> Result<(), LayerfsError> {
            copy(&mut &*bytes, writer)?;
            Err(LayerfsError::Changed { path: "f".into() })
        };
        let changed = compress(Method::default(), &NoChunks, &mut Vec::new(), broken).unwrap_err();
        assert!(matches!(changed, LayerfsError::Changed { .. }), "{changed}");
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
