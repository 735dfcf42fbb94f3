//! Images on their way from one place to another, and questions about them wherever they are.
//!
//! A place ([`Place`]) is a repository of a registry, a name of the store, an OCI layout or an archive. What is read
//! from any of them is an [`Origin`], what is written to any of them a [`Target`]; [`Shipment`] is what goes from the
//! ones to the other. Documents go as the bytes that they are, so that digests stay. Must never: hold a blob in memory,
//! give on bytes that are not what their digest says, but to a registry that compares them, or name something before
//! all of it is there.

mod archive;
mod archive_target;
mod detail;
pub mod diff;
mod draft;
pub mod files;
mod index;
mod layout;
mod layout_target;
#[cfg(test)]
mod memory;
mod new_layer;
mod origin;
mod pinned;
mod place;
mod reach;
pub mod rebase;
mod recompress;
mod registry;
mod rewrite;
mod root;
mod shipment;
mod stocked;
mod store;
pub mod sync;
mod together;
mod unpacking;
pub mod validate;

pub use archive_target::ArchiveTarget;
pub use detail::{Chosen, Unnamed};
pub use draft::{Draft, ImageDraft};
pub use index::{EntryChange, IndexDraft, SamePlatform};
pub use layout_target::LayoutTarget;
pub use new_layer::NewLayer;
pub(crate) use origin::damaged;
pub use origin::{Origin, Reader, small};
pub use pinned::{check_name, may_have};
pub use place::{Kind, Place, PlaceError};
pub use reach::{Listing, Reach};
pub(crate) use recompress::recompressed;
pub use registry::RegistryTarget;
pub use rewrite::{rewrite, rewrite_in_layout};
pub use shipment::{Name, Put, Referrers, Shipment, Shipped, Target, Top, first, pick, ship};
pub use store::StoreTarget;
