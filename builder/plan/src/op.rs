//! The plan: stages that the target needs, each a list of steps in which every variable is expanded.

use crate::context::ContextName;
use crate::mount::Mount;
use cooper_dockerfile::instruction::Span;
use cooper_dockerfile::remote::{GitSource, HttpSource};
use cooper_image::edit::ConfigEdit;
use cooper_image::{ContainerPath, Digest, Platform, Reference};

/// Index of a stage in [`Plan::stages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub usize);

/// Only what the target needs, in an order in which every stage comes after the stages it uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The stages.
    pub stages: Vec<Stage>,
    /// The stage that is asked for; always the last.
    pub target: StageId,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// For people: its name, else `stage-N` with the number in the file.
    pub label: String,
    /// What it begins with.
    pub base: Base,
    /// The platform that it is built for.
    pub platform: Platform,
    /// Lines of its FROM.
    pub span: Span,
    /// The FROM as written.
    pub text: String,
    /// May its steps be taken from the cache?
    pub reuse: Reuse,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// Whether known results are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// A known result is used.
    #[default]
    Allowed,
    /// Every step is run, because `--no-cache-filter` names the stage.
    Never,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Base {
    /// No layers.
    Scratch,
    /// An image.
    Image(Reference),
    /// Another stage.
    Stage(StageId),
    /// The image in a named context's OCI layout.
    Layout(ContextName),
    /// The files of a named context; a stage never begins with it, but copies it into an empty root.
    Files(ContextName),
}

/// One instruction, ready to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is done to the files or the configuration.
    pub op: Op,
    /// Lines in the Dockerfile.
    pub span: Span,
    /// The instruction as written, for people.
    pub text: String,
    /// What `docker history` shows.
    pub history: String,
}

/// The kinds of step.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Run a process.
    Exec(Exec),
    /// Copy files.
    Copy(Copy),
    /// Copy files of which some have to be fetched.
    Fetch(Fetch),
    /// Make the working directory; also edits the configuration.
    Workdir(Workdir),
    /// Only edit the configuration.
    Edit(Vec<ConfigEdit>),
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment, sorted by name, without proxy variables.
    pub env: Vec<(String, String)>,
    /// Variables that the process sees but no key does (proxies).
    pub unkeyed_env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: ContainerPath,
    /// `user[:group]`, resolved in the root when the step runs; empty is root.
    pub user: String,
    /// A script to provide at `/dev/pipes/<name>`, mode 0755.
    pub script: Option<(String, String)>,
    /// `--network`.
    pub network: Network,
    /// The host name that the process sees, when BUILDKIT_SANDBOX_HOSTNAME gives one.
    pub hostname: Option<String>,
    /// `--security`.
    pub security: Security,
    /// `--mount`, a directory before what is mounted inside it.
    pub mounts: Vec<Mount>,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// As every step.
    #[default]
    Sandbox,
    /// With every right that there is; the command line has to allow it.
    Insecure,
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Network {
    #[default]
    Default,
    None,
    Host,
    /// Only the command line can ask for it.
    Isolated,
}

/// COPY and ADD of local files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// `None` is the build context.
    pub from: Option<Base>,
    /// Patterns, below the root of the source. With `parents`, `/./` stands in each behind what is left away.
    pub sources: Vec<String>,
    /// Are the directories on the way to a source kept?
    pub parents: bool,
    /// What does not go: patterns as in an ignore file, below each source.
    pub exclude: Vec<String>,
    /// Files given in the Dockerfile itself: name and content.
    pub inline: Vec<(String, String)>,
    /// Destination, absolute.
    pub dest: ContainerPath,
    /// Did the destination end in `/`, or is it a directory for another reason as written (`.`)?
    pub dest_is_dir: bool,
    /// `user[:group]`, resolved in the target root.
    pub chown: Option<String>,
    /// Octal or symbolic.
    pub chmod: Option<String>,
    /// Unpack local archives (ADD).
    pub unpack: bool,
    /// Make the layer in an empty root, whatever the layers below hold.
    pub link: bool,
}

/// A source of a COPY with `--parents` in its two parts: what is left away, and what is kept below the destination.
/// The latter is empty when everything is taken.
pub fn pivot(source: &str) -> (&str, &str) {
    source.split_once(PIVOT).unwrap_or((".", source))
}

/// What divides a source of a COPY with `--parents`.
pub(crate) const PIVOT: &str = "/./";

/// ADD with at least one source that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The sources, in the order of the instruction.
    pub sources: Vec<AddSource>,
    /// Are archives among the fetched files unpacked?
    pub unpack: bool,
    /// All the rest; it names no sources.
    pub copy: Copy,
}

/// One source of an ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddSource {
    /// A pattern below the root of the context.
    Local(String),
    /// A file behind a URL.
    Http {
        /// Where it is.
        source: HttpSource,
        /// What its bytes have to be.
        checksum: Option<Digest>,
    },
    /// A commit's files.
    Git {
        /// Where they are, and which are wanted.
        source: GitSource,
        /// Is `.git` wanted?
        git_dir: bool,
    },
}

/// WORKDIR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workdir {
    /// The directory, absolute.
    pub path: ContainerPath,
    /// Its owner when it has to be made: the USER in force, empty is root.
    pub user: String,
}
