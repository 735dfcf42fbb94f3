//! What the paths of a layer get, and where from.
//!
//! Takes nothing, decides nothing: `plan` does.

use crate::select::Item;
use crate::stat::{Kind, Meta};
use crate::tar::read::{ReadEntry, ReadKind};
use crate::view::View;
use crate::walk::Xattrs;
use cooper_image::RelPath;
use std::collections::BTreeMap;

/// What a path gets.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// A directory made because something goes into it.
    Made {
        /// Its permission bits.
        mode: u32,
    },
    /// A directory of the target on the way, stated again as it is: the layer is unpacked on its own, and a
    /// directory without an entry would hide the mode and owner that the layers below give it.
    Kept {
        /// Its metadata in the target.
        meta: Meta,
        /// Its attributes in the target.
        xattrs: Xattrs,
    },
    /// A selected object.
    Item {
        /// Which of [`Plan::sources`] it is of: hard links hold within one.
        source: usize,
        /// The object.
        item: &'a Item,
    },
    /// A file from the Dockerfile.
    Inline(&'a [u8]),
    /// What an archive says without a body.
    Stated(Box<ReadEntry>),
    /// A file or a hard link that is written when its archive streams by.
    Streamed {
        /// Which of [`Plan::archives`].
        archive: usize,
        /// Which entry of it.
        at: usize,
    },
}

impl Node<'_> {
    /// Where a symbolic link of an archive leads, as written.
    pub(super) fn link(&self) -> Option<&[u8]> {
        match self {
            Self::Stated(entry) => match &entry.kind {
                ReadKind::Symlink(to) => Some(to),
                _ => None,
            },
            _ => None,
        }
    }
    pub(super) fn is_dir(&self) -> bool {
        match self {
            Self::Made { .. } | Self::Kept { .. } => true,
            Self::Item { item, .. } => item.meta.kind == Kind::Dir,
            Self::Stated(entry) => entry.kind == ReadKind::Dir,
            Self::Inline(_) | Self::Streamed { .. } => false,
        }
    }
}

/// An archive to unpack.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    /// Where the file is.
    pub view: &'a View,
    /// The file.
    pub item: &'a Item,
    /// Its entries by number; `None` for those that are not streamed.
    pub streamed: Vec<Option<Place>>,
}

/// Where a streamed entry goes.
#[derive(Debug)]
pub(super) struct Place {
    /// Its final path.
    pub path: RelPath,
    /// For a hard link: the final path of what it names.
    pub link: Option<RelPath>,
}

/// The whole layer.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// By final path.
    pub nodes: BTreeMap<RelPath, Node<'a>>,
    /// In the order of the sources.
    pub archives: Vec<Archive<'a>>,
    /// For each source the part of the request that it is of.
    pub sources: Vec<usize>,
}
