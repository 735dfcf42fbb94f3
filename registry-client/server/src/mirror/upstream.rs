//! Where a mirror gets what it does not have. Whoever builds the server says how: this room speaks to no registry.

use cooper_image::{Descriptor, Digest, MediaType};
use std::fmt;
use std::pin::Pin;

/// An answer that is on its way.
pub type Coming<'a, T> = Pin<Box<dyn Future<Output = Result<T, UpstreamError>> + Send + 'a>>;

/// Takes pieces of a blob, in order.
pub type Sink<'a> = &'a mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send);

/// A registry that is mirrored.
pub trait Upstream: fmt::Debug + Send + Sync {
    /// What a tag or a digest of a repository leads to. `known` is what the mirror has; the bytes are not needed then.
    fn manifest<'a>(
        &'a self,
        repository: &'a str,
        reference: &'a str,
        known: Option<&'a Digest>,
    ) -> Coming<'a, Manifest>;

    /// A blob of a repository, compared with its digest.
    fn blob<'a>(&'a self, repository: &'a str, blob: &'a Descriptor, sink: Sink<'a>) -> Coming<'a, ()>;

    /// Everything that refers to a manifest of a repository, from the list of the registry or of the tag that stands in
    /// for it.
    fn referrers<'a>(&'a self, repository: &'a str, subject: &'a Digest) -> Coming<'a, Vec<Descriptor>>;
}

/// What a name leads to.
#[derive(Debug)]
pub enum Manifest {
    /// What the mirror has.
    Unchanged,
    /// These bytes.
    Changed {
        /// As they came.
        bytes: Vec<u8>,
        /// The upstream's name for them, computed from them; when a digest was asked for, that one.
        digest: Digest,
        /// What they are.
        media_type: MediaType,
    },
}

/// Why the upstream gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// It says that there is no such thing.
    #[error("the upstream has no such thing")]
    Absent,
    /// It does not let us have it.
    #[error("the upstream refuses: {0}")]
    Refused(String),
    /// It cannot be reached, or broke off.
    #[error("{0}")]
    Failed(String),
}
