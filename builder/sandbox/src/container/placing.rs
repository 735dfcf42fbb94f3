//! Things put into a root that is one directory, in place of what is there, and taken out of it again.
//!
//! A place is found as a process inside would find it, by descriptors of the root. What lies there waits aside. Directories
//! that are missing are made, and go again when they are empty. Afterwards each thing is taken from where it is by then,
//! and what waited comes back to the directory that held it, wherever the step has moved that. Times of directories are
//! left as they were.
//!
//! Must never: look up a name again that the step could have changed, other than in a held directory.

use crate::mount_api::{inside, on_host, plainly_inside};
use crate::provided::{DEPTH, LINKS, keeping_time, path_of};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
const THING: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A name in a directory of the root.
pub(super) struct Place {
    pub parent: OwnedFd,
    pub name: OsString,
    /// Below the root, without links.
    pub path: PathBuf,
}

impl Place {
    /// What is there.
    pub(super) fn found(&self) -> rustix::io::Result<Option<Stat>> {
        found(&self.parent, &self.name)
    }
}

/// Where a thing goes afterwards.
pub(super) enum Home {
    /// Aside, to be thrown away.
    None,
    /// Back into the directory of the host, by changing places with what stands there for it. Nobody else may have that
    /// as long as the file is open.
    Lent(PathBuf, File),
}

/// All that was put into a root.
pub(super) struct Placing<'a> {
    root: &'a OwnedFd,
    /// For what makes way, and for what is taken out.
    aside: &'a OwnedFd,
    done: Vec<Done>,
}

enum Done {
    /// A directory that had to be made.
    Made { parent: OwnedFd, name: OsString },
    /// A thing that was put somewhere.
    Put { parent: OwnedFd, name: OsString, thing: OwnedFd, original: Option<String>, home: Home },
}

impl<'a> Placing<'a> {
    pub(super) fn new(root: &'a OwnedFd, aside: &'a OwnedFd) -> Self {
        Self { root, aside, done: Vec::new() }
    }

