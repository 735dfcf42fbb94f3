//! The whole build as data.

use crate::context::{ContextSource, Files};
use crate::run_request::RunRequest;
use cooper_image::assemble::Format;
use cooper_image::{Platform, Reference};
use cooper_plan::context::ContextName;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that a build depends on. The front door fills it in; the engine reads nothing else.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The build context.
    pub context: Files,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<ContextName, ContextSource>,
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
    /// `--platform`; the host's when none was given.
    pub platform: Platform,
    /// `-t`.
    pub tags: Vec<Reference>,
    /// `--no-cache` and `--pull`.
    pub freshness: Freshness,
    /// `--no-cache-filter`: stages whose steps are all run, by name or number.
    pub no_cache_filter: Vec<String>,
    /// `--push`.
    pub push: Push,
    /// `-o`.
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

/// What may be reused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Take no step from the cache.
    pub no_cache: bool,
    /// Ask the registry for each base even when the store has it.
    pub pull: bool,
}

/// `--push` or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Push {
    #[default]
    No,
    Yes,
}

/// One `-o type=…,dest=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What is written.
    pub kind: OutputKind,
    /// Where; `-` is standard output (archives only).
    pub dest: PathBuf,
}

/// Kinds of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// OCI layout in a tar.
    Oci,
    /// `docker load` archive.
    Docker,
    /// The root as a tar.
    Tar,
    /// The root as files.
    Local,
}

/// What a build gives.
#[derive(Debug, Clone)]
pub struct BuildResult {
    /// Digest of the configuration: the image id.
    pub image_id: cooper_image::Digest,
    /// Digest of the manifest, once layers were compressed (push, oci).
    pub manifest: Option<cooper_image::Descriptor>,
    /// Media types used.
    pub format: Format,
    /// Steps that were run (not taken from the cache).
    pub steps_run: usize,
    /// Steps that came from the cache.
    pub steps_cached: usize,
}
