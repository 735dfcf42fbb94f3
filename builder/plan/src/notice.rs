//! What a person should hear of a request before it is planned: parts of it that nothing in the Dockerfile takes up.
//!
//! Takes a Dockerfile and a request; gives sentences for warnings. Must never speak of a part that has an effect.

use crate::build_args::unused_build_args;
use crate::expand::clip;
use crate::request::PlanRequest;
use crate::{stage, suggest};
use cooper_dockerfile::instruction::Dockerfile;

/// Every sentence, in a fixed order.
pub fn notices(file: &Dockerfile, request: &PlanRequest) -> Vec<String> {
    let unused = unused_build_args(file, request).into_iter();
    let unused = unused.map(|name| format!("build argument {name} was given, but no ARG takes it"));
    unused.chain(unknown_filters(file, &request.no_cache_filter)).collect()
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
