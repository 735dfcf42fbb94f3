//! What the command line adds to every RUN: secrets and what else a step is given from outside.
//!
//! Takes values that the front door read; holds them. Must never show a secret's bytes.

use crate::agent::AgentSource;
use cooper_image::ContainerPath;
pub use cooper_plan::op::Network;
pub use cooper_sandbox::{Limit, Resource, Resources, Swap};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
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

/// May a RUN ask for it?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Allowed {
    #[default]
    No,
    Yes,
}

/// What becomes of a RUN that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum OnFailure {
    #[default]
    Forget,
    Keep,
}

/// What is copied out of the root of a RUN that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescue {
    /// Where it is in the root; links are followed inside it.
    pub path: ContainerPath,
    /// The directory that it is copied into.
    pub dest: PathBuf,
}

/// What every RUN of a build is given.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: agents, by id.
    pub agents: BTreeMap<String, AgentSource>,
    /// `--network`: what a RUN gets that asks for none in particular.
    pub network: Network,
    /// `--allow network.host`: for a RUN that asks for it in a build with another network.
    pub host_network: Allowed,
    /// `--allow security.insecure`.
    pub insecure: Allowed,
    /// `--add-host`: names with their addresses.
    pub hosts: Vec<(String, IpAddr)>,
    /// `--shm-size`.
    pub shm_bytes: Option<u64>,
    /// `--ulimit`, one of a kind.
    pub limits: Vec<Limit>,
    /// `--no-new-privs`.
    pub no_new_privs: bool,
    /// `--memory`, `--cpus` and the others that hold for all processes of a RUN together.
    pub resources: Resources,
    /// `--on-failure`: what becomes of a RUN that failed.
    pub on_failure: OnFailure,
    /// `--export-on-failure`: paths of the root of a RUN that failed, and the directories that they are copied to.
    pub rescues: Vec<Rescue>,
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
