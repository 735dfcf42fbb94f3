//! Why a step is not an earlier one, as data: the part of the key, its values, the files that changed.
//!
//! Takes two records; gives a list that a program can read and a person too. Must never: give a value that may be
//! secret, away from the store as little as within it.

use crate::key::KeyRecord;
use crate::reason::{Change, HIDDEN, Reason, reason, reasons};
use crate::record::Parts;
use cooper_dockerfile::lint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most files that one difference names.
const FILES: usize = 100;
/// Most files that a summary names.
const NAMED: usize = 3;
/// Most characters of a value.
const VALUE: usize = 1000;

/// One part of two keys that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Name of the part, as `docs/formats/cache-key.md` has it; nothing when the reason lies outside of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Its value before; nothing when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Its value now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// The files that make the difference, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileChange>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_files: usize,
    /// The difference as a phrase, without the files.
    pub text: String,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path, in the context or stage that it comes from.
    pub path: String,
    /// What of it.
    pub change: Aspect,
    /// The mode or owner before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The mode or owner now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// What of a file is not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// There was none.
    Added,
    /// There is none.
    Removed,
    /// Its bytes, its kind, its link's target or its extended attributes.
    Content,
    /// Its mode.
    Mode,
    /// Its owner.
    Owner,
    /// Something: an older record does not say more.
    Something,
}

impl Difference {
    /// A reason that lies outside of the key.
    pub fn note(text: &str) -> Self {
        Self { part: None, old: None, new: None, files: Vec::new(), more_files: 0, text: text.to_owned() }
    }

    /// One phrase, with the first few files by name.
    pub fn summary(&self) -> String {
        let mut told: Vec<String> = self.files.iter().take(NAMED).map(FileChange::phrase).collect();
        if told.is_empty() {
            return self.text.clone();
        }
        match self.files.len().saturating_sub(NAMED) + self.more_files {
            0 => {}
            more => told.push(format!("and {more} more")),
        }
        format!("{}: {}", self.text, told.join(", "))
    }

    /// A line, and one for each file.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.text.clone()];
        if matches!(self.part.as_deref(), Some("argv" | "sources" | "exclude")) {
            lines.extend(self.old.iter().map(|v| format!("  was {v}")));
            lines.extend(self.new.iter().map(|v| format!("  is  {v}")));
        }
        lines.extend(self.files.iter().map(|f| format!("  {}", f.phrase())));
        if self.more_files > 0 {
            lines.push(format!("  and {} more", self.more_files));
        }
        lines
    }
}

impl FileChange {
    fn phrase(&self) -> String {
        let side = |v: &Option<String>| v.clone().unwrap_or_default();
        let Self { path, change, old, new } = self;
        match change {
            Aspect::Added => format!("{path} is new"),
            Aspect::Removed => format!("{path} is gone"),
            Aspect::Content | Aspect::Something => format!("{path} changed"),
            Aspect::Mode => format!("{path} has mode {}, had {}", side(new), side(old)),
            Aspect::Owner => format!("{path} belongs to {}, did to {}", side(new), side(old)),
        }
    }
}

/// Everything that differs, the step's own inputs first and the layers below last.
pub fn differences(old: &KeyRecord, new: &KeyRecord) -> Vec<Difference> {
    let one = |(part, why): (Option<String>, Reason)| {
        let Some(part) = part else { return Difference::note(&why.to_string()) };
        let side = |parts: &Parts| parts.get(&part).map(|value| shown(&part, value));
        let (before, now) = (side(&old.parts), side(&new.parts));
        let text = reason(&part, Change { old: before.clone(), new: now.clone() }).to_string();
        let mut files = files_of(&part).map_or_else(Vec::new, |below| changed(&old.files, &new.files, &below));
        let more_files = files.len().saturating_sub(FILES);
        files.truncate(FILES);
        Difference { part: Some(part), old: before, new: now, files, more_files, text }
    };
    reasons(&old.parts, &new.parts).into_iter().map(one).collect()
}

