//! Named contexts of the command line: places that have to be there are looked at before anything begins.

use crate::failure::{Exit, Failure};
use crate::flags::context::ContextFlag;
use cooper_engine::context::{ContextName, ContextSource};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All of them; the last one of a name wins.
///
/// # Errors
/// When a directory is not there.
pub fn named(flags: Vec<ContextFlag>) -> Result<BTreeMap<ContextName, ContextSource>, Failure> {
    let mut all = BTreeMap::new();
    for ContextFlag { name, source } in flags {
        let source = match source {
            ContextSource::Directory(path) => ContextSource::Directory(directory(&name, &path)?),
            ContextSource::Layout(mut layout) => {
                layout.path = directory(&name, &layout.path)?;
                ContextSource::Layout(layout)
            }
            other => other,
        };
        all.insert(name, source);
    }
    Ok(all)
}

/// The directory, absolute and without links.
fn directory(name: &ContextName, path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::fs::canonicalize(path)
        .map_err(|e| Failure::file(format!("opening the build context {name}={}", path.display()), Exit::Usage, e))?;
    if absolute.is_dir() {
        return Ok(absolute);
    }
    let message = format!("the build context {name}={} is no directory", path.display());
    Err(Failure::usage(message, "give a directory, docker-image://NAME or oci-layout://DIR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_looked_at_and_the_last_wins() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(at("real")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        let all = |texts: &[String]| named(texts.iter().map(|t| t.parse().unwrap()).collect());
        let found =
            all(&[format!("a={}", at("file")).replace("file", "real"), "a=docker-image://b".to_owned()]).unwrap();
        assert_eq!(found.len(), 1);
        assert!(matches!(found.values().next(), Some(ContextSource::Image(_))));
        let found = all(&[format!("a:latest={}", at("link"))]).unwrap();
        let real = std::fs::canonicalize(at("real")).unwrap();
        assert_eq!(found.into_iter().next().unwrap(), ("a".parse().unwrap(), ContextSource::Directory(real)));
        for (text, says) in [
            (format!("a={}", at("none")), "opening the build context a="),
            (format!("a={}", at("file")), "is no directory"),
            (format!("a=oci-layout://{}:1", at("none")), "opening the build context a="),
        ] {
            let failure = all(&[text]).unwrap_err();
            assert!(failure.to_string().contains(says), "{failure}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
    }
}
