//! What can go wrong on the disk, with the object, the cause and what to do.

use cooper_image::index::DocumentError;
use cooper_image::{Digest, DigestError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused an operation on a file of the store.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// The store was made by a later version of Cooper.
    #[error("the store {} has format {found}; this Cooper knows up to {known}", root.display())]
    Newer {
        /// Root of the store.
        root: PathBuf,
        /// The version, and the features that are not known.
        found: String,
        /// The newest version that is understood.
        known: u32,
    },
    /// The directory holds something, but no store.
    #[error("{} is not a store of Cooper: {reason}", root.display())]
    NotAStore {
        /// The directory.
        root: PathBuf,
        /// What was expected.
        reason: &'static str,
    },
    /// The store's trees were made with other rights: by root, by an ordinary user, or by root in a container.
    #[error("the store {} has layers that were unpacked with other rights", root.display())]
    OtherMarks {
        /// Root of the store.
        root: PathBuf,
    },
    /// No such blob.
    #[error("the store has no blob {0}")]
    MissingBlob(Digest),
    /// A blob is larger than what is read into memory.
    #[error("blob {digest} has {size} bytes, more than the {limit} that are read of its kind")]
    TooLarge {
        /// Which blob.
        digest: Digest,
        /// Its size, in bytes.
        size: u64,
        /// What is accepted, in bytes.
        limit: u64,
    },
    /// Bytes that were to be stored are not what was promised. Nothing was stored.
    #[error("the bytes were refused: {0}")]
    Refused(#[source] DigestError),
    /// Bytes in the store are no longer what their name says.
    #[error("blob {digest} is damaged")]
    DamagedBlob {
        /// The name of the blob.
        digest: Digest,
        /// The difference.
        #[source]
        source: DigestError,
    },
    /// A small file of the store cannot be understood.
    #[error("{} is damaged: {reason}", path.display())]
    DamagedFile {
        /// Which file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A manifest or index in the store cannot be understood.
    #[error("document {digest} is malformed")]
    Document {
        /// Its digest.
        digest: Digest,
        /// The parser's word.
        #[source]
        source: DocumentError,
    },
    /// An image's documents nest or number more than is followed.
    #[error("image {0} nests too deep or has too many parts")]
    TooMany(Digest),
    /// `docker load` reads one image, and this is an index of several.
    #[error("an archive for docker load holds one image, and {0} is an index")]
    NotOneImage(Digest),
    /// A directory that an archive is to go to holds something else.
    #[error("{} is no place for an OCI layout: {reason}", path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// What was found.
        reason: &'static str,
    },
    /// A layout lists more than is read, or would.
    #[error("the OCI layout {} lists too much: its index.json may have {limit} bytes", path.display())]
    FullLayout {
        /// The directory.
        path: PathBuf,
        /// What is accepted, in bytes.
        limit: u64,
    },
    /// A file that is to be read as an image's archive is none.
    #[error("{} is no archive of images: {reason}", path.display())]
    NotAnArchive {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: &'static str,
    },
    /// Somebody who uses or deletes a file does not come to an end.
    #[error("{} is in use by another process", path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// An archive could not be written to where it goes.
    #[error("writing the archive")]
    Archive(#[source] std::io::Error),
    /// A value is longer than what is read of its kind.
    #[error("{what} has more than {limit} bytes")]
    TooLong {
        /// Which value.
        what: &'static str,
        /// What is read, in bytes.
        limit: u64,
    },
    /// A value could not be written as JSON.
    #[error("writing {what} as JSON")]
    Encode {
        /// Which value.
        what: &'static str,
        /// The writer's word.
        #[source]
        source: serde_json::Error,
    },
}

impl StoreError {
    /// What to do about it, when that is known.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Io { source, .. } => return io_hint(source),
            Self::Archive(source) => return io_hint(source),
            Self::Newer { .. } => "use the Cooper that made it, or choose another directory with --root",
            Self::OtherMarks { .. } => {
                "root, ordinary users with and without subordinate ids, and root in a container that cannot mount need a \
                 store each: choose another directory with --root"
            }
            Self::NotAStore { .. } => "choose an empty directory, or one that does not exist yet, with --root",
            Self::NotALayout { .. } => "give an empty directory, one that does not exist yet, or an OCI layout",
            Self::NotAnArchive { .. } => {
                "give a file that cooper save, docker save or podman save has written; it may be compressed"
            }
            Self::FullLayout { .. } => "write to another directory",
            Self::NotOneImage(_) => "write an OCI archive, or build for one platform",
            Self::Busy { .. } => "is another `cooper` stopped or suspended? let it go on, or end it",
            Self::MissingBlob(_) => "pull or build the image again",
            Self::DamagedBlob { .. } => {
                "check the disk; `cooper debug fsck --repair` deletes what is damaged, and the next pull or build makes it anew"
            }
            Self::DamagedFile { .. } => "remove the file, then pull or build again",
            Self::Refused(_) => "the sender is at fault or the transfer was damaged: try again",
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// For `map_err`: names the operation and the file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

fn io_hint(source: &std::io::Error) -> Option<String> {
    let text = match source.kind() {
        ErrorKind::StorageFull => "free space on that disk, or choose another place (for the store with --root)",
        ErrorKind::QuotaExceeded => "free space within your quota, or choose another place (for the store with --root)",
        ErrorKind::ReadOnlyFilesystem => "the store can be read but not changed here; choose another place with --root",
        ErrorKind::PermissionDenied => "it belongs to another user; for the store choose another place with --root",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_or_read_only_disk_has_advice() {
        for (kind, word) in [
            (ErrorKind::StorageFull, "free space"),
            (ErrorKind::ReadOnlyFilesystem, "--root"),
            (ErrorKind::PermissionDenied, "another user"),
        ] {
            let e = StoreError::io("writing", Path::new("/s/x"))(kind.into());
            assert!(e.hint().is_some_and(|h| h.contains(word)), "{kind}");
            assert_eq!(e.to_string(), "writing /s/x");
        }
        assert_eq!(StoreError::io("reading", Path::new("/"))(ErrorKind::NotFound.into()).hint(), None);
    }
}
