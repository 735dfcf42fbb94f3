//! `cooper plan` and `cooper debug`: what Cooper makes of a Dockerfile, without building.

use super::build::InputFlags;
use super::examples;
use super::failing::ShellFlags;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `cooper debug`.
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// The syntax tree: every instruction with its flags, arguments and heredocs, not yet understood
    #[command(after_long_help = examples::DEBUG_AST)]
    Ast(TextFlags),
    /// The typed instructions, before any variable is expanded
    #[command(after_long_help = examples::DEBUG_INSTRUCTIONS)]
    Instructions(TextFlags),
    /// The stages and steps that the target needs, every variable expanded
    #[command(after_long_help = examples::DEBUG_PLAN)]
    Plan(PlanFlags),
    /// The cache key of each step, part by part, as far as it is known before anything is run
    #[command(after_long_help = examples::DEBUG_KEYS)]
    Keys(LookFlags),
    /// Look at everything in the store: digests of blobs, what names lead to, links and small files
    ///
    /// Ends with 5 when something is wrong.
    #[command(after_long_help = examples::DEBUG_FSCK)]
    Fsck(FsckFlags),
    /// A shell where a RUN failed that `cooper build --on-failure` kept, or a program given after `--`
    ///
    /// It finds the root as the step left it, the step's mounts, environment, user and working directory, in the same
    /// sandbox; caches are the living ones, tmpfs are empty, secrets and agents are there when they are given again. What
    /// it writes is thrown away at the end, but for caches. Ends with the code of the program.
    #[command(after_long_help = examples::DEBUG_SHELL)]
    Shell(ShellFlags),
}

/// `cooper debug fsck`.
#[derive(Debug, Args)]
pub struct FsckFlags {
    /// Delete what is damaged, and names of images that are not whole any more; pull or build them anew
    #[arg(long)]
    pub repair: bool,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// A Dockerfile alone.
#[derive(Debug, Args)]
pub struct TextFlags {
    /// The build context that holds the Dockerfile, as for `cooper build`
    #[arg(value_name = "PATH", default_value = ".")]
    pub context: PathBuf,
    /// The Dockerfile, as for `cooper build`
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// What a build would be asked for.
#[derive(Debug, Args)]
pub struct LookFlags {
    /// The build context, as for `cooper build`
    #[arg(value_name = "PATH", default_value = ".")]
    pub context: PathBuf,
    /// What would be built.
    #[command(flatten)]
    pub input: InputFlags,
}

/// `cooper plan`.
#[derive(Debug, Args)]
pub struct PlanFlags {
    /// What would be built.
    #[command(flatten)]
    pub look: LookFlags,
    /// Print a graph in the language of Graphviz, for `dot -Tsvg`
    #[arg(long)]
    pub dot: bool,
}
