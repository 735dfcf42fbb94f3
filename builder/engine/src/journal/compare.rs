//! Two builds side by side: which steps had other keys, and which parts of the keys differ.
//!
//! Steps are found again by stage and instruction, else by their place in the stage. The parts of a key are in the
//! record that its step left; a step that failed left none.

use super::{BuildEntry, StepEntry};
use crate::{EngineError, why};
use cooper_plan::difference::Difference;
use cooper_store::Store;
use serde::Serialize;

/// Two builds.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Number of the first.
    pub first: u64,
    /// Number of the second.
    pub second: u64,
    /// The steps of the second in order, then those that only the first has.
    pub steps: Vec<Pair>,
}

/// A step of two builds.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// As people know it in the second build, or in the first when only that has it.
    pub label: String,
    /// What became of it.
    #[serde(flatten)]
    pub relation: Relation,
}

/// How a step of two builds relates.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(tag = "relation", rename_all = "kebab-case")]
pub enum Relation {
    /// The same step upon the same inputs.
    Same,
    /// Other inputs.
    Differs {
        /// Which.
        differences: Vec<Difference>,
    },
    /// Other inputs, and what they were is not known any more.
    Unknown,
    /// The first build does not have it.
    Added,
    /// The second build does not have it.
    Removed,
}

/// Compares two builds.
///
/// # Errors
/// When the store cannot be read.
pub fn compare(
    store: &Store,
    first: (u64, &BuildEntry),
    second: (u64, &BuildEntry),
) -> Result<Comparison, EngineError> {
    let matched = matches(&first.1.steps, &second.1.steps);
    let mut steps = Vec::new();
    for (new, old) in second.1.steps.iter().zip(&matched) {
        let relation = match old.and_then(|at| first.1.steps.get(at)) {
            Some(old) => relation(store, old, new)?,
            None => Relation::Added,
        };
        steps.push(Pair { label: new.label.clone(), relation });
    }
    let left = first.1.steps.iter().enumerate().filter(|(at, _)| !matched.contains(&Some(*at)));
    steps.extend(left.map(|(_, s)| Pair { label: s.label.clone(), relation: Relation::Removed }));
    Ok(Comparison { first: first.0, second: second.0, steps })
}

/// For each step of the second build the one of the first that it is.
fn matches(first: &[StepEntry], second: &[StepEntry]) -> Vec<Option<usize>> {
    let mut found: Vec<Option<usize>> = vec![None; second.len()];
    for (at, new) in second.iter().enumerate() {
        let same = |o: &StepEntry| o.stage == new.stage && o.text() == new.text();
        found[at] = first.iter().enumerate().position(|(n, o)| same(o) && !found.contains(&Some(n)));
    }
    for at in 0..second.len() {
        if found[at].is_none() {
            let there = |n: usize| first.get(n).is_some_and(|o| o.stage == second[at].stage);
            found[at] = place_in_stage(first, second, at).filter(|n| there(*n) && !found.contains(&Some(*n)));
        }
    }
    found
}

/// The step of the first build that is at the same place of its stage.
fn place_in_stage(first: &[StepEntry], second: &[StepEntry], at: usize) -> Option<usize> {
    let stage = &second.get(at)?.stage;
    let place = second.iter().take(at).filter(|s| s.stage == *stage).count();
    first.iter().enumerate().filter(|(_, s)| s.stage == *stage).nth(place).map(|(n, _)| n)
}

fn relation(store: &Store, old: &StepEntry, new: &StepEntry) -> Result<Relation, EngineError> {
    let (Some(old_key), Some(new_key)) = (&old.key, &new.key) else {
        return Ok(match (old.key == new.key, old.text() == new.text()) {
            (true, true) => Relation::Same,
            (true, false) => {
                let changed = Difference::note(&format!("the instruction changed, it was {}", old.text()));
                Relation::Differs { differences: vec![changed] }
            }
            (false, _) => Relation::Unknown,
        });
    };
    if old_key == new_key {
        return Ok(Relation::Same);
    }
    Ok(match (store.record(old_key)?, store.record(new_key)?) {
        (Some(old), Some(new)) => Relation::Differs { differences: why::between(old, new) },
        _ => Relation::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn steps(texts: &[(&str, &str)]) -> Vec<StepEntry> {
        let step = |(number, (stage, text)): (usize, &(&str, &str))| StepEntry {
            number,
            stage: (*stage).to_owned(),
            label: format!("[{stage} {number}/9] {text}"),
            outcome: Outcome::Hit,
            took_ms: None,
            key: None,
            reasons: Vec::new(),
            message: None,
        };
        (1..).zip(texts).map(step).collect()
    }

    #[test]
    fn steps_are_found_again() {
        let first = steps(&[("a", "FROM x"), ("a", "RUN 1"), ("a", "RUN 2"), ("b", "RUN 1")]);
        for (second, expected) in [
            (
                &[("a", "FROM x"), ("a", "RUN 0"), ("a", "RUN 1"), ("b", "RUN 1")][..],
                &[Some(0), None, Some(1), Some(3)][..],
            ),
            (&[("a", "FROM x"), ("a", "RUN 9"), ("a", "RUN 2")], &[Some(0), Some(1), Some(2)]),
            (&[("a", "RUN 1"), ("a", "RUN 1")], &[Some(1), None]),
            (&[("c", "RUN 1")], &[None]),
        ] {
            assert_eq!(matches(&first, &steps(second)), expected, "{second:?}");
        }
    }
}
