//! Where an image is, as people write it.

use crate::context::LayoutName;
use cooper_image::Reference;
use cooper_image::reference::ReferenceError;
pub use cooper_store::archive::Kind;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A place of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `NAME`, `docker-image://NAME`: a registry.
    Registry(Reference),
    /// `store://NAME`: the store.
    Store(Reference),
    /// `oci-layout://DIR[:TAG][@DIGEST]`: a directory.
    Layout(LayoutName),
    /// `oci-archive://FILE[:NAME]`, `docker-archive://FILE[:NAME]`.
    Archive {
        /// Which of the formats.
        kind: Kind,
        /// The file; `-` is standard input or output.
        path: PathBuf,
        /// Name of the image in it.
        name: Option<String>,
    },
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// A registry's or the store's name.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// A layout.
    #[error("{0}")]
    Layout(String),
    /// No file.
    #[error("{0} names no file")]
    NoFile(String),
    /// Another tool's spelling, or a mistake.
    #[error(
        "{0:?} is no kind of place; there are NAME, store://NAME, oci-layout://DIR[:NAME], oci-archive://FILE[:NAME] \
         and docker-archive://FILE[:NAME]"
    )]
    Scheme(String),
}

/// What skopeo calls its places.
const OTHERS: [&str; 9] = [
    "docker:",
    "oci:",
    "dir:",
    "oci-archive:",
    "docker-archive:",
    "docker-daemon:",
    "containers-storage:",
    "oci-layout:",
    "store:",
];

impl FromStr for Place {
    type Err = PlaceError;
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let archive = |kind| {
                let (path, name) = match rest.split_once(':') {
                    Some((path, name)) => (path, Some(name.to_owned())),
                    None => (rest, None),
                };
                if path.is_empty() || name.as_deref() == Some("") {
                    return Err(PlaceError::NoFile(text.to_owned()));
                }
                Ok(Self::Archive { kind, path: PathBuf::from(path), name })
            };
            return match scheme {
                "docker-image" => Ok(Self::Registry(rest.parse::<Reference>()?.or_latest())),
                "store" => Ok(Self::Store(rest.parse::<Reference>()?.or_latest())),
                "oci-layout" => LayoutName::parse(rest).map(Self::Layout).map_err(PlaceError::Layout),
                "oci-archive" => archive(Kind::Oci),
                "docker-archive" => archive(Kind::Docker),
                other => Err(PlaceError::Scheme(format!("{other}://"))),
            };
        }
        if let Some(scheme) = OTHERS.iter().find(|scheme| text.starts_with(**scheme)) {
            // A name with a tag can look so too; one with a path cannot.
            if text.contains('/') || !matches!(*scheme, "docker:" | "oci:" | "dir:" | "store:") {
                return Err(PlaceError::Scheme((*scheme).to_owned()));
            }
        }
        Ok(Self::Registry(text.parse::<Reference>()?.or_latest()))
    }
}

impl Place {
    /// The name that is looked up in a registry or the store.
    pub fn name_mut(&mut self) -> Option<&mut Reference> {
        match self {
            Self::Registry(name) | Self::Store(name) => Some(name),
            Self::Layout(_) | Self::Archive { .. } => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => f.write_str(&name.familiar()),
            Self::Store(name) => write!(f, "store://{}", name.familiar()),
            Self::Layout(layout) => layout.fmt(f),
            Self::Archive { kind, path, name } => {
                let scheme = match kind {
                    Kind::Oci => "oci-archive",
                    Kind::Docker => "docker-archive",
                };
                write!(f, "{scheme}://{}", path.display())?;
                name.iter().try_for_each(|n| write!(f, ":{n}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_shown_alike() {
        for (text, shown) in [
            ("debian", "debian:latest"),
            ("docker-image://debian:12", "debian:12"),
            ("oci:1", "oci:1"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
            ("store://app", "store://app:latest"),
            ("oci-layout://d/e:t", "oci-layout://d/e:t"),
            ("oci-archive://a.tar", "oci-archive://a.tar"),
            ("docker-archive:///x/a.tar:host:5000/app:1", "docker-archive:///x/a.tar:host:5000/app:1"),
        ] {
            let place: Place = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(place.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Place>().unwrap(), place);
        }
    }

    #[test]
    fn what_is_no_place() {
        for (text, says) in [
            ("docker://debian", "\"docker://\" is no kind of place"),
            ("oci:dir/x:tag", "\"oci:\" is no kind of place"),
            ("docker-archive:a.tar", "\"docker-archive:\" is no kind of place"),
            ("oci-archive://", "names no file"),
            ("docker-archive://a.tar:", "names no file"),
            ("oci-layout://", "names no directory"),
            ("Not A Name", "not an image name"),
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
