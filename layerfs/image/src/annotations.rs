//! Annotations that people ask for: which document of an image they go on, and for which platform.
//!
//! Takes the two notations of Docker's tools, gives sorted maps for [`crate::assemble`]. Pure text: what an image
//! has no place for is judged by whoever knows what is built.

use crate::Platform;
use std::collections::BTreeMap;
use std::fmt;

/// The documents that can carry annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The manifest of one platform.
    Manifest,
    /// What points at a manifest: its entry in the index, or in an archive.
    ManifestDescriptor,
    /// The index.
    Index,
    /// What points at the index: its entry in an archive.
    IndexDescriptor,
}

const TARGETS: [(Target, &str); 4] = [
    (Target::Manifest, "manifest"),
    (Target::ManifestDescriptor, "manifest-descriptor"),
    (Target::Index, "index"),
    (Target::IndexDescriptor, "index-descriptor"),
];

impl Target {
    /// Is it about an index, which only some images have?
    pub fn needs_index(self) -> bool {
        matches!(self, Self::Index | Self::IndexDescriptor)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TARGETS.iter().find(|(t, _)| t == self).map_or("", |(_, name)| name))
    }
}

/// One annotation and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Which document.
    pub target: Target,
    /// Only on the documents of this platform; `None` is every platform.
    pub platform: Option<Platform>,
    /// Its name; never empty.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Why a text is no annotation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// No `=`.
    #[error("the annotation {0:?} is not [TARGET[PLATFORM]:]KEY=VALUE")]
    NoPair(String),
    /// An unknown target.
    #[error(
        "there is no annotation target {0:?}; the targets are manifest, manifest-descriptor, index and index-descriptor"
    )]
    Target(String),
    /// Brackets that do not match, or hold no platform.
    #[error("{0:?} does not name a platform in square brackets, as manifest[linux/amd64]")]
    Platform(String),
    /// An index is of all platforms.
    #[error("{0} is of all platforms and takes none in square brackets")]
    IndexPlatform(Target),
    /// No name.
    #[error("the annotation {0:?} has no key")]
    NoKey(String),
}

impl Annotation {
    /// The annotations of `--annotation`: `KEY=VALUE`, `TARGET:KEY=VALUE`, `TARGET[PLATFORM]:KEY=VALUE`, with
    /// several targets divided by commas. Without a target the manifest is meant.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn parse_flag(text: &str) -> Result<Vec<Self>, AnnotationError> {
        let (name, value) = text.split_once('=').ok_or_else(|| AnnotationError::NoPair(clip(text)))?;
        let (targets, key) = name.split_once(':').unwrap_or(("manifest", name));
        targets.split(',').map(|target| Self::on(target, key, value, text)).collect()
    }

    /// The annotation of one field of `-o`: `annotation[-TARGET][[PLATFORM]].KEY` and its value. `None` when the
    /// field is no annotation.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn parse_field(field: &str, value: &str) -> Option<Result<Self, AnnotationError>> {
        let rest = field.strip_prefix("annotation")?;
        let (target, key) = match rest.split_once('.') {
            // A platform holds no dot.
            Some((target, key)) if target.is_empty() || target.starts_with(['-', '[']) => (target, key),
            _ => return Some(Err(AnnotationError::NoKey(clip(field)))),
        };
        let target = match target.strip_prefix('-') {
            Some(named) => named.to_owned(),
            None => format!("manifest{target}"),
        };
        Some(Self::on(&target, key, value, field))
    }

    fn on(target: &str, key: &str, value: &str, whole: &str) -> Result<Self, AnnotationError> {
        let (name, platform) = match target.split_once('[') {
            None => (target, None),
            Some((name, rest)) => {
                let bad = || AnnotationError::Platform(clip(target));
                let platform = rest.strip_suffix(']').ok_or_else(bad)?;
                (name, Some(platform.parse::<Platform>().map_err(|_| bad())?))
            }
        };
        let known = TARGETS.iter().find(|(_, n)| *n == name).map(|(t, _)| *t);
        let target = known.ok_or_else(|| AnnotationError::Target(clip(name)))?;
        if target.needs_index() && platform.is_some() {
            return Err(AnnotationError::IndexPlatform(target));
        }
        if key.is_empty() {
            return Err(AnnotationError::NoKey(clip(whole)));
        }
        Ok(Self { target, platform, key: key.to_owned(), value: value.to_owned() })
    }
}

