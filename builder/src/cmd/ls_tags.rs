//! `cooper ls-tags`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::LsTagsFlags;
use crate::open::Remote;
use crate::stdout;
use serde::Serialize;

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Tags<'l> {
    repository: String,
    tags: &'l [String],
}

/// Lists the tags of a repository.
pub fn run(place: &Place, flags: &LsTagsFlags) -> Result<Exit, Failure> {
    let name = &flags.repository;
    if name.tag().is_some() || name.digest().is_some() {
        return Err(Failure::usage(
            format!("{name} is one image, and a repository is wanted"),
            "leave the tag and the digest away",
        ));
    }
    let remote = Remote::open(place)?;
    let tags = remote.wait(remote.client.first_tags(name, flags.limit.map_or(usize::MAX, usize::from)))?;
    if flags.json {
        stdout::json(&Tags { repository: name.to_string(), tags: &tags })?;
    } else {
        stdout::names(&tags)?;
    }
    Ok(Exit::Done)
}
