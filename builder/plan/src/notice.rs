//! What a person should hear of a request before it is planned: parts of it that nothing in the Dockerfile takes up.
//!
//! Takes a Dockerfile and a request; gives sentences for warnings. Must never speak of a part that has an effect.

use crate::build_args::unused_build_args;
use crate::expand::clip;
use crate::request::PlanRequest;
use crate::stage;
use cooper_dockerfile::instruction::{Dockerfile, Span};
use cooper_dockerfile::suggest;
use cooper_image::Reference;

/// Every sentence, in a fixed order.
pub fn notices(file: &Dockerfile, request: &PlanRequest) -> Vec<String> {
    let unused = unused_build_args(file, request).into_iter();
    let unused = unused.map(|name| format!("build argument {name} was given, but no ARG takes it"));
    unused.chain(without_effect(request)).chain(unknown_filters(file, &request.no_cache_filter)).collect()
}

/// Images whose names are often mistyped, as BuildKit has them.
const COMMON_IMAGES: [&str; 7] = ["alpine", "busybox", "centos", "debian", "fedora", "golang", "ubuntu"];

/// What the name of an image that cannot be had was perhaps meant to be: a stage, else an image that everybody uses.
/// `asking` is the FROM of the stage that wants it, whose own name cannot be meant.
pub fn near_name(file: &Dockerfile, image: &Reference, asking: Span) -> Option<String> {
    let name = image.familiar();
    let name = name.strip_suffix(":latest").unwrap_or(&name);
    let stages = || file.stages.iter().filter(|s| s.span != asking).filter_map(|s| s.name.as_deref());
    // A stage above would have been found.
    if stages().any(|stage| stage == name) {
        return Some(format!("the stage {name} stands further down; move it up"));
    }
    if let Some(near) = suggest::nearest(name, stages()) {
        return Some(format!("did you mean the stage {near}?"));
    }
    let near = suggest::nearest(name, COMMON_IMAGES).filter(|near| *near != name)?;
    Some(format!("did you mean {near}?"))
}

/// Build arguments of BuildKit that ask for something which this builder does not do.
const WITHOUT_EFFECT: [(&str, &str); 5] = [
    ("BUILDKIT_BUILD_NAME", "no list of builds is kept"),
    ("BUILDKIT_INLINE_CACHE", "nothing about the cache is written into images"),
    ("BUILDKIT_SBOM_SCAN_CONTEXT", "no list of packages is made"),
    ("BUILDKIT_SBOM_SCAN_STAGE", "no list of packages is made"),
    ("BUILDKIT_SYNTAX", "the built-in frontend is used and no other is ever fetched"),
];
/// Values that ask for what is done anyway.
const HARMLESS: [&str; 4] = ["", "0", "false", "dockerfile.v0"];

fn without_effect(request: &PlanRequest) -> impl Iterator<Item = String> + '_ {
    let asked = |name: &str| request.build_args.get(name).is_some_and(|v| !HARMLESS.contains(&v.as_str()));
    let asked = WITHOUT_EFFECT.into_iter().filter(move |(name, _)| asked(name));
    asked.map(|(name, why)| format!("build argument {name} has no effect: {why}"))
}

/// Names of `--no-cache-filter` that no stage has. BuildKit passes over them in silence, and one list may serve several
/// Dockerfiles, so that they are no error.
fn unknown_filters(file: &Dockerfile, filters: &[String]) -> Vec<String> {
    let known = |f: &&String| (0..file.stages.len()).any(|n| stage::is_named(file, n, f));
    let names = || file.stages.iter().filter_map(|s| s.name.as_deref());
    let text = |f: &String| {
        let near = suggest::nearest(f, names()).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        format!("--no-cache-filter names {:?}, which is no stage{near}", clip(f))
    };
    filters.iter().filter(|f| !known(f)).map(text).collect()
}
