//! What can go wrong in a build: class, place, cause and hint, as one value.

use crate::fetch::FetchError;
use crate::unlike::Unlike;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::ignore::IgnoreError;
use cooper_dockerfile::instruction::Span;
use cooper_image::{Descriptor, Digest, DigestError, Reference};
use cooper_layerfs::{LayerfsError, Reason};
use cooper_plan::context::ContextName;
use cooper_registry::{Fault, RegistryError};
use cooper_sandbox::SandboxError;
use cooper_store::StoreError;

/// Whose fault it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// A build step failed.
    Step,
    /// Wrong use or a wrong Dockerfile.
    Usage,
    /// Input that is hostile or invalid.
    Input,
    /// The registry or the network.
    Registry,
    /// The store or the disk.
    Storage,
    /// The sandbox cannot be had here.
    Sandbox,
    /// A lock could not be had in time.
    Lock,
    /// Somebody asked to stop.
    Interrupted,
}

/// A failure of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The Dockerfile has errors, all of them.
    #[error("the Dockerfile has {} error(s)", .0.len())]
    Dockerfile(Vec<Diagnostic>),
    /// A command of the build ended with a failure.
    #[error("{command:?} {outcome}")]
    Step {
        /// The command, as written.
        command: String,
        /// How it ended.
        outcome: String,
        /// The last lines that it wrote.
        last_output: String,
    },
    /// A command of the build failed, and what it left is kept.
    #[error("{error}")]
    Kept {
        /// By which it is entered.
        id: String,
        /// What failed; not the `source`, because it is told in its place.
        error: Box<EngineError>,
    },
    /// Something failed at an instruction.
    #[error("{text}")]
    At {
        /// Lines in the Dockerfile.
        span: Span,
        /// The instruction.
        text: String,
        /// What failed.
        #[source]
        source: Box<EngineError>,
    },
    /// A named context, or one that is unpacked, cannot be used.
    #[error("the build context {name} cannot be used")]
    Context {
        /// Which one.
        name: String,
        /// What is wrong.
        #[source]
        source: Box<EngineError>,
    },
    /// The request contradicts itself.
    #[error("{message}")]
    Request {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// No such image in the store.
    #[error("the store has no image {0}")]
    NoImage(Reference),
    /// No registry gave an image, and its name is near to another one.
    #[error(transparent)]
    Unlike(Box<Unlike>),
    /// An image's documents do not fit each other.
    #[error("image {reference} is invalid: {reason}")]
    InvalidImage {
        /// Which image.
        reference: String,
        /// What does not fit.
        reason: String,
    },
    /// Something that an image names is not where the image is.
    #[error("image {reference} is invalid: it has no {part}")]
    MissingPart {
        /// Which image.
        reference: String,
        /// The digest, or the path.
        part: String,
    },
    /// A layer is named by an image but the store has none of its forms.
    #[error("the store has lost layer {0}")]
    LostLayer(Digest),
    /// A layer's bytes cannot be used.
    #[error("layer {digest} cannot be used")]
    Layer {
        /// The layer as its image names it.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: Box<EngineError>,
    },
    /// A file that was given as a layer is none.
    #[error("{file} cannot be used as a layer")]
    NoLayer {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        source: Box<EngineError>,
    },
    /// A registry refuses an image of which one layer was not sent.
    #[error("the image was not taken; its layer {layer}, which nobody may pass on, was not sent")]
    KeptBack {
        /// The layer.
        layer: Digest,
        /// What the registry says.
        #[source]
        source: Box<RegistryError>,
    },
    /// A compressed archive that ends early, or does not inflate.
    #[error("{file} is no archive of images, or a damaged one")]
    NoArchive {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        source: Box<EngineError>,
    },
    /// A layer that nobody may pass on is wanted, and is not where its image is.
    #[error("{place} has not the layer {digest}, which nobody may pass on and which images are copied without")]
    Elsewhere {
        /// Where the image is.
        place: String,
        /// The layer.
        digest: Digest,
    },
    /// The ignore file, or a list of patterns like it, cannot be used.
    #[error("the ignore file cannot be used: {message}")]
    Ignore {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// Layers and files.
    #[error(transparent)]
    Layerfs(LayerfsError),
    /// The store.
    #[error(transparent)]
    Store(StoreError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What comes from elsewhere.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Bytes that are not what their name says.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A blob of some place is not what its name says.
    #[error("{what} is damaged")]
    Damaged {
        /// Which blob of which place.
        what: String,
        /// What is there.
        #[source]
        source: DigestError,
    },
    /// A document that cannot be read or written.
    #[error("{what} is malformed")]
    Json {
        /// Which document.
        what: String,
        /// The parser's word.
        #[source]
        source: serde_json::Error,
    },
    /// A file could not be read or written.
    #[error("{what}")]
    Io {
        /// What was done to which file.
        what: String,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Another stage failed first.
    #[error("a stage that this one needs failed")]
    Dependency,
}

impl From<LayerfsError> for EngineError {
    /// A failure of the place that a layer comes from, such as a registry, travels through the decoders and comes out
    /// as what it is.
    fn from(error: LayerfsError) -> Self {
        match error {
            LayerfsError::Stream { source } => match source.downcast::<Self>() {
                Ok(carried) => carried,
                Err(source) => Self::Layerfs(LayerfsError::Stream { source }),
            },
            LayerfsError::Io { what, source } => match source.downcast::<Self>() {
                Ok(carried) => carried,
                Err(source) => Self::Layerfs(LayerfsError::Io { what, source }),
            },
            other => Self::Layerfs(other),
        }
    }
}

impl From<StoreError> for EngineError {
    /// As of [`LayerfsError`]: what an archive is written to, or comes from, has named its own failure.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Archive(source) => match source.downcast::<Self>() {
                Ok(carried) => carried,
                Err(source) => Self::Store(StoreError::Archive(source)),
            },
            other => Self::Store(other),
        }
    }
}

