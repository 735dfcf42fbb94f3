//! What a RUN has mounted, with every variable expanded and every name looked up.
//!
//! Holds plain data. Must never hold a secret, only the name by which one is asked for.

use crate::op::Base;
use cooper_image::ContainerPath;

pub use cooper_dockerfile::mount::{Access, Ownership, Sharing};

/// One `RUN --mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where; `None` for a secret that is a variable and no file.
    pub target: Option<ContainerPath>,
    /// May the step write? What it writes is in no layer.
    pub access: Access,
    /// What.
    pub what: Mounted,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    /// Files that the step may read.
    Bind(Source),
    /// A directory that outlives the build.
    Cache(Cache),
    /// A directory in memory.
    Tmpfs {
        /// Most bytes in it; half of the memory when that is not said.
        bytes: Option<u64>,
    },
    /// A secret of the command line.
    Secret(Secret),
    /// A socket of an ssh agent.
    Ssh {
        /// Which agent.
        id: String,
        /// Is it an error when there is none?
        required: bool,
        /// Owner and mode of the socket.
        ownership: Ownership,
    },
}

/// Files of some place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `None` is the build context.
    pub from: Option<Base>,
    /// A path below its root; `/` is all of it.
    pub path: ContainerPath,
}

/// A directory that outlives the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Its name, with the namespace of the build in front.
    pub id: String,
    /// How several steps use it.
    pub sharing: Sharing,
    /// What it begins with; nothing when that is not said.
    pub seed: Option<Source>,
    /// Owner and mode of its top.
    pub ownership: Ownership,
}

/// A secret that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Which.
    pub id: String,
    /// The variable that holds it.
    pub variable: Option<String>,
    /// Is it an error when it was not given?
    pub required: bool,
    /// Owner and mode of the file.
    pub ownership: Ownership,
}

impl Mount {
    /// The files that it shows: what has to be read before the step's key is known.
    pub fn source(&self) -> Option<&Source> {
        match &self.what {
            Mounted::Bind(source) => Some(source),
            Mounted::Cache(cache) => cache.seed.as_ref(),
            Mounted::Tmpfs { .. } | Mounted::Secret(_) | Mounted::Ssh { .. } => None,
        }
    }
}
