//! Certificates for single registries: `certs.d` as docker and podman have it, and `--registry-ca`.
//!
//! Takes places from flags and environment, gives PEM as it is. Must never show what a key holds.

use crate::cmd::Place;
use crate::failure::{Exit, Failure};
use cooper_registry::HostCertificates;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Largest certificate file that is read, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// The machine's own places, the one that wins first (containers-certs.d(5)).
const MACHINE: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Certificates by registry: what flags say, then what the first directory for each registry holds.
///
/// # Errors
/// When a file cannot be read, or a certificate has no key.
pub fn certificates(place: &Place) -> Result<Vec<HostCertificates>, Failure> {
    let mut found = Vec::new();
    for (host, file) in &place.global.registry_authorities {
        let authorities = vec![read(file)?];
        found.push(HostCertificates { host: host.clone(), authorities, identity: None });
    }
    let mut places: Vec<PathBuf> = place.env.user_certificates().into_iter().collect();
    places.extend(MACHINE.iter().map(PathBuf::from));
    let mut dirs = BTreeMap::new();
    for dir in places {
        for (host, path) in hosts(&dir) {
            dirs.entry(host).or_insert(path);
        }
    }
    for (host, dir) in dirs {
        if let Some(certificates) = directory(&host, &dir)? {
            place.note(|| format!("certificates {}", dir.display()));
            found.push(certificates);
        }
    }
    Ok(found)
}

/// The directories of a `certs.d`. One that may not be looked at holds nothing for this user.
fn hosts(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|e| e.path().is_dir());
    dirs.filter_map(|e| Some((e.file_name().into_string().ok()?, e.path()))).collect()
}

fn directory(host: &str, dir: &Path) -> Result<Option<HostCertificates>, Failure> {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return Ok(None),
        Err(e) => return Err(Failure::file(format!("listing {}", dir.display()), Exit::Usage, e)),
    };
    files.sort();
    let mut found = HostCertificates { host: host.to_owned(), ..HostCertificates::default() };
    for file in files {
        match file.extension().and_then(|e| e.to_str()) {
            Some("crt") => found.authorities.push(read(&file)?),
            Some("cert") if found.identity.is_none() => {
                let key = file.with_extension("key");
                if !key.exists() {
                    return Err(Failure::usage(
                        format!("{} has no key", file.display()),
                        format!("put it into {}; a certificate authority is called *.crt", key.display()),
                    ));
                }
                let mut both = read(&file)?;
                both.push(b'\n');
                both.extend(read(&key)?);
                found.identity = Some(both);
            }
            _ => {}
        }
    }
    Ok(Some(found))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = |e| Failure::file(format!("reading {}", path.display()), Exit::Usage, e);
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(FILE_BYTES).read_to_end(&mut bytes)).map_err(cannot)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_read_as_their_manual_says() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("r.example:5000");
        std::fs::create_dir(&at).unwrap();
        for (name, text) in [("b.crt", "B"), ("a.crt", "A"), ("me.cert", "C"), ("me.key", "K"), ("README", "x")] {
            std::fs::write(at.join(name), text).unwrap();
        }
        let [(host, path)] = &hosts(dir.path())[..] else { panic!("one host") };
        let found = directory(host, path).unwrap().unwrap();
        assert_eq!((found.host.as_str(), found.authorities), ("r.example:5000", vec![b"A".to_vec(), b"B".to_vec()]));
        assert_eq!(found.identity, Some(b"C\nK".to_vec()));
        std::fs::remove_file(at.join("me.key")).unwrap();
        assert!(directory(host, path).unwrap_err().to_string().contains("has no key"));
        assert!(hosts(&dir.path().join("none")).is_empty());
    }
}
