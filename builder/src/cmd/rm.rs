//! `cooper rm`: takes names away. What they led to stays until `cooper prune`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::store::RmFlags;
use crate::ui::say;
use crate::{open, report, stdout};
use cooper_engine::EngineError;
use cooper_image::Reference;
use cooper_store::{Removed, Store};

/// Takes each name away; those that are not there, or that cannot be taken away, make it fail after the others are done.
pub fn run(place: &Place, flags: &RmFlags) -> Result<Exit, Failure> {
    let store = open::store(place, &place.root()?)?;
    let mut failed = Vec::new();
    for name in &flags.names {
        let name = name.clone().or_latest();
        match removed(&store, &name) {
            Ok(()) => stdout::line(&name.familiar())?,
            Err(error) => failed.push(error),
        }
    }
    // A store that fails is told last, and decides the exit code.
    failed.sort_by_key(|error| !matches!(error, EngineError::NoImage(_)));
    let Some(last) = failed.pop() else { return Ok(Exit::Done) };
    for error in &failed {
        say(&format!("error: {}", report::line(error)));
    }
    Err(last.into())
}

fn removed(store: &Store, name: &Reference) -> Result<(), EngineError> {
    match store.remove_ref(name)? {
        Removed::Yes => Ok(()),
        Removed::WasAbsent => Err(EngineError::NoImage(name.clone())),
    }
}