impl EngineError {
    /// Whose fault it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::At { source, .. } => source.class(),
            Self::Kept { error, .. } => error.class(),
            Self::Unlike(unlike) => unlike.cause().class(),
            Self::Layer { source, .. } | Self::NoLayer { source, .. } | Self::Context { source, .. } => {
                source.of_stream()
            }
            // Nothing of a stranger's was stored, because it was not what it said that it is.
            Self::Store(StoreError::Refused(_) | StoreError::NotAnArchive { .. }) => ErrorClass::Input,
            // Nothing is wrong with the disk: another place was meant, or another form.
            Self::Store(StoreError::NotOneImage(_) | StoreError::NotALayout { .. }) => ErrorClass::Usage,
            Self::Dockerfile(_) | Self::Request { .. } | Self::NoImage(_) | Self::Ignore { .. } => ErrorClass::Usage,
            Self::Layerfs(e) if e.is_storage() => ErrorClass::Storage,
            Self::Layerfs(e) if e.is_usage() => ErrorClass::Usage,
            Self::InvalidImage { .. }
            | Self::MissingPart { .. }
            | Self::Elsewhere { .. }
            | Self::NoArchive { .. }
            | Self::Damaged { .. }
            | Self::Layerfs(_)
            | Self::Digest(_)
            | Self::Json { .. } => ErrorClass::Input,
            Self::Step { .. } | Self::Dependency => ErrorClass::Step,
            Self::KeptBack { .. } => ErrorClass::Registry,
            Self::Registry(e) => match e.fault() {
                Fault::Caller => ErrorClass::Usage,
                Fault::Input => ErrorClass::Input,
                Fault::Local => ErrorClass::Storage,
                Fault::Auth | Fault::Registry | Fault::Network => ErrorClass::Registry,
            },
            Self::Fetch(e) => e.class(),
            Self::Store(StoreError::Busy { .. }) => ErrorClass::Lock,
            Self::Store(_) | Self::LostLayer(_) | Self::Io { .. } => ErrorClass::Storage,
            Self::Sandbox(SandboxError::Exec { .. } | SandboxError::User { .. } | SandboxError::Mount { .. }) => {
                ErrorClass::Step
            }
            Self::Sandbox(SandboxError::Cancelled) => ErrorClass::Interrupted,
            Self::Sandbox(e) if e.is_storage() => ErrorClass::Storage,
            Self::Sandbox(_) => ErrorClass::Sandbox,
            Self::Interrupted => ErrorClass::Interrupted,
        }
    }
    /// Does it say that something is not there, wherever that was looked for?
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::MissingPart { .. } | Self::Store(StoreError::MissingBlob(_)) => true,
            Self::Registry(e) => e.is_absence(),
            _ => false,
        }
    }
    /// Does a layer have something that leads to what it has not?
    fn leads_out(&self) -> bool {
        matches!(self, Self::Layerfs(LayerfsError::Entry { reason: Reason::Hardlink | Reason::Parent, .. }))
    }
    /// The class of a failure in the middle of a stream: what the system has not said, the decompressor has, and then
    /// the bytes are at fault.
    fn of_stream(&self) -> ErrorClass {
        match self {
            Self::Io { source, .. } if source.raw_os_error().is_none() => ErrorClass::Input,
            other => other.class(),
        }
    }
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::At { source, .. } | Self::Context { source, .. } => source.hint(),
            Self::Layer { source, .. } if self.class() == ErrorClass::Input => source.hint().or_else(|| {
                Some("the image is damaged or hostile: ask where it comes from, or choose another one".to_owned())
            }),
            Self::NoLayer { source, .. } if source.leads_out() => Some(
                "take the entry out, or put into the tar what it needs: a layer is unpacked by itself, without those below"
                    .to_owned(),
            ),
            Self::NoLayer { .. } if self.class() == ErrorClass::Input => {
                Some("a layer is a tar, which may be compressed with gzip, zstd, bzip2 or xz".to_owned())
            }
            Self::Layer { source, .. } | Self::NoLayer { source, .. } => source.hint(),
            Self::NoArchive { .. } => {
                Some("get it anew: it ends early, or its bytes were changed on the way".to_owned())
            }
            Self::Elsewhere { .. } => {
                Some(
                    "take the image from its publisher's registry, which has the layer too; where it is built upon such an \
                     image, cooper pull that one first, into the same store"
                        .to_owned(),
                )
            }
            Self::KeptBack { .. } => Some(
                "the registry has to take images whose layers are elsewhere (docker-registry: \
                 validation.manifests.urls.allow)"
                    .to_owned(),
            ),
            Self::Request { hint, .. } => Some(hint.clone()),
            Self::NoImage(r) => {
                Some(format!("cooper images lists what there is; cooper pull {} fetches it", r.familiar()))
            }
            Self::Kept { id, .. } => Some(format!("look around in what it left: cooper debug shell {id}")),
            Self::Step { .. } => Some("the steps before it are kept: mend the command and build again".to_owned()),
            Self::Damaged { .. } | Self::InvalidImage { .. } | Self::MissingPart { .. } => Some(
                "get it anew from where it came, or ask who made it; cooper validate tells all that is wrong"
                    .to_owned(),
            ),
            Self::Io { source, .. } => hint_of_io(source).map(str::to_owned),
            Self::LostLayer(_) => Some("build or pull the image again".to_owned()),
            Self::Layerfs(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::Registry(e) => e.hint(),
            Self::Unlike(unlike) => Some(unlike.hint()),
            Self::Fetch(e) => e.hint(),
            Self::Sandbox(e) => e.hint(),
            Self::Ignore { hint, .. } => Some((*hint).to_owned()),
            _ => None,
        }
    }
    /// An ignore file that was read and that is wrong.
    pub(crate) fn ignore(error: IgnoreError) -> Self {
        Self::Ignore { message: error.to_string(), hint: error.hint() }
    }
    /// Lines of the Dockerfile that it belongs to.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::At { span, .. } => Some(*span),
            _ => None,
        }
    }
    /// Errors of the Dockerfile.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Dockerfile(d) => d,
            _ => &[],
        }
    }
    /// The id of the failed step that is kept.
    pub fn kept(&self) -> Option<&str> {
        match self {
            Self::At { source, .. } => source.kept(),
            Self::Kept { id, .. } => Some(id),
            _ => None,
        }
    }
    /// The last lines that a failed command wrote.
    pub fn last_output(&self) -> Option<&str> {
        match self {
            Self::At { source, .. } => source.last_output(),
            Self::Kept { error, .. } => error.last_output(),
            Self::Step { last_output, .. } => Some(last_output),
            _ => None,
        }
    }
    /// Names the layer whose bytes are at fault.
    pub(crate) fn of_layer(self, digest: &Digest) -> Self {
        match self {
            e @ (Self::Layerfs(_) | Self::Digest(_) | Self::Io { .. }) => {
                Self::Layer { digest: digest.clone(), source: Box::new(e) }
            }
            e => e,
        }
    }
    /// Tells of a layer that is not there when it need not be.
    pub(crate) fn of_foreign(self, layer: &Descriptor, place: &dyn std::fmt::Display) -> Self {
        match layer.media_type.is_foreign() && self.is_absence() {
            true => Self::Elsewhere { place: place.to_string(), digest: layer.digest.clone() },
            false => self,
        }
    }
    /// Names the context that is at fault.
    pub(crate) fn of_context(self, name: &ContextName) -> Self {
        match self {
            e @ (Self::Context { .. } | Self::Interrupted) => e,
            e => Self::Context { name: name.to_string(), source: Box::new(e) },
        }
    }
    /// A place that somebody named cannot be opened, doing `what`: theirs to name another one, unless the disk has failed.
    pub fn named(what: String, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
        match hint_of_io(&source) {
            Some(hint) if matches!(source.kind(), NotFound | NotADirectory | PermissionDenied) => {
                Self::Request { message: format!("{what}: {source}"), hint: hint.to_owned() }
            }
            _ => Self::Io { what, source },
        }
    }

    /// Names the instruction that failed, unless one is named already.
    pub(crate) fn at(self, span: Span, text: &str) -> Self {
        match self {
            e @ (Self::At { .. } | Self::Interrupted | Self::Dependency) => e,
            e => Self::At { span, text: text.to_owned(), source: Box::new(e) },
        }
    }
}

