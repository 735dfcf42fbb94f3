//! `cooper index`: images of several platforms under one name.

use super::annotation::AnnotationFlag;
use super::examples;
use super::rework::both;
use super::view::ViewFlags;
use clap::{Args, Subcommand};
use cooper_engine::toolkit::{Place, SamePlatform};

/// `cooper index`.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Put images together that are in registries, layouts or archives already
    ///
    /// `cooper index create -t registry.example/team/app:1 registry.example/team/app@sha256:… …` joins what jobs on
    /// several machines have pushed by digest. Of a source that is an index itself every entry is taken. An image takes
    /// the place of all that earlier sources have for its platform, compressed in whatever way, unless --beside is
    /// given. What the target does not have is copied there first.
    #[command(visible_alias = "push")]
    #[command(after_long_help = examples::INDEX_CREATE)]
    Create(CreateFlags),
    /// Add images to an index that is there
    ///
    /// As `cooper index create --append -t NAME`: an image takes the place of all that the index has for its platform,
    /// so that nobody gets the one from before, and with --beside of none.
    #[command(after_long_help = examples::INDEX_ADD)]
    Add(AddFlags),
    /// Change what an index says of one of its images, or of itself
    #[command(after_long_help = examples::INDEX_ANNOTATE)]
    Annotate(AnnotateFlags),
}

/// `cooper index create`.
#[derive(Debug, Args)]
pub struct CreateFlags {
    /// The images, and indexes whose entries are taken: NAME or another place that `cooper copy` takes
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<Place>,
    /// Name of the index: NAME, oci-layout://DIR:NAME or oci-archive://FILE:NAME; repeatable
    #[arg(short, long = "tag", value_name = "TARGET", required_unless_present = "dry_run")]
    pub targets: Vec<Place>,
    /// Keep what the first target holds now, and add to it
    #[arg(long, requires = "targets")]
    pub append: bool,
    #[command(flatten)]
    pub same: SameFlags,
    /// Annotate the index, as index:KEY=VALUE, or entries, as manifest-descriptor[PLATFORM]:KEY=VALUE; repeatable
    #[arg(long = "annotation", value_name = "TARGET:KEY=VALUE")]
    pub annotations: Vec<AnnotationFlag>,
    /// Print the index and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// What becomes of entries for a platform for which an image is added.
#[derive(Debug, Args)]
pub struct SameFlags {
    /// Keep what is there for the same platform, as a form that is compressed otherwise; so do buildah manifest add,
    /// crane index append and docker buildx imagetools create --append
    #[arg(long)]
    pub beside: bool,
}

impl SameFlags {
    /// The same for the engine.
    pub fn platform(&self) -> SamePlatform {
        if self.beside { SamePlatform::Stays } else { SamePlatform::Goes }
    }
}

/// `cooper index add`.
#[derive(Debug, Args)]
pub struct AddFlags {
    /// The index
    #[arg(value_name = "INDEX")]
    pub index: Place,
    /// The images that are added
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<Place>,
    #[command(flatten)]
    pub same: SameFlags,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// `cooper index annotate`.
#[derive(Debug, Args)]
pub struct AnnotateFlags {
    /// The index
    #[arg(value_name = "INDEX")]
    pub index: Place,
    /// Which entry: a platform as linux/arm64, or a digest; without one the index itself
    #[arg(value_name = "ENTRY")]
    pub entry: Option<String>,
    /// An annotation; repeatable
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = both)]
    pub annotations: Vec<(String, String)>,
    /// The entry's operating system
    #[arg(long, value_name = "OS", requires = "entry")]
    pub os: Option<String>,
    /// The entry's processor, in Go's names
    #[arg(long, value_name = "ARCH", requires = "entry")]
    pub arch: Option<String>,
    /// The variant of the entry's processor
    #[arg(long, value_name = "VARIANT", requires = "entry")]
    pub variant: Option<String>,
    /// The version of the entry's operating system
    #[arg(long, value_name = "VERSION", requires = "entry")]
    pub os_version: Option<String>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}
