//! `cooper flatten`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::rework::FlattenFlags;
use crate::rework::{self, Opened};
use cooper_engine::toolkit::Draft;

/// Makes one layer of all layers of an image.
pub fn run(place: &Place, flags: &FlattenFlags) -> Result<Exit, Failure> {
    let opened = Opened::with_store(place, &flags.ways)?;
    rework::run(&flags.ways, &opened, |given, _| {
        let engine = given.places.engine()?;
        Ok(Draft::of(&given.origin, &given.top, &mut |image| engine.flatten(&given.origin, image, given.sink))?)
    })
}
