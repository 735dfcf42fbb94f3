//! A layer out of a tar: described, and compressed where it is not.

use super::archive::nameless;
use super::origin::{Checked, Reader};
use crate::EngineError;
use crate::layers::io;
use cooper_image::{Descriptor, DiffId, Digest, MediaType};
use cooper_layerfs::apply::{self, Bounds};
use cooper_layerfs::compress::{self, Method, NoChunks};
use cooper_layerfs::layer::DigestWriter;
use std::fs::File;
use std::io::{Read, Seek as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// A layer in a nameless file.
#[derive(Debug, Clone)]
pub struct NewLayer {
    /// Digest of the tar.
    pub diff: DiffId,
    pub(super) digest: Digest,
    pub(super) size: u64,
    media_type: MediaType,
    file: Arc<File>,
}

impl NewLayer {
    /// The layer that `produce` writes as a tar.
    ///
    /// # Errors
    /// What `produce` says, and the disk.
    pub fn of(produce: impl FnOnce(&mut dyn Write) -> Result<(), EngineError>) -> Result<Self, EngineError> {
        let failed = |e| io("writing a layer", e);
        let file = nameless().map_err(failed)?;
        let mut blob = DigestWriter::new(file.try_clone().map_err(failed)?);
        let (diff, _) = compress::compress(Method::default(), &NoChunks, &mut blob, |out| {
            let mut tar = DigestWriter::new(out);
            produce(&mut tar)?;
            Ok::<_, EngineError>(tar.finish().digest)
        })?;
        let blob = blob.finish();
        let (digest, size) = (blob.digest, blob.size);
        Ok(Self { diff: DiffId(diff), digest, size, media_type: MediaType::OciLayerGzip, file: Arc::new(file) })
    }

    /// The layer in a file, `-` for standard input: a tar, which may be compressed, and with gzip or zstd stays as it is.
    ///
    /// # Errors
    /// When it is no tar, or cannot be read.
    pub fn read(path: &Path) -> Result<Self, EngineError> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "standard input".into() } else { path.to_string_lossy() };
        let failed = |e| io(format!("reading {name}"), e);
        if !is_stdin && path.is_dir() {
            return Err(EngineError::Request {
                message: format!("{name} is a directory, and a layer is a tar"),
                hint: format!("tar -cC {name} . writes one, which --layer - reads"),
            });
        }
        let mut given: Box<dyn Read> = match is_stdin {
            true => Box::new(std::io::stdin()),
            false => Box::new(File::open(path).map_err(|e| EngineError::named(format!("reading {name}"), e))?),
        };
        let mut copy = nameless().map_err(failed)?;
        let mut writer = DigestWriter::new(copy.try_clone().map_err(failed)?);
        std::io::copy(&mut given, &mut writer).map_err(failed)?;
        let blob = writer.finish();
        let no_layer = |e| EngineError::NoLayer { file: name.to_string(), source: Box::new(e) };
        let mut head = [0; 4];
        copy.rewind().map_err(failed)?;
        let n = copy.read_at(&mut head, 0).map_err(failed)?;
        let mut tar =
            compress::decompress(Box::new(copy.try_clone().map_err(failed)?)).map_err(|e| no_layer(e.into()))?;
        apply::check(&mut tar, Bounds::default()).map_err(|e| no_layer(e.into()))?;
        copy.rewind().map_err(failed)?;
        let media_type = match head.get(..n).unwrap_or_default() {
            [0x1f, 0x8b, ..] => MediaType::OciLayerGzip,
            [0x28, 0xb5, 0x2f, 0xfd] => MediaType::OciLayerZstd,
            // A manifest has no media type for any other compression.
            _ => {
                let mut plain = compress::decompress(Box::new(copy)).map_err(|e| no_layer(e.into()))?;
                return Self::of(|out| compress::copy(&mut plain, out).map_err(|e| no_layer(e.into())));
            }
        };
        let mut tar = DigestWriter::new(std::io::sink());
        // Also what stands behind the end of the archive has to inflate.
        let inflated = compress::decompress(Box::new(copy.try_clone().map_err(failed)?));
        inflated.and_then(|mut plain| compress::copy(&mut plain, &mut tar)).map_err(|e| no_layer(e.into()))?;
        let diff = DiffId(tar.finish().digest);
        Ok(Self { diff, digest: blob.digest, size: blob.size, media_type, file: Arc::new(copy) })
    }

    /// As a manifest describes it.
    pub(super) fn described(&self, is_docker: bool) -> Descriptor {
        let media_type = match (&self.media_type, is_docker) {
            (MediaType::OciLayerGzip, true) => MediaType::DockerLayerGzip,
            (other, _) => other.clone(),
        };
        Descriptor::new(media_type, self.digest.clone(), self.size)
    }

    pub(super) fn open(&self, d: &Descriptor) -> Reader {
        Box::new(Checked::new(At { file: Arc::clone(&self.file), at: 0 }, d, "the new layer".to_owned()))
    }
}

/// Reads a file from its beginning, wherever others read it.
struct At {
    file: Arc<File>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    fn packed_by(program: &str, bytes: &[u8]) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let packed = std::process::Command::new(program).arg("-c").stdin(file).output();
        packed.unwrap_or_else(|e| panic!("{program} is installed: {e}")).stdout
    }

    #[test]
    fn what_is_compressed_stays_so_and_what_is_no_tar_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let made = NewLayer::of(|out| {
            let mut tar = cooper_store::archive::tarball::Tarball::new(out);
            tar.bytes("etc/motd", b"hello").map_err(EngineError::from)?;
            tar.finish().map(drop).map_err(EngineError::from)
        })
        .unwrap();
        let d = made.described(false);
        let mut packed = Vec::new();
        made.open(&d).read_to_end(&mut packed).unwrap();
        let mut plain = Vec::new();
        compress::decompress(Box::new(std::io::Cursor::new(packed.clone()))).unwrap().read_to_end(&mut plain).unwrap();
        let path = dir.path().join("layer");
        for bytes in [&packed, &plain] {
            std::fs::write(&path, bytes).unwrap();
            let read = NewLayer::read(&path).unwrap();
            assert_eq!((read.diff.clone(), read.described(false)), (made.diff.clone(), d.clone()));
        }
        assert_eq!(made.described(true).media_type, MediaType::DockerLayerGzip);
        let behind = [packed.as_slice(), b"something behind it"].concat();
        let cut = packed.get(..packed.len() - 9).unwrap();
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Link);
        link.set_size(0);
        let mut lonely = tar::Builder::new(Vec::new());
        lonely.append_link(&mut link, "link", "of-another-layer").unwrap();
        let lonely = lonely.into_inner().unwrap();
        let xz = packed_by("xz", &plain);
        let cut_xz = &xz[..xz.len() - 9];
        for bytes in [&b"no tar, and longer than nothing"[..], &plain[..700], cut, &behind, &lonely, cut_xz] {
            std::fs::write(&path, bytes).unwrap();
            let none = NewLayer::read(&path).unwrap_err();
            assert_eq!(none.to_string(), format!("{} cannot be used as a layer", path.display()));
            assert_eq!(none.class(), ErrorClass::Input, "{none:?}");
            let hint = if *bytes == *lonely { "take the entry out" } else { "a layer is a tar" };
            assert!(none.hint().unwrap().starts_with(hint), "{none:?}");
        }
        let none = NewLayer::read(dir.path()).unwrap_err();
        assert_eq!(none.to_string(), format!("{} is a directory, and a layer is a tar", dir.path().display()));
        assert_eq!(none.class(), ErrorClass::Usage);
    }
}
