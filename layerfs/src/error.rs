//! What can go wrong with trees and layers, by who can do something about it.
//!
//! Three families: storage failed ([`LayerfsError::is_storage`]), the user asked for something that
//! is not there ([`LayerfsError::is_usage`]), and everything else is input that was rejected.

use cooper_image::chmod::{self, ChmodError};
use std::io;
use thiserror::Error;

/// Why a tree or a layer could not be read or made.
#[derive(Debug, Error)]
pub enum LayerfsError {
    /// The file system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to which path.
        what: String,
        /// The operating system's words.
        source: io::Error,
    },
    /// The compressed or plain bytes of a layer ended early or are damaged.
    #[error("the layer cannot be read: {source}")]
    Stream {
        /// The decoder's words.
        source: io::Error,
    },
    /// An entry of a layer that no honest tool writes, or that cannot be represented.
    #[error("layer entry {entry:?}: {reason}")]
    Entry {
        /// The entry's name, escaped for people.
        entry: String,
        /// What is wrong.
        reason: Reason,
    },
    /// A bound on foreign input was reached.
    #[error("{what}: more than {limit}")]
    Limit {
        /// What was counted, with its unit.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// A file was altered between the look at it and its last byte.
    #[error("{path} changed while it was read")]
    Changed {
        /// The file, escaped for people.
        path: String,
    },
    /// A real file has a name that layers keep for deletions.
    #[error("{path}: names that begin with .wh. cannot be stored in a layer")]
    ReservedName {
        /// The file, escaped for people.
        path: String,
    },
    /// An owner that the user namespace does not map.
    #[error("{path}: {id} {number} is not mapped in this user namespace")]
    Unmapped {
        /// The file, escaped for people.
        path: String,
        /// `uid` or `gid`.
        id: &'static str,
        /// The number.
        number: u32,
    },
    /// A source that the user named does not exist.
    #[error("{path}: no such file or directory in the source")]
    MissingSource {
        /// As the user wrote it.
        path: String,
    },
    /// A source that the user named exists, and the ignore file hides it.
    #[error("{path} is excluded by the ignore file")]
    IgnoredSource {
        /// As the user wrote it.
        path: String,
    },
    /// A kind of file that cannot be copied from where it is.
    #[error("{path} is {kind}, which cannot be copied from a build context")]
    UnsupportedKind {
        /// The file, escaped for people.
        path: String,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// A directory was to be made where something else is.
    #[error("/{path} is in the way: a directory has to be there, and it is not one")]
    NotADirectory {
        /// The path in the target, escaped for people.
        path: String,
    },
    /// A file was to be written where a directory is.
    #[error("/{path} is a directory and cannot be replaced by a file")]
    IsADirectory {
        /// The path in the target, escaped for people.
        path: String,
    },
    /// A path whose symbolic links do not come to an end.
    #[error("{path}: too many symbolic links")]
    TooManyLinks {
        /// The path that was looked up, escaped for people.
        path: String,
    },
    /// A file of the context that this user may not read.
    #[error("{what}: {source}")]
    Unreadable {
        /// What was being done, and to which path.
        what: String,
        /// The operating system's words.
        source: io::Error,
    },
    /// `--chmod` with something that is no mode.
    #[error(transparent)]
    Chmod(#[from] ChmodError),
    /// `--chown` or USER with somebody whom the target does not know.
    #[error("invalid owner {spec:?}: {reason}")]
    Owner {
        /// As written.
        spec: String,
        /// Why not.
        reason: String,
    },
    /// `--chown` by name where the target is empty by intention.
    #[error("invalid owner {spec:?}: a copy with --link is made in an empty root, which knows no names")]
    NoNames {
        /// As written.
        spec: String,
    },
    /// A local archive that ADD cannot unpack.
    #[error("the archive {archive} cannot be unpacked: {reason}")]
    Archive {
        /// The archive, escaped for people.
        archive: String,
        /// Which entry, and what is wrong with it.
        reason: String,
    },
}

/// What is wrong with an entry of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Reason {
    /// The sum over the header does not match.
    #[error("header checksum does not match")]
    Checksum,
    /// A number field holds something else, or a number out of range.
    #[error("malformed number in the header")]
    Number,
    /// An extended header does not follow the grammar, or says two things.
    #[error("malformed extended header")]
    Extended,
    /// An extended attribute that no file system takes, such as a file capability of an unknown form.
    #[error("an extended attribute is invalid")]
    Attribute,
    /// A name that is empty where it may not be, or that holds a NUL byte.
    #[error("malformed name")]
    Name,
    /// image-spec forbids sparse entries.
    #[error("sparse files are not allowed in layers")]
    Sparse,
    /// A type flag that no layer uses.
    #[error("unknown entry type")]
    Type,
    /// `.wh.` with nothing, `.` or `..` behind it, or an unknown `.wh..wh.` name.
    #[error("malformed whiteout")]
    Whiteout,
    /// A character device 0:0, which overlayfs would read as a deletion.
    #[error("device 0:0 would become a whiteout")]
    DeviceZero,
    /// The target of a hard link is absent, is a directory, or is a whiteout.
    #[error("hard link to something that the layer does not hold")]
    Hardlink,
    /// Something other than a directory for the root itself.
    #[error("the root must be a directory")]
    Root,
    /// A parent is a file, or a link that leads nowhere.
    #[error("a parent of the entry is not a directory")]
    Parent,
    /// overlayfs marked it as renamed, or as metadata without contents.
    #[error("the file is not whole without the layers below it")]
    Dependent,
    /// Archives that are no layers name no `..`.
    #[error("the name climbs out of the archive")]
    Climbs,
    /// A device in an archive that is no layer.
    #[error("a device, which only a layer may hold; leave it out of the archive")]
    Device,
    /// The stream ended within a header or a body.
    #[error("the archive is cut short")]
    Truncated,
}

impl LayerfsError {
    /// For `map_err`: what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }

    /// A failed read of a layer's bytes. An error of this room that travelled inside comes out whole.
    pub(crate) fn stream(source: io::Error) -> Self {
        if !source.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            return Self::Stream { source };
        }
        let kind = source.kind();
        match source.into_inner().map(|inner| inner.downcast::<Self>()) {
            Some(Ok(own)) => *own,
            _ => Self::Stream { source: kind.into() },
        }
    }

    /// The same where files of a context were read: that one of them may not be read is no fault of the storage.
    #[must_use]
    pub fn of_context(self) -> Self {
        match self {
            Self::Io { what, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                Self::Unreadable { what, source }
            }
            other => other,
        }
    }

    /// Did the storage fail (I/O error, no space, no permission), and not the input?
    pub fn is_storage(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::Stream { source } => !is_content(source.kind()),
            _ => false,
        }
    }

    /// Did the user ask for something that cannot be?
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::MissingSource { .. }
                | Self::IgnoredSource { .. }
                | Self::UnsupportedKind { .. }
                | Self::NotADirectory { .. }
                | Self::IsADirectory { .. }
                | Self::Chmod(_)
                | Self::Owner { .. }
                | Self::NoNames { .. }
        )
    }

    /// What can be done about it, when that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space on that disk".into()
            }
            Self::Io { source, .. } | Self::Unreadable { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "check its permissions; what is not to be copied can be named in .dockerignore".into()
            }
            Self::Unmapped { id, .. } => format!(
                "give the user a range of subordinate ids that covers this {id} in /etc/sub{id}, or build as root"
            ),
            Self::Changed { .. } => "build again when nothing writes to the files".into(),
            Self::MissingSource { .. } => "check the path and the .dockerignore file".into(),
            Self::ReservedName { .. } => "rename the file or remove it in the same step".into(),
            Self::IgnoredSource { .. } => "re-include it with a `!` line in .dockerignore, or do not copy it".into(),
            Self::UnsupportedKind { .. } => "name it in .dockerignore".into(),
            Self::NotADirectory { .. } => {
                "remove what is there in an earlier step, or copy to another place; a symbolic link to a directory \
                 is followed only when it is the destination itself"
                    .into()
            }
            Self::IsADirectory { .. } => "remove the directory in an earlier step, or copy to another place".into(),
            Self::TooManyLinks { .. } => "look for a symbolic link that leads to itself".into(),
            Self::Chmod(_) => chmod::HINT.into(),
            Self::Owner { .. } => "create the user in an earlier step or give numeric ids".into(),
            Self::NoNames { .. } => "give numeric ids, or drop --link".into(),
            Self::Archive { .. } => "unpack it in a RUN step, or use COPY to keep it as a file".into(),
            _ => return None,
        })
    }
}

