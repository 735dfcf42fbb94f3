//! `cooper copy`, and the places that other commands share with it.

use super::view::ViewFlags;
use clap::Args;
use cooper_engine::toolkit::Place;
use cooper_image::Platform;
use cooper_image::reference::valid_tag;

/// `cooper copy`.
#[derive(Debug, Args)]
pub struct CopyFlags {
    /// What to copy: NAME, store://NAME, oci-layout://DIR[:NAME], oci-archive://FILE[:NAME] or docker-archive://FILE[:NAME]
    #[arg(value_name = "SOURCE")]
    pub source: Place,
    /// Where to, written in the same way; a name without a tag gets `latest`
    #[arg(value_name = "TARGET")]
    pub target: Place,
    /// A further tag at the target; repeatable
    #[arg(long = "tag", value_name = "TAG", value_parser = tag)]
    pub tags: Vec<String>,
    /// Only the image for this platform, as linux/arm64; default: all, byte for byte
    #[arg(long, value_name = "OS/ARCH", value_parser = super::platform)]
    pub platform: Option<Platform>,
    /// Also what refers to the image: signatures, bills of materials, attestations
    #[arg(long)]
    pub referrers: bool,
    /// Print JSON, for programs: digest, and what was sent, mounted and there already
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// A tag alone.
pub fn tag(text: &str) -> Result<String, String> {
    if valid_tag(text) {
        Ok(text.to_owned())
    } else {
        Err("a tag is 1 to 128 of [A-Za-z0-9_.-] and does not begin with . or -".to_owned())
    }
}

/// `cooper validate`.
#[derive(Debug, Args)]
pub struct ValidateFlags {
    /// The image: NAME, store://NAME, oci-layout://DIR[:NAME], oci-archive://FILE[:NAME] or docker-archive://FILE[:NAME]
    #[arg(value_name = "IMAGE")]
    pub image: Place,
    /// Only the image for this platform, as linux/arm64; default: all
    #[arg(long, value_name = "OS/ARCH", value_parser = super::platform)]
    pub platform: Option<Platform>,
    /// Read documents alone; of layers only whether they are there in their size
    #[arg(long)]
    pub fast: bool,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `cooper referrers`.
#[derive(Debug, Args)]
pub struct ReferrersFlags {
    /// The image: NAME, or a place as `cooper copy` takes them
    #[arg(value_name = "IMAGE")]
    pub image: Place,
    /// Only artifacts of this type
    #[arg(long, value_name = "TYPE")]
    pub artifact_type: Option<String>,
    /// What refers to the image for this platform; default: to what the name itself leads to
    #[arg(long, value_name = "OS/ARCH", value_parser = super::platform)]
    pub platform: Option<Platform>,
    /// Print JSON, for programs: the descriptors, with annotations
    #[arg(long)]
    pub json: bool,
}
