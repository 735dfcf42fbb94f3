//! Real trees for tests: made as listed, independent of the umask, for root and ordinary users alike.

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use cooper_layerfs::root::Root;
use cooper_layerfs::tar::read::{Bounds, ReadKind, TarReader};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use tempfile::TempDir;

/// One thing to make.
#[derive(Clone, Copy)]
pub enum Make<'a> {
    Dir(&'a str, u32),
    File(&'a str, &'a str, u32),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
    Fifo(&'a str),
    /// What overlayfs leaves where something was deleted.
    Whiteout(&'a str),
    /// What overlayfs leaves on a directory that replaced another.
    Opaque(&'a str),
    Attribute(&'a str, &'a str, &'a str),
}
pub use Make::{Attribute, Dir, Fifo, File, Hard, Link, Opaque, Whiteout};

/// Makes a tree; missing parents are 0755.
pub fn tree(list: &[Make<'_>]) -> TempDir {
    let top = tempfile::tempdir().unwrap();
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for make in list {
        add(top.path(), *make);
    }
    top
}

pub fn add(top: &Path, make: Make<'_>) {
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let at = |path: &str| {
        let full = top.join(path);
        let mut missing: Vec<_> = full.ancestors().skip(1).take_while(|p| !p.exists()).collect();
        while let Some(dir) = missing.pop() {
            fs::create_dir(dir).unwrap();
            mode(dir, 0o755);
        }
        full
    };
    match make {
        Dir(path, bits) => {
            let path = at(path);
            fs::create_dir_all(&path).unwrap();
            mode(&path, bits);
        }
        File(path, content, bits) => {
            let path = at(path);
            fs::write(&path, content).unwrap();
            mode(&path, bits);
        }
        Link(path, target) => symlink(target, at(path)).unwrap(),
        Hard(path, existing) => fs::hard_link(top.join(existing), at(path)).unwrap(),
        Fifo(path) => {
            let path = at(path);
            rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::empty(), 0).unwrap();
            mode(&path, 0o644);
        }
        Whiteout(path) => {
            // Linux lets everybody make this one device.
            rustix::fs::mknodat(CWD, at(path), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        }
        Opaque(path) => {
            fs::create_dir_all(at(path)).unwrap();
            rustix::fs::setxattr(at(path), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        }
        Attribute(path, name, value) => {
            rustix::fs::setxattr(at(path), name, value.as_bytes(), XattrFlags::empty()).unwrap();
        }
    }
}

pub fn root(tree: &TempDir) -> Root {
    Root::open(tree.path()).unwrap()
}

/// The entries of a tar, one line each: `kind mode uid:gid path [-> target | = content] [attributes]`.
pub fn listing(tar: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(tar, Bounds::default());
    let mut lines = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut body = Vec::new();
        reader.body().read_to_end(&mut body).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let body = text(&body);
        let (kind, rest) = match &entry.kind {
            ReadKind::Dir => ('d', String::new()),
            ReadKind::File { .. } => ('f', format!(" = {body}")),
            ReadKind::Symlink(to) => ('l', format!(" -> {}", text(to))),
            ReadKind::Hardlink(to) => ('h', format!(" -> {}", text(to))),
            ReadKind::Char(n) => ('c', format!(" {}:{}", n.major, n.minor)),
            ReadKind::Block(n) => ('b', format!(" {}:{}", n.major, n.minor)),
            ReadKind::Fifo => ('p', String::new()),
        };
        let attributes: String = entry.xattrs.iter().map(|(n, v)| format!(" {}={}", text(n), text(v))).collect();
        let name = text(&entry.name);
        let owner = (entry.uid, entry.gid);
        lines.push(format!("{kind} {:o} {}:{} {name}{rest}{attributes}", entry.mode, owner.0, owner.1));
    }
    lines
}

/// The times of a tar's entries, in seconds.
pub fn times(tar: &[u8]) -> Vec<(String, i64)> {
    let mut reader = TarReader::new(tar, Bounds::default());
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        found.push((String::from_utf8_lossy(&entry.name).into_owned(), entry.mtime.secs));
    }
    found
}
