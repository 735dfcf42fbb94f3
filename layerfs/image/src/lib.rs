//! The nouns of container images.
//!
//! Takes: bytes and text that somebody else read. Gives: checked values and canonical bytes.
//! Must never: touch files, sockets, clocks, environment or randomness.
#![forbid(unsafe_code)]

pub mod aliases;
pub mod annotations;
pub mod assemble;
pub mod chmod;
pub mod config;
pub mod descriptor;
pub mod digest;
pub mod edit;
pub mod index;
pub mod leaves;
pub mod limits;
pub mod manifest;
pub mod media_type;
pub mod owner;
pub mod path;
pub mod platform;
pub mod reference;
pub mod stable_hash;
pub mod time;

pub use aliases::Aliases;
pub use annotations::Annotation;
pub use config::{History, ImageConfig, RuntimeConfig};
pub use descriptor::Descriptor;
pub use digest::{ChainId, DiffId, Digest, DigestError, Hasher, Verified};
pub use index::{Document, Index};
pub use leaves::{Leaf, Leaves};
pub use manifest::Manifest;
pub use media_type::MediaType;
pub use owner::Owner;
pub use path::{ContainerPath, RelPath};
pub use platform::Platform;
pub use reference::Reference;
