//! Why a step missed the cache: two sets of key parts compared.
//!
//! Takes the parts of the nearest earlier record and of the new key; gives what differs, each as one short phrase. `difference` adds
//! files and hides secrets.
//! Must never: be silent about a difference, known or not.

use crate::record::Parts;
use std::fmt;

/// One difference between two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Another kind of step stood here.
    Operation(Change),
    /// The program or its arguments; as JSON lists.
    Command(Change),
    /// The script that the step runs.
    Script(Change),
    /// A variable that was not there.
    VariableAdded {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A variable that is no longer there.
    VariableRemoved {
        /// Its name.
        name: String,
        /// The value that it had.
        value: String,
    },
    /// A variable with another value.
    VariableChanged {
        /// Its name.
        name: String,
        /// The values.
        change: Change,
    },
    /// The time that no file may be later than.
    Clamp(Change),
    /// The working directory of a command.
    Directory(Change),
    /// The user of a command, or the owner of a working directory.
    User(Change),
    /// The network of a command.
    Network(Change),
    /// The host name that a command sees.
    Hostname(Change),
    /// `--security`.
    Security(Change),
    /// Host names of `--add-host`.
    Hosts(Change),
    /// `--shm-size`.
    SharedMemory(Change),
    /// `--ulimit`.
    Limits(Change),
    /// `--no-new-privs`.
    NewRights(Change),
    /// What is mounted, beside its files.
    Mounts(Change),
    /// The files that a mount shows.
    MountedFiles {
        /// Where they are mounted.
        target: String,
        /// Their digests.
        change: Change,
    },
    /// Files of the context where a stage's or image's were, or the other way round.
    Origin(Change),
    /// Source patterns; as JSON lists.
    Sources(Change),
    /// The chosen files; as digests.
    Files(Change),
    /// Files written in the Dockerfile; as a JSON list of names and digests.
    Inline(Change),
    /// Where files are copied to, or what a WORKDIR names.
    Destination(Change),
    /// `--chown`.
    Owner(Change),
    /// `--chmod`.
    Mode(Change),
    /// Are archives unpacked?
    Unpack(Change),
    /// A source that is fetched.
    Source {
        /// Its number in the instruction, from 1.
        number: String,
        /// Which part of it.
        what: String,
        /// The values.
        change: Change,
    },
    /// `--exclude`; as a JSON list.
    Exclude(Change),
    /// `--parents`.
    Parents(Change),
    /// `--link`.
    Link(Change),
    /// The platform.
    Platform(Change),
    /// The layers that the step is done upon; as chain ids.
    Parent(Change),
    /// A part that this version does not know: the record comes from another one.
    Unknown {
        /// Name of the part.
        part: String,
        /// The values.
        change: Change,
    },
    /// The keys are the same: the step was done, but its layer is no longer in the store.
    ResultGone,
}

/// What stands for a value that may be secret.
pub const HIDDEN: &str = "(not shown)";

/// A value before and after; `None` is no value at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In the earlier record.
    pub old: Option<String>,
    /// In the new key.
    pub new: Option<String>,
}

/// Everything that differs, each with the name of its part: the step's own inputs first and the layers below last.
/// Only of equal keys, whose result must have gone, there is no part.
pub fn reasons(old: &Parts, new: &Parts) -> Vec<(Option<String>, Reason)> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_by_key(|n| (rank(n), *n));
    names.dedup();
    if old.get("op") != new.get("op") {
        // Steps of two kinds have hardly a part in common: nothing more can be learnt from the rest.
        names.retain(|n| *n == "op");
    }
    let mut found: Vec<(Option<String>, Reason)> = Vec::new();
    for name in names.into_iter().filter(|name| old.get(*name) != new.get(*name)) {
        let reason = reason(name, Change { old: old.get(name).cloned(), new: new.get(name).cloned() });
        // A script has two parts, and so has a destination: one phrase is enough for both.
        let same = |(_, r): &(_, Reason)| {
            std::mem::discriminant(r) == std::mem::discriminant(&reason) && r.to_string() == reason.to_string()
        };
        if !found.last().is_some_and(same) {
            found.push((Some(name.clone()), reason));
        }
    }
    if found.is_empty() {
        found.push((None, Reason::ResultGone));
    }
    found
}

