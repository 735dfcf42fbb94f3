//! Paths inside images: bytes, normalised, and unable to hold `..`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A path below some root: no leading `/`, no `.` or `..`, no empty component. Empty means the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// Normalises any bytes; `..` never climbs above the root (the re-rooting rule of layer tars).
    pub fn clean(bytes: &[u8]) -> Self {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop();
                }
                p => parts.push(p),
            }
        }
        Self(parts.join(&b'/'))
    }
    /// The root itself.
    pub fn root() -> Self {
        Self::default()
    }
    /// Is it the root?
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// Its components.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }
    /// The last component.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }
    /// Everything before the last component; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..cut].to_vec()))
    }
    /// This path and `tail` below it, normalised; `tail` cannot climb above the root.
    pub fn join(&self, tail: &[u8]) -> Self {
        let mut all = self.0.clone();
        all.push(b'/');
        all.extend_from_slice(tail);
        Self::clean(&all)
    }
    /// The part of `self` below `base`.
    pub fn strip_prefix(&self, base: &Self) -> Option<Self> {
        if base.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(base.as_bytes())?;
        match rest.split_first() {
            None => Some(Self::root()),
            Some((b'/', tail)) => Some(Self(tail.to_vec())),
            _ => None,
        }
    }
    /// For people: lossy, control characters escaped.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.0)
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect()
    }
}
impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.display())
    }
}
impl From<&str> for RelPath {
    fn from(s: &str) -> Self {
        Self::clean(s.as_bytes())
    }
}

/// An absolute path in a container, normalised; `/` is its root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct ContainerPath(RelPath);

impl ContainerPath {
    /// The root directory.
    pub fn root() -> Self {
        Self::default()
    }
    /// `path` as seen from working directory `self`: absolute stays, relative is joined.
    pub fn resolve(&self, path: &[u8]) -> Self {
        if path.starts_with(b"/") { Self(RelPath::clean(path)) } else { Self(self.0.join(path)) }
    }
    /// The part below the root.
    pub fn rel(&self) -> &RelPath {
        &self.0
    }
}
impl From<&str> for ContainerPath {
    fn from(s: &str) -> Self {
        Self(RelPath::from(s))
    }
}
impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(self.0.as_bytes()))
    }
}
impl fmt::Debug for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_climbs_out() {
        for (given, clean) in [("/a/../../b", "b"), ("..", ""), ("./a//b/", "a/b"), ("a/./../..", "")] {
            assert_eq!(RelPath::from(given).as_bytes(), clean.as_bytes());
        }
        assert_eq!(ContainerPath::from("/app").resolve(b"../../x").to_string(), "/x");
        assert_eq!(ContainerPath::from("/app").resolve(b"x").to_string(), "/app/x");
        assert_eq!(ContainerPath::from("/app").resolve(b"/").to_string(), "/");
    }

    #[test]
    fn parents_and_prefixes() {
        assert_eq!(RelPath::from("a/b").parent(), Some(RelPath::from("a")));
        assert_eq!(RelPath::from("a").parent(), Some(RelPath::root()));
        assert_eq!(RelPath::root().parent(), None);
        assert_eq!(RelPath::from("a/b").strip_prefix(&RelPath::from("a")), Some(RelPath::from("b")));
        assert_eq!(RelPath::from("ab").strip_prefix(&RelPath::from("a")), None);
    }
}
