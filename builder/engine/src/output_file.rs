//! Files for people: seen whole or not at all.
//!
//! A regular file is written beside its name and renamed. What is there and is no regular file (a terminal, a pipe,
//! `/dev/null`) is written to as it is: a rename would put a file in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Is the destination something that can only be written to where it is?
pub fn is_stream(dest: &Path) -> bool {
    std::fs::metadata(dest).is_ok_and(|m| !m.is_file())
}

/// Writes the destination. A symbolic link to a file stays, and the file that it leads to is replaced.
///
/// # Errors
/// What `write` gives, and what the system says, through `named`.
pub fn write_whole<E>(
    dest: &Path,
    named: impl Fn(io::Error) -> E,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    if is_stream(dest) {
        let mut out = BufWriter::new(OpenOptions::new().write(true).open(dest).map_err(&named)?);
        write(&mut out)?;
        return out.flush().map_err(named);
    }
    let dest = std::fs::canonicalize(dest).unwrap_or_else(|_| dest.to_owned());
    let partial = beside(&dest);
    let done = File::create(&partial).map_err(&named).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        let file = out.into_inner().map_err(|e| named(e.into_error()))?;
        file.sync_all().and_then(|()| std::fs::rename(&partial, &dest)).map_err(&named)
    });
    if done.is_err() {
        // The failure that made it partial is the one to report.
        let _ = std::fs::remove_file(&partial);
    }
    done
}

/// A name of this process's own in the same directory.
pub(crate) fn beside(dest: &Path) -> PathBuf {
    let mut partial = dest.as_os_str().to_owned();
    partial.push(format!(".partial.{}", std::process::id()));
    PathBuf::from(partial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, symlink};

    fn put(dest: &Path, text: &str) -> io::Result<()> {
        write_whole(dest, |e| e, |out| out.write_all(text.as_bytes()))
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
