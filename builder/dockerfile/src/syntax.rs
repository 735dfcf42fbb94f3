//! `# syntax=`: which grammar a file asks for, and whether this builder reads it.
//!
//! Takes the directive's value; gives a warning when more is asked for than is known. Must never
//! make an error of it: the file's own text decides whether it can be read.

use crate::diagnostic::{Diagnostic, Sink, quoted};
use crate::directives::piece;
use crate::instruction::Span;

/// The newest version of the grammar that this builder reads.
pub const NEWEST: (u32, u32) = (1, 26);

/// Warns of a newer grammar and of another frontend. The line is the one the directive stands on.
pub(crate) fn judge(value: &str, line: (u32, &str), sink: &mut Sink) {
    // Words behind the first are arguments for a frontend.
    let name = value.split_whitespace().next().unwrap_or_default();
    let span = Span { start: line.0, end: line.0 };
    let (major, minor) = NEWEST;
    let finding = match asked(name) {
        Asked::Known => return,
        Asked::Newer(version) => {
            let message = format!("the file asks for syntax {version}, and this builder reads {major}.{minor}");
            Diagnostic::warning("NewerSyntax", span, message)
                .with_hint("what is new in it is an error where it is used")
        }
        Asked::Foreign => {
            let message = format!("the frontend {} is not fetched; the file is read as a Dockerfile", quoted(name));
            Diagnostic::warning("UnknownFrontend", span, message)
                .with_hint("remove the line, or name docker/dockerfile:1")
        }
    };
    // The value may come from a text with escapes of its own.
    sink.push(match line.1.find(name) {
        Some(at) => finding.at(piece(line.1.get(at..at + name.len()).unwrap_or(line.1), line)),
        None => finding,
    });
}

enum Asked {
    Known,
    Newer(String),
    Foreign,
}

fn asked(name: &str) -> Asked {
    let name = name.split_once('@').map_or(name, |(n, _)| n);
    // A colon before the last slash belongs to a port.
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name.get(slash..).and_then(|n| n.find(':')) {
        Some(at) => (name.get(..slash + at).unwrap_or(name), name.get(slash + at + 1..).unwrap_or_default()),
        None => (name, ""),
    };
    // Mirrors keep the last two parts of the name.
    let official = |r: &str| {
        ["docker/dockerfile", "docker/dockerfile-upstream"]
            .iter()
            .any(|o| r == *o || r.strip_suffix(o).is_some_and(|host| host.ends_with('/')))
    };
    if repository == "dockerfile.v0" {
        return Asked::Known;
    }
    if !official(repository) {
        return Asked::Foreign;
    }
    match version(tag) {
        Some(version) if version > NEWEST => Asked::Newer(format!("{}.{}", version.0, version.1)),
        _ => Asked::Known,
    }
}

/// `1`, `1.26` or `1.26.0`, each with `-labs` or the like behind it. Other tags name no version.
fn version(tag: &str) -> Option<(u32, u32)> {
    let tag = tag.split_once('-').map_or(tag, |(v, _)| v);
    let mut parts = tag.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().map_or(Some(0), |m| m.parse().ok())?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_judged() {
        let cases = [
            ("docker/dockerfile", ""),
            ("docker/dockerfile:1", ""),
            ("docker.io/docker/dockerfile:1.26.3", ""),
            ("mirror:5000/docker/dockerfile:1.4", ""),
            ("docker/dockerfile-upstream:master-labs", ""),
            ("docker/dockerfile:1.7-labs@sha256:00", ""),
            ("dockerfile.v0", ""),
            ("docker/dockerfile:1.27", "NewerSyntax"),
            ("docker/dockerfile:2", "NewerSyntax"),
            ("docker/dockerfile:1.28-labs", "NewerSyntax"),
            ("mydocker/dockerfile:1", "UnknownFrontend"),
            ("tonistiigi/dockerfile:runmount", "UnknownFrontend"),
            ("localhost:5000/x", "UnknownFrontend"),
        ];
        for (name, code) in cases {
            let mut sink = Sink::default();
            judge(&format!("{name} an argument"), (1, name), &mut sink);
            assert!(!sink.has_errors());
            let found: Vec<_> = sink.finish().iter().map(|d| d.code).collect();
            let expected: Vec<&str> = Some(code).filter(|c| !c.is_empty()).into_iter().collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
