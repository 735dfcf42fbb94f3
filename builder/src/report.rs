//! Shows a [`Failure`]: message, excerpt of the Dockerfile, causes, last output, hint.
//!
//! Gives text; every part of it that comes from elsewhere is escaped.

use crate::failure::{Excerpt, Failure};
use crate::ui::escape;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, Title};
use cooper_dockerfile::diagnostic::{Columns, Diagnostic, Severity};
use cooper_dockerfile::instruction::Span;
use cooper_engine::EngineError;
use std::error::Error;
use std::fmt::Write as _;
use std::ops::Range;

/// Most lines of a failed command's output that are repeated.
const OUTPUT_LINES: usize = 20;
/// Most errors of one Dockerfile that are shown; a file of another kind has one in every line.
const DIAGNOSTICS: usize = 20;
/// Longest message, in characters; a command of a heredoc can be a whole file.
const MESSAGE: usize = 500;

/// May the report have colours?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// On a terminal that has them.
    Yes,
    /// Elsewhere.
    No,
}

/// The whole report, with a line feed at its end.
pub fn render(failure: &Failure, colours: Colours) -> String {
    let renderer = match colours {
        Colours::Yes => Renderer::styled(),
        Colours::No => Renderer::plain(),
    };
    match failure {
        Failure::Build { error, dockerfile } if !error.diagnostics().is_empty() => {
            diagnostics(&renderer, error.diagnostics(), dockerfile)
        }
        Failure::Build { error, dockerfile } => {
            let cause = innermost(error);
            let title = Level::ERROR.primary_title(clip(&cause.to_string()));
            let mut out = message(&renderer, title, error.span().map(|s| (s, None)), dockerfile);
            rest(&mut out, cause, error.last_output(), failure.hint());
            out
        }
        other => {
            let mut out = renderer.render(&[Group::with_title(Level::ERROR.primary_title(clip(&other.to_string())))]);
            out.push('\n');
            rest(&mut out, other, None, other.hint());
            out
        }
    }
}

