//! Certificates for single registries: `certs.d` as docker and podman have it, and `--registry-ca`.
//!
//! Takes places from flags and environment, gives PEM as it is. Must never show what a key holds.

use crate::cmd::Place;
use crate::failure::{Exit, Failure};
use cooper_registry::{Authority, HostCertificates};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Largest certificate file that is read, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// The machine's own places, the one that wins first (containers-certs.d(5)).
const MACHINE: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Certificates by registry: what flags say, then what the first directory for each registry holds. What is wrong in
/// such a directory is a matter of its registry alone.
///
/// # Errors
/// When a file that a flag names cannot be read.
pub fn certificates(place: &Place) -> Result<Vec<HostCertificates>, Failure> {
    let mut found = Vec::new();
    for (host, file) in &place.global.registry_authorities {
        let cannot = |e| Failure::file(format!("reading {}", file.display()), Exit::Usage, e);
        let authorities = vec![authority(file).map_err(cannot)?];
        found.push(HostCertificates { host: host.clone(), authorities, ..HostCertificates::default() });
    }
    let mut places: Vec<PathBuf> = place.env.user_certificates().into_iter().collect();
    places.extend(MACHINE.iter().map(PathBuf::from));
    for (dir, certificates) in below(&places) {
        place.note(|| match &certificates {
            Some(_) => format!("certificates {}", dir.display()),
            None => format!("certificates {} are not used: this user may not list them", dir.display()),
        });
        found.extend(certificates);
    }
    Ok(found)
}

/// For each host what the first of these `certs.d` that knows it holds, and where: nothing where the user may not look.
fn below(places: &[PathBuf]) -> Vec<(PathBuf, Option<HostCertificates>)> {
    let (mut dirs, mut closed) = (BTreeMap::new(), Vec::new());
    for place in places {
        match hosts(place) {
            Ok(hosts) => {
                for (host, path) in hosts {
                    dirs.entry(host).or_insert(path);
                }
            }
            Err(e) if e.kind() == ErrorKind::PermissionDenied => closed.push((place.clone(), None)),
            // Mostly there is none.
            Err(_) => {}
        }
    }
    let read = |(host, dir): (String, PathBuf)| {
        let found = directory(&dir);
        let unusable = |wrong| Some(HostCertificates { unusable: Some(wrong), ..Default::default() });
        let found = found.unwrap_or_else(unusable).map(|found| HostCertificates { host, ..found });
        (dir, found)
    };
    closed.into_iter().chain(dirs.into_iter().map(read)).collect()
}

/// The directories of a `certs.d`.
fn hosts(dir: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let dirs = std::fs::read_dir(dir)?.flatten().filter(|e| e.path().is_dir());
    Ok(dirs.filter_map(|e| Some((e.file_name().into_string().ok()?, e.path()))).collect())
}

/// What a directory holds, its host left open; nothing for a user who may not look; what is wrong with it, else.
fn directory(dir: &Path) -> Result<Option<HostCertificates>, String> {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return Ok(None),
        Err(e) => return Err(format!("listing {}: {e}", dir.display())),
    };
    files.sort();
    let mut found = HostCertificates::default();
    let authority = |path: &Path| authority(path).map_err(|e| format!("reading {}: {e}", path.display()));
    let read = |path: &Path| read(path).map_err(|e| format!("reading {}: {e}", path.display()));
    for file in files {
        match file.extension().and_then(|e| e.to_str()) {
            Some("crt") => found.authorities.push(authority(&file)?),
            Some("cert") if found.identity.is_none() => {
                let key = file.with_extension("key");
                if !key.exists() {
                    return Err(format!(
                        "{} has no key: put it into {}; a certificate authority is called *.crt",
                        file.display(),
                        key.display()
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

fn authority(path: &Path) -> std::io::Result<Authority> {
    Ok(Authority { file: path.display().to_string(), pem: read(path)? })
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES).read_to_end(&mut bytes)?;
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
        let [(host, path)] = &hosts(dir.path()).unwrap()[..] else { panic!("one host") };
        assert_eq!(host, "r.example:5000");
        let found = directory(path).unwrap().unwrap();
        let authorities = [("a.crt", "A"), ("b.crt", "B")]
            .map(|(file, text)| Authority { file: at.join(file).display().to_string(), pem: text.as_bytes().to_vec() });
        assert_eq!(found.authorities, authorities);
        assert_eq!(found.identity, Some(b"C\nK".to_vec()));
        std::fs::remove_file(at.join("me.key")).unwrap();
        assert!(directory(path).unwrap_err().contains("has no key"));
        assert_eq!(hosts(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_wrong_for_one_registry_is_no_matter_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let at = |host: &str| dir.path().join(host);
        for host in ["fine.example", "keyless.example", "folder.example", "dangling.example"] {
            std::fs::create_dir_all(at(host)).unwrap();
        }
        std::fs::write(at("fine.example").join("ca.crt"), "A").unwrap();
        std::fs::write(at("keyless.example").join("me.cert"), "C").unwrap();
        std::fs::create_dir(at("folder.example").join("ca.crt")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling.example").join("ca.crt")).unwrap();
        let found = below(&[dir.path().to_owned()]);
        for (host, words) in [
            ("fine.example", None),
            ("keyless.example", Some("me.cert has no key: put it into")),
            ("folder.example", Some("folder.example/ca.crt: ")),
            ("dangling.example", Some("dangling.example/ca.crt: ")),
        ] {
            let about = found.iter().filter_map(|(_, c)| c.as_ref()).find(|c| c.host == host).unwrap();
            assert_eq!(about.unusable.is_some(), words.is_some(), "{host}");
            let unusable = about.unusable.clone().unwrap_or_default();
            assert!(unusable.contains(words.unwrap_or_default()), "{host}: {unusable}");
        }
    }
}
