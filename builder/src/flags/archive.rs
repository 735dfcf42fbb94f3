//! Commands for many images at once: archives, and mirrors.

use super::view::ViewFlags;
use clap::{Args, ValueEnum};
use cooper_engine::toolkit::Place;
use cooper_engine::toolkit::sync::Mirror;
use cooper_image::{Platform, Reference};
use std::path::PathBuf;

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// What `docker load` reads; each image for one platform
    Docker,
    /// An OCI layout in a tar; all platforms
    Oci,
}

/// `cooper save`.
#[derive(Debug, Args)]
pub struct SaveFlags {
    /// The images' names in the store
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<Reference>,
    /// The archive; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// The format of the archive
    #[arg(long, value_enum, default_value = "docker")]
    pub format: Format,
    /// The images for this platform, as linux/arm64; default: all, for docker this machine's
    #[arg(long, value_name = "OS/ARCH", value_parser = super::platform)]
    pub platform: Option<Platform>,
    /// Print JSON, for programs, beside an archive that goes to a file: its images, and what was written
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// `cooper load`.
#[derive(Debug, Args)]
pub struct LoadFlags {
    /// The archive, which may be compressed, or the directory of an OCI layout; - is standard input
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
    /// The name that the image gets; needed when it has none in the archive
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<Reference>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// `cooper sync`.
#[derive(Debug, Args)]
pub struct SyncFlags {
    /// Images or, without a tag, whole repositories, and last the target: HOST[/PATH] or oci-layout://DIR
    #[arg(value_name = "SOURCE... TARGET", required = true)]
    pub names: Vec<String>,
    /// A list of further sources, one on each line; # begins a remark; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only tell what is missing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// A target of `cooper sync`.
///
/// # Errors
/// When it is none.
pub fn mirror(text: &str) -> Result<Mirror, String> {
    if text.starts_with("oci-layout://") {
        return match text.parse::<Place>().map_err(|e| e.to_string())? {
            Place::Layout(layout) if layout.tag.is_none() && layout.digest.is_none() => Ok(Mirror::Layout(layout.path)),
            _ => Err(format!("{text} has a name in the layout, and the images keep their own")),
        };
    }
    let text = text.trim_end_matches('/');
    // A word before the / is a path at Docker Hub elsewhere, and would be sent there.
    let host = text.split('/').next().unwrap_or_default();
    match format!("{text}/x").parse::<Reference>() {
        Ok(name) if host.contains(['.', ':']) || host == "localhost" => match name.tag() {
            None => Ok(Mirror::Registry(text.to_owned())),
            Some(_) => Err(format!("{text:?} has a tag")),
        },
        _ => Err(format!("{text:?} is neither HOST[/PATH] nor oci-layout://DIR")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_mirrors() {
        for (text, wanted) in [
            ("r.example", Some("r.example")),
            ("localhost:5000/a/b/", Some("localhost:5000/a/b")),
            ("localhost", Some("localhost")),
            ("localhost/a", Some("localhost/a")),
            ("[::1]:5000/a", Some("[::1]:5000/a")),
            ("word", None),
            ("mirror/x", None),
            ("mirror/r.example", None),
            ("oci-layout://", None),
            ("oci-layout://d/:1", None),
            ("oci-layout://d:1/x", Some("d:1/x")),
            ("oci-layout://d:1", None),
            ("r.example/a b", None),
        ] {
            let found = mirror(text).ok().map(|m| match m {
                Mirror::Registry(prefix) => prefix,
                Mirror::Layout(path) => path.display().to_string(),
            });
            assert_eq!(found.as_deref(), wanted, "{text}");
        }
        assert_eq!(mirror("oci-layout://d"), Ok(Mirror::Layout("d".into())));
    }
}