    /// The place that a path leads to, whether something is there or not; directories that are missing are made.
    pub(super) fn place(&mut self, path: &str) -> io::Result<Place> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            match inside(self.root.as_fd(), &path, OFlags::PATH) {
                Err(Errno::NOENT) => {}
                known => return self.known(&known?),
            }
            let (above, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", &path));
            if matches!(name, "" | "." | "..") {
                return Err(Errno::ISDIR.into());
            }
            let parent = self.directory(if above.is_empty() { "/" } else { above }, DEPTH)?;
            match rustix::fs::readlinkat(&parent, name, Vec::new()) {
                Ok(link) => {
                    let link = link.into_string().map_err(|_| Errno::ILSEQ)?;
                    path = if link.starts_with('/') { link } else { format!("{above}/{link}") };
                }
                Err(Errno::NOENT) => {
                    let path = self.below_root(&parent)?.join(name);
                    return Ok(Place { parent, name: name.into(), path });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Where something is that is there.
    fn known(&self, thing: &OwnedFd) -> io::Result<Place> {
        let path = self.below_root(thing)?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return Err(io::Error::other("it leads to the root, where nothing can be mounted"));
        };
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = plainly_inside(self.root.as_fd(), above, DIRECTORY)?;
        Ok(Place { parent, name, path })
    }

    fn below_root(&self, fd: &OwnedFd) -> io::Result<PathBuf> {
        let (top, at) = (path_of(self.root.as_fd())?, path_of(fd.as_fd())?);
        at.strip_prefix(&top).map(Path::to_owned).map_err(io::Error::other)
    }

    fn directory(&mut self, path: &str, depth: usize) -> io::Result<OwnedFd> {
        match inside(self.root.as_fd(), path, DIRECTORY) {
            Err(Errno::NOENT) if depth > 0 => {}
            other => return Ok(other?),
        }
        let (above, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory(if above.is_empty() { "/" } else { above }, depth - 1)?;
        keeping_time(&parent, || rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)))?;
        self.done.push(Done::Made { parent, name: name.into() });
        Ok(inside(self.root.as_fd(), path, DIRECTORY)?)
    }

    /// Puts a thing there, which `make` makes; what is there goes aside. The umask must be zero.
    pub(super) fn put(
        &mut self,
        place: Place,
        home: Home,
        make: impl FnOnce(&OwnedFd, &OsStr) -> rustix::io::Result<()>,
    ) -> io::Result<()> {
        let Place { parent, name, .. } = place;
        let waiting = format!("original-{}", self.done.len());
        let mut original = None;
        keeping_time(&parent, || {
            match rustix::fs::renameat(&parent, &name, self.aside, &waiting) {
                Ok(()) => original = Some(waiting),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
            make(&parent, &name)
        })?;
        let thing = rustix::fs::openat(&parent, &name, THING, Mode::empty())?;
        self.done.push(Done::Put { parent, name, thing, original, home });
        Ok(())
    }

    /// Takes everything out again, the last first, whatever the step has made of it. What it removed together with the
    /// directory that held it stays removed.
    pub(super) fn take_back(self) -> io::Result<()> {
        for (number, done) in self.done.into_iter().enumerate().rev() {
            let (parent, name, thing, original, home) = match done {
                Done::Made { parent, name } => {
                    remove_empty(&parent, &name)?;
                    continue;
                }
                Done::Put { parent, name, thing, original, home } => (parent, name, thing, original, home),
            };
            match (where_is(&thing, &parent, &name)?, home) {
                (Some((parent, name)), Home::Lent(home, _lock)) => {
                    let flags = RenameFlags::EXCHANGE;
                    keeping_time(&parent, || {
                        rustix::fs::renameat_with(&parent, &name, CWD, &home, flags)?;
                        rustix::fs::renameat(&parent, &name, self.aside, format!("stood-{number}"))
                    })?;
                }
                (Some((parent, name)), Home::None) => {
                    let to = format!("put-{number}");
                    keeping_time(&parent, || rustix::fs::renameat(&parent, &name, self.aside, to))?;
                }
                (None, _) => {}
            }
            // What the step has put into the place is lost, as all that it writes there.
            keeping_time(&parent, || {
                absent(rustix::fs::renameat(&parent, &name, self.aside, format!("instead-{number}")))?;
                let Some(original) = original else { return Ok(()) };
                absent(rustix::fs::renameat_with(self.aside, original, &parent, &name, RenameFlags::NOREPLACE))
            })?;
        }
        Ok(())
    }
}

fn absent(done: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn remove_empty(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    keeping_time(parent, || match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        // The step put something into it, or made something else of it: it is the step's now.
        Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => Ok(()),
        other => other,
    })
}

fn found(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some),
    }
}

/// The directory in which a thing is now, and its name there; nothing when it was removed. Nobody may change names
/// meanwhile.
fn where_is(thing: &OwnedFd, parent: &OwnedFd, name: &OsStr) -> io::Result<Option<(OwnedFd, OsString)>> {
    let wanted = rustix::fs::fstat(thing)?;
    let is = |parent: &OwnedFd, name: &OsStr| -> rustix::io::Result<bool> {
        Ok(found(parent, name)?.is_some_and(|stat| (stat.st_dev, stat.st_ino) == (wanted.st_dev, wanted.st_ino)))
    };
    if is(parent, name)? {
        return Ok(Some((parent.try_clone()?, name.to_owned())));
    }
    // It was moved, or removed. The kernel knows where to; that way has no links.
    let path = path_of(thing.as_fd())?;
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let above = above.strip_prefix("/").map_err(io::Error::other)?;
    let top = on_host("/".as_ref())?;
    match plainly_inside(top.as_fd(), above, DIRECTORY) {
        Ok(parent) if is(&parent, name)? => Ok(Some((parent, name.to_owned()))),
        // The name of what was removed is followed by a word of the kernel's, and may be anything by now.
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
