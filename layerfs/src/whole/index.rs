//! Which files a root holds, so that a later look tells which of them are others.
//!
//! A file is the same when device, inode number, the time when it was made and ctime are: every write and every change of
//! mode, owner, time, name or attributes sets the ctime to the clock of the kernel, and no program can set it otherwise.
//! What is changed within the clock's grain after the look would go unseen; so the look ends only when the clock has gone
//! on.

use super::lay::at;
use super::{Scope, is_cut_off, is_wanted};
use crate::LayerfsError;
use crate::root::Root;
use crate::stat::{Kind, Meta, Time};
use cooper_image::RelPath;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Grain of the kernel's clock for files, and a little more.
const GRAIN: Duration = Duration::from_millis(12);
/// Grain of the coarsest clock of a file system: some count whole seconds, in twos.
const COARSE: Duration = Duration::from_secs(2);
/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(1);

/// The files of a root at one moment.
#[derive(Debug, Default)]
pub struct Index {
    /// By the path of the directory.
    dirs: HashMap<RelPath, BTreeMap<Vec<u8>, Stamp>>,
}

/// What tells one file from every other, and from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub kind: Kind,
    dev: u64,
    ino: u64,
    btime: Time,
    ctime: Time,
}

impl Stamp {
    fn of(meta: &Meta) -> Self {
        Self { kind: meta.kind, dev: meta.dev, ino: meta.ino, btime: meta.btime, ctime: meta.ctime }
    }

    /// Is it the same file, be it changed or not?
    pub(super) fn is(&self, meta: &Meta) -> bool {
        (self.kind, self.dev, self.ino, self.btime) == (meta.kind, meta.dev, meta.ino, meta.btime)
    }

    pub(super) fn inode(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// Is it the same file, and unchanged?
    pub(super) fn is_still(&self, meta: &Meta) -> bool {
        *self == Self::of(meta)
    }
}

impl Index {
    /// Looks at everything in a root that counts: what no layer has, a socket, is never missing afterwards.
    ///
    /// # Errors
    /// [`LayerfsError::Io`] with the path.
    pub fn of(root: &Root, scope: Scope<'_>) -> Result<Self, LayerfsError> {
        let mut index = Self::default();
        let mut newest = Time::default();
        let mut coarse = true;
        let mut pending = vec![RelPath::root()];
        while let Some(path) = pending.pop() {
            let dir = root.dir(&path).map_err(at("opening", &path))?;
            let mut names = BTreeMap::new();
            for entry in dir.entries().map_err(at("listing", &path))? {
                if is_cut_off(&path, &entry.name, scope.cut_off) {
                    continue;
                }
                let meta = dir.stat(&entry.name).map_err(at("reading", &path.join(&entry.name)))?;
                if !is_wanted(&meta, scope.devices) {
                    continue;
                }
                newest = newest.max(meta.ctime);
                coarse &= meta.ctime.nanos == 0;
                if meta.kind == Kind::Dir {
                    pending.push(path.join(&entry.name));
                }
                names.insert(entry.name, Stamp::of(&meta));
            }
            index.dirs.insert(path, names);
        }
        wait_until_after(newest, coarse);
        Ok(index)
    }

    pub(super) fn stamp(&self, path: &RelPath) -> Option<&Stamp> {
        self.dirs.get(&path.parent()?)?.get(path.file_name()?)
    }

    pub(super) fn get(&self, dir: &RelPath) -> Option<&BTreeMap<Vec<u8>, Stamp>> {
        self.dirs.get(dir)
    }
}

/// Waits until what is changed from now on has another ctime than what was changed last.
fn wait_until_after(newest: Time, coarse: bool) {
    let grain = if coarse { COARSE } else { GRAIN };
    let newest = UNIX_EPOCH + Duration::new(newest.secs.try_into().unwrap_or(0), newest.nanos);
    // Of a clock that was set back nothing is to be waited for: then every change has an earlier ctime.
    let mut left = grain.as_millis() / TICK.as_millis();
    while left > 0 && SystemTime::now() <= newest + grain {
        std::thread::sleep(TICK);
        left -= 1;
    }
}