/// How many parts are not the same.
pub fn distance(old: &Parts, new: &Parts) -> usize {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|n| old.get(*n) != new.get(*n)).count()
}

/// The name under which a file of mount `number` is kept in [`KeyRecord::files`].
pub fn mounted_file(number: usize, path: &str) -> String {
    format!("{number}:{path}")
}

/// What stands before the names of the files that a part is the digest of, if it is one of files.
fn files_of(part: &str) -> Option<String> {
    if let Some((number, _)) = part.strip_prefix("mount.").and_then(|rest| rest.split_once('.')) {
        return Some(format!("{number}:"));
    }
    let local = part.strip_prefix("source.").is_some_and(|rest| rest.ends_with(".files"));
    (part == "files" || local).then(String::new)
}

/// Which files changed; none when one of the lists is not known.
fn changed(old: &Parts, new: &Parts, below: &str) -> Vec<FileChange> {
    if old.is_empty() || new.is_empty() {
        return Vec::new();
    }
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|n| n.starts_with(below)).collect();
    names
        .into_iter()
        .flat_map(|name| aspects(name.get(below.len()..).unwrap_or(name), old.get(name), new.get(name)))
        .collect()
}

/// What of one file changed: content, mode and owner stand beside each other, in records of this version.
fn aspects(path: &str, old: Option<&String>, new: Option<&String>) -> Vec<FileChange> {
    let change = |change, sides: Option<(&str, &str)>| FileChange {
        path: path.to_owned(),
        change,
        old: sides.map(|s| s.0.to_owned()),
        new: sides.map(|s| s.1.to_owned()),
    };
    let (Some(old), Some(new)) = (old, new) else {
        return vec![change(if old.is_none() { Aspect::Added } else { Aspect::Removed }, None)];
    };
    if old == new {
        return Vec::new();
    }
    let (before, now): (Vec<&str>, Vec<&str>) = (old.split(' ').collect(), new.split(' ').collect());
    let (&[content, mode, owner], &[new_content, new_mode, new_owner]) = (&before[..], &now[..]) else {
        return vec![change(Aspect::Something, None)];
    };
    let mut found = Vec::new();
    if content != new_content {
        found.push(change(Aspect::Content, None));
    }
    if mode != new_mode {
        found.push(change(Aspect::Mode, Some((mode, new_mode))));
    }
    if owner != new_owner {
        found.push(change(Aspect::Owner, Some((owner, new_owner))));
    }
    found
}

/// A value as it may be shown: not one that sounds or looks like a secret, and not endlessly much of it.
fn shown(part: &str, value: &str) -> String {
    let name = part.strip_prefix("env.").unwrap_or_default();
    if sounds_secret(name) || looks_secret(value) {
        return HIDDEN.to_owned();
    }
    match value.char_indices().nth(VALUE) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

/// More names than the check warns of: what is hidden in vain harms nobody.
fn sounds_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lint::is_secret(name) || ["passw", "secret", "token", "credential", "apikey"].iter().any(|w| lower.contains(w))
}

fn looks_secret(value: &str) -> bool {
    let divides = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '=' | ',');
    lint::kind_of_secret(value).is_some() || value.split(divides).any(|word| lint::kind_of_secret(word).is_some())
}