/// What goes on one document. Annotations for every platform first, so that those for this one win.
pub fn select(all: &[Annotation], target: Target, platform: &Platform) -> BTreeMap<String, String> {
    let of = |a: &&Annotation| a.target == target;
    let general = all.iter().filter(of).filter(|a| a.platform.is_none());
    let own = all.iter().filter(of).filter(|a| a.platform.as_ref().is_some_and(|p| p.satisfies(platform)));
    general.chain(own).map(|a| (a.key.clone(), a.value.clone())).collect()
}

fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(found: &Annotation) -> String {
        let platform = found.platform.as_ref().map(|p| format!("[{p}]")).unwrap_or_default();
        format!("{}{platform} {}={}", found.target, found.key, found.value)
    }

    #[test]
    fn flags() {
        for (text, expected) in [
            ("a=b", "manifest a=b"),
            ("a=b:c=d", "manifest a=b:c=d"),
            ("manifest:org.x.y=v", "manifest org.x.y=v"),
            ("index:a=", "index a="),
            ("manifest[linux/amd64]:a=b", "manifest[linux/amd64] a=b"),
            ("manifest-descriptor[linux/arm/v7]:a=b", "manifest-descriptor[linux/arm/v7] a=b"),
            ("index,manifest:a=b", "index a=b; manifest a=b"),
            ("index-descriptor:a:b=c", "index-descriptor a:b=c"),
        ] {
            let found: Vec<String> = Annotation::parse_flag(text).unwrap().iter().map(told).collect();
            assert_eq!(found.join("; "), expected, "{text}");
        }
    }

    #[test]
    fn fields() {
        for (field, expected) in [
            ("annotation.a", "manifest a=v"),
            ("annotation.org.opencontainers.image.title", "manifest org.opencontainers.image.title=v"),
            ("annotation-manifest.a", "manifest a=v"),
            ("annotation-index.a", "index a=v"),
            ("annotation-index-descriptor.a", "index-descriptor a=v"),
            ("annotation[linux/amd64].a", "manifest[linux/amd64] a=v"),
            ("annotation-manifest-descriptor[linux/arm64].a.b", "manifest-descriptor[linux/arm64] a.b=v"),
        ] {
            assert_eq!(Annotation::parse_field(field, "v").map(|a| told(&a.unwrap())).as_deref(), Some(expected));
        }
        assert_eq!(Annotation::parse_field("dest", "v"), None);
    }

    #[test]
    fn what_is_no_annotation() {
        for (text, says) in [
            ("a", "the annotation \"a\" is not [TARGET[PLATFORM]:]KEY=VALUE"),
            (
                "layer:a=b",
                "there is no annotation target \"layer\"; the targets are manifest, manifest-descriptor, index and index-descriptor",
            ),
            (
                "manifest[linux/amd64:a=b",
                "\"manifest[linux/amd64\" does not name a platform in square brackets, as manifest[linux/amd64]",
            ),
            (
                "manifest[//]:a=b",
                "\"manifest[//]\" does not name a platform in square brackets, as manifest[linux/amd64]",
            ),
            ("index[linux/amd64]:a=b", "index is of all platforms and takes none in square brackets"),
            ("manifest:=b", "the annotation \"manifest:=b\" has no key"),
            ("=b", "the annotation \"=b\" has no key"),
        ] {
            assert_eq!(Annotation::parse_flag(text).unwrap_err().to_string(), says, "{text}");
        }
        for (field, says) in [
            ("annotation", "the annotation \"annotation\" has no key"),
            ("annotation.", "the annotation \"annotation.\" has no key"),
            ("annotations.a", "the annotation \"annotations.a\" has no key"),
            (
                "annotation-layer.a",
                "there is no annotation target \"layer\"; the targets are manifest, manifest-descriptor, index and index-descriptor",
            ),
            (
                "annotation[linux/amd64.a",
                "\"manifest[linux/amd64\" does not name a platform in square brackets, as manifest[linux/amd64]",
            ),
        ] {
            assert_eq!(Annotation::parse_field(field, "v").unwrap().unwrap_err().to_string(), says, "{field}");
        }
    }

    #[test]
    fn those_of_the_platform_win() {
        let parse = |text: &str| Annotation::parse_flag(text).unwrap();
        let all = [
            parse("manifest[linux/arm64/v8]:a=own"),
            parse("a=general"),
            parse("b=1"),
            parse("b=2"),
            parse("index:c=d"),
            parse("manifest[linux/amd64]:d=e"),
        ]
        .concat();
        let found = select(&all, Target::Manifest, &Platform::linux("arm64"));
        assert_eq!(found, BTreeMap::from([("a", "own"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()))));
        assert_eq!(select(&all, Target::Index, &Platform::linux("arm64")).len(), 1);
    }
}
