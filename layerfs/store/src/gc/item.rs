//! One thing in the store, for a list: what it is, how much it takes, when it was last used, who keeps it.

use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// The kinds of things, as people name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Blobs of images that have names.
    Image,
    /// Blobs that only repositories of the built-in registry hold.
    Registry,
    /// Uncompressed layers that no image needs in this form.
    Tar,
    /// Other blobs that no name leads to.
    Blob,
    /// Unpacked layers.
    Tree,
    /// Results of steps, and the indexes beside them.
    Record,
    /// What the last builds did.
    Build,
    /// Caches of `RUN --mount=type=cache`.
    Mount,
    /// Steps that failed and are kept to be looked at.
    Failed,
    /// What is known of files behind URLs.
    Url,
    /// Where pushes that were broken off go on.
    Upload,
    /// Compressed pieces of layers.
    Chunk,
    /// States of the files of contexts.
    Stat,
    /// Work in progress, and what dead processes left.
    Inflight,
    /// Names, links, and the directories themselves.
    Structure,
}

impl Kind {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 15] = [
        Self::Image,
        Self::Registry,
        Self::Tar,
        Self::Blob,
        Self::Tree,
        Self::Record,
        Self::Build,
        Self::Mount,
        Self::Failed,
        Self::Url,
        Self::Upload,
        Self::Chunk,
        Self::Stat,
        Self::Inflight,
        Self::Structure,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Registry => "registry",
            Self::Tar => "tar",
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Record => "record",
            Self::Build => "build",
            Self::Mount => "mount",
            Self::Failed => "failed",
            Self::Url => "url",
            Self::Upload => "upload",
            Self::Chunk => "chunk",
            Self::Stat => "stat",
            Self::Inflight => "inflight",
            Self::Structure => "structure",
        }
    }

    /// What it is, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Image => "blobs of named images",
            Self::Registry => "blobs of registry repositories",
            Self::Tar => "layer tars",
            Self::Blob => "other blobs",
            Self::Tree => "unpacked layers",
            Self::Record => "step records",
            Self::Build => "log of builds",
            Self::Mount => "cache mounts",
            Self::Failed => "failed steps",
            Self::Url => "files behind URLs",
            Self::Upload => "broken off pushes",
            Self::Chunk => "compressed chunks",
            Self::Stat => "file states",
            Self::Inflight => "in flight",
            Self::Structure => "names and directories",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why something stays whatever is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", content = "name", rename_all = "lowercase")]
pub enum Keeps {
    /// An image's name leads to it.
    Name(String),
    /// A repository of the registry holds it.
    Repository(String),
    /// A living process uses it.
    Process,
    /// The store needs it to be one.
    Store,
}

impl fmt::Display for Keeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name} needs it"),
            Self::Repository(name) => write!(f, "repository {name} holds it"),
            Self::Process => f.write_str("it is in use"),
            Self::Store => f.write_str("the store needs it"),
        }
    }
}

/// One thing in the store.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its name within its kind: a digest for what has one.
    pub name: String,
    /// Where it is.
    #[serde(skip)]
    pub path: PathBuf,
    /// What it takes on the disk, in bytes.
    pub bytes: u64,
    /// Do several names lead to it, or has it further links on the disk?
    pub shared: bool,
    /// When it was made or last used, to the minute; Unix seconds.
    pub last_used: i64,
    /// Who keeps it, if anybody does.
    pub kept: Option<Keeps>,
}
