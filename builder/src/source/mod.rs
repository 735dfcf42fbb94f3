//! Finds the context and the Dockerfile of a build, by docker's rules.
//!
//! | context | Dockerfile without `-f` | `-f PATH` |
//! |---|---|---|
//! | directory | `Dockerfile` in it, else `dockerfile` | relative to the current directory |
//! | `-`, standard input holds a tar | the same, in the tar | in the tar |
//! | `-`, standard input holds anything else | standard input; there is no context | an error |
//! | git URL, http(s) URL of a tar | the same, in the repository or the tar | in there; an absolute path is this machine's |
//! | http(s) URL of anything else | that file, which is all of the context and called `context` | an error |
//!
//! `-f -` reads the Dockerfile from standard input, `-f URL` fetches it. Names of other builders (`Containerfile`) are not looked for, as
//! in BuildKit. An ignore file applies to directories alone.
//! Takes: what the command line says. Gives: files and a text. Must never: follow a link out of a context, but for a
//! file that the user names.

mod dockerfile;
mod encoding;
mod named;

pub use named::named;

use crate::failure::{Exit, Failure};
use cooper_engine::Engine;
use cooper_engine::context::{
    Behalf, Files, HttpSource, Incoming, Remote, SINGLE, incoming, parse_remote, parse_remote_context,
};
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

/// A context that goes through a private directory, or a Dockerfile that has to be fetched.
pub struct Later {
    context: Context,
    dockerfile: Dockerfile,
}

/// Where the context comes from.
enum Context {
    /// It is there.
    Here(Files),
    /// An archive.
    Archive(Box<dyn Read + Send>),
    /// A repository or a URL.
    Remote(Remote),
}

/// Where the Dockerfile comes from.
enum Dockerfile {
    /// The context.
    Within(Option<PathBuf>),
    /// It is there: its name and its text.
    Here(String, String),
    /// A URL.
    Remote(HttpSource),
}

