//! Symbolic links followed as a process would follow them that has the view as its root.
//!
//! Absolute targets start at the view's root, `..` stops there, and a path whose links do not end is an
//! error. A path with a missing part is resolved as far as it exists; the rest is taken as it stands.

use super::View;
use crate::LayerfsError;
use crate::stat::{Kind, Meta};
use cooper_image::RelPath;

/// Most symbolic links in one look-up.
const LINKS: usize = 255;

/// Is the last component followed when it is a symbolic link?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Yes, and all before it.
    Final,
    /// Only those before it.
    Parents,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The path without symbolic links in it, but for the last component with [`Follow::Parents`].
    pub path: RelPath,
    /// What is there; `None` when nothing is.
    pub meta: Option<Meta>,
}

impl View {
    /// Follows the symbolic links of a path, inside the view.
    ///
    /// # Errors
    /// [`LayerfsError::TooManyLinks`] for more than 255 links; [`LayerfsError::Io`] with the path.
    pub fn resolve(&self, path: &RelPath, follow: Follow) -> Result<Resolved, LayerfsError> {
        // What is still to be walked, next component last.
        let mut pending: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = Resolved { path: RelPath::root(), meta: self.lstat(&RelPath::root())? };
        let mut links = 0;
        while let Some(component) = pending.pop() {
            if at.meta.is_none() && !pending.iter().chain([&component]).any(|c| c == b"..") {
                // Below what is absent there are no links to follow.
                pending.push(component);
                pending.reverse();
                return Ok(Resolved { path: at.path.join(&pending.join(&b'/')), meta: None });
            }
            match component.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    let up = at.path.parent().unwrap_or_default();
                    at = Resolved { meta: self.lstat(&up)?, path: up };
                    continue;
                }
                _ => {}
            }
            let next = at.path.join(&component);
            let meta = self.lstat(&next)?;
            let is_link = meta.is_some_and(|m| m.kind == Kind::Symlink);
            if is_link && (follow == Follow::Final || !pending.is_empty()) {
                links += 1;
                if links > LINKS {
                    return Err(LayerfsError::TooManyLinks { path: path.display() });
                }
                let target = self.read_link(&next)?;
                if target.first() == Some(&b'/') {
                    at = Resolved { path: RelPath::root(), meta: self.lstat(&RelPath::root())? };
                }
                pending.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
            } else {
                at = Resolved { path: next, meta };
            }
        }
        Ok(at)
    }
}
