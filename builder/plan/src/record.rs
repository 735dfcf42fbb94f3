//! A cache key as its named parts, so that a miss can be explained later.
//!
//! Takes names and values in any order; gives one digest. Must never: let two different sets of parts have one digest.

use cooper_image::Digest;
use cooper_image::stable_hash::StableHash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the encoding and of the meaning of the parts; a change of either needs a new one.
const DOMAIN: &str = "step/1";

/// Parts by name.
pub type Parts = BTreeMap<String, String>;

/// What a step's result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Every part; absent and empty are different.
    pub parts: Parts,
    /// What the part `files` was made of, path by path, when there are few: no part of the key, only of its reasons.
    #[serde(default, skip_serializing_if = "Parts::is_empty")]
    pub files: Parts,
}

impl KeyRecord {
    /// The parts of one kind of step.
    pub(crate) fn new(kind: &str) -> Self {
        Self { parts: Parts::from([("op".to_owned(), kind.to_owned())]), files: Parts::new() }
    }
    /// Adds a part.
    pub(crate) fn part(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parts.insert(name.to_owned(), value.into());
        self
    }
    /// Adds a part when there is a value.
    pub(crate) fn optional(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(v) => self.part(name, v),
            None => self,
        }
    }
    /// The same step with no file later than this Unix time: files whose times are set back are other files.
    #[must_use]
    pub fn dated(self, clamp: Option<i64>) -> Self {
        self.optional("clamp", clamp.map(|seconds| seconds.to_string()))
    }
    /// The key.
    pub fn digest(&self) -> Digest {
        let mut hash = StableHash::new(DOMAIN);
        for (name, value) in &self.parts {
            hash.part(name, value);
        }
        hash.finish()
    }
}
