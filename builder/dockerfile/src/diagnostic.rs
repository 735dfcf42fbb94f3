//! What is wrong with a Dockerfile, for people and for tools.
//!
//! Takes findings of the other modules; gives them sorted and bounded.
//! Must never print.

use crate::instruction::Span;
use crate::limits;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look; the build goes on.
    Warning,
    /// The file cannot be built.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Where on its first and last line a finding begins and ends, in bytes from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Columns {
    /// The first byte, on the first line of the span.
    pub start: u32,
    /// Behind the last byte, on the last line of the span.
    pub end: u32,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// A stable name for the kind of finding, such as `UnknownInstruction`.
    pub code: &'static str,
    /// The lines it is about.
    pub span: Span,
    /// The piece of those lines, when it is known; [`crate::place::fill`] finds it.
    pub columns: Option<Columns>,
    /// The offending piece as it is written, for who does not know where it stands.
    pub subject: Option<String>,
    /// One sentence without a final full stop.
    pub message: String,
    /// What to do about it, when that is known.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self { severity, code, span, columns: None, subject: None, message: message.into(), hint: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same about one piece of its lines, as it is written there.
    #[must_use]
    pub fn about(mut self, piece: impl Into<String>) -> Self {
        self.subject = Some(piece.into());
        self
    }

    /// The same at a place that is known.
    #[must_use]
    pub(crate) fn at(mut self, place: (Span, Columns)) -> Self {
        self.span = place.0;
        self.columns = Some(place.1);
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} ({})", self.span.start, self.message, self.code)
    }
}

/// For editors. The names of the fields are a promise; a place that nobody looked up has columns of `null`.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Diagnostic", 8)?;
        out.serialize_field("code", self.code)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("hint", &self.hint)?;
        out.serialize_field("line", &self.span.start)?;
        out.serialize_field("column", &self.columns.map(|c| c.start))?;
        out.serialize_field("end_line", &self.span.end)?;
        out.serialize_field("end_column", &self.columns.map(|c| c.end))?;
        out.end()
    }
}

/// Findings as text, for golden files: `error[Code] 3:5-3:9: message`, then the hint. Equal findings give equal text.
pub fn dump(findings: &[Diagnostic]) -> String {
    let mut out = String::new();
    for d in findings {
        let (span, columns) = (d.span, d.columns.unwrap_or(Columns { start: 0, end: 0 }));
        // Writing to a string cannot fail.
        let _ = write!(out, "{}[{}] {}:{}-", d.severity, d.code, span.start, columns.start);
        let _ = writeln!(out, "{}:{}: {}", span.end, columns.end, d.message);
        if let Some(hint) = &d.hint {
            let _ = writeln!(out, "  hint: {hint}");
        }
    }
    out
}

/// The code of the error that stands for those that are not told.
const MORE: &str = "TooManyProblems";

/// Where findings are gathered.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    found: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Sink {
    /// Takes one finding. Past [`limits::DIAGNOSTICS`] of a kind only the fact is kept.
    pub(crate) fn push(&mut self, finding: Diagnostic) {
        let count = match finding.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= limits::DIAGNOSTICS {
            self.found.push(finding);
        }
    }

    /// Has anything been found that stops the build?
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Has an error of one of these kinds been found?
    pub(crate) fn has(&self, codes: &[&str]) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error && codes.contains(&d.code))
    }

    /// Everything found. What the file wants of warnings is heard where all checks are ([`crate::lint`]).
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        if let Some(more) = self.errors.checked_sub(limits::DIAGNOSTICS).filter(|n| *n > 0) {
            self.found.push(summary(more, &self.found));
        }
        self.found
    }
}

fn summary(more: usize, found: &[Diagnostic]) -> Diagnostic {
    let last = found.iter().map(|d| d.span).max().unwrap_or_default();
    let summary = Diagnostic::error(MORE, last, format!("and {more} more errors"));
    summary.with_hint("mend those above first; is this the Dockerfile at all?")
}

/// Puts what was found later to errors that were told: each error once, by place, at most [`limits::DIAGNOSTICS`].
/// `text` is what all of them are about. Where there are already more than are told, nothing is added.
pub fn merge(told: Vec<Diagnostic>, more: Vec<Diagnostic>, text: &str) -> Vec<Diagnostic> {
    if more.is_empty() || told.iter().any(|d| d.code == MORE) {
        return told;
    }
    let mut all: Vec<Diagnostic> = told.into_iter().chain(more).collect();
    crate::place::fill(&mut all, text);
    let mut seen = BTreeSet::new();
    all.retain(|d| seen.insert((d.span, d.columns, d.message.clone())));
    let errors = |all: &[Diagnostic]| all.iter().filter(|d| d.severity == Severity::Error).count();
    if let Some(more) = errors(&all).checked_sub(limits::DIAGNOSTICS).filter(|n| *n > 0) {
        let mut left = limits::DIAGNOSTICS;
        all.retain(|d| d.severity != Severity::Error || left.checked_sub(1).map(|n| left = n).is_some());
        all.push(summary(more, &all));
    }
    all
}

/// Foreign text in quotes, cut to a length that fits a message.
pub(crate) fn quoted(text: &str) -> String {
    const CHARS: usize = 80;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or(text)),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_bounded() {
        let mut sink = Sink::default();
        for line in (1..=2_000u32).rev() {
            sink.push(Diagnostic::error("X", Span { start: line, end: line }, "x"));
        }
        let found = sink.finish();
        assert_eq!(found.len(), limits::DIAGNOSTICS + 1);
        assert_eq!(found.last().map(|d| d.code), Some("TooManyProblems"));
    }

    #[test]
    fn quoted_text_is_cut() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"é".repeat(100)).chars().count(), 83);
    }

    #[test]
    fn findings_are_written_for_editors_and_for_golden_files() {
        let found = crate::parse("FROM a\nRUN \\\n <<EOF\nCPOY b c\n").diagnostics;
        let json = serde_json::to_value(&found).expect("plain values");
        let expected = serde_json::json!([{
            "code": "UnterminatedHeredoc", "severity": "error", "message": "the heredoc \"EOF\" is never closed",
            "hint": "write a line that is exactly EOF", "line": 3, "column": 2, "end_line": 3, "end_column": 7,
        }]);
        assert_eq!(json, expected);
        let text = "error[UnterminatedHeredoc] 3:2-3:7: the heredoc \"EOF\" is never closed\n  hint: write a line that is exactly EOF\n";
        assert_eq!(dump(&found), text);
    }
}
