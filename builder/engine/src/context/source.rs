//! Where a named context is, read from the text of `--build-context NAME=…`.
//!
//! Takes: the text. Gives: a place, checked as far as text can be. Must never: do I/O.

use super::{Behalf, Files, LayoutName, NotThere};
use crate::{Engine, EngineError};
use cooper_dockerfile::remote::{self, Remote};
use cooper_image::Reference;
use cooper_plan::context::ContextKind;
use std::path::{Path, PathBuf};

/// A place that a context can be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// Nowhere: the empty context, `docker-image://scratch`.
    Nothing,
    /// A directory.
    Directory(PathBuf),
    /// An image by name.
    Image(Reference),
    /// An image in an OCI layout.
    Layout(LayoutName),
    /// A repository, or a file behind a URL.
    Remote(Remote),
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ContextSourceError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

const FORMS: &str = "give a directory, a git or http URL, docker-image://NAME or oci-layout://DIR[:TAG][@DIGEST]";

impl ContextSource {
    /// Reads the text behind the name.
    ///
    /// # Errors
    /// When it is empty or malformed, or names a kind of place that is not known.
    pub fn parse(text: &str) -> Result<Self, ContextSourceError> {
        let wrong = |message: String, hint: &str| ContextSourceError { message, hint: hint.to_owned() };
        if text.is_empty() {
            return Err(wrong("the context has no place".to_owned(), FORMS));
        }
        if let Some(image) = text.strip_prefix("docker-image://") {
            if image == "scratch" {
                return Ok(Self::Nothing);
            }
            let hint = "an image is named [host/]name[:tag][@digest]";
            return image.parse().map(Self::Image).map_err(|e| wrong(format!("{e}"), hint));
        }
        if let Some(layout) = text.strip_prefix("oci-layout://") {
            let hint = "write oci-layout://DIR[:TAG][@sha256:…]";
            return LayoutName::parse(layout).map(Self::Layout).map_err(|message| wrong(message, hint));
        }
        if let Some(remote) = remote::parse_context(text) {
            return remote.map(Self::Remote).map_err(|e| wrong(e.message, &e.hint));
        }
        if text.starts_with("target:") {
            return Err(wrong(
                format!("{text} is a link between the targets of a bake file, and none of a build"),
                "name a stage with --from=STAGE, or build the target first and give docker-image://",
            ));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(wrong(format!("{scheme}:// is no known kind of context: {text}"), FORMS));
        }
        Ok(Self::Directory(PathBuf::from(text)))
    }

    /// What the plan has to know.
    pub(super) fn kind(&self) -> ContextKind {
        match self {
            Self::Nothing => ContextKind::Scratch,
            Self::Directory(_) | Self::Remote(_) => ContextKind::Files,
            Self::Image(reference) => ContextKind::Image(reference.clone()),
            Self::Layout(_) => ContextKind::Layout,
        }
    }

    /// The files, with the ignore file of a directory.
    pub(super) fn files(&self, engine: &Engine, behalf: Behalf<'_>) -> Result<Files, EngineError> {
        match self {
            Self::Directory(path) => directory(path),
            Self::Remote(remote) => engine.fetch_context(remote, behalf),
            // These have no files of their own; the plan never asks.
            Self::Nothing | Self::Image(_) | Self::Layout(_) => Ok(Files::nothing()),
        }
    }
}

/// A directory with its own `.dockerignore`.
fn directory(path: &Path) -> Result<Files, EngineError> {
    let bare = Files::directory(path.to_owned(), None);
    let ignore = match bare.open(".dockerignore")? {
        Ok(file) => Some(super::archive::bounded(file, ".dockerignore")?),
        Err(NotThere::Absent) => None,
        Err(NotThere::NoFile) => {
            let path = path.join(".dockerignore");
            let message = format!("{} is not a regular file", path.display());
            return Err(EngineError::Ignore { message, hint: "put a file in its place, or take it away" });
        }
    };
    Ok(Files::directory(path.to_owned(), ignore))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_recognised() {
        let image = |name: &str| ContextSource::Image(name.parse().unwrap());
        for (text, wanted) in [
            ("dir", ContextSource::Directory("dir".into())),
            ("../a b", ContextSource::Directory("../a b".into())),
            ("a=b", ContextSource::Directory("a=b".into())),
            ("docker-image", ContextSource::Directory("docker-image".into())),
            ("docker-image://alpine", image("alpine")),
            ("docker-image://localhost:5000/a:1", image("localhost:5000/a:1")),
            ("docker-image://scratch", ContextSource::Nothing),
        ] {
            assert_eq!(ContextSource::parse(text), Ok(wanted), "{text}");
        }
        assert!(matches!(ContextSource::parse("oci-layout://d:1"), Ok(ContextSource::Layout(_))));
        for text in ["https://h/r.git#v1:sub", "git@h:t/r.git", "ssh://git@h/r", "git://h/r", "github.com/team/repo"] {
            assert!(matches!(ContextSource::parse(text), Ok(ContextSource::Remote(Remote::Git(_)))), "{text}");
        }
        for text in ["http://h/f.tar", "https://h/"] {
            assert!(matches!(ContextSource::parse(text), Ok(ContextSource::Remote(Remote::Http(_)))), "{text}");
        }
    }

    #[test]
    fn what_is_no_place() {
        for (text, says) in [
            ("", "the context has no place"),
            ("docker-image://", "not an image name"),
            ("docker-image://A B", "not an image name"),
            ("docker-image://a@sha256:1", "is no digest"),
            ("oci-layout://", "names no directory"),
            ("oci-layout://d@sha256:12", "is no digest"),
            ("oci-layout://d:", "has an empty tag"),
            ("https://h/r.git#--upload-pack=x", "no name of a branch"),
            ("ssh://-oProxyCommand=x/r", "begins with -"),
            ("http://", "names no host"),
            ("target:base", "bake file"),
            ("container-image://a", "container-image:// is no known kind"),
            ("file:///etc", "file:// is no known kind"),
        ] {
            let error = ContextSource::parse(text).unwrap_err();
            assert!(error.message.contains(says), "{text}: {error}");
            assert!(!error.hint.is_empty());
        }
    }
}
