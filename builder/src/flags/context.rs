//! `--build-context NAME=PLACE`.

use cooper_engine::context::{ContextName, ContextSource};
use std::str::FromStr;

/// One named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFlag {
    /// Its name, in normal form.
    pub name: ContextName,
    /// Where it is.
    pub source: ContextSource,
}

impl FromStr for ContextFlag {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = text.split_once('=').ok_or("expected NAME=PLACE")?;
        let name = name.parse().map_err(|e| format!("{e}"))?;
        let source = ContextSource::parse(place).map_err(|e| format!("{e}; {}", e.hint))?;
        Ok(Self { name, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_divides() {
        let flag: ContextFlag = "docker.io/library/a:latest=d=e".parse().unwrap();
        assert_eq!((flag.name.to_string().as_str(), flag.source), ("a", ContextSource::Directory("d=e".into())));
        for (text, says) in [
            ("a", "expected NAME=PLACE"),
            ("=d", "not a context name"),
            ("scratch=d", "the name scratch is taken"),
            ("a=", "the context has no place; give a directory"),
        ] {
            let error = text.parse::<ContextFlag>().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
