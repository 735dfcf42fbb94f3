//! File-system layers: walk, select, diff, whiteouts, deterministic tar, apply, compression.
//!
//! Takes: directories as held handles, and bytes of layers from anybody. Gives: tar streams whose
//! bytes depend on nothing but the tree, trees that overlayfs can stack, and merged views of stacks.
//! Must never: resolve a path outside the handle that it was given, run another program, or print.
#![forbid(unsafe_code)]

pub mod apply;
pub mod clamp;
pub mod compress;
pub mod copy;
pub mod error;
pub mod export;
pub mod layer;
pub mod limits;
pub mod owners;
pub mod read_ahead;
pub mod root;
pub mod seen;
pub mod select;
mod sparse;
pub mod stat;
pub mod tar;
pub mod userdb;
pub mod view;
pub mod walk;
pub mod whiteout;
pub mod whole;

pub use error::{LayerfsError, Reason};
