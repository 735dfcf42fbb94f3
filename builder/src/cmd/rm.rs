//! `cooper rm`: takes names away. What they led to stays until `cooper prune`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::store::RmFlags;
use crate::{open, stdout};
use cooper_engine::EngineError;
use cooper_store::Removed;

/// Takes each name away; those that are not there make it fail after the others are done.
pub fn run(place: &Place, flags: &RmFlags) -> Result<Exit, Failure> {
    let store = open::store(place, &place.root()?)?;
    let mut absent = None;
    for name in &flags.names {
        let name = name.clone().or_latest();
        match store.remove_ref(&name).map_err(EngineError::from)? {
            Removed::Yes => stdout::line(&name.familiar())?,
            Removed::WasAbsent => absent = Some(name),
        }
    }
    absent.map_or(Ok(Exit::Done), |name| Err(EngineError::NoImage(name).into()))
}
