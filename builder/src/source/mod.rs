//! Finds the context and the Dockerfile of a build, by docker's rules.
//!
//! | context | Dockerfile without `-f` | `-f PATH` |
//! |---|---|---|
//! | directory | `Dockerfile` in it, else `dockerfile` | relative to the current directory |
//! | `-`, standard input holds a tar | the same, in the tar | in the tar |
//! | `-`, standard input holds anything else | standard input; there is no context | an error |
//!
//! `-f -` reads the Dockerfile from standard input. Names of other builders (`Containerfile`) are not looked for, as
//! in BuildKit. An ignore file applies to directories alone.
//! Takes: what the command line says. Gives: files and a text. Must never: follow a link out of a context, but for a
//! file that the user names.

mod dockerfile;
mod named;

pub use named::named;

use crate::failure::{Exit, Failure};
use cooper_engine::Engine;
use cooper_engine::context::{Files, Incoming, incoming};
use dockerfile::{STDIN, Wanted};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a build reads before it begins.
#[derive(Debug)]
pub struct Source {
    /// The context.
    pub files: Files,
    /// The Dockerfile as people know it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What is known of it before the store is open.
pub enum Found {
    /// Everything.
    Ready(Source),
    /// The context has to be made first.
    Later(Later),
}

/// A context that goes through a private directory.
pub struct Later {
    archive: Box<dyn Read + Send>,
    file: Option<PathBuf>,
}

/// Looks for everything. `file` is `--file`.
///
/// # Errors
/// When the context is no directory, when there is no Dockerfile, when a file is too large or no text.
pub fn find(context: &Path, file: Option<&Path>) -> Result<Found, Failure> {
    if context == Path::new("-") {
        return from_stream(Box::new(std::io::stdin()), file);
    }
    let absolute = directory(context)?;
    let (text, ignore) = match file {
        Some(dash) if dash == Path::new("-") => {
            let text = dockerfile::text(STDIN, std::io::stdin().lock())?;
            ((STDIN.to_owned(), text), dockerfile::general_ignore(&absolute)?)
        }
        Some(file) => dockerfile::named(file, &absolute)?,
        None => dockerfile::default(context, &absolute)?,
    };
    let files = Files::directory(absolute, ignore);
    Ok(Found::Ready(Source { files, name: text.0, text: text.1 }))
}

/// `-`: a context if it is an archive, else a Dockerfile.
fn from_stream(stream: Box<dyn Read + Send>, file: Option<&Path>) -> Result<Found, Failure> {
    if file == Some(Path::new("-")) {
        return Err(Failure::usage(
            "standard input cannot be both the context and the Dockerfile",
            "give a directory as the context, or leave out -f -",
        ));
    }
    let read = incoming(stream).map_err(|e| Failure::file(format!("reading {STDIN}"), Exit::Usage, e))?;
    match (read, file) {
        (Incoming::Archive(archive), file) => Ok(Found::Later(Later { archive, file: file.map(Path::to_owned) })),
        (Incoming::Empty, _) => {
            Err(Failure::usage("standard input is empty", "write a Dockerfile or a tar of the context to it"))
        }
        (Incoming::Text(_), Some(file)) => Err(Failure::usage(
            format!("standard input is no tar, so that it is the Dockerfile, and -f names {}", file.display()),
            "leave out -f, or write a tar of the context to standard input",
        )),
        (Incoming::Text(text), None) => {
            let text = dockerfile::text(STDIN, text)?;
            Ok(Found::Ready(Source { files: Files::nothing(), name: STDIN.to_owned(), text }))
        }
    }
}

impl Found {
    /// What is known without a store.
    ///
    /// # Errors
    /// When the Dockerfile is in a context that has to be made first.
    pub fn ready(self) -> Result<Source, Failure> {
        match self {
            Self::Ready(source) => Ok(source),
            Self::Later(_) => Err(Failure::usage(
                "this command reads the Dockerfile alone and unpacks no context",
                "give the directory, or the Dockerfile on standard input",
            )),
        }
    }
}

impl Later {
    /// Makes the context and reads the Dockerfile in it.
    ///
    /// # Errors
    /// When the archive cannot be used, and as [`find`].
    pub fn open(self, engine: &Engine) -> Result<Source, Failure> {
        let files = engine.unpack_context(STDIN, self.archive)?;
        let wanted = match &self.file {
            Some(file) => Wanted::Named(file),
            None => Wanted::Default,
        };
        let (name, text) = dockerfile::within(&files, wanted, STDIN)?;
        Ok(Source { files, name, text })
    }
}

fn directory(context: &Path) -> Result<PathBuf, Failure> {
    let text = context.to_string_lossy();
    let opened = std::fs::canonicalize(context);
    if opened.is_err() && (text.contains("://") || text.starts_with("git@")) {
        return Err(Failure::usage(
            format!("a remote context is not supported: {text}"),
            "clone or download it and give its directory",
        ));
    }
    let absolute = opened.map_err(|e| Failure::file(format!("opening the build context {text}"), Exit::Usage, e))?;
    if absolute.is_dir() {
        return Ok(absolute);
    }
    Err(Failure::usage(format!("the build context {text} is no directory"), "give the directory, and the file with -f"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn which_files_apply() {
        let all = [
            ("Dockerfile", "upper"),
            ("dockerfile", "lower"),
            ("sub/Other", "other"),
            (".dockerignore", "general"),
            ("sub/Other.dockerignore", "own"),
            ("low/dockerfile", "lower named"),
            ("low/dockerfile.dockerignore", "lower own"),
        ];
        for (files, file, text, ignore) in [
            (&all[..], None, "upper", Some("general")),
            (&all[1..2], None, "lower", None),
            (&all[..], Some("sub/Other"), "other", Some("own")),
            (&all[..4], Some("sub/Other"), "other", Some("general")),
            (&all[..], Some("low/Dockerfile"), "lower named", Some("lower own")),
        ] {
            let dir = place(files);
            let file = file.map(|f| dir.path().join(f));
            let found = find(dir.path(), file.as_deref()).unwrap().ready().unwrap();
            assert_eq!(found.text, text);
            assert_eq!(found.files.ignore().map(|b| std::str::from_utf8(b).unwrap()), ignore);
        }
    }

    #[test]
    fn what_cannot_be_used() {
        let dir = place(&[("plain", ""), ("other/Containerfile", "FROM a"), ("out/x", ""), ("secret", "FROM a")]);
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("bad")).unwrap();
        std::fs::write(at("bad/Dockerfile"), b"FROM a\nRUN \xff").unwrap();
        std::os::unix::fs::symlink("../secret", at("out/Dockerfile")).unwrap();
        for (context, file, says) in [
            (at("absent"), None, "opening the build context"),
            (at("plain"), None, "is no directory"),
            (at(""), None, "there is no Dockerfile"),
            (at("out"), None, "there is no Dockerfile"),
            (at(""), Some(at("absent")), "there is no file"),
            (at(""), Some(at("bad")), "reading"),
            (at("bad"), None, "not UTF-8, first in line 2"),
            (PathBuf::from("https://host/repo.git"), None, "remote context"),
        ] {
            let Err(failure) = find(&context, file.as_deref()) else { panic!("{}", context.display()) };
            assert!(failure.to_string().contains(says), "{failure}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
        let Err(failure) = find(&at("other"), None) else { panic!() };
        assert_eq!(failure.hint().as_deref(), Some("there is a Containerfile: name it with -f"));
        // A link that the user names is the user's.
        assert_eq!(find(&at("out"), Some(&at("out/Dockerfile"))).unwrap().ready().unwrap().text, "FROM a");
    }

    #[test]
    fn standard_input_is_a_dockerfile_unless_it_is_a_tar() {
        let stream = |bytes: &[u8]| Box::new(Cursor::new(bytes.to_vec()));
        let gzip = [0x1f, 0x8b, 8, 0];
        for (bytes, file, says) in [
            (&b""[..], None, "standard input is empty"),
            (b"FROM a", Some("Dockerfile"), "standard input is no tar"),
            (b"FROM a", Some("-"), "cannot be both"),
            (&gzip, Some("-"), "cannot be both"),
            (b"FROM \xff", None, "standard input is not UTF-8"),
        ] {
            let Err(failure) = from_stream(stream(bytes), file.map(Path::new)) else { panic!("{says}") };
            assert!(failure.to_string().contains(says), "{failure}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
        let text = from_stream(stream(b"FROM a"), None).unwrap().ready().unwrap();
        assert_eq!((text.text.as_str(), text.name.as_str()), ("FROM a", STDIN));
        for file in [None, Some("sub/Dockerfile")] {
            let found = from_stream(stream(&gzip), file.map(Path::new)).unwrap();
            assert!(matches!(&found, Found::Later(Later { file: f, .. }) if f.as_deref() == file.map(Path::new)));
            assert_eq!(found.ready().unwrap_err().exit(), Exit::Usage);
        }
    }
}
