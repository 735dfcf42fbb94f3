//! What is wrong with a Dockerfile, for people and for tools.
//!
//! Takes findings of the other modules; gives them sorted, bounded and filtered by `# check=`.
//! Must never print.

use crate::directives::Check;
use crate::instruction::Span;
use crate::limits;
use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a look; the build goes on.
    Warning,
    /// The file cannot be built.
    Error,
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
    /// One sentence without a final full stop.
    pub message: String,
    /// What to do about it, when that is known.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, span, message: message.into(), hint: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, code, span, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} ({})", self.span.start, self.message, self.code)
    }
}

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

    /// Everything found, by line, after the file's own wishes about warnings were heard.
    pub(crate) fn finish(mut self, check: &Check) -> Vec<Diagnostic> {
        self.found.retain(|d| d.severity == Severity::Error || !check.skips(d.code));
        if check.fail {
            for finding in &mut self.found {
                finding.severity = Severity::Error;
            }
        }
        if self.errors > limits::DIAGNOSTICS {
            let last = self.found.iter().map(|d| d.span).max().unwrap_or_default();
            let more = self.errors - limits::DIAGNOSTICS;
            self.found.push(Diagnostic::error("TooManyProblems", last, format!("and {more} more errors")));
        }
        self.found.sort_by_key(|d| d.span);
        self.found
    }
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
    fn findings_are_bounded_and_sorted() {
        let mut sink = Sink::default();
        for line in (1..=2_000u32).rev() {
            sink.push(Diagnostic::error("X", Span { start: line, end: line }, "x"));
        }
        let found = sink.finish(&Check::default());
        assert_eq!(found.len(), limits::DIAGNOSTICS + 1);
        assert!(found.is_sorted_by_key(|d| d.span));
        assert_eq!(found.last().map(|d| d.code), Some("TooManyProblems"));
    }

    #[test]
    fn quoted_text_is_cut() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"é".repeat(100)).chars().count(), 83);
    }
}
