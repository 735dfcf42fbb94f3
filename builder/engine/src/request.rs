//! The whole build as data.

use crate::context::{ContextSource, Files};
use crate::output::Output;
use crate::product::{Described, Shape};
use crate::run_request::RunRequest;
use cooper_image::{Aliases, Platform, Reference};
use cooper_plan::context::ContextName;
use std::collections::BTreeMap;

/// Everything that a build depends on. The front door fills it in; the engine reads nothing else.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The build context.
    pub context: Files,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<ContextName, ContextSource>,
    /// What short names in the Dockerfile stand for. Those of the request itself are followed already.
    pub aliases: Aliases,
    /// Text of the Dockerfile.
    pub dockerfile: String,
    /// Its name for messages.
    pub dockerfile_name: String,
    /// `--target`.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--platform`, each once; the host's when none was given. Never empty.
    pub platforms: Vec<Platform>,
    /// Was `--platform` given? An image then claims the platform that was asked for, whatever its stage began with, as
    /// in BuildKit.
    pub platforms_asked: bool,
    /// An index even of one platform (`BUILDKIT_MULTI_PLATFORM`)?
    pub shape: Shape,
    /// `-t`.
    pub tags: Vec<Reference>,
    /// `--no-cache` and `--pull`.
    pub freshness: Freshness,
    /// `--no-cache-filter`: stages whose steps are all run, by name or number.
    pub no_cache_filter: Vec<String>,
    /// `-o`, `--push` and the store: everything that is to be made.
    pub outputs: Vec<Output>,
    /// Most steps that run at once.
    pub jobs: usize,
    /// Unix seconds for `created`: the time of the start. SOURCE_DATE_EPOCH, as a build argument or as an ARG of the
    /// Dockerfile, takes its place.
    pub created: i64,
    /// Clamp times of files to `created`? SOURCE_DATE_EPOCH asks for it too.
    pub clamp: bool,
    /// What every RUN is given.
    pub run: RunRequest,
}

impl BuildRequest {
    /// Does the result's name lead to an image or to an index?
    pub fn shape(&self) -> Shape {
        if self.platforms.len() > 1 { Shape::Index } else { self.shape }
    }
}

/// What may be reused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Take no step from the cache.
    pub no_cache: bool,
    /// Ask the registry for each base even when the store has it.
    pub pull: bool,
}

/// What a build gives.
#[derive(Debug, Clone)]
pub struct BuildResult {
    /// The image id: digest of the configuration, or of the index.
    pub image_id: cooper_image::Digest,
    /// What its names lead to, once layers were compressed.
    pub described: Option<Described>,
    /// Every name that the image has.
    pub names: Vec<Reference>,
    /// Steps that were run (not taken from the cache).
    pub steps_run: usize,
    /// Steps that came from the cache.
    pub steps_cached: usize,
}
