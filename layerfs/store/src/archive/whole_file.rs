//! Files that are there whole or not at all, in directories where others write too.
//!
//! Takes what fills a file; gives it its name when that is done. What is read of such a directory is a regular file and no
//! link. Must never leave something there that nobody takes away, or wait for a file.

use crate::ingest::random_name;
use cooper_image::{Digest, Hasher};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Between a file's name and what makes the one beside it nobody else's.
const PARTIAL: &str = ".partial.";

/// Writes a file that is there whole or not at all. A new one has no name before it is whole, so that nothing is left of it
/// when this process is killed; where the file system knows no such files it has another name beside its own.
///
/// # Errors
/// What `fill` and the system say.
pub fn put_whole(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut new = NewFile::begin(path)?;
    fill(&mut new.file)?;
    new.finish()
}

/// A file that is being written, as [`put_whole`] does it.
pub struct NewFile {
    file: File,
    path: PathBuf,
    /// What it is called until it is whole, if anything.
    partial: Option<PathBuf>,
}

impl NewFile {
    /// Begins it.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let (file, partial) = match nameless_beside(path) {
            Some(file) => (file, None),
            None => begin_beside(path).map(|(partial, file)| (file, Some(partial)))?,
        };
        Ok(Self { file, path: path.to_owned(), partial })
    }

    /// Where to write.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name: all of it was written.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let named = match &self.partial {
            Some(partial) => fs::rename(partial, &self.path),
            None => match name(&self.file, &self.path) {
                // Some file systems and rules of the kernel let it have none after all.
                Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::XDEV | Errno::NOENT) => self.beside(),
                named => named.map_err(io::Error::from),
            },
        };
        if named.is_ok() {
            self.partial = None;
        }
        named
    }

    /// Copies it into a file that has a name.
    fn beside(&self) -> io::Result<()> {
        let (partial, file) = begin_beside(&self.path)?;
        let mut copy = Self { file, path: self.path.clone(), partial: Some(partial) };
        (&self.file).rewind()?;
        io::copy(&mut &self.file, &mut copy.file)?;
        copy.finish()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // The failure that made it partial is the one to report.
            let _ = fs::remove_file(partial);
        }
    }
}

/// Makes a file in the same directory, whose name nobody has and nobody can foresee: whoever else may write there could
/// have put a link in its place, and another writer of the same file is at work on one of its own.
///
/// # Errors
/// What the system says.
fn begin_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let partial = partial_name(path);
        let file = File::create_new(&partial)?;
        if is_held(&file)? {
            return Ok((partial, file));
        }
    }
}

/// Is it this process's from now on? Somebody may have swept it away before it was held, or is about to.
fn is_held(file: &File) -> io::Result<bool> {
    Ok(hold(file) && file.metadata()?.nlink() > 0)
}

/// Lets [`sweep`] see that somebody is at work on the file, unless that has it already: the lock ends with the process.
/// Where the file system has no locks, nobody can sweep either.
#[must_use]
fn hold(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}

