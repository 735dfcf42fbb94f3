//! `cooper inspect`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::InspectFlags;
use crate::open::{self, Session};
use crate::stdout;

/// Prints everything about an image.
pub fn run(place: &Place, flags: &InspectFlags) -> Result<Exit, Failure> {
    let session = Session::open(place, &place.root()?, open::unchanged_tier())?;
    stdout::json(&session.engine.inspect(&flags.name, flags.platform.as_ref())?)?;
    Ok(Exit::Done)
}
