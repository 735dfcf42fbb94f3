//! Deletions: how a layer's tar says them (image-spec, layer.md, "Whiteouts") and how overlayfs does.
//! The only file that knows `.wh.` and the marks of overlayfs.
//!
//! | meaning | in a tar | in a tree |
//! |---|---|---|
//! | NAME below is gone | empty file `.wh.NAME` beside where it was | character device 0:0 called NAME |
//! | the same, where nothing is stacked | as above | socket of mode 0 called NAME |
//! | everything below is gone | empty file `.wh..wh..opq` in the directory | attribute `*.overlay.opaque` = `y` |
//! | the same, where nothing is stacked | as above | attribute `user.cooper.opaque` = `y` |
//!
//! A file system that is an overlay itself makes no character devices 0:0, and some keep overlay's attributes for
//! themselves. Where no overlay is mounted over the trees, the marks are therefore a socket that nobody may open and an
//! attribute of our own: no tar holds sockets, and what is made from one can be no such mark.
//!
//! Must never: let a name or an attribute of the one form through into the other without translating it.

use crate::error::Reason;
use crate::stat::{Kind, Meta};
use crate::walk::{self, Dir};
use rustix::fs::{FileType, Mode, XattrFlags};
use std::io;

/// First bytes of every name that a tar keeps for deletions.
const PREFIX: &[u8] = b".wh.";
/// First bytes of names that AUFS kept for itself; old images still hold some.
const META_PREFIX: &[u8] = b".wh..wh.";
/// Name of the mark in an opaque directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// The mark where nothing is stacked.
pub(crate) const OPAQUE_XATTR: &str = "user.cooper.opaque";
/// The mark as overlayfs stores it, by who mounts, and as it is where nobody does.
static OPAQUE_XATTRS: [&[u8]; 3] = [b"trusted.overlay.opaque", b"user.overlay.opaque", OPAQUE_XATTR.as_bytes()];
/// Marks of a renamed directory and of a copied-up inode without data. Both make a tree depend on the layers
/// below it. Only a privileged mount makes them, and Cooper's mounts switch them off.
const DEPENDENT: [&[u8]; 2] = [b"trusted.overlay.redirect", b"trusted.overlay.metacopy"];

/// Which marks a tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverlayXattr {
    /// `trusted.overlay.*`: mounts by root of the machine.
    #[default]
    Trusted,
    /// `user.overlay.*`: mounts with `userxattr` in a user namespace.
    User,
    /// Marks that also a file system takes which is an overlay itself: for trees that only [`crate::view`] merges.
    Unstacked,
}

impl OverlayXattr {
    /// The attribute that makes a directory opaque; its value is `y`.
    pub(crate) fn opaque(self) -> &'static [u8] {
        let [trusted, user, unstacked] = OPAQUE_XATTRS;
        match self {
            Self::Trusted => trusted,
            Self::User => user,
            Self::Unstacked => unstacked,
        }
    }

    /// The attributes that are believed where trees have these marks. What a step can set itself says nothing where the
    /// kernel shows a root that is merged without it. Where nothing is stacked no attribute of a step gets into a tree.
    fn believed(self) -> &'static [&'static [u8]] {
        match self {
            Self::Trusted => &OPAQUE_XATTRS[..1],
            Self::User => &OPAQUE_XATTRS[1..2],
            Self::Unstacked => &OPAQUE_XATTRS,
        }
    }

    /// Lets a directory of a tree hide everything below it.
    pub(crate) fn hide_below(self, dir: &Dir) -> rustix::io::Result<()> {
        rustix::fs::fsetxattr(dir.as_fd(), self.opaque(), b"y", XattrFlags::empty())
    }

    /// Marks a free name as deleted below.
    pub(crate) fn delete(self, dir: &Dir, name: &[u8]) -> rustix::io::Result<()> {
        let kind = match self {
            Self::Trusted | Self::User => FileType::CharacterDevice,
            Self::Unstacked => FileType::Socket,
        };
        rustix::fs::mknodat(dir.as_fd(), name, kind, Mode::empty(), 0)
    }
}

