//! Users and rules of a registry, read when it starts and again when their files change or somebody sends SIGHUP.
//!
//! Must never: put into force what is wrong or half written. Then what was read before stays, and it is said why.

use crate::failure::{Exit, Failure};
use crate::{report, ui};
use cooper_registry_server::{Access, AccessControl, Rules, Users};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::task::block_in_place;

/// How often it is looked whether a file has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Where users and rules are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessFiles {
    /// Lines of htpasswd.
    pub users: PathBuf,
    /// Lines of rules.
    pub rules: Option<PathBuf>,
}

impl AccessFiles {
    /// Reads both.
    ///
    /// # Errors
    /// With the line that is wrong.
    pub fn read(&self) -> Result<Access, Failure> {
        let wrong = |path: &Path, e| Failure::file(format!("reading {}", path.display()), Exit::Usage, e);
        let users = Users::parse(&text(&self.users)?).map_err(|e| wrong(&self.users, e))?;
        let rules = match &self.rules {
            Some(rules) => Rules::parse(&text(rules)?, &users).map_err(|e| wrong(rules, e))?,
            None => Rules::default(),
        };
        Ok(Access { users, rules })
    }

    /// By what a change is noticed.
    fn prints(&self) -> Vec<Option<Print>> {
        std::iter::once(&self.users).chain(&self.rules).map(|path| Print::of(path)).collect()
    }
}

/// What a file looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of its last change, which nobody can set.
    changed: (i64, i64),
}

impl Print {
    fn of(path: &Path) -> Option<Self> {
        let is = std::fs::metadata(path).ok()?;
        Some(Self { inode: is.ino(), size: is.size(), changed: (is.ctime(), is.ctime_nsec()) })
    }
}

/// Files that are watched.
pub struct Watched {
    files: AccessFiles,
    access: AccessControl,
    /// As they were when they were last read.
    read: Vec<Option<Print>>,
    /// As they were at the last look: what still changes is being written.
    last: Vec<Option<Print>>,
}

impl Watched {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As [`AccessFiles::read`].
    pub fn begin(files: AccessFiles) -> Result<Self, Failure> {
        // Before they are read, so that no change is overlooked.
        let prints = files.prints();
        let access = AccessControl::new(files.read()?);
        Ok(Self { files, access, read: prints.clone(), last: prints })
    }

    /// What is in force.
    pub fn access(&self) -> AccessControl {
        self.access.clone()
    }

    /// Reads again whenever there is reason to, for as long as it is awaited.
    pub async fn watch(mut self, mut hangup: Signal) {
        let mut clock = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = clock.tick() => block_in_place(|| self.look()),
                _ = hangup.recv() => block_in_place(|| self.read_again()),
            }
        }
    }

    /// Reads again when something has changed and rests.
    fn look(&mut self) {
        let now = self.files.prints();
        let rests = std::mem::replace(&mut self.last, now.clone()) == now;
        if rests && self.read != now {
            self.read_again();
        }
    }

    fn read_again(&mut self) {
        self.read = self.files.prints();
        match self.files.read() {
            Ok(access) => {
                self.access.replace(access);
                ui::say("users and rules were read again");
            }
            Err(failure) => {
                let why = report::line(&failure);
                ui::say(&format!("warning: {why}; users and rules stay what they were"));
            }
        }
    }
}

/// A file whole.
///
/// # Errors
/// What the system says.
pub fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::file(format!("reading {}", path.display()), Exit::Usage, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_rests() {
        let dir = tempfile::tempdir().unwrap();
        let (users, rules) = (dir.path().join("users"), dir.path().join("rules"));
        std::fs::write(&users, "").unwrap();
        std::fs::write(&rules, "").unwrap();
        let files = AccessFiles { users, rules: Some(rules.clone()) };
        let mut watched = Watched::begin(files).unwrap();
        let before = watched.read.clone();
        watched.look();
        assert_eq!(watched.read, before);
        std::fs::write(&rules, "anonymous read **\n").unwrap();
        watched.look();
        assert_eq!(watched.read, before, "it may be half written");
        std::fs::write(&rules, "anonymous read **\n* read **\n").unwrap();
        watched.look();
        assert_eq!(watched.read, before, "it is being written");
        watched.look();
        assert_eq!(watched.read, watched.files.prints());
        // One that is wrong is not read again and again.
        std::fs::remove_file(&rules).unwrap();
        watched.look();
        watched.look();
        assert_eq!(watched.read[1], None);
    }
}