/// Takes away the second names that are left of a layout's files when a writer was killed before it could put them in
/// their place. What somebody holds stays; that something cannot be taken away is no failure.
pub fn sweep(dir: &Path) {
    for place in [".", "blobs/sha256", "blobs/sha512"] {
        for entry in fs::read_dir(dir.join(place)).into_iter().flatten().flatten() {
            if is_partial(place, &entry.file_name())
                && let Ok(left) = open_regular(&entry.path())
                && flock(&left, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Is it such a name of one of the files that a layout has there?
fn is_partial(place: &str, name: &OsStr) -> bool {
    let Some((file, random)) = name.to_str().and_then(|name| name.split_once(PARTIAL)) else { return false };
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_ours = match place {
        "." => ["oci-layout", "index.json", "manifest.json"].contains(&file),
        _ => matches!(file.len(), 64 | 128) && is_hex(file),
    };
    is_ours && random.len() == random_name().len() && is_hex(random)
}

fn partial_name(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!("{PARTIAL}{}", random_name()));
    partial.into()
}

/// A file without a name on the same file system, when it can have one later.
fn nameless_beside(path: &Path) -> Option<File> {
    // What ends so can be no file: it is told before anything is written.
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return None;
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    // That of every new file; the mask is the process's.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = rustix::fs::open(dir, flags, Mode::from_raw_mode(0o666)).ok()?;
    descriptor(&file).symlink_metadata().is_ok().then(|| file.into())
}

/// By what a file without a name is found (open(2), O_TMPFILE).
fn descriptor(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Gives a file that has none a name beside the one that it is to have, and holds it until it has that.
fn name_beside(file: &File, path: &Path) -> rustix::io::Result<PathBuf> {
    let partial = partial_name(path);
    // Nobody else can have what has no name.
    let _ = hold(file);
    linkat(CWD, descriptor(file), CWD, &partial, AtFlags::SYMLINK_FOLLOW)?;
    Ok(partial)
}

/// Gives a file its name, in the place of whatever has it.
fn name(file: &File, path: &Path) -> rustix::io::Result<()> {
    let link = |to: &Path| linkat(CWD, descriptor(file), CWD, to, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Err(Errno::EXIST) => {
            let partial = name_beside(file, path)?;
            rustix::fs::rename(&partial, path).inspect_err(|_| {
                // That it could not be renamed is the failure to report.
                let _ = fs::remove_file(&partial);
            })
        }
        done => done,
    }
}

/// Is there a regular file with this digest?
///
/// # Errors
/// What the system says, for instance that there is none.
pub fn is_whole(path: &Path, digest: &Digest) -> io::Result<bool> {
    let mut file = match open_regular(path) {
        Err(e) if e.kind() == ErrorKind::InvalidInput => return Ok(false),
        file => file?,
    };
    let mut hasher = Hasher::with(digest.algorithm());
    io::copy(&mut file, &mut hasher)?;
    Ok(hasher.finish() == *digest)
}

/// Opens a regular file to read. A link is none, and what has to be waited for is not waited for.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when it is something else; what the system says.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let other = || io::Error::new(ErrorKind::InvalidInput, "it is no regular file");
    // A device may do something when it is opened.
    if !path.symlink_metadata()?.is_file() {
        return Err(other());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(other()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn two_writers_of_one_file_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        put_whole(&path, |outer| {
            outer.write_all(b"out")?;
            put_whole(&path, |inner| inner.write_all(b"inner"))?;
            assert_eq!(fs::read(&path)?, b"inner");
            outer.write_all(b"er")
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"outer");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_killed_writers_left_is_swept_and_what_others_write_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let blob = blobs.join("a".repeat(64));
        for path in [&blob, &dir.path().join("index.json"), &dir.path().join("notes")] {
            let (partial, held) = begin_beside(path).unwrap();
            sweep(dir.path());
            assert!(partial.exists(), "somebody is at work on {partial:?}");
            drop(held);
            sweep(dir.path());
            assert_eq!(partial.exists(), path.ends_with("notes"), "{partial:?}");
        }
        for kept in ["a.partial.b", &"a".repeat(64), &format!("{}.partial.b", "a".repeat(64))] {
            fs::write(blobs.join(kept), "").unwrap();
            sweep(dir.path());
            assert!(blobs.join(kept).exists(), "{kept}");
        }
        // A file that takes the place of another one has such a name for a moment, and keeps it then.
        if let Some(new) = nameless_beside(&blob) {
            let partial = name_beside(&new, &blob).unwrap();
            sweep(dir.path());
            assert!(partial.exists(), "somebody is about to put it in the place of {blob:?}");
            drop(new);
            sweep(dir.path());
            assert!(!partial.exists());
        }
        std::thread::scope(|s| {
            let writers: Vec<_> = (0..2)
                .map(|_| s.spawn(|| (0..200).try_for_each(|_| put_whole(&blob, |file| file.write_all(b"new")))))
                .collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                sweep(dir.path());
            }
            writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
        });
        assert_eq!(fs::read(&blob).unwrap(), b"new");
    }

    #[test]
    fn what_a_sweep_has_or_had_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let new = File::create_new(&path).unwrap();
        let sweeping = open_regular(&path).unwrap();
        flock(&sweeping, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(!is_held(&new).unwrap(), "it is about to be deleted");
        drop(sweeping);
        assert!(is_held(&new).unwrap());
        assert!(is_held(&new).unwrap(), "it stays so");
        fs::remove_file(&path).unwrap();
        assert!(!is_held(&new).unwrap(), "it was deleted");
    }

    #[test]
    fn nothing_is_seen_of_a_file_before_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (dir.path().join("file"), dir.path().join("beside"));
        let count = || fs::read_dir(dir.path()).unwrap().count();
        let failed = put_whole(&path, |file| file.write_all(b"half").and(Err(ErrorKind::TimedOut.into())));
        assert_eq!((failed.unwrap_err().kind(), count()), (ErrorKind::TimedOut, 0));
        let seen = usize::from(nameless_beside(&path).is_none());
        for content in [b"first", b"other"] {
            let before = count() + seen;
            put_whole(&path, |file| file.write_all(content).map(|()| assert_eq!(count(), before))).unwrap();
            assert_eq!((fs::read(&path).unwrap().as_slice(), count()), (content.as_slice(), 1));
        }
        // A new file like any other.
        fs::write(&beside, "").unwrap();
        assert_eq!(path.metadata().unwrap().permissions(), beside.metadata().unwrap().permissions());
        // A directory that is not there is no file: it is told at once.
        let never = |_: &mut File| -> io::Result<()> { panic!("there is nothing to write to") };
        put_whole(&dir.path().join("absent/"), never).unwrap_err();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        put_whole(&path, |file| file.write_all(b"no place")).unwrap_err();
        assert_eq!(count(), 2);
    }

    #[test]
    fn only_a_regular_file_is_read() {
        use rustix::fs::{FileType, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let (pipe, file, link) = (dir.path().join("pipe"), dir.path().join("file"), dir.path().join("link"));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::write(&file, "bytes").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let digest = Digest::sha256(b"bytes");
        assert_eq!([&pipe, &link, &file].map(|path| is_whole(path, &digest).unwrap()), [false, false, true]);
        // A blob that is a link becomes one of the layout's own.
        put_whole(&link, |file| file.write_all(b"other")).unwrap();
        assert_eq!((fs::read(&file).unwrap(), fs::read(&link).unwrap()), (b"bytes".to_vec(), b"other".to_vec()));
    }
}
