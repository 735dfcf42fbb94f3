//! The merged view of layers, laid out as files of a directory.

use super::copy::{self, go_on};
use super::{Scope, is_cut_off};
use crate::LayerfsError;
use crate::apply::Devices;
use crate::export::{FirstNames, delete};
use crate::root::{Root, absent};
use crate::select::Reader;
use crate::stat::{Kind, Meta};
use crate::view::{Found, View};
use crate::walk::{self, Dir};
use cooper_image::RelPath;
use rustix::fs::{AtFlags, Mode};
use std::io;

/// How many layers, counted from the top, the directory does not hold yet; of those below it holds the merged view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// None of them: it is empty.
    All,
    /// So many.
    Top(usize),
}

impl Fresh {
    fn has(self, layer: usize) -> bool {
        match self {
            Self::All => true,
            Self::Top(count) => layer < count,
        }
    }
}

/// Makes `root` equal to the view, but for what is out of the scope, which it neither makes nor removes. Each name of a
/// file with several is a file of its own: overlayfs parts them when one is written to. Ends with
/// [`io::ErrorKind::Interrupted`] soon after `given_up` says so.
///
/// # Errors
/// [`LayerfsError::Io`] with the path.
pub fn lay_out(
    view: &View,
    fresh: Fresh,
    root: &Root,
    scope: Scope<'_>,
    given_up: &dyn Fn() -> bool,
) -> Result<(), LayerfsError> {
    let from = RelPath::root();
    let mut laying = Laying::new(view, &from, fresh, (root, given_up));
    laying.devices = scope.devices;
    lay_out_from(&mut laying, scope.cut_off)
}

/// Copies what is at a path of the view, which is no link, to a free name in a directory: a directory with all that is in
/// it, or a file. Devices and sockets are left out. Ends with [`io::ErrorKind::Interrupted`] soon after `given_up` says so.
///
/// # Errors
/// [`LayerfsError::Io`] with the path.
pub fn copy_out(
    view: &View,
    from: &RelPath,
    (into, name): (&Root, &[u8]),
    given_up: &dyn Fn() -> bool,
) -> Result<(), LayerfsError> {
    let found = view.find(from)?.ok_or_else(|| at("copying", from)(io::ErrorKind::NotFound.into()))?;
    if found.meta.kind != Kind::Dir {
        let mut laying = Laying::new(view, from, Fresh::All, (into, given_up));
        return laying.one(into.as_dir(), &RelPath::root(), name, &found).map_err(at("copying", from));
    }
    let made = rustix::fs::mkdirat(into.as_fd(), name, Mode::RWXU).map_err(io::Error::from);
    let root = made.and_then(|()| into.sub(&RelPath::clean(name))).map_err(at("copying", from))?;
    let mut laying = Laying::new(view, from, Fresh::All, (&root, given_up));
    laying.names = Some(FirstNames::default());
    lay_out_from(&mut laying, &[])?;
    laying.finish(&RelPath::root(), &found).map_err(at("copying", from))
}

fn lay_out_from(laying: &mut Laying<'_>, cut_off: &[&str]) -> Result<(), LayerfsError> {
    let (view, root) = (laying.view, laying.root);
    let mut dirs: Vec<(RelPath, Found)> = Vec::new();
    let mut pending = vec![RelPath::root()];
    while let Some(path) = pending.pop() {
        let out = root.dir(&path).map_err(at("opening", &path))?;
        let mut children = view.children(&laying.source(&path))?;
        children.retain(|(name, _)| !is_cut_off(&path, name, cut_off));
        for entry in out.entries().map_err(at("listing", &path))? {
            let wanted = children.binary_search_by(|(name, _)| name.as_slice().cmp(&entry.name)).is_ok();
            if !wanted && !is_cut_off(&path, &entry.name, cut_off) {
                delete(&out, &entry.name).map_err(at("deleting from", &path))?;
            }
        }
        for (name, found) in children {
            let child = path.join(&name);
            laying.one(&out, &child, &name, &found).map_err(at("laying out", &child))?;
            if found.meta.kind == Kind::Dir {
                dirs.push((child.clone(), found));
                pending.push(child);
            }
        }
    }
    // Last, and deepest first: making names in a directory changes its time.
    for (path, found) in dirs.iter().rev() {
        laying.finish(path, found).map_err(at("setting the mode of", path))?;
    }
    Ok(())
}

struct Laying<'a> {
    view: &'a View,
    /// What of it is laid out.
    from: &'a RelPath,
    fresh: Fresh,
    root: &'a Root,
    reader: Reader<'a>,
    /// Where names of one file stay so.
    names: Option<FirstNames>,
    devices: Devices,
    given_up: &'a dyn Fn() -> bool,
}

impl<'a> Laying<'a> {
    fn new(
        view: &'a View,
        from: &'a RelPath,
        fresh: Fresh,
        (root, given_up): (&'a Root, &'a dyn Fn() -> bool),
    ) -> Self {
        let (reader, names, devices) = (Reader::new(view), None, Devices::SkipUnprivileged);
        Self { view, from, fresh, root, reader, names, devices, given_up }
    }

    /// The path in the view of what has this path in the root.
    fn source(&self, path: &RelPath) -> RelPath {
        if path.is_root() { self.from.clone() } else { self.from.join(path.as_bytes()) }
    }

    fn one(&mut self, out: &Dir, path: &RelPath, name: &[u8], found: &Found) -> io::Result<()> {
        go_on(self.given_up)?;
        let there = absent(out.stat(name))?.map(|meta: Meta| meta.kind);
        if found.meta.kind == Kind::Dir {
            if there == Some(Kind::Dir) {
                return Ok(());
            }
            self.make_way(out, name, there)?;
            return Ok(rustix::fs::mkdirat(out.as_fd(), name, Mode::RWXU)?);
        }
        if there.is_some() && !self.fresh.has(found.layer) {
            return Ok(());
        }
        self.make_way(out, name, there)?;
        if found.meta.kind != Kind::File {
            let target = match found.meta.kind {
                Kind::Symlink => self.view.read_link(&self.source(path)).map_err(io::Error::other)?,
                _ => Vec::new(),
            };
            return copy::special(&found.meta, &target, out, name, self.devices);
        }
        if let Some(first) = self.names.as_mut().and_then(|names| names.seen(found, path)) {
            let dir = self.root.dir(&first.parent().unwrap_or_default())?;
            let first = first.file_name().unwrap_or_default();
            return Ok(rustix::fs::linkat(dir.as_fd(), first, out.as_fd(), name, AtFlags::empty())?);
        }
        copy::file(&self.reader.open(found.layer, &self.source(path))?, &found.meta, out, name, self.given_up)
    }

    fn make_way(&self, out: &Dir, name: &[u8], there: Option<Kind>) -> io::Result<()> {
        if there.is_some() { delete(out, name) } else { Ok(()) }
    }

    fn finish(&self, path: &RelPath, found: &Found) -> io::Result<()> {
        let dir = self.root.dir(path)?;
        let wanted = self.view.open_dir(found.layer, &self.source(path))?.xattrs()?;
        for name in walk::travelling_xattrs(dir.as_fd())?.keys().filter(|name| !wanted.contains_key(*name)) {
            rustix::fs::fremovexattr(dir.as_fd(), name.as_slice())?;
        }
        copy::set(dir.as_fd(), &found.meta, &wanted, dir.owners())
    }
}

pub(super) fn at(action: &'static str, path: &RelPath) -> impl FnOnce(io::Error) -> LayerfsError {
    LayerfsError::io(format!("{action} /{}", path.display()))
}
