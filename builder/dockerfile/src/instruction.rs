//! Typed instructions: what a Dockerfile says, before any variable is expanded.

mod dump;

pub use dump::dump;

/// Lines of the source that something came from, 1-based, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// First line.
    pub start: u32,
    /// Last line.
    pub end: u32,
}

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character, `\` or a back quote.
    pub escape: char,
    /// ARGs before the first FROM.
    pub global_args: Vec<Located<ArgDecl>>,
    /// The stages, in file order; never empty.
    pub stages: Vec<Stage>,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its lines.
    pub span: Span,
    /// The instruction as it was written, continuations joined, for messages and history.
    pub text: String,
}

/// `FROM [--platform=P] base [AS name]` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The name after AS, lower case.
    pub name: Option<String>,
    /// The base, not expanded.
    pub base: String,
    /// `--platform`, not expanded.
    pub platform: Option<String>,
    /// Lines of the FROM.
    pub span: Span,
    /// The FROM as written.
    pub text: String,
    /// What follows.
    pub instructions: Vec<Located<Instruction>>,
}

/// `ARG name[=default]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDecl {
    /// The name.
    pub name: String,
    /// The default, not expanded.
    pub default: Option<String>,
}

/// Shell form or exec form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// One text for the shell.
    Shell(String),
    /// A JSON array.
    Exec(Vec<String>),
}

/// `<<NAME` and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes.
    pub name: String,
    /// The body, tabs stripped for `<<-`.
    pub body: String,
    /// Is `$VAR` in the body expanded (for COPY and ADD; the word was not quoted)?
    pub expand: bool,
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is run. For a heredoc in shell form the whole text for the shell (bodies included).
    pub command: Command,
    /// A sole heredoc whose body begins with `#!`: a script that is run directly.
    pub script: Option<Heredoc>,
    /// `--mount=` values, raw.
    pub mounts: Vec<String>,
    /// `--network=`.
    pub network: Option<String>,
    /// `--security=`.
    pub security: Option<String>,
    /// `--device=` values, raw.
    pub devices: Vec<String>,
}

/// COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    /// True for ADD.
    pub add: bool,
    /// Sources, not expanded; heredocs are not among them.
    pub sources: Vec<String>,
    /// Files given in the Dockerfile itself.
    pub heredocs: Vec<Heredoc>,
    /// Destination, not expanded.
    pub dest: String,
    /// `--from`, never expanded.
    pub from: Option<String>,
    /// `--chown`, not expanded.
    pub chown: Option<String>,
    /// `--chmod`, not expanded.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, never expanded.
    pub exclude: Vec<String>,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
}

/// HEALTHCHECK. Durations are nanoseconds; 0 means inherit and is stored as absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Health {
    /// `None` is `HEALTHCHECK NONE`.
    pub command: Option<Command>,
    pub interval: Option<u64>,
    pub timeout: Option<u64>,
    pub start_period: Option<u64>,
    pub start_interval: Option<u64>,
    pub retries: Option<u64>,
}

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Instruction {
    Arg(Vec<ArgDecl>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Run(Run),
    Copy(Copy),
    Cmd(Command),
    Entrypoint(Command),
    Expose(Vec<String>),
    Volume(Vec<String>),
    User(String),
    Workdir(String),
    Shell(Vec<String>),
    StopSignal(String),
    Healthcheck(Health),
    /// The trigger's own text, one instruction, heredocs attached.
    OnBuild(String),
    Maintainer(String),
}
