//! Commands about single images: `cooper tag`, `cooper history`.

use clap::Args;
use cooper_image::{Platform, Reference};

/// `cooper tag`.
#[derive(Debug, Args)]
pub struct TagFlags {
    /// A name that the image has
    #[arg(value_name = "SOURCE")]
    pub source: Reference,
    /// The names that it is to have as well; without a tag `latest`
    #[arg(value_name = "TARGET", required = true)]
    pub targets: Vec<Reference>,
}

/// `cooper history`.
#[derive(Debug, Args)]
pub struct HistoryFlags {
    /// The image's name
    #[arg(value_name = "IMAGE")]
    pub name: Reference,
    /// Which of the image's platforms to show; default: this machine's, else the first
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// Show commands whole, however long they are
    #[arg(long)]
    pub no_trunc: bool,
    /// Print JSON, for programs; whole commands and exact sizes
    #[arg(long)]
    pub json: bool,
}