/// An error with its causes on one line, for what is told beside something else.
pub fn line(error: &(dyn Error + 'static)) -> String {
    let all: Vec<String> = std::iter::once(error.to_string()).chain(causes(error)).collect();
    clip(&all.join(": "))
}

/// What failed at an instruction; the instruction itself is shown as an excerpt.
fn innermost(error: &EngineError) -> &EngineError {
    match error {
        EngineError::At { source, .. } => innermost(source),
        other => other,
    }
}

/// Every error of a Dockerfile, each with its lines.
fn diagnostics(renderer: &Renderer, all: &[Diagnostic], dockerfile: &Excerpt) -> String {
    let errors: Vec<&Diagnostic> = all.iter().filter(|d| d.severity == Severity::Error).collect();
    let shown: Vec<String> = errors.iter().take(DIAGNOSTICS).map(|d| finding(renderer, d, dockerfile)).collect();
    let mut out = shown.join("\n");
    if let Some(more) = errors.len().checked_sub(DIAGNOSTICS).filter(|n| *n > 0) {
        let _ = writeln!(out, "\nand {more} more errors like these; is it a Dockerfile?");
    }
    out
}

/// One finding: message, the piece that it is about, hint.
fn finding(renderer: &Renderer, d: &Diagnostic, dockerfile: &Excerpt) -> String {
    let level = match d.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(clip(&d.message)).id(d.code);
    let mut out = message(renderer, title, Some((d.span, d.columns)), dockerfile);
    hint(&mut out, d.hint.as_deref());
    out
}

/// `error: …` and the lines, or the piece of them, that it belongs to.
fn message(
    renderer: &Renderer,
    title: Title<'_>,
    place: Option<(Span, Option<Columns>)>,
    dockerfile: &Excerpt,
) -> String {
    // Columns do not count a byte order mark, and a reader does not see it.
    let text = dockerfile.text.strip_prefix('\u{feff}').unwrap_or(&dockerfile.text);
    let name = escape::line(&dockerfile.name);
    let (source, range) = match place {
        Some((span, columns)) => excerpt(text, span, columns),
        None => (String::new(), None),
    };
    let group = match range {
        Some(range) => {
            title.element(Snippet::source(&source).path(&name).annotation(AnnotationKind::Primary.span(range)))
        }
        None => Group::with_title(title),
    };
    let mut out = renderer.render(&[group]);
    out.push('\n');
    out
}

/// The text as it is shown, and where the place is in it. Escaping changes lengths, so what stands
/// before the place and what is in it are escaped apart.
fn excerpt(text: &str, span: Span, columns: Option<Columns>) -> (String, Option<Range<usize>>) {
    // The end of a line is no part of it, on whatever system it was written.
    let text: String = text.replace("\r\n", "\n");
    let Some(range) = bytes_of(&text, span, columns) else { return (escape::lines(&text), None) };
    let part = |r: Range<usize>| text.get(r).map(escape::lines);
    let (Some(before), Some(marked), Some(behind)) =
        (part(0..range.start), part(range.clone()), part(range.end..text.len()))
    else {
        return (escape::lines(&text), None);
    };
    let range = before.len()..before.len() + marked.len();
    (before + &marked + &behind, Some(range))
}

/// Where a place stands in the text; the last line's end is no part of it. `None` when there are no such lines.
fn bytes_of(text: &str, span: Span, columns: Option<Columns>) -> Option<Range<usize>> {
    let (first, last) = (usize::try_from(span.start).ok()?, usize::try_from(span.end.max(span.start)).ok()?);
    let byte = |column: u32| usize::try_from(column).ok()?.checked_sub(1);
    let (mut at, mut start, mut end) = (0, None, None);
    for (n, line) in text.split('\n').enumerate().take(last) {
        if n + 1 == first {
            start = Some(at + columns.map_or(Some(0), |c| byte(c.start))?.min(line.len()));
        }
        end = Some(at + columns.filter(|_| n + 1 == last).map_or(Some(line.len()), |c| byte(c.end))?.min(line.len()));
        at += line.len() + 1;
    }
    let (start, end) = (start?, end?);
    Some(start..end.max(start))
}

/// Causes, output, hint.
fn rest(out: &mut String, error: &(dyn Error + 'static), output: Option<&str>, what_to_do: Option<String>) {
    let causes = causes(error);
    if !causes.is_empty() {
        out.push_str("\nCaused by:\n");
    }
    for line in causes.iter().flat_map(|cause| cause.lines()) {
        let _ = writeln!(out, "  {}", clip(line));
    }
    let lines = output.map(last_lines).unwrap_or_default();
    if !lines.is_empty() {
        out.push_str("\nThe last that it wrote:\n");
    }
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
    hint(out, what_to_do.as_deref());
}

fn hint(out: &mut String, text: Option<&str>) {
    if let Some(text) = text.filter(|t| !t.is_empty()) {
        let _ = writeln!(out, "hint: {}", escape::line(text));
    }
}

/// The causes from outside in, without those that the message before says already.
fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.contains(&text) {
            causes.push(text.clone());
            said = text;
        }
        next = cause.source();
    }
    causes
}

fn last_lines(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.split(['\n', '\r']).filter(|l| !l.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(OUTPUT_LINES)).map(|l| escape::output(l.as_bytes())).collect()
}

