//! Lines of a Dockerfile around a finding, as BuildKit shows them: some lines before and behind, the finding's own marked.

use crate::ui::escape;
use cooper_dockerfile::instruction::Span;
use std::fmt::Write as _;

/// Lines that are shown around a finding of one line, and around a longer one.
const AROUND: (usize, usize) = (4, 2);

/// The lines that are shown, from 1, for a text of so many lines. `None` when the finding is about none of them.
fn window(span: Span, lines: usize) -> Option<(usize, usize)> {
    let (mut start, end) = (usize::try_from(span.start).ok()?, usize::try_from(span.end.max(span.start)).ok()?);
    if start < 1 || start > lines {
        return None;
    }
    let mut end = end.min(lines);
    let around = if start == end { AROUND.0 } else { AROUND.1 };
    // Every round adds a line on either side where there is one, and costs one more than it adds.
    let mut spent = 0;
    while spent < around {
        if start > 1 {
            start -= 1;
            spent += 1;
        }
        if end < lines {
            end += 1;
            spent += 1;
        }
        spent += 1;
    }
    Some((start, end))
}

/// The excerpt, with a line feed at its end; empty when there is nothing to show.
pub fn render(name: &str, text: &str, span: Span) -> String {
    const RULE: &str = "--------------------\n";
    let lines: Vec<&str> = text.split('\n').collect();
    let Some((start, end)) = window(span, lines.len()) else { return String::new() };
    let mut out = format!("{}:{}\n{RULE}", escape::line(name), span.start);
    for (number, line) in lines.iter().enumerate().take(end).skip(start - 1) {
        let number = number + 1;
        let marked = u32::try_from(number).is_ok_and(|n| span.start <= n && n <= span.end);
        let mark = if marked { ">>>" } else { "   " };
        let line = escape::line(line.trim_end_matches('\r'));
        // Writing to a string cannot fail.
        let _ = writeln!(out, " {number:>3} | {mark} {line}");
    }
    out.push_str(RULE);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_buildkits() {
        for (start, end, lines, expected) in [
            (1, 1, 2, Some((1, 2))),
            (1, 1, 9, Some((1, 3))),
            (5, 5, 9, Some((3, 7))),
            (9, 9, 9, Some((7, 9))),
            (4, 6, 9, Some((3, 7))),
            (4, 99, 9, Some((3, 9))),
            (0, 0, 9, None),
            (10, 10, 9, None),
        ] {
            assert_eq!(window(Span { start, end }, lines), expected, "{start}-{end} of {lines}");
        }
    }

    #[test]
    fn an_excerpt_is_marked_and_escaped() {
        let text = render("D", "FROM a\r\nRUN \u{1b}[2J\nUSER b\n", Span { start: 2, end: 2 });
        let expected = "D:2\n--------------------\n   1 |     FROM a\n   2 | >>> RUN \\x1b[2J\n   3 |     USER b\n   4 |     \n--------------------\n";
        assert_eq!(text, expected);
    }
}
