//! Parser directives: `# syntax=`, `# escape=` and `# check=` in the first lines of the file.
//!
//! Takes the whole text; gives the directives, how many lines they take, and findings about them.
//! Scanning ends with the first line that is not a directive. `syntax` is kept as it was written
//! and never fetched: what it asks for beyond this builder is a warning.

use crate::diagnostic::{Columns, Diagnostic, Sink, quoted};
use crate::instruction::Span;
use crate::lines::column;
use crate::lint::{Options, OptionsError};
use crate::place;
use crate::suggest;
use crate::syntax;

/// The keys of directives.
const KEYS: [&str; 3] = ["syntax", "escape", "check"];

/// What the first lines of the file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`, as written: the least version of the grammar that the file asks for.
    pub syntax: Option<String>,
    /// `# escape=`: a backslash or a back quote.
    pub escape: char,
    /// `# check=`: what the file wants of the checks.
    pub check: Options,
    /// How many lines they take, a first line `#!` among them.
    pub(crate) lines: u32,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: '\\', check: Options::default(), lines: 0 }
    }
}

/// Reads the directives of a file whose byte order mark is gone.
pub(crate) fn read(text: &str, sink: &mut Sink) -> Directives {
    let mut directives = Directives::default();
    let mut seen: Vec<String> = Vec::new();
    let script = text.starts_with("#!");
    for (number, line) in (1u32..).zip(text.split('\n')) {
        let line = line.trim_end_matches('\r');
        if number == 1 && script {
            directives.lines = 1;
            continue;
        }
        // The forms of other languages, whose files may ask for a frontend as well.
        let foreign = if seen.is_empty() { foreign(line) } else { None };
        if let Some(value) = foreign {
            syntax::judge(&value, (number, line), sink);
            (directives.syntax, directives.lines) = (Some(value), number);
            break;
        }
        let Some((key, value)) = directive(line) else { break };
        if !KEYS.contains(&key.as_str()) {
            mistyped(&key, (number, line), sink);
            break;
        }
        directives.lines = number;
        if seen.contains(&key) {
            let message = format!("the parser directive {key} is given twice");
            let finding = Diagnostic::error("DuplicateDirective", on(number), message);
            sink.push(finding.with_hint("keep one of them"));
            continue;
        }
        match key.as_str() {
            "syntax" => {
                syntax::judge(value, (number, line), sink);
                directives.syntax = Some(value.to_owned());
            }
            // Where the first line is for the system, BuildKit reads this one as a comment.
            "escape" if script => {
                let message = "escape has no effect behind a first line that begins with #!";
                let finding = Diagnostic::warning("DirectiveIgnored", on(number), message);
                sink.push(finding.with_hint("remove the first line"));
            }
            "escape" => escape(value, (number, line), &mut directives, sink),
            _ => directives.check = check(value, (number, line), sink),
        }
        seen.push(key);
    }
    directives
}

fn on(line: u32) -> Span {
    Span { start: line, end: line }
}

/// The place of a piece of a line.
pub(crate) fn piece(piece: &str, (number, line): (u32, &str)) -> (Span, Columns) {
    let range = place::within(line, piece).unwrap_or(0..line.len());
    (on(number), Columns { start: column(range.start), end: column(range.end) })
}

/// `# key = value`, the key in lower case.
fn directive(line: &str) -> Option<(String, &str)> {
    pair(line.trim_start().strip_prefix('#')?)
}