/// Order of the phrases.
fn rank(part: &str) -> u8 {
    match part {
        "op" => 0,
        "parent" => 3,
        "platform" | "platform.version" => 2,
        _ => 1,
    }
}

pub(crate) fn reason(part: &str, change: Change) -> Reason {
    if let Some(name) = part.strip_prefix("env.") {
        let name = name.to_owned();
        return match (change.old, change.new) {
            (None, Some(value)) => Reason::VariableAdded { name, value },
            (Some(value), None) => Reason::VariableRemoved { name, value },
            (old, new) => Reason::VariableChanged { name, change: Change { old, new } },
        };
    }
    if let Some((_, target)) = part.strip_prefix("mount.").and_then(|rest| rest.split_once('.')) {
        return Reason::MountedFiles { target: target.to_owned(), change };
    }
    if let Some((number, what)) = part.strip_prefix("source.").and_then(|rest| rest.split_once('.')) {
        return match what {
            "pattern" | "name" => Reason::Sources(change),
            "files" => Reason::Files(change),
            _ => Reason::Source { number: number.to_owned(), what: what.to_owned(), change },
        };
    }
    match part {
        "op" => Reason::Operation(change),
        "argv" => Reason::Command(change),
        "script.name" | "script.body" => Reason::Script(change),
        "clamp" => Reason::Clamp(change),
        "cwd" => Reason::Directory(change),
        "user" => Reason::User(change),
        "network" => Reason::Network(change),
        "hostname" => Reason::Hostname(change),
        "security" => Reason::Security(change),
        "hosts" => Reason::Hosts(change),
        "shm" => Reason::SharedMemory(change),
        "limits" => Reason::Limits(change),
        "no_new_privs" => Reason::NewRights(change),
        "mounts" => Reason::Mounts(change),
        "from" => Reason::Origin(change),
        "sources" => Reason::Sources(change),
        "files" => Reason::Files(change),
        "inline" => Reason::Inline(change),
        "dest" | "dest.directory" | "onto" | "path" => Reason::Destination(change),
        "chown" => Reason::Owner(change),
        "chmod" | "made" => Reason::Mode(change),
        "unpack" | "unpack.fetched" => Reason::Unpack(change),
        "exclude" => Reason::Exclude(change),
        "parents" => Reason::Parents(change),
        "link" => Reason::Link(change),
        "platform" | "platform.version" => Reason::Platform(change),
        "parent" => Reason::Parent(change),
        other => Reason::Unknown { part: other.to_owned(), change },
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(c) => write!(f, "another kind of step was here{c}"),
            Self::Command(_) => f.write_str("the command changed"),
            Self::Script(_) => f.write_str("the script changed"),
            Self::VariableAdded { name, value } => write!(f, "variable {name} was added as {}", quoted(value)),
            Self::VariableRemoved { name, value } => write!(f, "variable {name} was removed, it was {}", quoted(value)),
            Self::VariableChanged { name, change } => write!(f, "variable {name} changed{change}"),
            Self::Clamp(c) => write!(f, "the latest time that files may have changed{c}"),
            Self::Directory(c) => write!(f, "the working directory changed{c}"),
            Self::User(c) => write!(f, "the user changed{c}"),
            Self::Network(c) => write!(f, "the network changed{c}"),
            Self::Hostname(c) => write!(f, "the host name changed{c}"),
            Self::Security(c) => write!(f, "the security mode changed{c}"),
            Self::Hosts(c) => write!(f, "the names of --add-host changed{c}"),
            Self::SharedMemory(c) => write!(f, "--shm-size changed{c}"),
            Self::Limits(c) => write!(f, "--ulimit changed{c}"),
            Self::NewRights(c) => write!(f, "--no-new-privs changed{c}"),
            Self::Mounts(_) => f.write_str("its mounts changed"),
            Self::MountedFiles { target, .. } => write!(f, "the files mounted at {} changed", quoted(target)),
            Self::Origin(c) => write!(f, "the files come from another place{c}"),
            Self::Sources(_) => f.write_str("the sources that it names changed"),
            Self::Files(_) => f.write_str("the files that it copies changed"),
            Self::Inline(_) => f.write_str("the files written in the Dockerfile changed"),
            Self::Destination(_) => f.write_str("the destination changed"),
            Self::Owner(c) => write!(f, "--chown changed{c}"),
            Self::Mode(c) => write!(f, "--chmod changed{c}"),
            Self::Unpack(c) => write!(f, "unpacking of archives changed{c}"),
            Self::Source { number, what, change } => match what.as_str() {
                "digest" => write!(f, "source {number}: the file behind the URL changed"),
                "modified" => write!(f, "source {number}: the file behind the URL was dated anew{change}"),
                "commit" => write!(f, "source {number}: the commit changed{change}"),
                other => write!(f, "source {number}: {other} changed{change}"),
            },
            Self::Exclude(_) => f.write_str("--exclude changed"),
            Self::Parents(c) => write!(f, "--parents was {}", given(c)),
            Self::Link(c) => write!(f, "--link was {}", given(c)),
            Self::Platform(c) => write!(f, "the platform changed{c}"),
            Self::Parent(_) => f.write_str("the layers below changed"),
            Self::Unknown { part, .. } => write!(f, "{part} changed"),
            Self::ResultGone => f.write_str("its layer is no longer in the store"),
        }
    }
}

