//! Parser directives: `# syntax=`, `# escape=` and `# check=` in the first lines of the file.
//!
//! Takes the whole text; gives the directives and findings about them. Scanning ends with the
//! first line that is not a directive. `syntax` is kept as it was written and never fetched.

use crate::diagnostic::{Diagnostic, Sink, quoted};
use crate::instruction::Span;
use crate::lint::{Options, OptionsError};

/// What the first lines of the file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`, as written: the least version of the grammar that the file asks for.
    pub syntax: Option<String>,
    /// `# escape=`: a backslash or a back quote.
    pub escape: char,
    /// `# check=`: what the file wants of the checks.
    pub check: Options,
    /// How many lines at the beginning of the file are directives, a `#!` line included.
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
    for (number, line) in (1u32..).zip(text.lines()) {
        if number == 1 && line.starts_with("#!") {
            directives.lines = number;
            continue;
        }
        let Some((key, value)) = directive(line) else { break };
        if !matches!(key.as_str(), "syntax" | "escape" | "check") {
            break;
        }
        directives.lines = number;
        let span = Span { start: number, end: number };
        if seen.contains(&key) {
            let message = format!("the parser directive {key} is given twice");
            sink.push(Diagnostic::error("DuplicateDirective", span, message).with_hint("keep one of them"));
            continue;
        }
        match key.as_str() {
            "syntax" => directives.syntax = Some(value.to_owned()),
            "escape" => match value {
                "\\" => directives.escape = '\\',
                "`" => directives.escape = '`',
                other => {
                    let message = format!("{} cannot be the escape character", quoted(other));
                    let hint = "the escape character is \\ or `";
                    sink.push(Diagnostic::error("InvalidEscape", span, message).with_hint(hint));
                }
            },
            _ => directives.check = check(value, span, sink),
        }
        seen.push(key);
    }
    directives
}

/// `# key = value`, the key in lower case.
fn directive(line: &str) -> Option<(String, &str)> {
    let rest = line.trim_start().strip_prefix('#')?.trim_start();
    let (key, value) = rest.split_once('=')?;
    let (key, value) = (key.trim_end(), value.trim());
    let named = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    (named && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

/// `skip=A,B;error=true;experimental=A`.
fn check(value: &str, span: Span, sink: &mut Sink) -> Options {
    Options::parse(value).unwrap_or_else(|e| {
        sink.push(Diagnostic::error("InvalidCheck", span, e.to_string()).with_hint(OptionsError::HINT));
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
            ("# escape=`\n", '`', None),
            ("#escape = ` \r\nFROM a", '`', None),
            ("# Syntax=docker/dockerfile:1\n# ESCAPE=`\n", '`', Some("docker/dockerfile:1")),
            ("#!/usr/bin/env x\n# escape=`\n", '`', None),
            ("  # escape=`\n", '`', None),
            ("\n# escape=`\n", '\\', None),
            ("# a comment\n# escape=`\n", '\\', None),
            ("# other=1\n# escape=`\n", '\\', None),
            ("FROM a\n# escape=`\n", '\\', None),
            ("# escape=\n", '\\', None),
            ("", '\\', None),
        ];
        for (text, escape, syntax) in cases {
            let found = ok(text);
            assert_eq!((found.escape, found.syntax.as_deref()), (escape, syntax), "{text:?}");
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