// Serde gives a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &[(&str, &str)]) -> Parts {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn between(part: &str, old: &[(&str, &str)], new: &[(&str, &str)]) -> String {
        let record = |sum: &str, files| KeyRecord { parts: parts(&[(part, sum)]), files: parts(files) };
        let found = differences(&record("1", old), &record("2", new));
        assert_eq!(found.len(), 1);
        found[0].summary()
    }

    #[test]
    fn files_are_told_by_name_and_by_what_of_them_changed() {
        for (old, new, told) in [
            (&[("a", "1"), ("b", "1")][..], &[("a", "2"), ("b", "1")][..], ": a changed"),
            (&[("a", "1")], &[("a", "1"), ("b", "1")], ": b is new"),
            (&[("a", "1"), ("b", "1")], &[("c", "1"), ("a", "1")], ": b is gone, c is new"),
            (&[("a", "1 644 0:0")], &[("a", "2 644 0:0")], ": a changed"),
            (&[("a", "1 644 0:0")], &[("a", "1 755 0:0")], ": a has mode 755, had 644"),
            (&[("a", "1 644 0:0")], &[("a", "1 644 1:2")], ": a belongs to 1:2, did to 0:0"),
            (&[("a", "1 644 0:0")], &[("a", "2 755 0:0")], ": a changed, a has mode 755, had 644"),
            // An older record beside a new one.
            (&[("a", "1")], &[("a", "1 644 0:0")], ": a changed"),
            (
                &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")],
                &[("a", "2"), ("b", "2"), ("c", "2"), ("d", "2"), ("e", "2")],
                ": a changed, b changed, c changed, and 2 more",
            ),
            (&[("a", "1")], &[("a", "1")], ""),
            (&[], &[("a", "1")], ""),
            (&[("a", "1")], &[], ""),
        ] {
            assert_eq!(between("files", old, new), format!("the files that it copies changed{told}"));
        }
        let mounts = between("mount.1./m", &[("0:a", "1"), ("1:a", "1")], &[("0:a", "2"), ("1:b", "1")]);
        assert_eq!(mounts, "the files mounted at \"/m\" changed: a is gone, b is new");
        assert_eq!(between("user", &[("a", "1")], &[("a", "2")]), "the user changed from \"1\" to \"2\"");
    }

    #[test]
    fn what_may_be_secret_is_in_no_difference() {
        let pat = format!("ghp_{}", "0aB".repeat(12));
        for (part, value) in [
            ("env.DB_PASSWORD", "hunter2"),
            ("env.dbPasswd", "hunter2"),
            ("env.NPM_TOKEN", "hunter2"),
            ("env.X", "https://me:hunter2@host/"),
            ("env.X", pat.as_str()),
            ("argv", "[\"sh\",\"-c\",\"curl https://me:hunter2@host/\"]"),
        ] {
            for (old, new) in [(&[][..], &[(part, value)][..]), (&[(part, value)], &[(part, "other")])] {
                let record = |list| KeyRecord { parts: parts(list), files: Parts::new() };
                let found = differences(&record(old), &record(new));
                let text = serde_json::to_string(&found).unwrap() + &found[0].lines().join("\n");
                assert!(!text.contains("hunter2") && !text.contains(&pat) && text.contains(HIDDEN), "{text}");
            }
        }
        let record = |value| KeyRecord { parts: parts(&[("env.CC", value)]), files: Parts::new() };
        assert!(differences(&record("gcc"), &record("clang"))[0].text.contains("from \"gcc\" to \"clang\""));
    }

    #[test]
    fn a_list_of_files_is_bounded() {
        let files = |sum: &str| (0..FILES + 5).map(|n| (format!("f{n}"), sum.to_owned())).collect::<Parts>();
        let record = |sum: &str| KeyRecord { parts: parts(&[("files", sum)]), files: files(sum) };
        let found = differences(&record("1"), &record("2"));
        assert_eq!((found[0].files.len(), found[0].more_files), (FILES, 5));
        assert_eq!(found[0].lines().last().unwrap(), "  and 5 more");
        assert!(found[0].summary().ends_with("and 102 more"), "{}", found[0].summary());
    }

    #[test]
    fn distance_counts_parts() {
        let a = parts(&[("op", "x"), ("a", "1"), ("b", "1")]);
        assert_eq!(distance(&a, &a), 0);
        assert_eq!(distance(&a, &parts(&[("op", "x"), ("a", "2"), ("c", "1")])), 3);
    }
}
