//! `cooper catalog`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::CatalogFlags;
use crate::open::Remote;
use crate::stdout;
use serde::Serialize;

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Catalog<'l> {
    registry: &'l str,
    repositories: &'l [String],
}

/// Lists the repositories of a registry.
pub fn run(place: &Place, flags: &CatalogFlags) -> Result<Exit, Failure> {
    let remote = Remote::open(place)?;
    let registry = flags.host.name();
    let repositories =
        remote.wait(remote.client.first_repositories(registry, flags.limit.map_or(usize::MAX, usize::from)))?;
    if flags.json {
        stdout::json(&Catalog { registry, repositories: &repositories })?;
    } else {
        stdout::names(&repositories)?;
    }
    Ok(Exit::Done)
}
