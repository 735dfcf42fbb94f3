//! One layer's tar becomes a tree that overlayfs can use as a lower directory, and that
//! [`crate::layer::pack_upper`] turns into an equivalent tar.
//!
//! The bytes come from strangers. Guards, each with a test in `tests/layers/`:
//! - Names are cleaned into the root: `/x`, `../x` and `x` are the same entry.
//! - Parents are resolved by the kernel with the tree as their root, so a symbolic link that the layer planted
//!   leads to a place in the tree or nowhere. The last component is never followed.
//! - Data, owner, mode, time and attributes are set through descriptors of files that were just created with
//!   `O_EXCL`, or by names in a held directory without following links.
//! - Nothing is read from below the target but what this layer put there; the target must be empty.
//! - An entry that comes twice replaces the first; a directory that comes twice keeps its contents.
//! - Deletions speak about lower layers only: they never remove an entry of the same layer.
//! - Attributes that steer overlayfs are never taken from an entry, and a device 0:0 is refused.
//!
//! Directories that the tar does not mention but needs are as the layers below have them ([`Below`]); where those
//! have none, or the layer deletes theirs, they get mode 0755, the owner of this process, and time 0.
//! Directories are private (0700) until the last entry, and get their metadata at the end, children first.
//! [`check`] refuses the same of a layer that is only looked at.
//! Must never: fsync (whoever publishes the tree does), or leave the tree readable by others half-made.

mod check;
mod finish;
mod make;
mod place;
mod remove;

pub use self::check::check;
use crate::error::{LayerfsError, Reason};
use crate::limits;
use crate::owners::Owners;
use crate::root::Root;
use crate::stat::{Meta, Time};
pub use crate::tar::read::Bounds;
use crate::tar::read::{ReadEntry, ReadKind, TarReader};
pub use crate::whiteout::OverlayXattr;
use crate::whiteout::{self, Marker};
use cooper_image::RelPath;
use std::io::Read;

/// What becomes of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Devices {
    /// They are made; needs `CAP_MKNOD` on the machine.
    #[default]
    Create,
    /// They are left out and counted, because no user namespace may make them.
    SkipUnprivileged,
}

/// What names of entries mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Meaning {
    /// The archive is a layer: some names delete, owners count.
    #[default]
    Layer,
    /// The archive is files and nothing else, as a build context: every name is a name and may not climb, everything
    /// belongs to this process, and devices are refused.
    Files,
}

/// How a layer is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApplyOptions {
    /// Which attributes the overlay mount will look for.
    pub opaque: OverlayXattr,
    /// What becomes of device nodes.
    pub devices: Devices,
    /// Whether files get their owners, or a record of them.
    pub owners: Owners,
    /// How much is accepted.
    pub bounds: Bounds,
    /// What names mean.
    pub meaning: Meaning,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Entries read, deletions and skipped ones included.
    pub entries: u64,
    /// Bytes of file contents.
    pub bytes: u64,
    /// Device nodes left out because of [`Devices::SkipUnprivileged`].
    pub devices_skipped: u64,
    /// Extended attributes that do not travel in layers and were left out.
    pub xattrs_skipped: u64,
    /// Directories that entries needed and that have no entry of their own. When there are any, the tree depends on
    /// the layers below.
    pub implied_dirs: u64,
    /// The latest time of an entry, in seconds since the epoch.
    pub newest: Option<i64>,
}

/// Asks what the layers below have at a path; `None` when they have nothing there.
pub type Below<'a> = &'a dyn Fn(&RelPath) -> Result<Option<Meta>, LayerfsError>;

/// Unpacks the tar of one layer into an empty directory. Bytes behind the end of the archive may be left
/// unread; a caller that compares a digest reads them.
///
/// # Errors
/// [`LayerfsError::Entry`], [`LayerfsError::Limit`], [`LayerfsError::Stream`] for the layer;
/// [`LayerfsError::Unmapped`] for its owners; [`LayerfsError::Io`] for the file system. The target is then
/// partly filled and good only for removal.
pub fn apply(
    reader: &mut dyn Read,
    root: &Root,
    options: &ApplyOptions,
    below: Below<'_>,
) -> Result<Applied, LayerfsError> {
    let mut tar = TarReader::new(reader, options.bounds);
    let mut applier =
        Applier { places: place::Places::new(root.clone())?, options: *options, applied: Applied::default() };
    while let Some(entry) = tar.next_entry()? {
        applier.applied.entries += 1;
        applier.applied.newest = applier.applied.newest.max(Some(entry.mtime.secs));
        match options.meaning {
            Meaning::Layer => applier.entry(&entry, &mut tar)?,
            Meaning::Files => applier.entry(&as_file(entry)?, &mut tar)?,
        }
    }
    applier.applied.implied_dirs = applier.places.implied();
    applier.finish(below)?;
    Ok(applier.applied)
}

