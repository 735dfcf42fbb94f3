//! `cooper exists`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::ExistsFlags;
use crate::open::Remote;

/// Asks a registry whether it has an image.
pub fn run(place: &Place, flags: &ExistsFlags) -> Result<Exit, Failure> {
    let remote = Remote::open(place)?;
    match remote.wait(remote.client.describe(&flags.name.clone().or_latest())) {
        Ok(_) => Ok(Exit::Done),
        Err(e) if e.is_absence() => Ok(Exit::Step),
        Err(e) => Err(e.into()),
    }
}
