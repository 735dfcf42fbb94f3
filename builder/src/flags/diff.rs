//! `cooper diff`.

use clap::Args;
use cooper_engine::toolkit::Place;
use cooper_image::Platform;

/// `cooper diff`.
#[derive(Debug, Args)]
pub struct DiffFlags {
    /// The first image: NAME, store://NAME or another place that `cooper copy` takes
    #[arg(value_name = "OLD")]
    pub old: Place,
    /// The second image, written in the same way
    #[arg(value_name = "NEW")]
    pub new: Place,
    /// The images for this platform, as linux/arm64; default, of what is for several: this machine's
    #[arg(long, value_name = "OS/ARCH", value_parser = super::platform)]
    pub platform: Option<Platform>,
    /// Compare settings and layers, and read no layer
    #[arg(long, conflicts_with = "own_layers")]
    pub no_files: bool,
    /// Read only the layers that are not the same; of a file that may be in the others too it is said that it was
    /// written, or is not any more
    #[arg(long)]
    pub own_layers: bool,
    /// End with 1 when there is a difference
    #[arg(long)]
    pub exit_code: bool,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}
