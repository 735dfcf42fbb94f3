//! `cooper inspect`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::InspectFlags;
use crate::open::Session;
use crate::stdout;

/// Prints everything about an image.
pub fn run(place: &Place, flags: &InspectFlags) -> Result<Exit, Failure> {
    let session = Session::look(place, &place.root()?)?;
    stdout::json(&session.engine.inspect(&flags.name, flags.platform.as_ref())?)?;
    Ok(Exit::Done)
}