/// What to do about a file that the system will not read or write.
fn hint_of_io(source: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::StorageFull => Some("make room on that disk, or name a place on another one"),
        ErrorKind::QuotaExceeded => Some("make room within your quota, or name a place on another disk"),
        ErrorKind::ReadOnlyFilesystem => Some("name a place that can be written to"),
        ErrorKind::PermissionDenied => Some("give this user access to it, or name another place"),
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Some("check the path; a relative one begins at the current directory")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_layer_is_at_fault_unless_the_system_is() {
        let digest = Digest::sha256(b"layer");
        for (source, class) in [
            (Error::new(ErrorKind::UnexpectedEof, "incomplete deflate stream"), ErrorClass::Input),
            (Error::from_raw_os_error(28), ErrorClass::Storage),
        ] {
            let error = EngineError::Io { what: "inflating a layer".to_owned(), source }.of_layer(&digest);
            assert_eq!(error.class(), class, "{error:?}");
            let words = if class == ErrorClass::Input { "damaged or hostile" } else { "make room" };
            assert!(error.hint().is_some_and(|hint| hint.contains(words)), "{error:?}");
            assert!(error.to_string().contains(&digest.to_string()));
        }
        assert!(matches!(EngineError::Interrupted.of_layer(&digest), EngineError::Interrupted));
    }

    #[test]
    fn a_registry_that_fails_in_the_middle_of_a_layer_is_at_fault_itself() {
        let digest = Digest::sha256(b"layer");
        let lost = || RegistryError::Blocked { name: "a/b".to_owned() };
        let stream = |source| EngineError::from(LayerfsError::Stream { source }).of_layer(&digest);
        let carried = stream(Error::other(EngineError::Registry(lost())));
        assert!(matches!(carried, EngineError::Registry(RegistryError::Blocked { .. })), "{carried:?}");
        let damaged = stream(Error::new(ErrorKind::InvalidData, "bad block"));
        assert!(matches!(damaged, EngineError::Layer { .. }), "{damaged:?}");
    }

    #[test]
    fn a_file_that_is_full_is_blamed_through_whatever_writes_to_it() {
        let full = || {
            let source = Error::from(ErrorKind::StorageFull);
            Error::new(source.kind(), EngineError::Io { what: "writing a.tar".to_owned(), source })
        };
        let written = EngineError::from(StoreError::Archive(full()));
        let copied = EngineError::from(LayerfsError::Io { what: "writing a layer".into(), source: full() });
        for error in [written, copied] {
            assert_eq!((error.to_string().as_str(), error.class()), ("writing a.tar", ErrorClass::Storage));
            assert!(error.hint().is_some_and(|hint| hint.contains("make room")), "{error:?}");
        }
        // Who has named nothing is left to whom it failed.
        let other = EngineError::from(StoreError::Archive(Error::from(ErrorKind::StorageFull)));
        assert!(matches!(other, EngineError::Store(StoreError::Archive(_))), "{other:?}");
        let source = DigestError::Size { expected: 2, actual: 1 };
        let damaged = EngineError::Damaged { what: "sha256:… of a/layout".to_owned(), source };
        assert_eq!(
            (damaged.to_string().as_str(), damaged.class()),
            ("sha256:… of a/layout is damaged", ErrorClass::Input)
        );
    }

    #[test]
    fn a_place_that_somebody_named_is_theirs_unless_the_disk_fails() {
        for (kind, class) in [
            (ErrorKind::NotFound, ErrorClass::Usage),
            (ErrorKind::NotADirectory, ErrorClass::Usage),
            (ErrorKind::PermissionDenied, ErrorClass::Usage),
            (ErrorKind::StorageFull, ErrorClass::Storage),
            (ErrorKind::Other, ErrorClass::Storage),
        ] {
            let error = EngineError::named("opening x.tar".to_owned(), kind.into());
            assert_eq!(error.class(), class, "{error}");
            assert!(error.to_string().starts_with("opening x.tar"), "{error}");
            assert!(class == ErrorClass::Storage || error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn a_full_disk_is_not_the_sandboxes_fault() {
        for (number, class) in [(28, ErrorClass::Storage), (5, ErrorClass::Storage), (1, ErrorClass::Sandbox)] {
            let error = EngineError::from(SandboxError::Setup {
                stage: cooper_sandbox::Stage::KernelFilesystems,
                object: "/proc of the image".to_owned(),
                cause: Error::from_raw_os_error(number).to_string(),
            });
            assert_eq!(error.class(), class, "{error}");
            assert_eq!(error.hint().is_some_and(|h| h.contains("disk")), class == ErrorClass::Storage);
        }
    }
}
