//! A root as one plain directory, for where nothing can be mounted: layers laid out in it, and what changed in it
//! afterwards as the upper directory of an overlay would have it.
//!
//! Takes: views of layers, and held directories that nobody else writes to meanwhile. Gives: a directory that is equal
//! to the merged view, and trees that are packed and kept like any other. Must never: make a hard link between a layer
//! and a root, since a step could write through it, or follow a link of the root.
//!
//! Cut off from all of it are names at the top that have no files of their own in a running root (`/dev`, say).

mod changes;
mod copy;
mod index;
mod lay;
mod part;

pub use changes::{Before, write_changes};
pub use index::Index;
pub use lay::{Fresh, copy_out, lay_out};
pub use part::part;

/// Is it a name at the top that is left alone?
fn is_cut_off(dir: &cooper_image::RelPath, name: &[u8], cut_off: &[&str]) -> bool {
    dir.is_root() && cut_off.iter().any(|known| known.as_bytes() == name)
}