/// The work in progress.
struct Applier {
    places: place::Places,
    options: ApplyOptions,
    applied: Applied,
}

/// Metadata that a directory gets at the end.
#[derive(Debug, Clone, Copy)]
struct DirMeta {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Time,
}

impl Applier {
    fn entry<R: Read>(&mut self, entry: &ReadEntry, tar: &mut TarReader<R>) -> Result<(), LayerfsError> {
        let path = RelPath::clean(&entry.name);
        let About::Name { parent, name, marker } = About::of(entry, &path, self.options.meaning)? else {
            return if path.is_root() { self.root(entry) } else { Ok(()) };
        };
        let place = self.places.parent(&parent, &path)?;
        let target = make::Target { place: &place, name, path: &path };
        match marker {
            Marker::Opaque => {
                self.places.set_opaque(place.node);
                Ok(())
            }
            Marker::Deletes(gone) => self.delete(&make::Target { name: gone, ..target }),
            Marker::Plain | Marker::Bookkeeping => self.make(&target, entry, tar),
        }
    }

    /// An entry for the root sets its metadata; a link or file in its place was refused before.
    fn root(&mut self, entry: &ReadEntry) -> Result<(), LayerfsError> {
        let path = RelPath::root();
        let dir = self.places.open(place::ROOT)?;
        self.dir_xattrs(&dir, entry, &path)?;
        self.places.set_meta(place::ROOT, DirMeta::of(entry));
        Ok(())
    }
}

/// What an entry speaks of.
enum About<'p> {
    /// The root, or nothing that counts.
    NoName,
    /// A name in a directory, or that something below it is gone.
    Name { parent: RelPath, name: &'p [u8], marker: Marker<'p> },
}

impl<'p> About<'p> {
    /// Reads the entry's clean path, and refuses what no entry may be called.
    fn of(entry: &ReadEntry, path: &'p RelPath, meaning: Meaning) -> Result<Self, LayerfsError> {
        let refuse = |reason| LayerfsError::Entry { entry: path.display(), reason };
        let Some(name) = path.file_name() else {
            return if entry.kind == ReadKind::Dir { Ok(Self::NoName) } else { Err(refuse(Reason::Root)) };
        };
        if path.components().count() > limits::DEPTH {
            return Err(LayerfsError::Limit {
                what: "components in the name of a layer entry",
                limit: limits::DEPTH as u64,
            });
        }
        let parent = path.parent().unwrap_or_default();
        if meaning == Meaning::Files {
            return Ok(Self::Name { parent, name, marker: Marker::Plain });
        }
        for component in parent.components() {
            match whiteout::parse(component).map_err(refuse)? {
                Marker::Plain => {}
                Marker::Bookkeeping => return Ok(Self::NoName),
                Marker::Opaque | Marker::Deletes(_) => return Err(refuse(Reason::Whiteout)),
            }
        }
        match whiteout::parse(name).map_err(refuse)? {
            Marker::Bookkeeping => Ok(Self::NoName),
            Marker::Opaque | Marker::Deletes(_) if !matches!(entry.kind, ReadKind::File { .. }) => {
                Err(refuse(Reason::Whiteout))
            }
            marker => Ok(Self::Name { parent, name, marker }),
        }
    }
}

/// An entry of an archive that is no layer.
fn as_file(entry: ReadEntry) -> Result<ReadEntry, LayerfsError> {
    let reason = match &entry.kind {
        ReadKind::Char(_) | ReadKind::Block(_) => Some(Reason::Device),
        ReadKind::Hardlink(target) if climbs(target) => Some(Reason::Climbs),
        // The target of a symbolic link is text: nothing follows it out of the context.
        _ => climbs(&entry.name).then_some(Reason::Climbs),
    };
    if let Some(reason) = reason {
        return Err(LayerfsError::Entry { entry: RelPath::clean(&entry.name).display(), reason });
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Ok(ReadEntry { uid, gid, ..entry })
}

fn climbs(name: &[u8]) -> bool {
    name.split(|b| *b == b'/').any(|component| component == b"..")
}

impl DirMeta {
    fn of(entry: &ReadEntry) -> Self {
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime }
    }
}

/// For `map_err`: a failed system call on the path of an entry. A name that no file system here can hold is the
/// layer's fault.
fn failed<E: Into<std::io::Error>>(action: &'static str, path: &RelPath) -> impl FnOnce(E) -> LayerfsError {
    move |error| {
        let source = error.into();
        if rustix::io::Errno::from_io_error(&source) == Some(rustix::io::Errno::NAMETOOLONG) {
            return LayerfsError::Entry { entry: path.display(), reason: Reason::Name };
        }
        LayerfsError::Io { what: format!("{action} /{}", path.display()), source }
    }
}
