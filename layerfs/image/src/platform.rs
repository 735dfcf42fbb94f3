//! Platforms (image-spec, image-index.md, "platform"): `os/architecture[/variant]`.
//!
//! One platform has many spellings. What people write is brought to one form when it is read; what an index or a
//! configuration says is kept as it is until it is compared or written anew.

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

/// Operating systems that a word alone can mean, as in containerd (`platforms/database.go`).
const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
/// Architectures that a word alone can mean, likewise.
const PROCESSORS: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

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
            other => Self::linux(other).normal(),
        }
    }
    /// The one form of all spellings, as in containerd: `x86_64` is `amd64`, `arm` is `arm/v7`, and the variant that
    /// everybody means is left out.
    pub fn normal(self) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase();
        let (architecture, variant) = (lower(&self.architecture), self.variant.as_deref().map(lower));
        let variant = variant.filter(|v| !v.is_empty());
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("i386", _) => ("386", None),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant.filter(|v| *v != "v1")),
            ("aarch64" | "arm64", Some("8" | "v8" | "8.0" | "v8.0")) => ("arm64", None),
            ("aarch64" | "arm64", Some("9" | "9.0" | "v9.0")) => ("arm64", Some("v9")),
            ("aarch64", other) => ("arm64", other),
            ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (other, variant) => (other, variant),
        };
        let os = match lower(&self.os).as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let (architecture, variant) = (architecture.to_owned(), variant.map(str::to_owned));
        Self { architecture, os, variant, os_version: self.os_version }
    }
    /// May an image for `self` be used where `wanted` was asked for?
    /// Spellings of one platform are the same; a variant that was asked for must be there.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let (is, wanted) = (self.clone().normal(), wanted.clone().normal());
        is.os == wanted.os && is.architecture == wanted.architecture && is.variant == wanted.variant
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
        let of = |os: &str, architecture: &str, variant: Option<&str>| Self {
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
            ..Self::linux(architecture)
        };
        match parts.as_slice() {
            [one] if SYSTEMS.contains(one) || *one == "macos" => {
                Ok(Self { os: (*one).to_owned(), ..Self::host() }.normal())
            }
            // A word alone has to be known: nobody could tell a slip in it from an unusual processor.
            [one] => {
                let platform = of("linux", one, None).normal();
                if PROCESSORS.contains(&platform.architecture.as_str()) { Ok(platform) } else { Err(bad()) }
            }
            [os, a] => Ok(of(os, a, None).normal()),
            [os, a, v] => Ok(of(os, a, Some(v)).normal()),
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
        assert_eq!(p("riscv64").to_string(), "linux/riscv64");
        assert_eq!(p("windows").os, "windows");
        assert_eq!(p("linux/foo").to_string(), "linux/foo", "not alone");
        assert!(p("linux/arm64/v8").satisfies(&p("linux/arm64")));
        assert!(!p("linux/arm/v6").satisfies(&p("linux/arm/v7")));
        assert!(!p("linux/amd64").satisfies(&p("linux/arm64")));
        // What an index says may be spelt in any way.
        let said = |variant: &str| Platform { variant: Some(variant.to_owned()), ..Platform::linux("arm64") };
        assert!(said("v8").satisfies(&p("arm64")) && said("8").satisfies(&p("arm64")));
        assert!(!said("v9").satisfies(&p("arm64")) && Platform::linux("arm").satisfies(&p("linux/arm/v7")));
        for bad in ["", "a/b/c/d", "linux//x", "linux/a b", "amd46", "local", "bogus"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
    #[test]
    fn spellings_have_one_form() {
        for (written, form) in [
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/aarch64/8", "linux/arm64"),
            ("linux/arm64/8.0", "linux/arm64"),
            ("linux/arm64/v8.0", "linux/arm64"),
            ("linux/arm64/v8.1", "linux/arm64/v8.1"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm64/9", "linux/arm64/v9"),
            ("linux/aarch64/9.0", "linux/arm64/v9"),
            ("linux/arm64/v9.0", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/arm/v5", "linux/arm/v5"),
            ("linux/arm/8", "linux/arm/v8"),
            ("armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("x86_64", "linux/amd64"),
            ("Linux/X86-64", "linux/amd64"),
            ("linux/x86_64/v1", "linux/amd64"),
            ("linux/x86_64/v2", "linux/amd64/v2"),
            ("linux/x86-64/v3", "linux/amd64/v3"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v2"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            let read: Platform = written.parse().unwrap();
            assert_eq!(read.to_string(), form, "{written}");
            assert_eq!(read.clone().normal(), read, "{written}");
        }
    }
}
