//! The layer of a COPY, an ADD or a WORKDIR, made from a selection without touching any root.
//!
//! Takes: selections, the views that they came from, the target and the flags. Gives: a tar that, put upon the
//! target, copies. Must never: write an entry through a symbolic link of the target, or pack bytes that are
//! not the selected ones.
//!
//! How paths are decided, as BuildKit does:
//! - A destination that is a symbolic link is followed, inside the target. Links below it are not: a directory
//!   onto a link is an error, a file replaces it.
//! - A directory that was named gives its contents. Directories that exist and are met below the destination
//!   take the source's mode and owner; the destination itself keeps its own.
//! - Missing directories on the way to the destination, and the destination of a directory's contents, are made with
//!   the mode of an octal `--chmod`, else 0755, and with the owner of `--chown`, else 0:0. Those for an archive
//!   that is unpacked are made 0755. Those that exist are stated again as they are.
//! - Names of one source that are hard links of each other stay so.
//! - Several sources may go to a destination without a slash: they make it a directory, if it is not one yet.
//! - A later source wins over an earlier one.

mod archive;
mod node;
mod pack;
mod plan;
mod unpack;

pub use cooper_image::chmod::Chmod;

use crate::LayerfsError;
use crate::select::Selection;
use crate::tar::write::TarWriter;
use crate::view::View;
use cooper_image::ContainerPath;
use std::io::Write;

/// Who owns what is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// As selected (0:0 from a context) or as an archive says; directories made on the way get 0:0.
    Keep,
    /// These, for everything.
    Set {
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Are archives among the sources unpacked?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// No: they are files.
    No,
    /// Yes, what is a tar by its content, compressed or not, is unpacked into the destination.
    Local,
}

/// What is copied from one place.
#[derive(Clone, Copy)]
pub struct CopyPart<'a> {
    /// Where the selection came from.
    pub view: &'a View,
    /// What is copied.
    pub selection: &'a Selection,
    /// Are archives unpacked?
    pub unpack: Unpack,
}

/// Everything about one copy.
#[derive(Clone, Copy)]
pub struct CopyRequest<'a> {
    /// What is copied, in the order of the instruction.
    pub parts: &'a [CopyPart<'a>],
    /// The root that is copied onto.
    pub target: &'a View,
    /// Where to.
    pub dest: &'a ContainerPath,
    /// Is the destination a directory as written?
    pub dest_is_dir: bool,
    /// Who owns it.
    pub owner: Owner,
    /// `--chmod`, for files and directories alike; what an archive holds keeps its own modes.
    pub chmod: Option<&'a Chmod>,
    /// No time is later than this, in seconds since the epoch.
    pub clamp: Option<i64>,
    /// Time of what no source has one for, in seconds since the epoch.
    pub now: i64,
    /// Files given in the Dockerfile: name and content. They come after the selected ones.
    pub inline: &'a [(String, Vec<u8>)],
}

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packed {
    /// Entries in the layer.
    pub entries: u64,
    /// Bytes of file contents in the layer.
    pub bytes: u64,
}

/// Writes the layer of a copy. Its bytes depend on the selection, times included, and on the shape of the target.
///
/// # Errors
/// [`LayerfsError::NotADirectory`], [`LayerfsError::IsADirectory`] when the target is in the way;
/// [`LayerfsError::Changed`] when a file is not what was selected any more; [`LayerfsError::Archive`] for an
/// archive that cannot be unpacked; [`LayerfsError::ReservedName`]; [`LayerfsError::Io`].
pub fn pack_copy<W: Write + ?Sized>(request: &CopyRequest<'_>, out: &mut W) -> Result<Packed, LayerfsError> {
    let plan = plan::plan(request)?;
    let mut tar = TarWriter::new(out);
    let packed = pack::write(request, &plan, &mut tar)?;
    flush(tar)?;
    Ok(packed)
}

/// Writes the layer that changes nothing: an archive without entries.
///
/// # Errors
/// [`LayerfsError::Io`] when the output fails.
pub fn pack_nothing<W: Write + ?Sized>(out: &mut W) -> Result<(), LayerfsError> {
    flush(TarWriter::new(out))
}

fn flush<W: Write + ?Sized>(tar: TarWriter<&mut W>) -> Result<(), LayerfsError> {
    tar.finish()?.flush().map_err(LayerfsError::io("writing a layer"))
}
