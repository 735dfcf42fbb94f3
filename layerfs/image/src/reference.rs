//! Image names: `[host[:port]/]path[:tag][@digest]`, in the normal form that docker gives them.
//!
//! Grammar: the distribution project's reference grammar; Docker Hub is the default host and
//! `library/` its default name space.

use crate::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// A text that is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an image name: {text:?} ({reason})")]
pub struct ReferenceError {
    /// What was given, clipped.
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

/// A normalised image name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: Box<str>,
    repository: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
    written: Written,
}

/// How a name was written. It is no part of what the name means: names are equal whatever stands here. The same name with
/// another tag or digest keeps it; one at another place has a host.
#[derive(Debug, Clone)]
enum Written {
    /// With its host.
    Whole,
    /// Without a host: this, which leaves tag and digest out.
    Short(Box<str>),
    /// Without a host too, and [`crate::Aliases`] gave the host and the repository.
    Alias(Box<str>),
}

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Written {}
impl PartialOrd for Written {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Written {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
impl Hash for Written {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Reference {
    /// Host and port, `docker.io` for Docker Hub.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// Path below the host, `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }
    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
    /// What stood in a name without a host, but for tag and digest, as long as no alias was followed.
    pub fn short(&self) -> Option<&str> {
        match &self.written {
            Written::Short(short) => Some(short),
            Written::Whole | Written::Alias(_) => None,
        }
    }
    /// The alias that led here.
    pub fn alias(&self) -> Option<&str> {
        match &self.written {
            Written::Alias(alias) => Some(alias),
            Written::Whole | Written::Short(_) => None,
        }
    }
    /// What a short name stands for, when an alias says it: another repository, the same tag and digest.
    pub(crate) fn led_to(self, target: &Self) -> Self {
        let Written::Short(alias) = self.written else { return self };
        let Self { host, repository, .. } = target.clone();
        Self { host, repository, written: Written::Alias(alias), ..self }
    }
    /// The same name with `latest` where neither tag nor digest was given.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".into());
        }
        self
    }
    /// The same repository under a digest.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
    /// The same repository under a tag. A text that is no tag gives a name that no registry knows.
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.into()), digest: None, ..self.clone() }
    }
    /// The repository alone.
    pub fn repository_only(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }
    /// Same path, tag and digest at another place.
    ///
    /// # Errors
    /// When host and repository do not form a name.
    pub fn relocated(&self, host: &str, repository: &str) -> Result<Self, ReferenceError> {
        let at: Self = format!("{host}/{repository}").parse()?;
        Ok(Self { tag: self.tag.clone(), digest: self.digest.clone(), ..at })
    }
    /// What a registry's manifest route takes: the digest, else the tag, else `latest`.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(d), _) => d.to_string(),
            (None, Some(t)) => t.to_string(),
            (None, None) => "latest".to_owned(),
        }
    }
    /// As people type it: `docker.io/` and `library/` left away where what remains still means the same.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/");
        let shorter = short.and_then(|s| s.strip_prefix("library/"));
        let means_it = |text: &&str| text.parse().is_ok_and(|read: Self| read == *self);
        let found = [shorter, short].into_iter().flatten().find(means_it);
        found.unwrap_or(&full).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        self.tag.iter().try_for_each(|t| write!(f, ":{t}"))?;
        self.digest.iter().try_for_each(|d| write!(f, "@{d}"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let bad = |reason| ReferenceError { text: text.chars().take(160).collect(), reason };
        if text.len() > 1024 {
            return Err(bad("it is longer than 1024 bytes"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((r, d)) => (r, Some(d.parse::<Digest>().map_err(|_| bad("the part after @ is no digest"))?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((n, t)) if !t.contains('/') => (n, Some(t)),
            _ => (rest, None),
        };
        if let Some(t) = tag
            && !valid_tag(t)
        {
            return Err(bad("a tag is 1 to 128 of [A-Za-z0-9_.-] and does not begin with . or -"));
        }
        let (host, path, written) = match name.split_once('/') {
            Some((h, p)) if h.contains(['.', ':']) || h == "localhost" || h != h.to_lowercase() => {
                (h, p.to_owned(), Written::Whole)
            }
            _ => ("docker.io", name.to_owned(), Written::Short(name.into())),
        };
        let host = if host == "index.docker.io" || host == "registry-1.docker.io" { "docker.io" } else { host };
        if !valid_host(host) {
            return Err(bad("the host is malformed"));
        }
        let repository = if host == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
        if repository.len() > 255 || !repository.split('/').all(valid_component) {
            return Err(bad("a repository is lower-case letters, digits and single . _ - between them"));
        }
        Ok(Self { host: host.into(), repository: repository.into(), tag: tag.map(Into::into), digest, written })
    }
}

/// Is this a tag of the distribution specification?
pub fn valid_tag(t: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=128).contains(&t.len()) && t.bytes().all(ok) && !t.starts_with(['.', '-'])
}

/// Is this one path component of a repository name?
pub fn valid_component(c: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = c.as_bytes();
    if bytes.is_empty() || !alnum(bytes[0]) || !alnum(bytes[bytes.len() - 1]) {
        return false;
    }
    c.split(|ch: char| ch.is_ascii_lowercase() || ch.is_ascii_digit())
        .all(|sep| sep.is_empty() || sep == "." || sep == "_" || sep == "__" || sep.bytes().all(|b| b == b'-'))
}

fn valid_host(h: &str) -> bool {
    let (name, port) = match h.rsplit_once(':') {
        Some((n, p)) if !p.contains(']') => (n, Some(p)),
        _ => (h, None),
    };
    let name_ok = if let Some(v6) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        v6.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !name.is_empty()
            && name.split('.').all(|l| {
                !l.is_empty()
                    && !l.starts_with('-')
                    && !l.ends_with('-')
                    && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
    };
    name_ok && port.is_none_or(|p| p.parse::<u16>().is_ok())
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms() {
        for (given, normal) in [
            ("debian", "docker.io/library/debian"),
            ("debian:bookworm", "docker.io/library/debian:bookworm"),
            ("team/app", "docker.io/team/app"),
            ("index.docker.io/team/app:1", "docker.io/team/app:1"),
            ("localhost/app", "localhost/app"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
            ("[::1]:5000/a", "[::1]:5000/a"),
            ("a__b--c.d", "docker.io/library/a__b--c.d"),
        ] {
            assert_eq!(given.parse::<Reference>().unwrap().to_string(), normal);
        }
        assert_eq!("debian".parse::<Reference>().unwrap().or_latest().familiar(), "debian:latest");
    }

    #[test]
    fn how_it_was_written_is_remembered_and_means_nothing() {
        for (given, short) in [
            ("debian", Some("debian")),
            ("library/debian:12", Some("library/debian")),
            (&format!("team/app:1@{}", Digest::sha256("x")), Some("team/app")),
            ("docker.io/library/debian", None),
            ("localhost/app", None),
            ("r.example:5000/app", None),
        ] {
            let reference: Reference = given.parse().unwrap();
            assert_eq!(reference.short(), short, "{given}");
            let whole: Reference = reference.to_string().parse().unwrap();
            assert_eq!((whole.short(), whole.alias()), (None, None), "{given}");
            assert_eq!(whole.cmp(&reference), Ordering::Equal, "{given}");
            assert_eq!(std::collections::HashSet::from([whole, reference]).len(), 1, "{given}");
        }
    }

    #[test]
    fn the_familiar_form_means_the_same() {
        for (given, familiar) in [
            ("docker.io/library/debian:1", "debian:1"),
            ("docker.io/library/a/b", "library/a/b"),
            ("docker.io/team/app", "team/app"),
            ("docker.io/quay.io/app", "docker.io/quay.io/app"),
            ("quay.io/library/app", "quay.io/library/app"),
        ] {
            let reference = given.parse::<Reference>().unwrap();
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(familiar.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        for bad in
            ["", "Debian", "a//b", "../x", "a:", "a:-b", "a@sha256:1", "-a", "a___b", "a..b", "host:99999/a", "a b"]
        {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
