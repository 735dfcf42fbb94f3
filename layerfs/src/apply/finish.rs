//! The last pass: directories get their owner, mode, marks and time, children before parents.
//!
//! It comes last because making a file in a directory changes its time, and because a directory that may not
//! be written to could not be filled.

use super::make::times;
use super::{Applier, Below, DirMeta, failed};
use crate::error::LayerfsError;
use crate::stat::{Kind, Meta, Time};
use rustix::fs::{Mode, XattrFlags};

/// Mode of directories that no entry speaks of.
const IMPLIED_MODE: u32 = 0o755;

impl Applier {
    pub(super) fn finish(&mut self, below: Below<'_>) -> Result<(), LayerfsError> {
        self.places.forget_paths();
        // A directory is made before what is in it, so the reverse order has children first.
        for index in (0..self.places.count()).rev() {
            let Some(known) = self.places.known(index) else { continue };
            if known.path.is_root() && known.meta.is_none() && !known.opaque {
                continue;
            }
            let dir = self.places.open(index)?;
            let fd = dir.as_fd();
            if known.opaque {
                rustix::fs::fsetxattr(fd, self.options.opaque.opaque(), b"y", XattrFlags::empty())
                    .map_err(failed("marking as opaque", &known.path))?;
            }
            let meta = match known.meta {
                None if known.covers && !known.path.is_root() => {
                    below(&known.path)?.filter(|m| m.kind == Kind::Dir).map(as_below)
                }
                stated => stated,
            };
            if let Some(meta) = meta {
                self.own_open(fd, &meta, &known.path)?;
            }
            let mode = meta.map_or(IMPLIED_MODE, |meta| meta.mode);
            let mtime = meta.map_or(Time::default(), |meta| meta.mtime);
            if !known.path.is_root() || meta.is_some() {
                rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))
                    .map_err(failed("setting the mode of", &known.path))?;
                rustix::fs::futimens(fd, &times(mtime)).map_err(failed("setting the time of", &known.path))?;
            }
        }
        Ok(())
    }
}

fn as_below(meta: Meta) -> DirMeta {
    DirMeta { mode: meta.mode, uid: meta.uid, gid: meta.gid, mtime: meta.mtime }
}
