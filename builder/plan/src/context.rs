//! Named contexts: places that `--build-context` puts where the Dockerfile names a stage or an image.
//!
//! Takes: names and kinds as the command line gives them. Gives: what a name of FROM or `--from` means. Must never:
//! open a context; the engine does, by the same name, and only when a stage of the target uses it.

use cooper_image::reference::ReferenceError;
use cooper_image::{Platform, Reference};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Names that mean something else everywhere and are never looked up.
const RESERVED: [&str; 2] = ["scratch", "context"];

/// The name of a context in its normal form: as people type an image's name, without `:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextName {
    name: String,
    platform: Option<Platform>,
}

/// A text that cannot be the name of a context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextNameError {
    /// The name would never be looked up.
    #[error("the name {0} is taken: it cannot be given to another context")]
    Reserved(String),
    /// It is not built like the name of an image or stage.
    #[error("not a context name: {text:?} ({reason})")]
    Malformed {
        /// What was given, clipped.
        text: String,
        /// The rule that it breaks.
        reason: String,
    },
}

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextKind {
    /// Nothing, as `FROM scratch`.
    Scratch,
    /// An image that is looked for like that of a FROM.
    Image(Reference),
    /// An image in an OCI layout on this machine.
    Layout,
    /// Files.
    Files,
}

/// All named contexts of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contexts(BTreeMap<ContextName, ContextKind>);

impl Contexts {
    /// The context that a name of the Dockerfile means on a platform: the one for this platform, else the one for all.
    pub(crate) fn find(&self, name: &str, platform: &Platform) -> Option<(&ContextName, &ContextKind)> {
        if self.0.is_empty() {
            return None;
        }
        let wanted = normal(name).ok()?;
        let same = || self.0.iter().filter(|(n, _)| n.name == wanted);
        let fits = |p: &Platform| p.satisfies(platform);
        same()
            .find(|(n, _)| n.platform.as_ref().is_some_and(fits))
            .or_else(|| same().find(|(n, _)| n.platform.is_none()))
    }
}

impl FromIterator<(ContextName, ContextKind)> for Contexts {
    fn from_iter<I: IntoIterator<Item = (ContextName, ContextKind)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// The normal form of a name.
fn normal(name: &str) -> Result<String, ReferenceError> {
    let familiar = name.parse::<Reference>()?.familiar();
    Ok(familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned())
}

impl FromStr for ContextName {
    type Err = ContextNameError;
    fn from_str(text: &str) -> Result<Self, ContextNameError> {
        let bad = |reason: String| ContextNameError::Malformed { text: text.chars().take(160).collect(), reason };
        let (name, platform) = match text.split_once("::") {
            Some((name, platform)) => (name, Some(platform.parse().map_err(|e| bad(format!("{e}")))?)),
            None => (text, None),
        };
        let name = normal(name).map_err(|e| bad(e.reason.to_owned()))?;
        if RESERVED.iter().any(|r| name.eq_ignore_ascii_case(r)) {
            return Err(ContextNameError::Reserved(name));
        }
        Ok(Self { name, platform })
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.platform.iter().try_for_each(|p| write!(f, "::{p}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_normal_form() {
        for (given, normal) in [
            ("src", "src"),
            ("src:latest", "src"),
            ("docker.io/library/src:latest", "src"),
            ("index.docker.io/team/app", "team/app"),
            ("alpine:3.21", "alpine:3.21"),
            ("localhost:5000/a/b:latest", "localhost:5000/a/b"),
            ("src::linux/arm64", "src::linux/arm64"),
            ("src:latest::x86_64", "src::linux/amd64"),
        ] {
            assert_eq!(given.parse::<ContextName>().unwrap().to_string(), normal, "{given}");
        }
    }

    #[test]
    fn odd_names_are_refused() {
        for (given, says) in [
            ("", "not a context name: \"\""),
            ("Src", "a repository is lower-case"),
            ("../up", "not a context name"),
            ("-f", "not a context name"),
            ("a b", "not a context name"),
            ("a\u{1b}[0m", "not a context name"),
            ("src::", "not a platform"),
            ("src::linux//x", "not a platform"),
            ("::linux/amd64", "not a context name"),
            ("scratch", "the name scratch is taken"),
            ("docker.io/library/context:latest", "the name context is taken"),
        ] {
            let error = given.parse::<ContextName>().unwrap_err().to_string();
            assert!(error.contains(says), "{given}: {error}");
        }
    }

    #[test]
    fn the_variant_for_the_platform_comes_first() {
        let entry = |name: &str, kind| (name.parse::<ContextName>().unwrap(), kind);
        let contexts: Contexts = [
            entry("src", ContextKind::Files),
            entry("src::linux/arm64", ContextKind::Layout),
            entry("tool::linux/arm64", ContextKind::Scratch),
        ]
        .into_iter()
        .collect();
        for (name, platform, found) in [
            ("src", "linux/amd64", Some(&ContextKind::Files)),
            ("src:latest", "linux/arm64/v8", Some(&ContextKind::Layout)),
            ("docker.io/library/src", "linux/arm64", Some(&ContextKind::Layout)),
            ("tool", "linux/arm64", Some(&ContextKind::Scratch)),
            ("tool", "linux/amd64", None),
            ("src:1", "linux/amd64", None),
            ("SRC", "linux/amd64", None),
            ("no name", "linux/amd64", None),
        ] {
            let kind = contexts.find(name, &platform.parse().unwrap()).map(|(_, kind)| kind);
            assert_eq!(kind, found, "{name} {platform}");
        }
    }
}