/// Kinds of errors with which decoders say that the bytes, and not the machine, are at fault.
fn is_content(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(kind, K::InvalidData | K::InvalidInput | K::UnexpectedEof | K::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_apart() {
        let io = LayerfsError::io("writing x")(io::ErrorKind::StorageFull.into());
        assert!(io.is_storage() && !io.is_usage() && io.hint().is_some());
        let cut = LayerfsError::stream(io::ErrorKind::UnexpectedEof.into());
        assert!(!cut.is_storage() && !cut.is_usage());
        assert!(LayerfsError::stream(io::Error::from_raw_os_error(5)).is_storage());
        assert!(LayerfsError::MissingSource { path: "x".into() }.is_usage());
        let denied = || LayerfsError::io("reading x")(io::ErrorKind::PermissionDenied.into());
        let (ours, context) = (denied(), denied().of_context());
        assert!(ours.is_storage() && !context.is_storage() && !context.is_usage());
        assert_eq!((ours.to_string(), ours.hint()), (context.to_string(), context.hint()));
        let full = LayerfsError::io("writing x")(io::ErrorKind::StorageFull.into());
        assert!(full.of_context().is_storage());
    }

    #[test]
    fn an_own_error_survives_the_trip_through_a_reader() {
        let limit = LayerfsError::Limit { what: "bytes", limit: 7 };
        assert!(matches!(LayerfsError::stream(io::Error::other(limit)), LayerfsError::Limit { limit: 7, .. }));
    }
}
