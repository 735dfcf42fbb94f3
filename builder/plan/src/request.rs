//! What is asked of a Dockerfile: target, build arguments, platforms, named contexts, aliases.
//!
//! Takes and gives plain data. The front door fills it in; nothing here looks around for a default.

use crate::context::Contexts;
use cooper_image::{Aliases, Platform};
use std::collections::BTreeMap;

/// Everything beside the Dockerfile and its bases that decides what a plan looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRequest {
    /// `--target`: name or number of a stage; `None` is the last one.
    pub target: Option<String>,
    /// `--build-arg`, name to value.
    pub build_args: BTreeMap<String, String>,
    /// What the image is for: TARGETPLATFORM and the platform of bases without `--platform`.
    pub platform: Platform,
    /// What the build runs on: BUILDPLATFORM.
    pub build_platform: Platform,
    /// `--no-cache-filter`: names or numbers of stages whose steps are all run.
    pub no_cache_filter: Vec<String>,
    /// `--build-context`: they take the place of stages and images of the same name.
    pub contexts: Contexts,
    /// What short names of images stand for.
    pub aliases: Aliases,
}
