//! What comes out of a build, as data: images in the store and in registries, archives, plain files.

use cooper_image::annotations::Annotation;
use cooper_image::assemble::Format;
use cooper_image::{MediaType, Reference};
pub use cooper_layerfs::compress::Method as Compression;
use std::path::{Path, PathBuf};

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The image in the store, and perhaps in registries.
    Image(ImageOutput),
    /// The image as an archive.
    Archive(ArchiveOutput),
    /// The image's files.
    Files(FilesOutput),
}

impl Output {
    /// Where it is written to, if that is a place of the caller's; `-` is standard output.
    pub fn dest(&self) -> Option<&Path> {
        match self {
            Self::Image(_) => None,
            Self::Archive(a) => Some(&a.dest),
            Self::Files(f) => Some(&f.dest),
        }
    }
    /// The names that it is given for itself.
    pub fn names_mut(&mut self) -> &mut [Reference] {
        match self {
            Self::Image(i) => &mut i.names,
            Self::Archive(a) => &mut a.names,
            Self::Files(_) => &mut [],
        }
    }
    /// The form of the image, if it is one.
    pub fn form(&self) -> Option<&Form> {
        match self {
            Self::Image(i) => Some(&i.form),
            Self::Archive(a) => Some(&a.form),
            Self::Files(_) => None,
        }
    }
}

/// How an image's documents and layers are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// How new layers are compressed.
    pub compression: Compression,
    /// Which layers are compressed that way.
    pub recompress: Recompress,
    /// The media types that were asked for; `None` takes what fits the output.
    pub format: Option<Format>,
    /// What the documents are annotated with; later ones win.
    pub annotations: Vec<Annotation>,
}

impl Form {
    /// Can only OCI's media types say it?
    pub fn needs_oci(&self) -> bool {
        matches!(self.compression, Compression::Zstd(_)) || !self.annotations.is_empty()
    }
    /// The media types: those asked for, else OCI's where only they will do, else the given ones.
    pub fn format_or(&self, usual: Format) -> Format {
        self.format.unwrap_or(if self.needs_oci() { Format::Oci } else { usual })
    }
}

/// `force-compression`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recompress {
    /// Layers of a base stay the blobs that they are.
    #[default]
    New,
    /// Every layer that is not compressed so already.
    All,
}

/// Is a layer of this media type compressed by this method? Levels are not told apart.
pub(crate) fn is_compressed_by(layer: &MediaType, method: Compression) -> bool {
    match method {
        Compression::Plain => matches!(layer, MediaType::OciLayer | MediaType::DockerLayer),
        Compression::Gzip(_) => matches!(layer, MediaType::OciLayerGzip | MediaType::DockerLayerGzip),
        Compression::Zstd(_) => *layer == MediaType::OciLayerZstd,
    }
}

/// The image in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageOutput {
    /// Its names; empty means those of the build.
    pub names: Vec<Reference>,
    /// Is it sent to the registries of its names?
    pub push: Push,
    /// Is it also named by its digest in the store (`name-canonical`)?
    pub canonical: Canonical,
    /// When its layers are compressed.
    pub finish: Finish,
    /// How it is written.
    pub form: Form,
}

/// `push` and `push-by-digest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Push {
    /// It stays here.
    #[default]
    No,
    /// Under its names.
    ByName,
    /// Under its digest alone; the names say only where to.
    ByDigest,
}

/// `name-canonical`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Canonical {
    #[default]
    No,
    Yes,
}

/// When an image gets its manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Finish {
    /// When somebody needs it: compressing is the slowest part of most builds.
    #[default]
    Lazily,
    /// With the build, because somebody wants to know its digest.
    Now,
}

/// An archive of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveOutput {
    /// OCI's or Docker's.
    pub kind: cooper_store::archive::Kind,
    /// Where; `-` is standard output.
    pub dest: PathBuf,
    /// One file, or a directory.
    pub container: Container,
    /// The image's names in it; empty means those of the build.
    pub names: Vec<Reference>,
    /// How the image is written.
    pub form: Form,
}

/// `tar=true|false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Container {
    #[default]
    Tar,
    Directory,
}

/// The files of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOutput {
    /// One file, or a directory.
    pub container: Container,
    /// Where; `-` is standard output.
    pub dest: PathBuf,
    /// What happens to other files of a directory.
    pub others: Others,
    /// Where the files of several platforms go.
    pub split: Split,
}

pub use cooper_layerfs::export::Others;

/// `platform-split`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Split {
    /// Each platform has a folder when there are several.
    #[default]
    Several,
    /// Each platform has a folder, as `linux_amd64`; also the only one.
    Folders,
    /// All in one place; files must not collide.
    Merged,
}
