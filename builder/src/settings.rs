//! The files about registries that a machine has already: registries.conf and credentials.
//!
//! Takes places from flags and environment, gives parsed settings. Must never show what a
//! credential file holds.

use crate::cmd::Place;
use crate::env::RUN;
use crate::failure::{Exit, Failure};
use cooper_registry::RegistryError;
use cooper_registry::credentials::DockerConfig;
use cooper_registry::registries_conf::RegistriesConf;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Largest file of settings that is read, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Where the machine's own settings are.
const ETC: &str = "/etc/containers";

/// registries.conf: the file that a flag or variable names, else the user's, else the machine's;
/// the last two with the drop-ins beside them.
///
/// # Errors
/// When a file is malformed, or when the flag's is not there.
pub fn registries(place: &Place) -> Result<RegistriesConf, Failure> {
    if let Some(file) = &place.global.registries_conf {
        let missing = || Failure::usage(format!("there is no file {}", file.display()), "--registries-conf names it");
        return registries_file(place, file)?.ok_or_else(missing);
    }
    if let Some(file) = place.env.registries_conf() {
        return Ok(registries_file(place, file)?.unwrap_or_default());
    }
    with_drop_ins(place, place.env.user_registries_conf().as_deref(), &Path::new(ETC).join("registries.conf"))
}

fn with_drop_ins(place: &Place, user: Option<&Path>, machine: &Path) -> Result<RegistriesConf, Failure> {
    let user_file = user.map(|file| registries_file(place, file)).transpose()?.flatten();
    let mut conf = match user_file {
        Some(conf) => conf,
        None => registries_file(place, machine)?.unwrap_or_default(),
    };
    let folder = |file: &Path| file.with_extension("conf.d");
    let folder = user.map(folder).filter(|f| f.is_dir()).unwrap_or_else(|| folder(machine));
    for file in drop_ins(&folder)? {
        if let Some(later) = registries_file(place, &file)? {
            conf = conf.overlaid(later);
        }
    }
    Ok(conf)
}

/// The `*.conf` of a folder, in the order of their names.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |e| Failure::file(format!("listing {}", folder.display()), Exit::Usage, e);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if is_absence(&e) => return Ok(Vec::new()),
        Err(e) => return Err(cannot(e)),
    };
    let paths: Result<Vec<PathBuf>, _> = entries.map(|e| e.map(|e| e.path())).collect();
    let mut paths = paths.map_err(cannot)?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "conf"));
    paths.sort();
    Ok(paths)
}

fn registries_file(place: &Place, path: &Path) -> Result<Option<RegistriesConf>, Failure> {
    parsed(place, path, RegistriesConf::parse, "containers-registries.conf(5) says what may stand in it")
}

/// The variable that holds credentials itself, as errors and reports name it.
pub const VARIABLE: &str = "$DOCKER_AUTH_CONFIG";

/// Credentials, what wins first: of the environment, and of files. Files that are not there are passed over.
///
/// # Errors
/// When a file or the variable is malformed, or a file cannot be read.
pub fn credentials(place: &Place) -> Result<Vec<DockerConfig>, Failure> {
    let files = place.env.credential_files();
    let mut all: Vec<DockerConfig> =
        files.iter().filter_map(|f| credential_file(place, f).transpose()).collect::<Result<_, _>>()?;
    if let Some(given) = given_credentials(place)? {
        all.insert(if place.env.files_go_first() { all.len() } else { 0 }, given);
    }
    Ok(all)
}

/// The credentials in the environment; `None` when there are none.
///
/// # Errors
/// When they are malformed.
pub fn given_credentials(place: &Place) -> Result<Option<DockerConfig>, Failure> {
    let Some(text) = place.env.credentials() else { return Ok(None) };
    let parsed = DockerConfig::parse(text.expose()).map_err(|e| {
        let hint = "it holds the text of a config.json: {\"auths\":{\"REGISTRY\":{\"auth\":\"…\"}}}; unset it for the files alone";
        Failure::usage(format!("reading {VARIABLE}: {}", cause(e)), hint)
    })?;
    place.note(|| format!("settings {VARIABLE}"));
    Ok(Some(parsed.named(VARIABLE)))
}

