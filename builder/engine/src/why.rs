//! Why a step has to be done: which earlier record is the nearest, and what differs from it.
//!
//! Takes records of the store and what is known of the layers below; gives differences in which a base has its name.

use crate::resolve::Resolved;
use crate::solve::StageState;
use cooper_plan::difference::{self, Difference};
use cooper_plan::key::KeyRecord;
use cooper_plan::op::Base;
use cooper_store::StepRecord;

/// The record with the fewest parts that differ; of several the newest, which is the last.
pub fn nearest(records: Vec<StepRecord>, new: &KeyRecord) -> Option<StepRecord> {
    // Of equal ones the first is the least.
    records.into_iter().rev().min_by_key(|old| difference::distance(&old.parts, &new.parts))
}

/// Is it the same instruction, whatever it is given?
pub fn is_same_instruction(old: &StepRecord, new: &KeyRecord) -> bool {
    let words = ["op", "argv", "script.body", "sources", "inline", "dest", "path"];
    words.iter().all(|part| old.parts.get(*part) == new.parts.get(*part))
}

/// What differs, for a step upon these layers.
pub fn differences(old: StepRecord, new: &KeyRecord, below: &StageState) -> Vec<Difference> {
    let StepRecord { parts, files, base, .. } = old;
    let mut found = difference::differences(&KeyRecord { parts, files }, new);
    tell_parent(&mut found, base.as_deref(), below.base.as_deref());
    if let Some(step) = &below.anew {
        for d in parent(&mut found).filter(|d| d.text == LAYERS_BELOW) {
            d.text = format!("{LAYERS_BELOW}: {step} was run anew");
        }
    }
    found
}

/// What differs between the records of two steps that were done.
pub fn between(old: StepRecord, new: StepRecord) -> Vec<Difference> {
    let (old_base, new_base) = (old.base, new.base);
    let of = |parts, files| KeyRecord { parts, files };
    let mut found = difference::differences(&of(old.parts, old.files), &of(new.parts, new.files));
    tell_parent(&mut found, old_base.as_deref(), new_base.as_deref());
    found
}

/// The phrase of `plan::reason` for other layers below.
const LAYERS_BELOW: &str = "the layers below changed";

fn parent(found: &mut [Difference]) -> impl Iterator<Item = &mut Difference> {
    found.iter_mut().filter(|d| d.part.as_deref() == Some("parent"))
}

/// Other layers below are another base, when that changed.
fn tell_parent(found: &mut [Difference], old: Option<&str>, new: Option<&str>) {
    let (Some(old), Some(new)) = (old, new) else { return };
    if old != new {
        parent(found).for_each(|d| d.text = format!("the base image changed from {old} to {new}"));
    }
}

/// An image's name and digest.
pub fn base_name(base: &Base, image: &Resolved) -> Option<String> {
    let digest = image.manifest.as_ref().map_or(&image.config_descriptor.digest, |(d, _)| &d.digest);
    match base {
        Base::Image(reference) if reference.digest().is_some() => Some(reference.familiar()),
        Base::Image(reference) => Some(format!("{}@{digest}", reference.clone().or_latest().familiar())),
        Base::Layout(name) => Some(format!("{name}@{digest}")),
        Base::Scratch | Base::Stage(_) | Base::Files(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::{Digest, ImageConfig, Platform};
    use std::collections::BTreeMap;

    fn parts(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn record(name: &str, list: &[(&str, &str)]) -> StepRecord {
        StepRecord {
            version: 1,
            key: Digest::sha256(name),
            slot: "s".to_owned(),
            parts: parts(list),
            files: BTreeMap::new(),
            base: Some("debian:12@sha256:a".to_owned()),
            layer: None,
            created_unix: 0,
        }
    }

    #[test]
    fn the_nearest_record_differs_least_and_is_the_newest_of_those() {
        let new = KeyRecord { parts: parts(&[("op", "exec"), ("argv", "1"), ("cwd", "/")]), files: BTreeMap::new() };
        let far = record("far", &[("op", "exec"), ("argv", "2"), ("cwd", "/x")]);
        let (old, newer) = (
            record("old", &[("op", "exec"), ("argv", "2"), ("cwd", "/")]),
            record("newer", &[("op", "exec"), ("argv", "1")]),
        );
        let found = |list: &[&StepRecord]| nearest(list.iter().copied().cloned().collect(), &new).map(|r| r.key);
        assert_eq!(found(&[&old, &newer, &far]), Some(newer.key.clone()));
        assert_eq!(found(&[&newer, &old, &far]), Some(old.key.clone()));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn layers_below_have_a_cause() {
        let new = KeyRecord { parts: parts(&[("op", "exec"), ("parent", "2")]), files: BTreeMap::new() };
        let old = || record("old", &[("op", "exec"), ("parent", "1")]);
        let state = |base: &str, anew: Option<&str>| StageState {
            layers: Vec::new(),
            config: ImageConfig::scratch(&Platform::linux("amd64")),
            created: 0,
            base: Some(base.to_owned()),
            anew: anew.map(str::to_owned),
        };
        for (base, anew, text) in [
            ("debian:12@sha256:a", None, "the layers below changed"),
            ("debian:12@sha256:a", Some("[a 2/3] COPY x /"), "the layers below changed: [a 2/3] COPY x / was run anew"),
            (
                "debian:12@sha256:b",
                Some("[a 2/3] COPY x /"),
                "the base image changed from debian:12@sha256:a to debian:12@sha256:b",
            ),
        ] {
            assert_eq!(differences(old(), &new, &state(base, anew))[0].text, text);
        }
    }
}
