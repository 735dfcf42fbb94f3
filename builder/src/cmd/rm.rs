//! `cooper rm`: takes names away. What they led to stays until `cooper prune`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::store::RmFlags;
use crate::open::Remote;
use crate::ui::say;
use crate::{open, report, stdout};
use cooper_engine::EngineError;
use cooper_image::Reference;
use cooper_store::{Removed, Store};
use serde::Serialize;

/// Takes each name away; those that are not there, or that cannot be taken away, make it fail after the others are done.
pub fn run(place: &Place, flags: &RmFlags) -> Result<Exit, Failure> {
    if flags.remote {
        return at_registry(place, flags);
    }
    let store = open::store(place, &place.root()?)?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for name in &flags.names {
        let name = name.clone().or_latest();
        match removed(&store, &name) {
            Ok(()) => done.push(gone(flags, name)?),
            Err(error) => failed.push(error),
        }
    }
    if flags.json {
        stdout::json(&done)?;
    }
    // A store that fails is told last, and decides the exit code.
    failed.sort_by_key(|error| !matches!(error, EngineError::NoImage(_)));
    told(failed)
}

/// A name that was taken away, which people hear of at once.
#[derive(Debug, Serialize)]
struct Gone {
    reference: Reference,
}

fn gone(flags: &RmFlags, reference: Reference) -> Result<Gone, Failure> {
    if !flags.json {
        stdout::line(&reference.familiar())?;
    }
    Ok(Gone { reference })
}

/// Tells all failures; the last one ends the command.
fn told(mut failed: Vec<EngineError>) -> Result<Exit, Failure> {
    let Some(last) = failed.pop() else { return Ok(Exit::Done) };
    for error in &failed {
        say(&format!("error: {}", report::line(error)));
    }
    Err(last.into())
}

fn at_registry(place: &Place, flags: &RmFlags) -> Result<Exit, Failure> {
    if let Some(name) = flags.names.iter().find(|n| n.tag().is_none() && n.digest().is_none()) {
        return Err(Failure::usage(
            format!("{name} does not say which image is to be deleted"),
            format!("write {name}:TAG, or {name}@DIGEST"),
        ));
    }
    let remote = Remote::open(place)?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for name in &flags.names {
        match remote.wait(remote.client.delete(name)) {
            Ok(()) => done.push(gone(flags, name.clone())?),
            Err(error) => failed.push(error.into()),
        }
    }
    if flags.json {
        stdout::json(&done)?;
    }
    told(failed)
}

fn removed(store: &Store, name: &Reference) -> Result<(), EngineError> {
    match store.remove_ref(name)? {
        Removed::Yes => Ok(()),
        Removed::WasAbsent => Err(EngineError::NoImage(name.clone())),
    }
}
