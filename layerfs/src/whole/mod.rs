//! A root as one plain directory, for where layers cannot be stacked: they are laid out in it, and what changed in it
//! afterwards is found as the upper directory of an overlay would have it.
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

pub use changes::{Before, Left, write_changes};
pub use index::Index;
pub use lay::{Fresh, copy_out, lay_out};
pub use part::part;

use crate::apply::Devices;
use crate::stat::{Kind, Meta};
use cooper_image::RelPath;

/// What of a root is laid out and looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Names at the top that are no part of it.
    pub cut_off: &'a [&'a str],
    /// Does it have devices?
    pub devices: Devices,
}

/// Is it something that a root and its layers hold? Sockets are never, and of devices those that mark deletions are not.
fn is_wanted(meta: &Meta, devices: Devices) -> bool {
    match meta.kind {
        Kind::Socket => false,
        Kind::Char | Kind::Block => devices == Devices::Create && !meta.rdev.is_whiteout(),
        Kind::Dir | Kind::File | Kind::Symlink | Kind::Fifo => true,
    }
}

/// Is it a name at the top that is left alone?
fn is_cut_off(dir: &RelPath, name: &[u8], cut_off: &[&str]) -> bool {
    dir.is_root() && cut_off.iter().any(|known| known.as_bytes() == name)
}
