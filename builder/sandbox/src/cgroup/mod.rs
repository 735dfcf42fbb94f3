//! Limits of a whole step (memory, processor time, processes): a control group of its own, below that of this process.
//!
//! Takes what may be used; gives the directories that the step's first process joins, and afterwards whether memory ran
//! out. Each group is locked as long as its owner lives, so that the next one deletes what a dead one left. Must never
//! start a step with less of a limit than was asked for: what cannot be kept is an error that names what is missing.

mod places;
mod values;

pub(crate) use places::probe;

use crate::SandboxError;
use crate::spec::Resources;
use places::{Controller, Place, Version};
use std::fs::{DirBuilder, File, TryLockError};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Beginning of the names of all groups that Cooper makes.
const PREFIX: &str = "cooper-step-";
/// How long the end of a group is waited for: its last processes are dead, and may not be buried yet.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);
/// Times that another name is tried when somebody was faster.
const ATTEMPTS: usize = 16;

/// The control group of one step, in one or more hierarchies. Deleted on drop.
#[derive(Debug)]
pub(crate) struct Group {
    members: Vec<Member>,
}

/// A directory of one hierarchy.
#[derive(Debug)]
struct Member {
    version: Version,
    controllers: Vec<Controller>,
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Group {
    /// A group with these limits, empty; nothing when there is nothing to limit.
    pub(crate) fn new(wanted: &Resources) -> Result<Option<Self>, SandboxError> {
        let controllers = values::controllers(wanted);
        if controllers.is_empty() {
            return Ok(None);
        }
        let mut group = Self { members: Vec::new() };
        for Place { version, dir, controllers } in places::places(&controllers)? {
            sweep(&dir);
            let made = make(&dir).map_err(|e| places::refused(&dir, controllers[0], version, &e))?;
            group.members.push(Member { version, controllers, path: made.0, _lock: made.1 });
        }
        for member in &group.members {
            for controller in &member.controllers {
                for value in values::values(wanted, *controller, member.version) {
                    value.write(&member.path)?;
                }
            }
        }
        Ok(Some(group))
    }

    /// What a process joins.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.members.iter().map(|m| m.path.clone()).collect()
    }

    /// Was a process of the step killed because there was no memory left for it?
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let of_memory = self.members.iter().find(|m| m.controllers.contains(&Controller::Memory));
        of_memory.is_some_and(|member| {
            let file = match member.version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events",
            };
            let text = std::fs::read_to_string(member.path.join(file)).unwrap_or_default();
            count(&text, "oom_kill") > 0
        })
    }
}

/// A number of a file with a name and a number in each line.
fn count(text: &str, name: &str) -> u64 {
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(of).unwrap_or(0)
}

impl Drop for Group {
    fn drop(&mut self) {
        for member in &self.members {
            let since = Instant::now();
            while let Err(error) = std::fs::remove_dir(&member.path) {
                if error.kind() == ErrorKind::NotFound {
                    break;
                }
                if since.elapsed() > PATIENCE {
                    tracing::warn!(path = %member.path.display(), %error, "a control group could not be deleted");
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Opens the ways into groups, for [`join`].
pub(crate) fn ways_in(directories: &[PathBuf]) -> io::Result<Vec<File>> {
    directories.iter().map(|dir| File::options().write(true).open(dir.join("cgroup.procs"))).collect()
}

/// Makes this process a member of the groups; what it starts is born into them.
pub(crate) fn join(ways_in: &[File]) -> io::Result<()> {
    ways_in.iter().try_for_each(|mut way| way.write_all(b"0"))
}

/// A directory with a name of its own, locked.
fn make(parent: &Path) -> io::Result<(PathBuf, File)> {
    for _ in 0..ATTEMPTS {
        let number = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let path = parent.join(format!("{PREFIX}{number:016x}"));
        match DirBuilder::new().create(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
            other => other?,
        }
        // Between both somebody may have taken it for a dead one's.
        if let Some(lock) = lock(&path)? {
            return Ok((path, lock));
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// The lock of a directory that still has its name, when nobody has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(e),
        Ok(()) => {}
    }
    let (held, named) = (file.metadata()?, std::fs::symlink_metadata(path));
    let same = named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()));
    Ok(same.then_some(file))
}

/// Deletes what dead processes left. What cannot go now goes another time.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let path = entry.path();
        if let Ok(Some(_lock)) = lock(&path)
            && let Err(error) = std::fs::remove_dir(&path)
        {
            tracing::debug!(path = %path.display(), %error, "what an ended process left is still in use");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!((count(events, "oom_kill"), count(events, "oom"), count(events, "absent")), (2, 3, 0));
        assert_eq!(count("oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", "oom_kill"), 0);
        assert_eq!(count("", "oom_kill"), 0);
    }

    #[test]
    fn what_dead_ones_left_is_deleted_and_what_lives_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (living, _lock) = make(dir.path()).unwrap();
        let (dead, lock) = make(dir.path()).unwrap();
        drop(lock);
        std::fs::create_dir(dir.path().join("another")).unwrap();
        sweep(dir.path());
        assert!(living.exists() && !dead.exists() && dir.path().join("another").exists());
    }
}