/// What the last component of a tar name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker<'a> {
    /// A file like any other.
    Plain,
    /// The directory that holds it hides everything below.
    Opaque,
    /// This name is gone.
    Deletes(&'a [u8]),
    /// Bookkeeping of AUFS, which means nothing to anybody else.
    Bookkeeping,
}

/// Reads one component of a tar name.
///
/// # Errors
/// [`Reason::Whiteout`] when it deletes nothing, `.` or `..`.
pub fn parse(name: &[u8]) -> Result<Marker<'_>, Reason> {
    let Some(target) = name.strip_prefix(PREFIX) else { return Ok(Marker::Plain) };
    match target {
        _ if name == OPAQUE => Ok(Marker::Opaque),
        _ if name.starts_with(META_PREFIX) => Ok(Marker::Bookkeeping),
        b"" | b"." | b".." => Err(Reason::Whiteout),
        target => Ok(Marker::Deletes(target)),
    }
}

/// Is this a name that a tar keeps for deletions, so that no real file can have it?
pub fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// The name of the entry that deletes `name`.
pub fn deletion_of(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// Does this file of a tree say "deleted below"?
pub fn is_whiteout(meta: &Meta) -> bool {
    match meta.kind {
        Kind::Char => meta.rdev.is_whiteout(),
        Kind::Socket => meta.mode == 0,
        _ => false,
    }
}

/// Does this directory of a tree hide everything below it?
///
/// # Errors
/// Whatever the kernel says.
pub fn is_opaque(dir: &Dir) -> io::Result<bool> {
    for name in dir.marks().believed() {
        match walk::xattr(dir.as_fd(), name) {
            Ok(Some(value)) if value == b"y" => return Ok(true),
            Ok(_) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

/// Do these attribute names (each closed by NUL) make a file depend on the layers below it?
pub(crate) fn is_dependent(names: &[u8]) -> bool {
    names.split(|b| *b == 0).any(|name| DEPENDENT.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_whiteouts() {
        let bad = Err(Reason::Whiteout);
        for (name, meaning) in [
            ("a", Ok(Marker::Plain)),
            (".wh", Ok(Marker::Plain)),
            (".whx", Ok(Marker::Plain)),
            ("x.wh.a", Ok(Marker::Plain)),
            (".WH.a", Ok(Marker::Plain)),
            (".wh.", bad),
            (".wh..", bad),
            (".wh...", bad),
            (".wh....", Ok(Marker::Deletes(b"..."))),
            (".wh.a", Ok(Marker::Deletes(b"a"))),
            (".wh..a", Ok(Marker::Deletes(b".a"))),
            (".wh..wh", Ok(Marker::Deletes(b".wh"))),
            (".wh. ", Ok(Marker::Deletes(b" "))),
            (".wh..wh..opq", Ok(Marker::Opaque)),
            (".wh..wh..opq2", Ok(Marker::Bookkeeping)),
            (".wh..wh.", Ok(Marker::Bookkeeping)),
            (".wh..wh.aufs", Ok(Marker::Bookkeeping)),
            (".wh..wh.plnk", Ok(Marker::Bookkeeping)),
        ] {
            assert_eq!(parse(name.as_bytes()), meaning, "{name}");
            assert_eq!(is_reserved(name.as_bytes()), meaning != Ok(Marker::Plain), "{name}");
        }
        assert_eq!(parse(&deletion_of(b"x")), Ok(Marker::Deletes(b"x")));
    }

    #[test]
    fn only_dependent_marks_count() {
        assert!(is_dependent(b"user.a\0trusted.overlay.redirect\0"));
        assert!(!is_dependent(b"user.a\0trusted.overlay.opaque\0trusted.overlay.origin\0user.overlay.redirect\0"));
    }
}
