//! resolv.conf and hosts of a step in a chroot: plain files in place of the image's, which wait aside and come back.
//!
//! The place is found as a process inside would find it, by descriptors of the root. Afterwards the place is where the
//! directory is that held it, wherever the step has moved it. Times of directories are left as they were.

use super::OWN_NAMES;
use crate::mount_api::inside;
use crate::protocol::{At, Fault, Stage};
use crate::provided::{DEPTH, LINKS, files, keeping_time, path_of};
use crate::spec::Surroundings;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// What was put into the root.
#[derive(Default)]
pub(super) struct Provided {
    files: Vec<Put>,
    /// Directories that had to be made, each with the one that holds it.
    made: Vec<(OwnedFd, String)>,
}

struct Put {
    parent: OwnedFd,
    name: String,
    /// What the image's file is called where it waits, if there is one.
    original: Option<String>,
}

/// Puts the files into the root. The umask must be zero.
pub(super) fn put(root: &OwnedFd, aside: &OwnedFd, around: &Surroundings) -> Result<Provided, Fault> {
    let own = rustix::system::uname();
    let mut provided = Provided::default();
    for (path, content) in files(around, &own.nodename().to_string_lossy())? {
        provided.one(root, aside, path, &content).at(Stage::Files, path)?;
    }
    Ok(provided)
}

impl Provided {
    fn one(&mut self, root: &OwnedFd, aside: &OwnedFd, path: &str, content: &[u8]) -> io::Result<()> {
        let Some((parent, name)) = self.place(root, path)? else { return Ok(()) };
        let waiting = format!("original-{}", self.files.len());
        let mut original = None;
        keeping_time(&parent, || {
            match rustix::fs::renameat(&parent, &name, aside, &waiting) {
                Ok(()) => original = Some(waiting),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o644))?;
            File::from(file).write_all(content).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
        })?;
        self.files.push(Put { parent, name, original });
        Ok(())
    }

    /// The directory and the name that a path leads to; directories that are missing are made. Nothing when it leads
    /// into what the sandbox makes itself (`/dev/null`, say): that stays as the image wants it.
    fn place(&mut self, root: &OwnedFd, path: &str) -> io::Result<Option<(OwnedFd, String)>> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if matches!(name, "" | "." | "..") {
                return Err(Errno::ISDIR.into());
            }
            let parent = self.directory(root, if above.is_empty() { "/" } else { above }, DEPTH)?;
            let (top, at) = (path_of(root.as_fd())?, path_of(parent.as_fd())?);
            let relative = at.strip_prefix(&top).map_err(io::Error::other)?;
            if OWN_NAMES.iter().any(|own| relative.starts_with(own)) {
                return Ok(None);
            }
            match rustix::fs::readlinkat(&parent, name, Vec::new()) {
                Ok(link) => {
                    let link = link.into_string().map_err(|_| Errno::ILSEQ)?;
                    path = if link.starts_with('/') { link } else { format!("{above}/{link}") };
                }
                Err(Errno::NOENT | Errno::INVAL) => return Ok(Some((parent, name.to_owned()))),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::LOOP.into())
    }

    fn directory(&mut self, root: &OwnedFd, path: &str, depth: usize) -> io::Result<OwnedFd> {
        match inside(root.as_fd(), path, DIRECTORY) {
            Err(Errno::NOENT) if depth > 0 => {}
            other => return Ok(other?),
        }
        let (above, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory(root, if above.is_empty() { "/" } else { above }, depth - 1)?;
        keeping_time(&parent, || rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)))?;
        self.made.push((parent, name.to_owned()));
        Ok(inside(root.as_fd(), path, DIRECTORY)?)
    }

    /// Puts the image's files back, whatever the step has made of their places. What it removed with the directory
    /// stays removed.
    pub(super) fn take_back(self, aside: &OwnedFd) -> io::Result<()> {
        for (number, Put { parent, name, original }) in self.files.iter().enumerate() {
            let absent = |done| match done {
                Err(Errno::NOENT) => Ok(()),
                other => other,
            };
            keeping_time(parent, || {
                absent(rustix::fs::renameat(parent, name, aside, format!("provided-{number}")))?;
                match original {
                    Some(file) => absent(rustix::fs::renameat_with(aside, file, parent, name, RenameFlags::NOREPLACE)),
                    None => Ok(()),
                }
            })?;
        }
        for (parent, name) in self.made.iter().rev() {
            keeping_time(parent, || match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                // The step put something into it, or made something else of it: it is the step's now.
                Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => Ok(()),
                other => other,
            })?;
        }
        Ok(())
    }
}
