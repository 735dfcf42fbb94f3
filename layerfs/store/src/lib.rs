//! Content-addressed store on disk: blobs, trees, refs, step records, a registry's repositories.
//!
//! Takes: bytes, directories made in an [`Ingest`], names that were parsed. Gives: them back,
//! verified, to any number of threads and processes at once. Plain files and kernel locks; final
//! names are reached by `rename`. Blobs, names and links are on the disk before they have theirs,
//! trees before a result that needs them is told, caches behind checksums whenever the system likes;
//! a ref is written last.
//! Must never: put bytes under a digest that they do not have, delete what a living process is
//! still writing or uses, or let a text from outside become a file name unchecked.
#![forbid(unsafe_code)]

pub mod archive;
mod blob;
mod boot;
mod builds;
mod checked;
mod chunks;
mod closure;
mod damage;
mod durable;
mod error;
mod failed;
mod format;
mod fsck;
mod gc;
mod held;
mod ingest;
mod layer;
mod layout;
mod lent;
mod lock;
mod mounts;
mod publish;
mod receiving;
mod records;
mod referrers;
mod refs;
mod registry;
mod remove;
mod repair;
mod settled;
mod stat;
mod store;
#[cfg(test)]
mod testing;
mod trees;
mod uploads;
mod urls;

pub use blob::{BlobWriter, Committed};
pub use chunks::{ChunkIndex, ChunkPlace};
pub use error::StoreError;
pub use failed::FailedStep;
pub use fsck::{Problem, Report};
pub use gc::{Automatic, Doing, Fate, Item, Keeps, Kind, Outcome, Policy, Verdict};
pub use ingest::Ingest;
pub use layer::LayerForms;
pub use mounts::{CacheMount, CacheUse};
pub use publish::Removed;
pub use records::StepRecord;
pub use referrers::{Referrer, Referrers};
pub use registry::{NameError, Repo, RepoLock, RepoName, TagName};
pub use store::Store;
pub use trees::TreeMarks;
pub use uploads::UploadEntry;
pub use urls::UrlRecord;