/// What became of a flag without a value.
fn given(change: &Change) -> &'static str {
    if change.new.is_some() { "added" } else { "removed" }
}

/// ` from "x" to "y"`, as the end of a phrase.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |v: &Option<String>| v.as_deref().map_or_else(|| "nothing".to_owned(), quoted);
        write!(f, " from {} to {}", side(&self.old), side(&self.new))
    }
}

/// A value for people: quoted, control characters escaped, and not longer than a line.
fn quoted(value: &str) -> String {
    const SHOWN: usize = 60;
    if value == HIDDEN {
        return value.to_owned();
    }
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", value.get(..end).unwrap_or_default()),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &[(&str, &str)]) -> Parts {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn each_difference_has_its_phrase() {
        let long = "x".repeat(80);
        for (old, new, phrase) in [
            (&[("op", "exec")][..], &[("op", "copy")][..], "another kind of step was here from \"exec\" to \"copy\""),
            (&[("argv", "[1]")], &[("argv", "[2]")], "the command changed"),
            (&[("clamp", "1")], &[("clamp", "2")], "the latest time that files may have changed from \"1\" to \"2\""),
            (
                &[("script.body", "1"), ("script.name", "A")],
                &[("script.body", "2"), ("script.name", "B")],
                "the script changed",
            ),
            (&[("env.A", "x")], &[("env.A", "y")], "variable A changed from \"x\" to \"y\""),
            (&[], &[("env.A.b", "y")], "variable A.b was added as \"y\""),
            (&[("env.A", "x\n")], &[], "variable A was removed, it was \"x\\n\""),
            (&[("cwd", "/a")], &[("cwd", "/b")], "the working directory changed from \"/a\" to \"/b\""),
            (&[("user", "")], &[("user", "b")], "the user changed from \"\" to \"b\""),
            (&[("network", "none")], &[("network", "host")], "the network changed from \"none\" to \"host\""),
            (&[], &[("hostname", "a")], "the host name changed from nothing to \"a\""),
            (
                &[("from", "context")],
                &[("from", "root")],
                "the files come from another place from \"context\" to \"root\"",
            ),
            (&[], &[("security", "insecure")], "the security mode changed from nothing to \"insecure\""),
            (&[("hosts", "a")], &[("hosts", "b")], "the names of --add-host changed from \"a\" to \"b\""),
            (&[("shm", "1")], &[("shm", "2")], "--shm-size changed from \"1\" to \"2\""),
            (&[], &[("limits", "1")], "--ulimit changed from nothing to \"1\""),
            (&[], &[("no_new_privs", "on")], "--no-new-privs changed from nothing to \"on\""),
            (&[("mounts", "1")], &[("mounts", "2")], "its mounts changed"),
            (&[("mount.0./a.b", "1")], &[("mount.0./a.b", "2")], "the files mounted at \"/a.b\" changed"),
            (&[("sources", "1")], &[("sources", "2")], "the sources that it names changed"),
            (&[("files", "1")], &[("files", "2")], "the files that it copies changed"),
            (&[("inline", "1")], &[("inline", "2")], "the files written in the Dockerfile changed"),
            (
                &[("dest", "/a"), ("dest.directory", "no")],
                &[("dest", "/b"), ("dest.directory", "yes")],
                "the destination changed",
            ),
            (&[], &[("onto", "in turn")], "the destination changed"),
            (&[("path", "/a")], &[("path", "/b")], "the destination changed"),
            (&[], &[("chown", "1")], "--chown changed from nothing to \"1\""),
            (&[("chmod", "7"), ("made", "7")], &[], "--chmod changed from \"7\" to nothing"),
            (&[("unpack", "no")], &[("unpack", "yes")], "unpacking of archives changed from \"no\" to \"yes\""),
            (
                &[("unpack.fetched", "no")],
                &[("unpack.fetched", "yes")],
                "unpacking of archives changed from \"no\" to \"yes\"",
            ),
            (&[("source.1.digest", "1")], &[("source.1.digest", "2")], "source 1: the file behind the URL changed"),
            (
                &[],
                &[("source.2.modified", "x")],
                "source 2: the file behind the URL was dated anew from nothing to \"x\"",
            ),
            (
                &[("source.1.commit", "1")],
                &[("source.1.commit", "2")],
                "source 1: the commit changed from \"1\" to \"2\"",
            ),
            (&[("source.1.subdir", "a")], &[], "source 1: subdir changed from \"a\" to nothing"),
            (&[("source.1.files", "1")], &[("source.1.files", "2")], "the files that it copies changed"),
            (&[("source.1.name", "1")], &[("source.1.name", "2")], "the sources that it names changed"),
            (&[("exclude", "1")], &[("exclude", "2")], "--exclude changed"),
            (&[], &[("parents", "yes")], "--parents was added"),
            (&[("link", "yes")], &[], "--link was removed"),
            (&[("platform", "a")], &[("platform", "b")], "the platform changed from \"a\" to \"b\""),
            (&[("parent", "1")], &[], "the layers below changed"),
            (&[("later", "1")], &[("later", "2")], "later changed"),
            (&[("op", "exec")], &[("op", "exec")], "its layer is no longer in the store"),
        ] {
            let found = reasons(&parts(old), &parts(new));
            assert_eq!(found.iter().map(|(_, r)| r.to_string()).collect::<Vec<_>>(), [phrase]);
        }
        let clipped = reasons(&parts(&[]), &parts(&[("env.A", &long)]));
        assert_eq!(clipped[0].1.to_string(), format!("variable A was added as \"{}\"…", &long[..60]));
    }

    #[test]
    fn own_inputs_come_before_the_layers_below() {
        let old =
            parts(&[("op", "exec"), ("parent", "1"), ("platform", "a"), ("user", "x"), ("argv", "1"), ("env.B", "1")]);
        let new =
            parts(&[("op", "exec"), ("parent", "2"), ("platform", "b"), ("user", "y"), ("argv", "2"), ("env.B", "2")]);
        let change = |a: &str, b: &str| Change { old: Some(a.into()), new: Some(b.into()) };
        assert_eq!(
            reasons(&old, &new).into_iter().map(|(_, r)| r).collect::<Vec<_>>(),
            [
                Reason::Command(change("1", "2")),
                Reason::VariableChanged { name: "B".into(), change: change("1", "2") },
                Reason::User(change("x", "y")),
                Reason::Platform(change("a", "b")),
                Reason::Parent(change("1", "2")),
            ]
        );
    }
}
