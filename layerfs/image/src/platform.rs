//! Platforms (image-spec, image-index.md, "platform"): `os/architecture[/variant]`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Operating system, processor and its variant, in Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// For example `amd64`.
    pub architecture: String,
    /// For example `linux`.
    pub os: String,
    /// For example `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// For Windows images.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a platform: {0:?} (expected os/architecture[/variant], as linux/amd64)")]
pub struct PlatformError(String);

impl Platform {
    /// Linux on the given architecture.
    pub fn linux(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: None, os_version: None }
    }
    /// The platform that this binary was built for.
    pub fn host() -> Self {
        match std::env::consts::ARCH {
            "x86_64" => Self::linux("amd64"),
            "aarch64" => Self::linux("arm64"),
            other => Self::linux(other),
        }
    }
    /// May an image for `self` be used where `wanted` was asked for?
    /// `arm64` and `arm64/v8` are the same; elsewhere a variant that was asked for must be there.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let variant = |p: &Self| match (p.architecture.as_str(), p.variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7".to_owned()),
            (_, v) => v.map(str::to_owned),
        };
        self.os == wanted.os && self.architecture == wanted.architecture && variant(self) == variant(wanted)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|v| write!(f, "/{v}"))
    }
}
impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(s: &str) -> Result<Self, PlatformError> {
        let bad = || PlatformError(s.chars().take(100).collect());
        let lower = s.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let word = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !parts.iter().all(|p| word(p)) {
            return Err(bad());
        }
        let arch = |a: &str| match a {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        match parts.as_slice() {
            [one] if ["linux", "windows", "freebsd", "darwin"].contains(one) => {
                Ok(Self { os: (*one).to_owned(), ..Self::host() })
            }
            [one] => Ok(Self::linux(&arch(one))),
            [os, a] => Ok(Self { os: (*os).to_owned(), ..Self::linux(&arch(a)) }),
            [os, a, v] => Ok(Self { os: (*os).to_owned(), variant: Some((*v).to_owned()), ..Self::linux(&arch(a)) }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_matches() {
        let p = |s: &str| s.parse::<Platform>().unwrap();
        assert_eq!(p("linux/x86_64").to_string(), "linux/amd64");
        assert_eq!(p("arm64").to_string(), "linux/arm64");
        assert!(p("linux/arm64/v8").satisfies(&p("linux/arm64")));
        assert!(!p("linux/arm/v6").satisfies(&p("linux/arm/v7")));
        assert!(!p("linux/amd64").satisfies(&p("linux/arm64")));
        for bad in ["", "a/b/c/d", "linux//x", "linux/a b"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
