//! The files of a context: a directory of the user's, a private one that goes with the build, or none at all.
//!
//! Takes: a directory, and the bytes of the ignore file that applies to it. Gives: a look at the files. Must never:
//! open anything but regular files, or follow a link in a foreign context.

use crate::EngineError;
use crate::fetch::Checkout;
use cooper_image::RelPath;
use cooper_layerfs::root::Root;
use cooper_layerfs::stat::Kind;
use cooper_layerfs::view::{Follow, View};
use cooper_store::Ingest;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// Files of a context; clones share them. A private directory is deleted with the last clone.
#[derive(Debug, Clone)]
pub struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    place: Place,
    ignore: Option<Vec<u8>>,
    time: Option<i64>,
    shape: Shape,
}

/// What a private directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Many files.
    Tree,
    /// One, called [`super::SINGLE`].
    Single,
}

#[derive(Debug)]
enum Place {
    Nothing,
    Directory(PathBuf),
    Private { root: Root, _hold: Hold },
}

/// Keeps a private directory as long as there are files of it.
pub(super) enum Hold {
    /// Files that were written.
    Written { _place: Ingest },
    /// Files of a repository.
    Repository { _files: Checkout },
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

/// Why a context has no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotThere {
    /// There is nothing of that name.
    Absent,
    /// It is something else than a file.
    NoFile,
}

impl Files {
    /// No files, as with a Dockerfile from standard input alone.
    pub fn nothing() -> Self {
        Self(Arc::new(Inner {
            name: String::new(),
            place: Place::Nothing,
            ignore: None,
            time: None,
            shape: Shape::Tree,
        }))
    }
    /// A directory of the user's, and the bytes of its ignore file.
    pub fn directory(path: PathBuf, ignore: Option<Vec<u8>>) -> Self {
        let name = path.display().to_string();
        Self(Arc::new(Inner { name, place: Place::Directory(path), ignore, time: None, shape: Shape::Tree }))
    }
    /// A private directory, which is deleted at the end, and the time of its files. No ignore file applies, as in
    /// BuildKit.
    pub(super) fn private(name: String, root: Root, hold: Hold, time: Option<i64>, shape: Shape) -> Self {
        Self(Arc::new(Inner { name, place: Place::Private { root, _hold: hold }, ignore: None, time, shape }))
    }
    /// Is it one file, called [`super::SINGLE`], and perhaps a Dockerfile?
    pub fn is_single(&self) -> bool {
        self.0.shape == Shape::Single
    }
    /// What SOURCE_DATE_EPOCH=context means here, in seconds since 1970. A directory of the user's has no time: the
    /// same files would give another image on every machine.
    pub fn time(&self) -> Option<i64> {
        self.0.time
    }
    /// Where they are, for people and for finding earlier builds of the same.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Bytes of the ignore file.
    pub fn ignore(&self) -> Option<&[u8]> {
        self.0.ignore.as_deref()
    }
    /// A look at them.
    pub(crate) fn view(&self) -> Result<View, EngineError> {
        Ok(match &self.0.place {
            Place::Nothing => View::stack(Vec::new()),
            Place::Directory(path) => View::dir(Root::open(path)?),
            Place::Private { root, .. } => View::dir(root.clone()),
        })
    }
    /// The absolute path of a directory of the user's.
    pub(crate) fn directory_path(&self) -> Option<PathBuf> {
        match &self.0.place {
            Place::Directory(path) => std::fs::canonicalize(path).ok(),
            Place::Nothing | Place::Private { .. } => None,
        }
    }
    /// Opens a file below their root; links are followed inside it.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn open(&self, path: &str) -> Result<Result<File, NotThere>, EngineError> {
        let view = self.view()?;
        let found = view.resolve(&RelPath::from(path), Follow::Final)?;
        match found.meta.map(|m| m.kind) {
            None => Ok(Err(NotThere::Absent)),
            Some(Kind::File) => Ok(Ok(view.open_file(&found.path)?)),
            Some(_) => Ok(Err(NotThere::NoFile)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn only_files_below_the_root_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("ctx/d")).unwrap();
        std::fs::write(at("ctx/d/f"), "inside").unwrap();
        std::fs::write(at("secret"), "outside").unwrap();
        for (target, name) in [("d/f", "good"), ("../secret", "up"), ("/d/f", "absolute"), ("loop", "loop")] {
            std::os::unix::fs::symlink(target, at("ctx").join(name)).unwrap();
        }
        let files = Files::directory(at("ctx"), None);
        let read = |path: &str| {
            let file = files.open(path).map_err(|e| e.to_string())?;
            Ok(file.map(|mut f| {
                let mut text = String::new();
                f.read_to_string(&mut text).unwrap();
                text
            }))
        };
        let inside = || Ok::<_, String>(Ok("inside".to_owned()));
        for (path, wanted) in [
            ("d/f", inside()),
            ("/d/../d/f", inside()),
            ("../../d/f", inside()),
            ("good", inside()),
            ("absolute", inside()),
            ("up", Ok(Err(NotThere::Absent))),
            ("../secret", Ok(Err(NotThere::Absent))),
            ("none", Ok(Err(NotThere::Absent))),
            ("d", Ok(Err(NotThere::NoFile))),
        ] {
            assert_eq!(read(path), wanted, "{path}");
        }
        assert!(read("loop").is_err());
        assert!(matches!(Files::nothing().open("x").unwrap(), Err(NotThere::Absent)));
    }
}
