//! What to run, as plain data.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One process and the world it sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepSpec {
    /// Overlay lowers, lowest first; at least one.
    pub lowers: Vec<PathBuf>,
    /// Overlay upper; its attributes become those of `/`.
    pub upper: PathBuf,
    /// Overlay work directory, empty, beside the upper.
    pub work: PathBuf,
    /// An empty directory to mount the root on.
    pub mountpoint: PathBuf,
    /// Program and arguments; looked up in the PATH of `env` inside the root.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Absolute working directory inside the root; made for `user` when it is missing.
    pub cwd: String,
    /// `user[:group]` as in the Dockerfile; looked up in the root's passwd and group; empty is root.
    pub user: String,
    /// A file to provide read-only at `/dev/pipes/<name>`, mode 0755.
    pub script: Option<(String, String)>,
    /// Network.
    pub network: Network,
    /// Host name inside.
    pub hostname: String,
    /// Turn on no_new_privs.
    pub no_new_privs: bool,
}

/// Which network the process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's, as in rootless peers: the step reaches what this user reaches, the host's own
    /// loopback services included. It cannot reach abstract unix sockets made outside of it, where
    /// the kernel has Landlock scopes (Linux 6.12; `probe` tells), nor read other people's packets.
    Host,
    /// Only a loopback of its own, switched on.
    None,
}
