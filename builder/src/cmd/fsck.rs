//! `cooper debug fsck`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::debug::FsckFlags;
use crate::stdout;
use crate::ui::{escape, say};
use cooper_engine::EngineError;
use cooper_store::{Problem, Report};
use serde::Serialize;

/// What was found, for programs.
#[derive(Serialize)]
struct Answer {
    blobs: u64,
    names: u64,
    manifests: u64,
    small_files: u64,
    mended: Vec<String>,
    problems: Vec<String>,
}

/// Looks at everything; with `--repair` deletes what is damaged.
pub fn run(place: &Place, flags: &FsckFlags) -> Result<Exit, Failure> {
    let store = super::prune::open(place)?;
    let (mended, report) = match flags.repair {
        true => store.repair().map_err(EngineError::from)?,
        false => (Vec::new(), store.fsck().map_err(EngineError::from)?),
    };
    let Report { blobs, refs, manifests, small, problems } = report;
    let lines = |list: &[Problem]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let answer = Answer {
        blobs,
        names: refs,
        manifests,
        small_files: small,
        mended: lines(&mended),
        problems: lines(&problems),
    };
    if flags.json {
        stdout::json(&answer)?;
    } else {
        stdout::line(&format!(
            "{blobs} blobs, {refs} names, {manifests} manifests of the registry, {small} small files"
        ))?;
        for text in &answer.mended {
            say(&format!("deleted: {}", escape::line(text)));
        }
        for text in &answer.problems {
            say(&escape::line(text));
        }
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Storage })
}