/// One line, escaped and bounded.
fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(MESSAGE).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    escape::line(&clipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dockerfile(text: &str) -> Excerpt {
        Excerpt { name: "Dockerfile".to_owned(), text: text.to_owned() }
    }

    fn step(command: &str, output: &str) -> Box<EngineError> {
        Box::new(EngineError::Step {
            command: command.to_owned(),
            outcome: "exited with code 2".to_owned(),
            last_output: output.to_owned(),
        })
    }

    #[test]
    fn a_failed_step() {
        let span = Span { start: 2, end: 2 };
        let error =
            EngineError::At { span, text: "RUN make".to_owned(), source: step("RUN make", "one\r\n\x1b[31mtwo\n") };
        let failure = Failure::Build { error: Box::new(error), dockerfile: dockerfile("FROM a\nRUN make\nCMD b\n") };
        let expected = "\
error: \"RUN make\" exited with code 2
 --> Dockerfile:2:1
  |
2 | RUN make
  | ^^^^^^^^

The last that it wrote:
  one
  two
hint: the steps before it are kept: mend the command and build again
";
        assert_eq!(render(&failure, Colours::No), expected);
        assert_eq!(failure.exit() as u8, 1);
    }

    #[test]
    fn several_lines_are_marked_and_escaped() {
        let span = Span { start: 1, end: 2 };
        let error = Box::new(EngineError::At { span, text: String::new(), source: step("x", "") });
        let failure = Failure::Build { error, dockerfile: dockerfile("RUN a\u{9b} \\\r\n  b\r\nRUN c\n") };
        let text = render(&failure, Colours::No);
        assert!(text.contains("a\\u{9b}") && text.contains("  b") && !text.contains("RUN c"), "{text}");
        assert!(!text.contains(['\u{9b}', '\r']), "{text}");
    }

    #[test]
    fn lines_that_are_not_there_have_no_excerpt() {
        for (text, start, end, range) in [
            ("a\nbb\n", 1, 1, Some(0..1)),
            ("a\nbb\n", 2, 2, Some(2..4)),
            ("a\nbb\n", 1, 2, Some(0..4)),
            ("a\nbb", 2, 9, Some(2..4)),
            ("a", 0, 0, None),
            ("a", 7, 8, None),
        ] {
            assert_eq!(bytes_of(text, Span { start, end }, None), range, "{text:?} {start}");
        }
    }

    /// The report on a Dockerfile's errors.
    fn errors(text: &str) -> String {
        let error = Box::new(EngineError::Dockerfile(cooper_dockerfile::parse(text).diagnostics));
        render(&Failure::Build { error, dockerfile: dockerfile(text) }, Colours::No)
    }

    #[test]
    fn errors_mark_the_very_piece() {
        let text = "\u{feff}FROM a\r\nRUN --mount=x --netwrok=none make\r\nENV A=1 \\\r\n  \u{9b}é=${x\r\n";
        let expected = "\
error[UnknownFlag]: \"RUN\" has no flag \"--netwrok\"
 --> Dockerfile:2:15
  |
2 | RUN --mount=x --netwrok=none make
  |               ^^^^^^^^^
hint: did you mean --network?

error[MalformedWord]: \"${x\": ${ is never closed by }
 --> Dockerfile:4:11
  |
4 |   \\u{9b}é=${x
  |           ^^^
hint: write \\$ for a dollar sign that is not a variable
";
        assert_eq!(errors(text), expected.replacen("\"RUN\"", "RUN", 1));
    }

    #[test]
    fn errors_of_several_lines_mark_all_of_them() {
        let expected = "\
error[InvalidFrom]: FROM takes an image, or an image, AS and a name, not \"a b\"
 --> Dockerfile:1:6
  |
1 |   FROM a \\
  |  ______^
2 | | b
  | |_^
hint: for example FROM alpine:3 AS build
";
        assert_eq!(errors("FROM a \\\nb\n"), expected);
    }

    #[test]
    fn causes_are_not_repeated_and_hints_come_last() {
        let source = std::io::Error::other("no such \u{1b}[1mthing");
        let failure = Failure::file("reading x", crate::failure::Exit::Usage, source);
        assert_eq!(render(&failure, Colours::No), "error: reading x\n\nCaused by:\n  no such \\x1b[1mthing\n");
        let failure = Failure::usage("this", "do that");
        assert_eq!(render(&failure, Colours::No), "error: this\nhint: do that\n");
    }

    #[test]
    fn causes_of_several_lines_stay_lines() {
        let failure = Failure::file("reading x", crate::failure::Exit::Usage, "line 1\n  | a=\u{1b}\n");
        assert_eq!(render(&failure, Colours::No), "error: reading x\n\nCaused by:\n  line 1\n    | a=\\x1b\n");
    }

    #[test]
    fn errors_of_a_dockerfile_are_bounded() {
        let text = "what is this\n".repeat(DIAGNOSTICS + 5);
        let diagnostics = cooper_dockerfile::parse(&text).diagnostics;
        let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        let error = Box::new(EngineError::Dockerfile(diagnostics));
        let shown = render(&Failure::Build { error, dockerfile: dockerfile(&text) }, Colours::No);
        assert_eq!(shown.matches("error[").count(), DIAGNOSTICS);
        assert!(shown.contains(&format!("and {} more errors", errors - DIAGNOSTICS)), "{shown}");
    }

    #[test]
    fn long_messages_and_outputs_are_bounded() {
        assert_eq!(clip(&"x".repeat(MESSAGE + 1)).chars().count(), MESSAGE + 1);
        let output: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(last_lines(&output).first().unwrap(), "line 80");
    }
}
