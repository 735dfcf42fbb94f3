//! Commands about single images and about what registries hold, without builds.

use super::login::Host;
use clap::Args;
use cooper_engine::toolkit::{Place, PlaceError};
use cooper_image::{Platform, Reference};
use std::num::NonZeroUsize;
use std::str::FromStr;

/// `cooper tag`.
#[derive(Debug, Args)]
pub struct TagFlags {
    /// A name that the image has
    #[arg(value_name = "SOURCE")]
    pub source: Reference,
    /// The names that it is to have as well; without a tag `latest`
    #[arg(value_name = "TARGET", required = true)]
    pub targets: Vec<Reference>,
    /// Print JSON, for programs: each name that was given, and the digest that it leads to
    #[arg(long)]
    pub json: bool,
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

/// A name alone, or a place that says of what kind it is.
#[derive(Debug, Clone)]
pub enum Subject {
    /// `NAME`: what is meant depends on the command.
    Name(Reference),
    /// `KIND://…`.
    Place(Place),
}

impl FromStr for Subject {
    type Err = PlaceError;
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        Ok(match text.parse()? {
            Place::Registry(name) if !text.contains("://") => Self::Name(name),
            place => Self::Place(place),
        })
    }
}

impl Subject {
    /// The name that is looked up in a registry or the store.
    pub fn name_mut(&mut self) -> Option<&mut Reference> {
        match self {
            Self::Name(name) => Some(name),
            Self::Place(place) => place.name_mut(),
        }
    }
}

/// `cooper inspect`.
#[derive(Debug, Args)]
pub struct InspectFlags {
    /// The image: a name of the store, or a place as `cooper copy` has them
    #[arg(value_name = "NAME|PLACE")]
    pub image: Subject,
    /// Which of the image's platforms to show; default: this machine's, else the first that is not a registry's
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// Ask the image's registry, not the store
    #[arg(long)]
    pub remote: bool,
    /// Print what the name itself leads to, byte for byte: the manifest, or the index of an image for several platforms
    #[arg(long, group = "document", conflicts_with = "platform")]
    pub raw: bool,
    /// Print the manifest of the image for the platform, byte for byte
    #[arg(long, group = "document")]
    pub manifest: bool,
    /// Print the configuration of the image for the platform, byte for byte
    #[arg(long, group = "document")]
    pub config: bool,
    /// Print JSON, for programs: all of it, with the whole configuration and the manifest
    #[arg(long, group = "document")]
    pub json: bool,
}

/// `cooper ls-tags`.
#[derive(Debug, Args)]
pub struct LsTagsFlags {
    /// The repository: an image's name without a tag
    #[arg(value_name = "REPOSITORY")]
    pub repository: Reference,
    /// No more than so many, in the registry's order; pages behind them are not read
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `cooper catalog`.
#[derive(Debug, Args)]
pub struct CatalogFlags {
    /// The registry, as HOST or HOST:PORT
    #[arg(value_name = "HOST")]
    pub host: Host,
    /// No more than so many, in the registry's order; pages behind them are not read
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `cooper digest`.
#[derive(Debug, Args)]
pub struct DigestFlags {
    /// The image's name at its registry, without a tag `latest`, or another place as `cooper copy` has them
    #[arg(value_name = "PLACE")]
    pub image: Place,
    /// The digest of the image for this platform, as linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// Print JSON, for programs: with media type and size
    #[arg(long)]
    pub json: bool,
}

/// `cooper exists`.
#[derive(Debug, Args)]
pub struct ExistsFlags {
    /// The image's name; without a tag `latest`
    #[arg(value_name = "IMAGE")]
    pub name: Reference,
    /// Print JSON, for programs, beside the exit code
    #[arg(long)]
    pub json: bool,
}
