//! Flags of instructions: which exist, which may be repeated, what they hold.

use super::Cx;
use crate::diagnostic::{Diagnostic, quoted};
use crate::split::Flag;
use crate::suggest;
use std::ops::Range;

/// What a flag may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text, once.
    Text,
    /// A text, any number of times.
    Many,
    /// `true` or `false`, once; no value is `true`.
    Switch,
}

/// A flag that an instruction has.
pub(super) type Known = (&'static str, Kind);

/// The flags of one instruction, checked.
#[derive(Debug, Default)]
pub(super) struct Flags {
    given: Vec<(&'static str, String, Range<usize>)>,
}

impl Flags {
    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.given.iter().find(|(n, ..)| *n == name).map(|(_, v, _)| v.clone())
    }

    /// Where in the line a flag stands.
    pub(super) fn range(&self, name: &str) -> Range<usize> {
        self.given.iter().find(|(n, ..)| *n == name).map(|(.., r)| r.clone()).unwrap_or_default()
    }

    /// All values of a flag, in order.
    pub(super) fn many(&self, name: &str) -> Vec<String> {
        self.given.iter().filter(|(n, ..)| *n == name).map(|(_, v, _)| v.clone()).collect()
    }

    /// A switch, when it is given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.given.iter().find(|(n, ..)| *n == name).map(|(_, v, _)| v == "true")
    }
}

/// Checks the flags of the instruction against those it has. All faults are told; nothing is
/// given when there is one.
pub(super) fn read(cx: &mut Cx<'_>, known: &[Known]) -> Option<Flags> {
    let mut flags = Flags::default();
    let mut faults = 0;
    let mut once: Vec<&str> = Vec::new();
    let node = cx.node;
    for flag in &node.flags {
        let checked = match known.iter().find(|(name, _)| *name == flag.name) {
            None => unknown(cx, flag, known),
            Some((name, kind)) if *kind != Kind::Many && once.contains(name) => {
                let message = format!("--{name} is given twice");
                cx.fail_at(flag.range.clone(), error(cx, "DuplicateFlag", message).with_hint("keep one of them"))
            }
            Some((name, kind)) => {
                if *kind != Kind::Many {
                    once.push(name);
                }
                value(cx, name, *kind, flag).map(|v| (*name, v, flag.range.clone()))
            }
        };
        match checked {
            Some(given) => flags.given.push(given),
            None => faults += 1,
        }
    }
    (faults == 0).then_some(flags)
}

fn error(cx: &Cx<'_>, code: &'static str, message: String) -> Diagnostic {
    Diagnostic::error(code, cx.node.span, message)
}

/// Tells that a flag's value is none of those that it takes.
pub(super) fn invalid<T>(cx: &mut Cx<'_>, range: Range<usize>, message: String, hint: &str) -> Option<T> {
    let finding = error(cx, "InvalidFlagValue", message).with_hint(hint);
    cx.fail_at(range, finding)
}

fn value(cx: &mut Cx<'_>, name: &str, kind: Kind, flag: &Flag) -> Option<String> {
    match (kind, flag.value.as_deref()) {
        (Kind::Switch, None) => Some("true".to_owned()),
        (Kind::Switch, Some(text)) => match text.to_ascii_lowercase().as_str() {
            "true" => Some("true".to_owned()),
            "false" => Some("false".to_owned()),
            _ => {
                let message = format!("--{name} is true or false, not {}", quoted(text));
                let hint = match suggest::nearest(text, ["true", "false"]) {
                    Some(near) => format!("did you mean --{name}={near}?"),
                    None => format!("write --{name}, --{name}=true or --{name}=false"),
                };
                invalid(cx, flag.range.clone(), message, &hint)
            }
        },
        (_, None) => {
            let message = format!("--{name} needs a value");
            let finding = error(cx, "MissingFlagValue", message).with_hint(format!("write --{name}=VALUE"));
            cx.fail_at(flag.range.clone(), finding)
        }
        (_, Some(text)) => Some(text.to_owned()),
    }
}

fn unknown<T>(cx: &mut Cx<'_>, flag: &Flag, known: &[Known]) -> Option<T> {
    let name = flag.name.as_str();
    let message = format!("{} has no flag {}", cx.node.keyword, quoted(&format!("--{name}")));
    let hint = match suggest::nearest(name, known.iter().map(|(n, _)| *n)) {
        Some(near) => format!("did you mean --{near}?"),
        None if known.is_empty() => "write -- before an argument that begins with --".to_owned(),
        None => {
            let all: Vec<String> = known.iter().map(|(n, _)| format!("--{n}")).collect();
            format!("its flags are {}", all.join(" "))
        }
    };
    let finding = error(cx, "UnknownFlag", message).with_hint(hint);
    // The value is not at fault, as far as the name is written plainly.
    let end = flag.range.start + "--".len() + name.len();
    let plain = cx.node.joined.get(flag.range.start..end).is_some_and(|t| t.strip_prefix("--") == Some(name));
    let range = if plain { flag.range.start..end } else { flag.range.clone() };
    cx.fail_at(range, finding)
}