/// One file of credentials; `None` when it is not there.
///
/// # Errors
/// As [`credentials`].
pub fn credential_file(place: &Place, path: &Path) -> Result<Option<DockerConfig>, Failure> {
    let parse = |text: &str| DockerConfig::parse(text).map(|file| file.named(&path.display().to_string()));
    parsed(place, path, parse, "put it right, or take it away and log in again with: cooper login REGISTRY")
}

fn parsed<T>(
    place: &Place,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, RegistryError>,
    hint: &str,
) -> Result<Option<T>, Failure> {
    let Some(text) = read(path)? else { return Ok(None) };
    let parsed = parse(&text).map_err(|e| Failure::usage(format!("reading {}: {}", path.display(), cause(e)), hint))?;
    place.note(|| format!("settings {}", path.display()));
    Ok(Some(parsed))
}

/// What is wrong, where the place is told already.
fn cause(e: RegistryError) -> String {
    match e {
        RegistryError::Config { cause, .. } => cause,
        other => other.to_string(),
    }
}

/// A file's text; `None` when there is no such file.
///
/// # Errors
/// When it cannot be read, or is larger than a file of settings is.
pub fn read(path: &Path) -> Result<Option<String>, Failure> {
    let cannot = |e| Failure::file(format!("reading {}", path.display()), Exit::Usage, e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if is_absence(&e) || is_anothers(&e, path) => return Ok(None),
        Err(e) => return Err(cannot(e)),
    };
    whole(file).map(Some).map_err(cannot)
}

/// A list that comes on standard input.
///
/// # Errors
/// As [`read`].
pub fn read_stdin() -> Result<String, Failure> {
    whole(std::io::stdin().lock()).map_err(|e| Failure::file("reading standard input", Exit::Usage, e))
}

fn whole(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

fn is_absence(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Nobody has named that place, so that what may not be read there concerns others: root of a user namespace finds the
/// real one's.
fn is_anothers(e: &std::io::Error, path: &Path) -> bool {
    e.kind() == ErrorKind::PermissionDenied && path.starts_with(RUN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file whose alias it is.
    fn winner(conf: &RegistriesConf) -> String {
        conf.aliases.follow("wins".parse().unwrap()).repository().to_owned()
    }

    #[test]
    fn files_are_laid_over_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str| {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("[aliases]\nwins = \"h.example/{file}\"")).unwrap();
        };
        let place = Place::bare();
        let (user, machine) = (dir.path().join("user/registries.conf"), dir.path().join("etc/registries.conf"));
        let found = || winner(&with_drop_ins(&place, Some(&user), &machine).unwrap());
        assert_eq!(found(), "library/wins");
        for (file, wins) in [
            ("etc/registries.conf", "etc/registries.conf"),
            ("user/registries.conf", "user/registries.conf"),
            ("etc/registries.conf.d/2.conf", "etc/registries.conf.d/2.conf"),
            ("etc/registries.conf.d/1.conf", "etc/registries.conf.d/2.conf"),
            ("etc/registries.conf.d/3.conf.bak", "etc/registries.conf.d/2.conf"),
            ("user/registries.conf.d/0.conf", "user/registries.conf.d/0.conf"),
        ] {
            write(file);
            assert_eq!(found(), wins, "{file}");
        }
    }

    #[test]
    fn a_malformed_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registries.conf");
        std::fs::write(&path, "[[registry]]\n").unwrap();
        let failure = registries_file(&Place::bare(), &path).unwrap_err();
        assert!(failure.to_string().contains("registries.conf"), "{failure}");
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(read(dir.path()).is_err());
    }

    #[test]
    fn what_others_have_where_nobody_pointed_to_is_passed_over() {
        for (kind, path, passed) in [
            (ErrorKind::PermissionDenied, "/run/containers/0/auth.json", true),
            (ErrorKind::PermissionDenied, "/run/user/1000/containers/auth.json", false),
            (ErrorKind::IsADirectory, "/run/containers/0/auth.json", false),
        ] {
            assert_eq!(is_anothers(&kind.into(), Path::new(path)), passed, "{kind} {path}");
        }
    }
}
