//! One file that nobody matched: it came from elsewhere, and says itself what it is called.
//!
//! Takes a file of a view and how it is to look. Gives a selection of it alone.

use super::{Content, Item, Selection, Shape, Source, digest, hash};
use crate::LayerfsError;
use crate::stat::{Kind, Time};
use crate::view::View;
use cooper_image::RelPath;

/// How a file looks where it arrives. It belongs to 0:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented<'a> {
    /// Its name, one component.
    pub name: &'a str,
    /// Its permission bits.
    pub mode: u32,
    /// Its time, in seconds since 1970.
    pub mtime: i64,
}

/// Selects one regular file. What it looks like in the view does not matter.
///
/// # Errors
/// [`LayerfsError::MissingSource`] when it is not a regular file, and as [`super::select`].
pub fn single_file(view: &View, path: &RelPath, presented: Presented<'_>) -> Result<Selection, LayerfsError> {
    let missing = || LayerfsError::MissingSource { path: presented.name.to_owned() };
    let found = view.find(path)?.filter(|f| f.meta.kind == Kind::File).ok_or_else(missing)?;
    let items = vec![Item::new(path.clone(), found)];
    let name = presented.name.as_bytes().to_vec();
    let mut sources = vec![Source { name, path: path.clone(), shape: Shape::Single, items }];
    hash::fill(view, &mut sources)?;
    for item in sources.iter_mut().flat_map(|s| &mut s.items) {
        debug_assert!(matches!(item.content, Content::Bytes(_)));
        item.xattrs.clear();
        (item.meta.mode, item.meta.uid, item.meta.gid) = (presented.mode, 0, 0);
        item.meta.mtime = Time { secs: presented.mtime, nanos: 0 };
    }
    Ok(Selection { digest: digest::of(&sources), sources })
}