/// Looks for everything. `file` is `--file`.
///
/// # Errors
/// When the context is no directory, when there is no Dockerfile, when a file is too large or no text.
pub fn find(context: &Path, file: Option<&Path>) -> Result<Found, Failure> {
    let url = file.map(url).transpose()?.flatten();
    if context == Path::new("-") {
        return from_stream(Box::new(std::io::stdin()), file, url);
    }
    let opened = std::fs::canonicalize(context);
    if opened.is_err()
        && let Some(remote) = parse_remote_context(&context.to_string_lossy())
    {
        let remote = remote.map_err(|e| Failure::usage(e.message, e.hint))?;
        return from_remote(remote, file, url);
    }
    let absolute = directory(context, opened)?;
    if let Some(url) = url {
        let context = Context::Here(Files::directory(absolute.clone(), dockerfile::general_ignore(&absolute)?));
        return Ok(Found::Later(Later { context, dockerfile: Dockerfile::Remote(url) }));
    }
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
fn from_stream(stream: Box<dyn Read + Send>, file: Option<&Path>, url: Option<HttpSource>) -> Result<Found, Failure> {
    if file == Some(Path::new("-")) {
        return Err(Failure::usage(
            "standard input cannot be both the context and the Dockerfile",
            "give a directory as the context, or leave out -f -",
        ));
    }
    let read = incoming(stream).map_err(|e| Failure::file(format!("reading {STDIN}"), Exit::Usage, e))?;
    match (read, file) {
        (Incoming::Archive(archive), file) => {
            let within = || Dockerfile::Within(file.map(Path::to_owned));
            let dockerfile = url.map_or_else(within, Dockerfile::Remote);
            Ok(Found::Later(Later { context: Context::Archive(archive), dockerfile }))
        }
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

impl Later {
    /// Makes the context and reads the Dockerfile.
    ///
    /// # Errors
    /// When the context cannot be fetched or used, and as [`find`].
    pub fn open(self, engine: &Engine, behalf: Behalf<'_>) -> Result<Source, Failure> {
        let files = match self.context {
            Context::Here(files) => files,
            Context::Archive(archive) => engine.unpack_context(STDIN, archive, None)?,
            Context::Remote(remote) => engine.fetch_context(&remote, behalf)?,
        };
        let (name, text) = match &self.dockerfile {
            Dockerfile::Here(name, text) => (name.clone(), text.clone()),
            Dockerfile::Remote(url) => {
                let name = url.shown();
                let text = dockerfile::text(&name, engine.fetch_file(url, behalf)?)?;
                (name, text)
            }
            Dockerfile::Within(file) => within(&files, file.as_deref())?,
        };
        Ok(Source { files, name, text })
    }
}

/// The Dockerfile in a context that was made.
fn within(files: &Files, file: Option<&Path>) -> Result<(String, String), Failure> {
    let wanted = match (files.is_single(), file) {
        (false, None) => Wanted::Default,
        (false, Some(file)) => Wanted::Named(file),
        (true, None) => {
            let (_, text) = dockerfile::within(files, Wanted::Named(Path::new(SINGLE)), files.name())?;
            return Ok((files.name().to_owned(), text));
        }
        (true, Some(file)) => {
            return Err(Failure::usage(
                format!("{} is no tar, so that it is the Dockerfile, and -f names {}", files.name(), file.display()),
                "leave out -f, or give the URL of a tar",
            ));
        }
    };
    dockerfile::within(files, wanted, files.name())
}

/// A repository or a URL as the context.
fn from_remote(remote: Remote, file: Option<&Path>, url: Option<HttpSource>) -> Result<Found, Failure> {
    let dockerfile = match (file, url) {
        (_, Some(url)) => Dockerfile::Remote(url),
        (Some(dash), None) if dash == Path::new("-") => {
            Dockerfile::Here(STDIN.to_owned(), dockerfile::text(STDIN, std::io::stdin().lock())?)
        }
        (Some(file), None) if file.is_absolute() => {
            let (name, text) = dockerfile::alone(file)?;
            Dockerfile::Here(name, text)
        }
        (file, None) => Dockerfile::Within(file.map(Path::to_owned)),
    };
    Ok(Found::Later(Later { context: Context::Remote(remote), dockerfile }))
}

/// `-f URL`.
fn url(file: &Path) -> Result<Option<HttpSource>, Failure> {
    match parse_remote(&file.to_string_lossy()) {
        Some(Ok(Remote::Http(url))) => Ok(Some(url)),
        Some(Ok(Remote::Git(source))) => Err(Failure::usage(
            format!("{} is a repository and no Dockerfile", source.shown()),
            "give the repository as the context, and -f with the path in it",
        )),
        Some(Err(e)) => Err(Failure::usage(e.message, e.hint)),
        None => Ok(None),
    }
}

fn directory(context: &Path, opened: std::io::Result<PathBuf>) -> Result<PathBuf, Failure> {
    let text = context.to_string_lossy();
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
            let Found::Ready(found) = find(dir.path(), file.as_deref()).unwrap() else { panic!() };
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
            (at("bad"), None, "the Dockerfile has 1 error"),
            (PathBuf::from("https://host/repo.git#-x"), None, "is no name of a branch"),
            (at(""), Some(PathBuf::from("https://host/repo.git")), "is a repository and no Dockerfile"),
            (at(""), Some(PathBuf::from("https://")), "names no host"),
        ] {
            let Err(failure) = find(&context, file.as_deref()) else { panic!("{}", context.display()) };
            assert!(failure.to_string().contains(says), "{failure}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
        let Err(failure) = find(&at("other"), None) else { panic!() };
        assert_eq!(failure.hint().as_deref(), Some("there is a Containerfile: name it with -f"));
        // A link that the user names is the user's.
        let Found::Ready(found) = find(&at("out"), Some(&at("out/Dockerfile"))).unwrap() else { panic!() };
        assert_eq!(found.text, "FROM a");
    }

    #[test]
    fn where_the_dockerfile_of_a_remote_context_is() {
        let dir = place(&[("own", "FROM own")]);
        let own = dir.path().join("own").display().to_string();
        for (context, file, wanted) in [
            ("https://h/r.git#main:sub", None, "git within"),
            ("git@h:t/r.git", Some("sub/Dockerfile"), "git within sub/Dockerfile"),
            ("github.com/t/r", Some(own.as_str()), "git here FROM own"),
            ("http://h/ctx.tar", Some("http://h/Dockerfile"), "http remote http://h/Dockerfile"),
        ] {
            let found = find(Path::new(context), file.map(Path::new)).unwrap();
            let Found::Later(Later { context: Context::Remote(remote), dockerfile }) = found else {
                panic!("{context}")
            };
            let remote = if matches!(remote, Remote::Git(_)) { "git" } else { "http" };
            let is = match dockerfile {
                Dockerfile::Within(None) => "within".to_owned(),
                Dockerfile::Within(Some(path)) => format!("within {}", path.display()),
                Dockerfile::Here(_, text) => format!("here {text}"),
                Dockerfile::Remote(url) => format!("remote {}", url.shown()),
            };
            assert_eq!(format!("{remote} {is}"), wanted);
        }
        // What is there is a directory, whatever else its name could be.
        let local = dir.path().join("https:/h");
        std::fs::create_dir_all(&local).unwrap();
        std::fs::write(local.join("Dockerfile"), "FROM a").unwrap();
        assert!(matches!(find(&local, None), Ok(Found::Ready(_))));
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
            (b"FROM \xff", None, "the Dockerfile has 1 error"),
        ] {
            let Err(failure) = from_stream(stream(bytes), file.map(Path::new), None) else { panic!("{says}") };
            assert!(failure.to_string().contains(says), "{failure}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
        let Found::Ready(text) = from_stream(stream(b"FROM a"), None, None).unwrap() else { panic!() };
        assert_eq!((text.text.as_str(), text.name.as_str()), ("FROM a", STDIN));
        for file in [None, Some("sub/Dockerfile")] {
            let found = from_stream(stream(&gzip), file.map(Path::new), None).unwrap();
            let Found::Later(Later { dockerfile: Dockerfile::Within(f), .. }) = &found else { panic!("{file:?}") };
            assert_eq!(f.as_deref(), file.map(Path::new));
        }
    }
}
