//! Flags of instructions: which exist, which may be repeated, what they hold.

use super::Cx;
use crate::diagnostic::quoted;
use crate::suggest;

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
    given: Vec<(&'static str, String)>,
}

impl Flags {
    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.given.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone())
    }

    /// All values of a flag, in order.
    pub(super) fn many(&self, name: &str) -> Vec<String> {
        self.given.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect()
    }

    /// A switch, when it is given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.given.iter().find(|(n, _)| *n == name).map(|(_, v)| v == "true")
    }
}

/// Checks the flags of the instruction against those it has. All faults are told; nothing is
/// given when there is one.
pub(super) fn read(cx: &mut Cx<'_>, known: &[Known]) -> Option<Flags> {
    let mut flags = Flags::default();
    let mut faults = 0;
    let mut once: Vec<&str> = Vec::new();
    for flag in &cx.node.flags {
        let checked = match known.iter().find(|(name, _)| *name == flag.name) {
            None => unknown(cx, &flag.name, known),
            Some((name, kind)) if *kind != Kind::Many && once.contains(name) => {
                let message = format!("--{name} is given twice");
                cx.fail_hint("DuplicateFlag", message, "keep one of them")
            }
            Some((name, kind)) => {
                if *kind != Kind::Many {
                    once.push(name);
                }
                value(cx, name, *kind, flag.value.as_deref()).map(|v| (*name, v))
            }
        };
        match checked {
            Some(given) => flags.given.push(given),
            None => faults += 1,
        }
    }
    (faults == 0).then_some(flags)
}

fn value(cx: &mut Cx<'_>, name: &str, kind: Kind, value: Option<&str>) -> Option<String> {
    match (kind, value) {
        (Kind::Switch, None) => Some("true".to_owned()),
        (Kind::Switch, Some(text)) => match text.to_ascii_lowercase().as_str() {
            "true" => Some("true".to_owned()),
            "false" => Some("false".to_owned()),
            _ => {
                let message = format!("--{name} is true or false, not {}", quoted(text));
                cx.fail("InvalidFlagValue", message)
            }
        },
        (_, None) => {
            let message = format!("--{name} needs a value");
            cx.fail_hint("MissingFlagValue", message, format!("write --{name}=VALUE"))
        }
        (_, Some(text)) => Some(text.to_owned()),
    }
}

fn unknown<T>(cx: &mut Cx<'_>, name: &str, known: &[Known]) -> Option<T> {
    let message = format!("{} has no flag {}", cx.node.keyword, quoted(&format!("--{name}")));
    let hint = match suggest::nearest(name, known.iter().map(|(n, _)| *n)) {
        Some(near) => format!("did you mean --{near}?"),
        None if known.is_empty() => "write -- before an argument that begins with --".to_owned(),
        None => {
            let all: Vec<String> = known.iter().map(|(n, _)| format!("--{n}")).collect();
            format!("its flags are {}", all.join(" "))
        }
    };
    cx.fail_hint("UnknownFlag", message, hint)
}
