//! Changes the file that logins are kept in.
//!
//! Takes its path and what becomes of its text. The new file takes the old one's place whole, with mode 0600; whoever
//! changes it at the same time waits. Must never show what the file holds.

use crate::failure::{Exit, Failure};
use crate::settings;
use cooper_registry::RegistryError;
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Was the file changed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was written.
    Yes,
    /// There was nothing to change.
    No,
}

/// Changes the file. `edit` takes its text, which is empty when it is not there, and gives the new one, or `None` when
/// it is to stay.
///
/// # Errors
/// What `edit` says, and when the file or its directory cannot be written.
pub fn change(
    path: &Path,
    edit: impl FnOnce(&str) -> Result<Option<String>, RegistryError>,
) -> Result<Changed, Failure> {
    // People keep such files elsewhere and link to them: the link stays, and the file behind it is changed.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let cannot = |what: &str, e: std::io::Error| Failure::file(format!("{what} {}", path.display()), Exit::Storage, e);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| cannot("making the directory of", e))?;
    // Kept until the end; the kernel gives it back however this process ends.
    let lock = File::open(&folder).map_err(|e| cannot("opening the directory of", e))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|e| cannot("locking the directory of", e.into()))?;
    let before = settings::read(&path)?.unwrap_or_default();
    let edited = edit(&before);
    let edited = edited.map_err(|e| Failure::file(format!("changing {}", path.display()), Exit::Usage, e))?;
    let Some(text) = edited else { return Ok(Changed::No) };
    replace(&path, &folder, &text).map_err(|e| cannot("writing", e))?;
    lock.sync_all().map_err(|e| cannot("writing", e))?;
    Ok(Changed::Yes)
}

/// Writes beside the file, and takes its place.
fn replace(path: &Path, folder: &Path, text: &str) -> std::io::Result<()> {
    let beside = folder.join(format!(".cooper-login-{}", std::process::id()));
    // What a killed process of the same number left; another living one waits for the lock.
    match std::fs::remove_file(&beside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| {
        // It holds secrets, and the failure that is told is the first one.
        let _ = std::fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn listed(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
        names.collect()
    }

    #[test]
    fn it_is_private_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.json");
        let append = |text: &str| change(&path, |old| Ok(Some(format!("{old}{text}"))));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(append("a").unwrap(), Changed::Yes);
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(append("b").unwrap(), Changed::Yes);
        assert_eq!((mode(&path), std::fs::read_to_string(&path).unwrap().as_str()), (0o600, "ab"));
        assert_eq!(change(&path, |_| Ok(None)).unwrap(), Changed::No);
        assert_eq!(listed(path.parent().unwrap()), ["config.json"]);
    }

    #[test]
    fn a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (link, real) = (dir.path().join("config.json"), dir.path().join("kept/real.json"));
        std::fs::create_dir(dir.path().join("kept")).unwrap();
        std::fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink("kept/real.json", &link).unwrap();
        change(&link, |_| Ok(Some("new".to_owned()))).unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "new");
    }

    #[test]
    fn nothing_is_lost_when_several_change_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || change(path, |old| Ok(Some(format!("{old}{n}")))).unwrap());
            }
        });
        let mut all: Vec<char> = std::fs::read_to_string(&path).unwrap().chars().collect();
        all.sort_unstable();
        assert_eq!(all, ['0', '1', '2', '3', '4', '5', '6', '7']);
    }

    #[test]
    fn an_edit_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, "old").unwrap();
        let wrong = RegistryError::Config { what: "credential file".to_owned(), cause: "malformed".to_owned() };
        let failure = change(&path, |_| Err(wrong)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert!(change(dir.path(), |_| Ok(None)).is_err(), "a directory is no file");
    }
}