fn pair(text: &str) -> Option<(String, &str)> {
    let (key, value) = text.trim_start().split_once('=')?;
    let (key, value) = (key.trim_end(), value.trim());
    let named = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    (named && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

/// `// syntax=value`, or an object of JSON with the key `syntax`, on one line.
fn foreign(line: &str) -> Option<String> {
    let value = match line.strip_prefix("//") {
        Some(rest) => pair(rest).filter(|(key, _)| key == "syntax")?.1.to_owned(),
        None => {
            let object: serde_json::Value = serde_json::from_str(Some(line).filter(|l| l.starts_with('{'))?).ok()?;
            object.get("syntax")?.as_str()?.trim().to_owned()
        }
    };
    (!value.is_empty() && !value.contains(char::is_control)).then_some(value)
}

/// Warns of a comment that was probably meant to be a directive.
fn mistyped(key: &str, line: (u32, &str), sink: &mut Sink) {
    let Some(near) = suggest::nearest(key, KEYS).filter(|near| key.len() == near.len()) else { return };
    let message = format!("{} is no parser directive, so the line is a comment", quoted(key));
    let finding = Diagnostic::warning("UnknownDirective", on(line.0), message);
    sink.push(finding.with_hint(format!("did you mean {near}?")));
}

fn escape(value: &str, line: (u32, &str), directives: &mut Directives, sink: &mut Sink) {
    match value {
        "\\" => directives.escape = '\\',
        "`" => directives.escape = '`',
        other => {
            let message = format!("{} cannot be the escape character", quoted(other));
            let finding = Diagnostic::error("InvalidEscape", on(line.0), message).at(piece(other, line));
            sink.push(finding.with_hint("the escape character is \\ or `"));
        }
    }
}

/// `skip=A,B;error=true;experimental=A`.
fn check(value: &str, line: (u32, &str), sink: &mut Sink) -> Options {
    Options::parse(value).unwrap_or_else(|e| {
        let finding = Diagnostic::error("InvalidCheck", on(line.0), e.to_string()).at(piece(value, line));
        sink.push(finding.with_hint(OptionsError::HINT));
        Options::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> Directives {
        let mut sink = Sink::default();
        let found = read(text, &mut sink);
        assert!(!sink.has_errors(), "{text:?}");
        found
    }

    #[test]
    fn directives_are_read_until_the_first_other_line() {
        let cases = [
            ("# escape=`\n", '`', None, 1),
            ("#escape = ` \r\nFROM a", '`', None, 1),
            ("# Syntax=docker/dockerfile:1\n# ESCAPE=`\n", '`', Some("docker/dockerfile:1"), 2),
            ("#!/usr/bin/env x\n# syntax=a\n# escape=`\n", '\\', Some("a"), 3),
            ("  # escape=`\n", '`', None, 1),
            ("\n# escape=`\n", '\\', None, 0),
            ("# a comment\n# escape=`\n", '\\', None, 0),
            ("# other=1\n# escape=`\n", '\\', None, 0),
            ("FROM a\n# escape=`\n", '\\', None, 0),
            ("# escape=\n", '\\', None, 0),
            ("// syntax=a\n# escape=`\n", '\\', Some("a"), 1),
            ("// escape=`\n", '\\', None, 0),
            ("{\"syntax\": \"a\"}\r\nFROM a", '\\', Some("a"), 1),
            ("{\"syntax\": \"a\\nb\"}\n", '\\', None, 0),
            ("#!x\n// Syntax = a b\n", '\\', Some("a b"), 2),
            ("# escape=`\n// syntax=a\n", '`', None, 1),
            ("", '\\', None, 0),
        ];
        for (text, escape, syntax, lines) in cases {
            let found = ok(text);
            assert_eq!((found.escape, found.syntax.as_deref(), found.lines), (escape, syntax, lines), "{text:?}");
        }
    }

    #[test]
    fn check_is_read() {
        let found = ok("# check=skip=A, B;error=true;experimental=all\n").check;
        assert_eq!(Ok(found), Options::parse("skip=A,B;error=true;experimental=all"));
        let mut sink = Sink::default();
        read("# check=skp=A\n", &mut sink);
        let told = sink.finish();
        assert_eq!(
            told.first().map(|d| (d.code, d.message.as_str())),
            Some(("InvalidCheck", "\"skp=A\" is not a setting of the checks"))
        );
    }
}
