//! Files for people: seen whole or not at all.
//!
//! A regular file gets its name once all of it is written. What is there and is no regular file (a terminal, a pipe,
//! `/dev/null`) is written to as it is: a rename would put a file in its place.

use crate::EngineError;
use cooper_store::archive::whole_file::NewFile;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Is the destination something that can only be written to where it is?
pub fn is_stream(dest: &Path) -> bool {
    std::fs::metadata(dest).is_ok_and(|m| !m.is_file())
}

/// A destination that is being written.
pub enum OutputFile {
    /// It is written to as it is.
    Stream(File),
    /// It is there whole or not at all.
    File(NewFile),
}

impl OutputFile {
    /// Begins it. A symbolic link to a file stays, and the file that it leads to will be replaced.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(dest: &Path) -> io::Result<Self> {
        if is_stream(dest) {
            return Ok(Self::Stream(OpenOptions::new().write(true).open(dest)?));
        }
        let dest = std::fs::canonicalize(dest).unwrap_or_else(|_| dest.to_owned());
        NewFile::begin(&dest).map(Self::File)
    }

    /// Where to write.
    pub fn file(&self) -> &File {
        match self {
            Self::Stream(file) => file,
            Self::File(new) => new.file(),
        }
    }

    /// Gives it its name: all of it was written.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(new) => new.finish(),
        }
    }
}

/// A file whose failures say its name, through whatever writes to it.
pub(crate) struct Named<'a, W> {
    pub(crate) inner: W,
    pub(crate) path: &'a Path,
}

impl<W> Named<'_, W> {
    fn named(&self, source: io::Error) -> io::Error {
        // Who writes again after this one does so for other reasons than a failure.
        if source.kind() == io::ErrorKind::Interrupted {
            return source;
        }
        let what = format!("writing {}", self.path.display());
        io::Error::new(source.kind(), EngineError::Io { what, source })
    }
}

impl<W: Write> Write for Named<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes).map_err(|e| self.named(e))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().map_err(|e| self.named(e))
    }
}

/// Writes the destination, as [`OutputFile`] does it.
///
/// # Errors
/// What `write` gives, and what the system says, through `named`.
pub fn write_whole<E>(
    dest: &Path,
    named: impl Fn(io::Error) -> E,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let output = OutputFile::begin(dest).map_err(&named)?;
    let mut out = BufWriter::new(Named { inner: output.file(), path: dest });
    write(&mut out)?;
    out.flush().map_err(&named)?;
    drop(out);
    output.finish().map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, symlink};

    fn put(dest: &Path, text: &str) -> io::Result<()> {
        write_whole(dest, |e| e, |out| out.write_all(text.as_bytes()))
    }

    #[test]
    fn nothing_is_left_of_what_is_not_written_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let count = || std::fs::read_dir(dir.path()).unwrap().count();
        let ended = write_whole(
            &dir.path().join("file"),
            |e| e,
            |out| {
                out.write_all(&[0; 100_000])?;
                // As it is when a signal ends the process here.
                assert_eq!(count(), 0);
                Err(io::ErrorKind::TimedOut.into())
            },
        );
        assert_eq!((ended.unwrap_err().kind(), count()), (io::ErrorKind::TimedOut, 0));
    }

    #[test]
    fn two_writers_of_one_file_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let done = write_whole(
            &file,
            |e| e,
            |out| {
                out.write_all(b"out")?;
                put(&file, "inner")?;
                assert_eq!(std::fs::read(&file)?, b"inner");
                out.write_all(b"er")
            },
        );
        done.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"outer");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_are_replaced_whole_and_devices_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        symlink("file", &link).unwrap();
        put(&file, "one").unwrap();
        put(&link, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        let failed = write_whole(&file, |e| e, |_| Err(io::ErrorKind::Other.into()));
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);

        let device = dir.path().join("device");
        symlink("/dev/null", &device).unwrap();
        put(&device, "gone").unwrap();
        assert!(std::fs::metadata(&device).unwrap().file_type().is_char_device());
        assert!(device.symlink_metadata().unwrap().is_symlink());
    }
}
