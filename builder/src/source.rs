//! Finds and reads the Dockerfile and the ignore file of a build.

use crate::failure::{Exit, Failure};
use cooper_image::limits::DOCKERFILE_BYTES;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// What a build reads before it begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The context, absolute.
    pub context: PathBuf,
    /// The Dockerfile as people know it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The ignore file that applies, and its bytes.
    pub ignore: Option<(PathBuf, Vec<u8>)>,
}

/// Looks for everything. `file` is `--file`.
///
/// # Errors
/// When the context is no directory, when there is no Dockerfile, when a file is too large or no text.
pub fn find(context: &Path, file: Option<&Path>) -> Result<Source, Failure> {
    let absolute = directory(context)?;
    let (name, path, bytes) = match file {
        Some(dash) if dash == Path::new("-") => {
            ("standard input".to_owned(), None, bounded(std::io::stdin().lock(), "standard input")?)
        }
        Some(file) => (shown(file), Some(file.to_owned()), read_dockerfile(file)?),
        None => {
            let path = default_file(context)?;
            (shown(&path), Some(path.clone()), read_dockerfile(&path)?)
        }
    };
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes().iter().take(e.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        Failure::usage(format!("{name} is not UTF-8, first in line {line}"), "save it as UTF-8")
    })?;
    let ignore = ignore_file(context, path.as_deref())?;
    Ok(Source { context: absolute, name, text, ignore })
}

fn directory(context: &Path) -> Result<PathBuf, Failure> {
    let text = context.to_string_lossy();
    if text == "-" {
        return Err(Failure::usage(
            "a context on standard input is not supported",
            "unpack it and give its directory; -f - reads the Dockerfile alone from standard input",
        ));
    }
    if text.contains("://") || text.starts_with("git@") {
        return Err(Failure::usage(
            format!("a remote context is not supported: {text}"),
            "clone or download it and give its directory",
        ));
    }
    let absolute = std::fs::canonicalize(context)
        .map_err(|e| Failure::file(format!("opening the build context {text}"), Exit::Usage, e))?;
    if absolute.is_dir() {
        return Ok(absolute);
    }
    Err(Failure::usage(format!("the build context {text} is no directory"), "give the directory, and the file with -f"))
}

/// `Dockerfile` in the context, else `dockerfile`.
fn default_file(context: &Path) -> Result<PathBuf, Failure> {
    let candidates = ["Dockerfile", "dockerfile"].map(|n| context.join(n));
    candidates.into_iter().find(|p| p.exists()).ok_or_else(|| {
        Failure::usage(
            format!("there is no Dockerfile in {}", context.display()),
            "name the file with -f, or give the directory that holds it",
        )
    })
}

fn read_dockerfile(path: &Path) -> Result<Vec<u8>, Failure> {
    match open(path)? {
        Some(file) => bounded(file, &shown(path)),
        None => {
            Err(Failure::usage(format!("there is no file {}", shown(path)), "-f is relative to the current directory"))
        }
    }
}

/// `<Dockerfile>.dockerignore` beside the Dockerfile, else `.dockerignore` in the context; never both.
fn ignore_file(context: &Path, dockerfile: Option<&Path>) -> Result<Option<(PathBuf, Vec<u8>)>, Failure> {
    let own = dockerfile.map(|d| {
        let mut name = d.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([context.join(".dockerignore")]) {
        if let Some(file) = open(&path)? {
            let bytes = bounded(file, &shown(&path))?;
            return Ok(Some((path, bytes)));
        }
    }
    Ok(None)
}

/// `None` when there is no such file.
fn open(path: &Path) -> Result<Option<File>, Failure> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(Failure::file(format!("opening {}", shown(path)), Exit::Usage, e)),
    }
}

fn bounded(reader: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = reader.take(DOCKERFILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::file(format!("reading {name}"), Exit::Usage, e))?;
    if bytes.len() as u64 > DOCKERFILE_BYTES {
        let source = format!("it is larger than {DOCKERFILE_BYTES} bytes");
        return Err(Failure::file(format!("reading {name}"), Exit::Input, source));
    }
    Ok(bytes)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ];
        for (files, file, text, ignore) in [
            (&all[..], None, "upper", Some("general")),
            (&all[1..2], None, "lower", None),
            (&all[..], Some("sub/Other"), "other", Some("own")),
            (&all[..4], Some("sub/Other"), "other", Some("general")),
        ] {
            let dir = place(files);
            let file = file.map(|f| dir.path().join(f));
            let found = find(dir.path(), file.as_deref()).unwrap();
            assert_eq!(found.text, text);
            assert_eq!(found.ignore.map(|(_, b)| String::from_utf8(b).unwrap()).as_deref(), ignore);
        }
    }

    #[test]
    fn what_cannot_be_used() {
        let dir = place(&[("plain", ""), ("bad/Dockerfile", "")]);
        std::fs::write(dir.path().join("bad/Dockerfile"), b"FROM a\nRUN \xff").unwrap();
        let at = |name: &str| dir.path().join(name);
        for (context, file, says) in [
            (at("absent"), None, "opening the build context"),
            (at("plain"), None, "is no directory"),
            (at(""), None, "there is no Dockerfile"),
            (at(""), Some(at("absent")), "there is no file"),
            (at(""), Some(at("bad")), "reading"),
            (at("bad"), None, "not UTF-8, first in line 2"),
            (PathBuf::from("-"), None, "standard input"),
            (PathBuf::from("https://host/repo.git"), None, "remote context"),
        ] {
            let failure = find(&context, file.as_deref()).unwrap_err();
            assert!(failure.to_string().contains(says), "{failure}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let failure = bounded(std::io::repeat(b'#'), "x").unwrap_err();
        assert_eq!(failure.exit(), Exit::Input);
    }
}
