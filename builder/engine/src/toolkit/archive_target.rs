//! An archive to write to: the small documents by which readers find their way come first, then the blobs in the order
//! of their digests, so that the same image makes the same bytes.

use super::origin::{Origin, cause};
use super::shipment::{Name, Put, Shipment, Target, entries};
use crate::EngineError;
use crate::layers::{io, lock};
use crate::output_file::OutputFile;
use cooper_image::{Descriptor, Document, MediaType, Reference};
use cooper_store::StoreError;
use cooper_store::archive::docker::{Listed, listing};
use cooper_store::archive::tarball::Tarball;
use cooper_store::archive::{Kind, OCI_LAYOUT, index_json};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

type Out = Box<dyn Write + Send>;

/// Writes to a file, which is there when all of it is; `-` is standard output.
pub struct ArchiveTarget {
    kind: Kind,
    tar: Mutex<Option<Tarball<Out>>>,
    /// None for standard output.
    output: Mutex<Option<OutputFile>>,
    path: PathBuf,
}

impl ArchiveTarget {
    /// Begins the file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(kind: Kind, path: &Path) -> Result<Self, EngineError> {
        let failed = |e| io(format!("writing {}", path.display()), e);
        let (out, output): (Out, _) = if path == Path::new("-") {
            (Box::new(std::io::stdout()), None)
        } else {
            if path.is_dir() {
                return Err(EngineError::Request {
                    message: format!("{} is a directory, and an archive is one file", path.display()),
                    hint: format!(
                        "name a file in it; cooper copy writes a directory, as oci-layout://{}:TAG",
                        path.display()
                    ),
                });
            }
            let output =
                OutputFile::begin(path).map_err(|e| EngineError::named(format!("writing {}", path.display()), e))?;
            (Box::new(output.file().try_clone().map_err(failed)?), Some(output))
        };
        let out: Out = Box::new(BufWriter::with_capacity(1 << 18, out));
        let (tar, output) = (Mutex::new(Some(Tarball::new(out))), Mutex::new(output));
        Ok(Self { kind, tar, output, path: path.to_owned() })
    }

    fn failed(&self, error: StoreError) -> EngineError {
        match error {
            // What the place said from which a blob comes, or the file.
            StoreError::Archive(e) => cause(e, || format!("writing {}", self.path.display())),
            other => other.into(),
        }
    }

    fn within<T>(&self, work: impl FnOnce(&mut Tarball<Out>) -> Result<T, StoreError>) -> Result<T, EngineError> {
        match lock(&self.tar).as_mut() {
            Some(tar) => work(tar).map_err(|e| self.failed(e)),
            None => Err(EngineError::Interrupted),
        }
    }
}

impl Target for ArchiveTarget {
    fn begin(&self, all: &Shipment) -> Result<(), EngineError> {
        let index = all.tops().iter().flat_map(|top| entries(&top.descriptor, &top.names)).chain(all.loose());
        let index = index_json(index.collect())?;
        let listed = match self.kind {
            Kind::Oci => None,
            Kind::Docker => Some(listing(&all.tops().iter().map(|t| listed(all, t)).collect::<Result<Vec<_>, _>>()?)?),
        };
        self.within(|tar| {
            tar.bytes("oci-layout", OCI_LAYOUT)?;
            tar.bytes("index.json", &index)?;
            listed.map_or(Ok(()), |listed| tar.bytes("manifest.json", &listed))
        })
    }

    fn put_blob(&self, d: &Descriptor, from: &Arc<dyn Origin>) -> Result<Put, EngineError> {
        let mut reader = from.open(d)?;
        self.within(|tar| tar.blob(&d.digest, d.size, &mut Exact { inner: &mut reader, left: d.size }))?;
        Ok(Put::Sent)
    }

    fn put_document(&self, d: &Descriptor, bytes: &[u8]) -> Result<(), EngineError> {
        self.within(|tar| tar.blob(&d.digest, d.size, &mut &*bytes))
    }

    fn name(&self, _: &Descriptor, _: &[u8], _: &[Name]) -> Result<(), EngineError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), EngineError> {
        let Some(tar) = lock(&self.tar).take() else { return Ok(()) };
        tar.finish().map_err(|e| self.failed(e))?;
        let named = lock(&self.output).take().map_or(Ok(()), OutputFile::finish);
        named.map_err(|e| io(format!("writing {}", self.path.display()), e))
    }

    /// What was written into the one stream stays there.
    fn begins_anew(&self) -> bool {
        false
    }

    fn at_once(&self) -> usize {
        1
    }
}

fn listed(all: &Shipment, top: &super::Top) -> Result<Listed, EngineError> {
    let one = || EngineError::from(StoreError::NotOneImage(top.descriptor.digest.clone()));
    let bytes = all.document(&top.descriptor.digest).ok_or_else(one)?;
    let Ok(Document::Manifest(manifest)) = Document::parse(bytes, Some(&top.descriptor.media_type)) else {
        return Err(one());
    };
    if !matches!(manifest.config.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
        return Err(EngineError::Request {
            message: format!("{} is no image, and docker load reads images alone", top.descriptor.digest),
            hint: "copy it to a registry, an OCI layout or an OCI archive".to_owned(),
        });
    }
    let names = top.names.iter().filter_map(|name| match name {
        Name::Full(name) => Some(name.clone()),
        Name::Tag(tag) => tag.parse::<Reference>().ok(),
    });
    Ok(Listed { manifest, names: names.collect() })
}

/// Ends in an error when it ends early: a tar's entry would be filled with what follows.
struct Exact<'a> {
    inner: &'a mut dyn Read,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        if n == 0 && self.left > 0 && !buf.is_empty() {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}
