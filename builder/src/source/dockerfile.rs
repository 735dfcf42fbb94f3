//! The Dockerfile and the ignore file: where they are looked for, and how much of them is read.

use super::encoding;
use crate::failure::{Exit, Failure};
use cooper_engine::context::Files;
use cooper_image::limits::DOCKERFILE_BYTES;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Standard input, for people.
pub const STDIN: &str = "standard input";
/// Names that are tried when none is given.
const NAMES: [&str; 2] = ["Dockerfile", "dockerfile"];
/// What other builders call it.
const OTHER: &str = "Containerfile";
const IGNORE: &str = ".dockerignore";

/// Name and text of a Dockerfile.
type Named = (String, String);
/// Bytes of an ignore file.
type Ignored = Option<Vec<u8>>;

/// Which file of a context is wanted.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    /// The default ones.
    Default,
    /// That of `-f`.
    Named(&'a Path),
}

/// The Dockerfile below a directory, and the ignore file that goes with it; `context` is as the user wrote it.
pub fn default(context: &Path, absolute: &Path) -> Result<(Named, Ignored), Failure> {
    let files = Files::directory(absolute.to_owned(), None);
    let (name, text) = within(&files, Wanted::Default, &context.display().to_string())?;
    let own = open_within(&files, &format!("{name}{IGNORE}"))?;
    let ignore = match own {
        Some(file) => Some(bounded(file, &format!("{name}{IGNORE}"))?),
        None => general_ignore(absolute)?,
    };
    Ok(((shown(&context.join(name)), text), ignore))
}

/// The Dockerfile that the user names, and the ignore file that goes with it.
pub fn named(file: &Path, absolute: &Path) -> Result<(Named, Ignored), Failure> {
    let lower = file.with_file_name(NAMES[1]);
    let lower = (file.file_name() == Some(NAMES[0].as_ref())).then_some(lower.as_path());
    for path in [Some(file), lower].into_iter().flatten() {
        let Some(opened) = open(path)? else { continue };
        let text = text(&shown(path), opened)?;
        let mut own = path.as_os_str().to_owned();
        own.push(IGNORE);
        let own = PathBuf::from(own);
        if std::fs::metadata(&own).is_ok_and(|m| !m.is_file()) {
            return Err(Failure::usage(format!("{} is not a regular file", shown(&own)), "remove or rename it"));
        }
        let ignore = match open(&own)? {
            Some(file) => Some(bounded(file, &shown(&own))?),
            None => general_ignore(absolute)?,
        };
        return Ok(((shown(path), text), ignore));
    }
    Err(Failure::usage(format!("there is no file {}", shown(file)), "-f is relative to the current directory"))
}

/// The Dockerfile that the user names, of a context that no ignore file rules.
pub fn alone(file: &Path) -> Result<Named, Failure> {
    match open(file)? {
        Some(opened) => Ok((shown(file), text(&shown(file), opened)?)),
        None => Err(Failure::usage(
            format!("there is no file {}", shown(file)),
            "an absolute -f is a file of this machine, any other one is in the context",
        )),
    }
}

/// `.dockerignore` of a directory.
pub fn general_ignore(absolute: &Path) -> Result<Ignored, Failure> {
    let files = Files::directory(absolute.to_owned(), None);
    open_within(&files, IGNORE)?.map(|file| bounded(file, &shown(&absolute.join(IGNORE)))).transpose()
}

