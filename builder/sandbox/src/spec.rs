//! What to run, as plain data.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// One process and the world it sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepSpec {
    /// The files of its root.
    pub files: Files,
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
    /// What is mounted besides; a directory before what is mounted inside it.
    pub mounts: Vec<Mount>,
    /// What else the process finds around it.
    pub surroundings: Surroundings,
}

/// The files of a root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Files {
    /// Layers that overlayfs stacks.
    Layers(Stack),
    /// One directory that is mounted, for where layers cannot be stacked.
    Bound(Bound),
    /// One directory, for where nothing can be mounted.
    Whole(Whole),
}

/// A root that is one directory, mounted for the process alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bound {
    /// All of it; nobody else's, and written to by the process.
    pub root: PathBuf,
    /// An empty directory to mount it on.
    pub mountpoint: PathBuf,
}

/// Layers that overlayfs stacks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    /// Overlay lowers, lowest first; at least one.
    pub lowers: Vec<PathBuf>,
    /// Overlay upper; its attributes become those of `/`.
    pub upper: PathBuf,
    /// Overlay work directory, empty, beside the upper.
    pub work: PathBuf,
    /// An empty directory to mount the root on.
    pub mountpoint: PathBuf,
}

/// A root that is one directory. Its names [`crate::OWN_NAMES`] are the sandbox's: what is there goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Whole {
    /// All of it; nobody else's, and written to by the process.
    pub root: PathBuf,
    /// An empty directory of the same file system, for what has to make way; thrown away afterwards.
    pub aside: PathBuf,
}

/// What a process finds around it, whatever its root is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Surroundings {
    /// Network.
    pub network: Network,
    /// Host name inside.
    pub hostname: String,
    /// More names for `/etc/hosts`, each with its address.
    pub hosts: Vec<(String, IpAddr)>,
    /// Size of `/dev/shm`; 64 MiB when that is not said.
    pub shm_bytes: Option<u64>,
    /// Limits of resources, beside the usual ones.
    pub limits: Vec<Limit>,
    /// What all processes together may use.
    pub resources: Resources,
    /// How many rights the process has.
    pub security: Security,
    /// Turn on no_new_privs.
    pub no_new_privs: bool,
    /// Where the process reads and writes.
    pub streams: Streams,
}

/// Where a process reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Streams {
    /// Nothing to read; what it writes is collected. As every step.
    #[default]
    Collected,
    /// The streams of whoever asked for it.
    Given,
    /// A terminal of its own, which controls it.
    Terminal,
}

/// What all processes of a step together may use; each that is given needs a control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Most memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Swap beside the memory.
    pub swap: Swap,
    /// Time of processors, in millionths of one.
    pub cpu_period_share: Option<u64>,
    /// Weight against others who want the processors at the same time; 1024 is the usual one.
    pub cpu_shares: Option<u64>,
    /// Most processes and threads at once.
    pub processes: Option<u64>,
}

/// Swap beside a limited memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Swap {
    /// As much as there may be memory, where the kernel counts swap.
    #[default]
    Usual,
    /// None.
    None,
    /// At most so many bytes.
    Bytes(u64),
    /// As much as there is.
    Unlimited,
}

/// How many rights the process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// Those of Docker's default: fourteen capabilities, a filter of system calls, masked kernel files.
    Sandbox,
    /// Every capability, no filter, nothing masked, the kernel's settings writable. Only for the machine's root; in a
    /// user namespace it is an error.
    Insecure,
}

/// One limit of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Which.
    pub resource: Resource,
    /// What is enforced; `None` is no limit.
    pub soft: Option<u64>,
    /// Up to what the process may raise it; `None` is no limit.
    pub hard: Option<u64>,
}

/// The resources that have limits, as `ulimit` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Resource {
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// Something mounted at a place of the root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute; looked up in the root as a process inside would, made when it is missing.
    pub target: String,
    /// May the process write?
    pub access: Access,
    /// What.
    pub content: Content,
}

/// May the process write?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// What is mounted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Content {
    /// A file, directory or socket of the host that the caller made; never a link.
    Host(PathBuf),
    /// A directory of the host that is moved into a root where nothing can be mounted, and back.
    Lent {
        /// Where it is.
        directory: PathBuf,
        /// A file of the same file system that takes its place meanwhile, locked by who moves it.
        stands: PathBuf,
    },
    /// What is at a path of stacked layers.
    Layers {
        /// Overlay lowers, lowest first; at least one.
        lowers: Vec<PathBuf>,
        /// Takes what is written; to be thrown away.
        upper: PathBuf,
        /// Overlay work directory, empty, beside the upper.
        work: PathBuf,
        /// Looked up in the layers as a process in them would.
        path: String,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Most bytes in it.
        bytes: Option<u64>,
    },
    /// A file in memory.
    File {
        /// What it holds.
        bytes: Private,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its permission bits.
        mode: u32,
    },
}

/// Bytes that nothing prints.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Private(pub Vec<u8>);

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Private")
    }
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
    /// One of its own from which the outside is reached, by pasta or slirp4netns, but not the host's loopback.
    Isolated,
}
