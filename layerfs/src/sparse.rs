//! Bytes of a file copied without those that it has not: what a file calls a hole is one in the copy too, and so is what
//! a tar, which knows no holes, has zeros for.
//!
//! Takes two open files, the second one empty, or one and its bytes. Must never make a small file on the disk a large
//! one.

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

/// So many bytes are copied between two looks at whether anybody still wants them.
const PIECE: u64 = 16 << 20;

/// So many bytes are looked at together.
const LOOK: usize = 64 << 10;
/// So many zeros at least begin a hole: less than a block of the disk could not be one.
const LEAST: usize = 4 << 10;

/// Writes an empty file from its beginning to its end, and nothing where there are only zeros.
pub(crate) struct Writer<'f> {
    file: &'f mut File,
    /// How many zeros at the end are not written.
    skipped: u64,
}

impl<'f> Writer<'f> {
    pub(crate) fn new(file: &'f mut File) -> Self {
        Self { file, skipped: 0 }
    }

    /// The next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(LOOK) {
            if (piece.len() >= LEAST || self.skipped > 0) && piece.iter().all(|byte| *byte == 0) {
                self.skipped += piece.len() as u64;
                continue;
            }
            self.advance()?;
            self.file.write_all(piece)?;
        }
        Ok(())
    }

    /// After the last bytes.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.advance()? {
            Some(end) => self.file.set_len(end),
            None => Ok(()),
        }
    }

    /// Goes over what was not written; gives where that is.
    fn advance(&mut self) -> io::Result<Option<u64>> {
        match std::mem::take(&mut self.skipped) {
            0 => Ok(None),
            skipped => self
                .file
                .seek_relative(i64::try_from(skipped).map_err(io::Error::other)?)
                .and_then(|()| self.file.stream_position())
                .map(Some),
        }
    }
}

/// Copies all of it, holes as holes where the file system tells of them (lseek(2), `SEEK_DATA`). `go_on` is asked now and
/// then, and its error ends the copy.
pub(crate) fn copy(from: &File, to: &mut File, go_on: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
    let mut end = 0;
    loop {
        let begin = match seek(from, SeekFrom::Data(end)) {
            Ok(begin) => begin,
            // Behind the last of its bytes.
            Err(Errno::NXIO) => break,
            // It knows of no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => end,
            Err(error) => return Err(error.into()),
        };
        let hole = match seek(from, SeekFrom::Hole(begin)) {
            Ok(hole) => hole,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => from.metadata()?.len(),
            Err(error) => return Err(error.into()),
        };
        if hole <= begin {
            break;
        }
        seek(from, SeekFrom::Start(begin))?;
        seek(&*to, SeekFrom::Start(begin))?;
        let mut left = hole - begin;
        while left > 0 {
            let copied = io::copy(&mut from.take(PIECE.min(left)), to)?;
            go_on()?;
            // It became shorter meanwhile.
            if copied == 0 {
                return Ok(());
            }
            left -= copied;
        }
        end = hole;
    }
    to.set_len(from.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn zeros_are_not_written_and_all_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let zeros = vec![0; 3 * LOOK];
        for (number, (parts, most)) in [
            (vec![&b"front"[..], &zeros, &zeros, b"end"], 2),
            (vec![&zeros[..]], 0),
            (vec![&zeros[..], &zeros[..LEAST / 2]], 0),
            (vec![&b"text"[..]], 1),
            (vec![], 0),
        ]
        .into_iter()
        .enumerate()
        {
            let path = dir.path().join(number.to_string());
            let mut file = File::create_new(&path).unwrap();
            let mut writer = Writer::new(&mut file);
            parts.iter().for_each(|part| writer.write(part).unwrap());
            writer.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == parts.concat(), "{number}");
            let blocks = file.metadata().unwrap().blocks() * 512;
            assert!(blocks <= most * LEAST as u64, "{number}: {blocks}");
        }
    }

    #[test]
    fn holes_stay_holes_and_bytes_stay_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (name, parts, length) in [
            ("empty", &[][..], 0),
            ("hole", &[], 1 << 30),
            ("front", &[(0, "front")], 1 << 30),
            ("middle", &[(1 << 20, "a"), (1 << 29, "b")], 1 << 30),
            ("end", &[((1 << 30) - 3, "end")], 1 << 30),
            ("whole", &[(0, "all of it")], 9),
        ] {
            let mut from = File::create_new(path(name)).unwrap();
            for (at, text) in parts {
                from.seek(io::SeekFrom::Start(*at)).unwrap();
                from.write_all(text.as_bytes()).unwrap();
            }
            from.set_len(length).unwrap();
            let (from, copied) = (File::open(path(name)).unwrap(), path(&format!("{name}-copy")));
            copy(&from, &mut File::create_new(&copied).unwrap(), &|| Ok(())).unwrap();
            let mut to = File::open(&copied).unwrap();
            let is = to.metadata().unwrap();
            assert_eq!(is.len(), length, "{name}");
            assert!(is.blocks() * 512 <= 64 << 10, "{name}: {} blocks", is.blocks());
            for (at, text) in parts {
                let mut found = vec![0; text.len()];
                to.seek(io::SeekFrom::Start(*at)).unwrap();
                to.read_exact(&mut found).unwrap();
                assert_eq!(found, text.as_bytes(), "{name}");
            }
        }
        let stopped = || Err(io::ErrorKind::Interrupted.into());
        let from = File::open(path("whole")).unwrap();
        assert!(copy(&from, &mut File::create_new(path("stopped")).unwrap(), &stopped).is_err());
    }
}
