//! A tree to unpack into with canaries beside it. Every unpacking compares the canaries.

use crate::forge::{Forged, archive};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::apply::{Applied, ApplyOptions, Devices, Meaning, OverlayXattr, apply, check};
use cooper_layerfs::error::Reason;
use cooper_layerfs::root::Root;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A place to unpack into, and beside it files that must not change.
pub struct Scene {
    top: TempDir,
    before: Vec<String>,
}

impl Scene {
    /// The tree is empty, the canaries are in place.
    pub fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("tree")).unwrap();
        let outside = top.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "canary").unwrap();
        fs::create_dir(outside.join("dir")).unwrap();
        fs::write(outside.join("dir/inner"), "canary too").unwrap();
        symlink("file", outside.join("link")).unwrap();
        let mut scene = Self { top, before: Vec::new() };
        scene.before = scene.fingerprint();
        scene
    }
    /// Where to unpack.
    pub fn tree(&self) -> PathBuf {
        self.top.path().join("tree")
    }
    /// An absolute path that links of evil layers aim at.
    pub fn outside(&self) -> String {
        self.top.path().join("outside").to_str().unwrap().to_owned()
    }
    /// Names, contents and metadata of everything outside the tree.
    fn fingerprint(&self) -> Vec<String> {
        let mut found = Vec::new();
        look(self.top.path(), &mut found);
        found.sort();
        found
    }
    /// Unpacks and compares the canaries.
    pub fn unpack_with(&self, entries: &[Forged], options: ApplyOptions) -> Result<Applied, LayerfsError> {
        let bytes = archive(entries);
        let result = apply(&mut &*bytes, &Root::open(&self.tree()).unwrap(), &options, &|_| Ok(None));
        assert_eq!(self.before, self.fingerprint(), "something outside the tree changed");
        if options.meaning == Meaning::Layer {
            let looked = check(&mut &*bytes, options.bounds);
            assert!(agree(&result, &looked), "unpacked: {result:?}\nlooked at: {looked:?}");
        }
        result
    }
    /// The same with the options that work everywhere.
    pub fn unpack(&self, entries: &[Forged]) -> Result<Applied, LayerfsError> {
        self.unpack_with(entries, options())
    }
    /// Contents of a file in the tree.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.tree().join(path)).unwrap()
    }
}

/// Is a layer refused by whoever looks at it if, and for the same reason as, it cannot be unpacked?
fn agree(unpacked: &Result<Applied, LayerfsError>, looked: &Result<(), LayerfsError>) -> bool {
    match (unpacked, looked) {
        (Ok(_), Ok(())) => true,
        (Err(LayerfsError::Entry { reason: one, .. }), Err(LayerfsError::Entry { reason: other, .. })) => one == other,
        (Err(one), Err(other)) => std::mem::discriminant(one) == std::mem::discriminant(other),
        // What the machine does not grant.
        (Err(LayerfsError::Io { .. } | LayerfsError::Unmapped { .. }), Ok(())) => true,
        _ => false,
    }
}

fn look(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        if path.ends_with("tree") {
            continue;
        }
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        found.push(format!(
            "{} {:o} {}:{} {}.{} {} {content:?}",
            path.display(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.nlink()
        ));
        if meta.is_dir() {
            look(&path, found);
        }
    }
}

/// Options that work for every user.
pub fn options() -> ApplyOptions {
    ApplyOptions { opaque: OverlayXattr::User, devices: Devices::SkipUnprivileged, ..ApplyOptions::default() }
}

/// Why an entry was refused.
pub fn reason(result: Result<Applied, LayerfsError>) -> Reason {
    match result {
        Err(LayerfsError::Entry { reason, .. }) => reason,
        other => panic!("expected a refused entry, got {other:?}"),
    }
}
