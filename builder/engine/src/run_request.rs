//! What the command line adds to every RUN: secrets and what else a step is given from outside.
//!
//! Takes values that the front door read; holds them. Must never show a secret's bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Most bytes of one secret, as in BuildKit.
pub const SECRET_BYTES: usize = 500 * 1024;

/// The bytes of a secret; nothing that prints shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret of these bytes, at most [`SECRET_BYTES`].
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= SECRET_BYTES).then(|| Self(bytes.into()))
    }

    /// The bytes, for the step or the request that may have them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What every RUN of a build is given.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_bounded_and_not_printed() {
        let secret = Secret::new(b"hunter2".to_vec()).unwrap();
        assert_eq!(secret.bytes(), b"hunter2");
        assert!(!format!("{secret:?}").contains("hunter"));
        assert_eq!(Secret::new(vec![0; SECRET_BYTES + 1]), None);
    }
}