/// The Dockerfile in the files of a context; `place` is the context for people.
pub fn within(files: &Files, wanted: Wanted<'_>, place: &str) -> Result<Named, Failure> {
    let candidates: Vec<PathBuf> = match wanted {
        Wanted::Default => NAMES.map(PathBuf::from).to_vec(),
        Wanted::Named(path) if path.file_name() == Some(NAMES[0].as_ref()) => {
            vec![path.to_owned(), path.with_file_name(NAMES[1])]
        }
        Wanted::Named(path) => vec![path.to_owned()],
    };
    for path in &candidates {
        let name = path.to_string_lossy();
        if let Some(file) = open_within(files, &name)? {
            let text = text(&name, file)?;
            return Ok((name.into_owned(), text));
        }
    }
    let other = matches!(wanted, Wanted::Default) && open_within(files, OTHER)?.is_some();
    let what = match wanted {
        Wanted::Default => NAMES[0].to_owned(),
        Wanted::Named(path) => format!("file {}", path.display()),
    };
    let hint = match (other, wanted) {
        (true, _) => format!("there is a {OTHER}: name it with -f"),
        (false, Wanted::Default) => {
            "name the file with -f, or give the directory that holds it; links out of it are not followed".to_owned()
        }
        (false, Wanted::Named(_)) => "-f is a path in that context".to_owned(),
    };
    Err(Failure::usage(format!("there is no {what} in {place}"), hint))
}

/// A text of bounded size.
pub fn text(name: &str, reader: impl Read) -> Result<String, Failure> {
    String::from_utf8(bounded(reader, name)?).or_else(|e| encoding::read(name, e.as_bytes()))
}

/// `None` when there is no such file in the context.
fn open_within(files: &Files, path: &str) -> Result<Option<File>, Failure> {
    use cooper_engine::context::NotThere;
    match files.open(path)? {
        Ok(file) => Ok(Some(file)),
        Err(NotThere::Absent) => Ok(None),
        Err(NotThere::NoFile) => Err(Failure::usage(format!("{path} is not a regular file"), "name a file with -f")),
    }
}

/// `None` when there is no such file. A pipe is one when somebody writes to it, as with `<(…)` of a shell.
fn open(path: &Path) -> Result<Option<impl Read>, Failure> {
    let failed = |e| Failure::file(format!("opening {}", shown(path)), Exit::Usage, e);
    // Opening a named pipe would wait for a writer for ever.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut first = Vec::new();
    if file.metadata().map_err(failed)?.file_type().is_fifo() {
        first = first_of_pipe(&mut file).map_err(failed)?.ok_or_else(|| {
            let message = format!("{} is a pipe that nobody writes to", shown(path));
            Failure::usage(message, "name a regular file, or start what writes to the pipe first")
        })?;
    }
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(|e| failed(e.into()))?;
    Ok(Some(Cursor::new(first).chain(file)))
}

/// What a pipe has at once, which may be nothing yet; `None` when it has no writer, and gets none in a second.
fn first_of_pipe(pipe: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; 4096];
    for _ in 0..20 {
        match pipe.read(&mut buffer) {
            Ok(0) => std::thread::sleep(Duration::from_millis(50)),
            Ok(n) => return Ok(buffer.get(..n).map(<[u8]>::to_vec)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Some(Vec::new())),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
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

    #[test]
    fn sizes_are_bounded() {
        let failure = bounded(std::io::repeat(b'#'), "x").unwrap_err();
        assert_eq!(failure.exit(), Exit::Input);
    }

    #[test]
    fn only_the_capital_name_falls_back() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/dockerfile"), "lower").unwrap();
        let files = Files::directory(dir.path().to_owned(), None);
        for (path, wanted) in [
            ("d/Dockerfile", Ok(("d/dockerfile", "lower"))),
            ("/d/dockerfile", Ok(("/d/dockerfile", "lower"))),
            ("../d/dockerfile", Ok(("../d/dockerfile", "lower"))),
            ("d/DOCKERFILE", Err("there is no file d/DOCKERFILE in standard input")),
            ("d", Err("d is not a regular file")),
        ] {
            let found = within(&files, Wanted::Named(Path::new(path)), STDIN).map_err(|e| e.to_string());
            let found = found.as_ref().map(|(n, t)| (n.as_str(), t.as_str())).map_err(String::as_str);
            assert_eq!(found, wanted);
        }
    }
}
