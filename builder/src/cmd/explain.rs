//! `cooper explain`: what builds did and why, from the store's log.

use super::Place;
use crate::env;
use crate::failure::{Exit, Failure};
use crate::flags::explain::ExplainFlags;
use crate::open;
use crate::stdout;
use crate::ui::reasons::lines;
use crate::ui::{Detail, amount, escape, table};
use cooper_engine::EngineError;
use cooper_engine::journal::{self, BuildEntry, Comparison, Ended, Outcome, Relation, StepEntry};
use cooper_store::Store;
use serde::Serialize;
use std::time::Duration;

/// One build for programs.
#[derive(Serialize)]
struct Numbered {
    build: u64,
    #[serde(flatten)]
    entry: BuildEntry,
}

/// Explains one build, compares two, or lists all.
pub fn run(place: &Place, flags: &ExplainFlags) -> Result<Exit, Failure> {
    let store = open::store(place, &place.root()?)?;
    match flags.builds.as_slice() {
        _ if flags.list => list(&store, flags)?,
        [first, second] => {
            let (a, b) = (one(&store, *first)?, one(&store, *second)?);
            let compared = journal::compare(&store, (*first, &a.entry), (*second, &b.entry))?;
            told(flags, &compared, || comparison(&compared))?;
        }
        [number, ..] => {
            let build = one(&store, *number)?;
            told(flags, &build, || text(&build, env::now()))?;
        }
        [] => {
            let last = newest(&store)?.ok_or_else(|| {
                Failure::usage("no build is remembered here", "build something first, or name its store with --root")
            })?;
            told(flags, &last, || text(&last, env::now()))?;
        }
    }
    Ok(Exit::Done)
}

fn told(flags: &ExplainFlags, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if flags.json { stdout::json(value) } else { stdout::line(&text()) }
}

fn one(store: &Store, number: u64) -> Result<Numbered, Failure> {
    let entry = journal::entry(store, number)?;
    entry.map(|entry| Numbered { build: number, entry }).ok_or_else(|| {
        Failure::usage(format!("build {number} is not remembered"), "cooper explain --list shows those that are")
    })
}

/// The newest that can be read; those before it are left alone.
fn newest(store: &Store) -> Result<Option<Numbered>, Failure> {
    for build in store.builds().map_err(EngineError::from)?.into_iter().rev() {
        if let Some(entry) = journal::entry(store, build)? {
            return Ok(Some(Numbered { build, entry }));
        }
    }
    Ok(None)
}

/// All that can be read, the newest last.
fn all(store: &Store) -> Result<Vec<Numbered>, Failure> {
    let mut found = Vec::new();
    for build in store.builds().map_err(EngineError::from)? {
        found.extend(journal::entry(store, build)?.map(|entry| Numbered { build, entry }));
    }
    Ok(found)
}

fn list(store: &Store, flags: &ExplainFlags) -> Result<(), Failure> {
    let mut builds = all(store)?;
    builds.reverse();
    if flags.json {
        return stdout::json(&builds);
    }
    let now = env::now();
    let rows = builds.iter().map(|b| {
        let ago = amount::ago(now.saturating_sub(b.entry.started_unix));
        [b.build.to_string(), ago, names(&b.entry), counts(&b.entry), ended(&b.entry)]
    });
    let head = std::iter::once(["BUILD", "WHEN", "WHAT", "STEPS", "RESULT"].map(str::to_owned));
    stdout::line(&table::columns(&head.chain(rows).collect::<Vec<_>>()))
}

/// The image's names, else where it was built from.
fn names(entry: &BuildEntry) -> String {
    let what = if entry.tags.is_empty() { entry.context.clone() } else { entry.tags.join(", ") };
    let target = entry.target.as_ref().map(|t| format!(" ({t})")).unwrap_or_default();
    escape::line(&format!("{what}{target}"))
}

fn counts(entry: &BuildEntry) -> String {
    let of = |outcome| entry.steps.iter().filter(|s| s.outcome == outcome).count();
    format!("{} run, {} cached", of(Outcome::Miss), of(Outcome::Hit))
}

fn ended(entry: &BuildEntry) -> String {
    match &entry.result {
        Ended::Built { image_id } => image_id.short().to_owned(),
        Ended::Failed { message } => format!("failed: {}", escape::line(message)),
    }
}

/// A build for people.
fn text(build: &Numbered, now: i64) -> String {
    let Numbered { build: number, entry } = build;
    let (ago, took) = (amount::ago(now.saturating_sub(entry.started_unix)), amount::took(millis(entry.took_ms)));
    let from = escape::line(&format!("{}, {}", entry.context, entry.dockerfile));
    let (names, counts, ended) = (names(entry), counts(entry), ended(entry));
    let mut out = vec![format!("build {number}, {ago}, in {took}: {names}"), format!("from {from}: {counts}; {ended}")];
    for step in &entry.steps {
        out.extend(step_lines(step));
    }
    out.join("\n")
}

fn step_lines(step: &StepEntry) -> Vec<String> {
    let took = step.took_ms.map(|ms| format!(" ({})", amount::took(millis(ms)))).unwrap_or_default();
    let head = format!("#{:<3} {:<11}  {}{took}", step.number, step.outcome.name(), escape::line(&step.label));
    let failure = step.message.iter().map(|m| escape::line(m));
    let below = lines(&step.reasons, Detail::Full).into_iter().chain(failure);
    std::iter::once(head).chain(below.map(|l| format!("                   {l}"))).collect()
}

/// Two builds for people.
fn comparison(compared: &Comparison) -> String {
    let mut out = vec![format!("build {} and build {}", compared.first, compared.second)];
    for pair in &compared.steps {
        let (word, below) = match &pair.relation {
            Relation::Same => ("same", Vec::new()),
            Relation::Differs { differences } => ("differs", lines(differences, Detail::Full)),
            Relation::Unknown => ("differs", vec!["what it depended on is not remembered".to_owned()]),
            Relation::Added => ("added", Vec::new()),
            Relation::Removed => ("removed", Vec::new()),
        };
        out.push(format!("{word:<8} {}", escape::line(&pair.label)));
        out.extend(below.into_iter().map(|l| format!("           {l}")));
    }
    out.join("\n")
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
