//! `cooper explain`.

use clap::Args;

/// `cooper explain`.
#[derive(Debug, Args)]
pub struct ExplainFlags {
    /// Number of a build, as --list shows it; default: the last one. Two numbers: compare these builds
    #[arg(value_name = "BUILD", num_args = 0..=2)]
    pub builds: Vec<u64>,

    /// List the builds that are remembered, the newest first
    #[arg(long, conflicts_with = "builds")]
    pub list: bool,

    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}
