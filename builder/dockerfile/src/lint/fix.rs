//! What mends a finding: pieces of text in the place of others, and how that looks as a unified diff.
//!
//! Takes edits; gives the mended text and a diff that `patch` and `git apply` take. Must never write a file.

use super::source::Source;
use crate::instruction::Span;
use std::fmt::Write as _;
use std::ops::Range;

/// Lines that are shown around each change.
const CONTEXT: usize = 3;

/// A text in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What goes, in bytes of the file.
    pub range: Range<usize>,
    /// What comes.
    pub text: String,
}

/// The edits that can be made together, in order: of two that touch each other the first stays.
fn compatible(edits: &[Edit]) -> Vec<&Edit> {
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    sorted.sort_by_key(|e| (e.range.start, e.range.end));
    sorted.dedup();
    let mut kept: Vec<&Edit> = Vec::with_capacity(sorted.len());
    for edit in sorted {
        if kept.last().is_none_or(|before| before.range.end <= edit.range.start) {
            kept.push(edit);
        }
    }
    kept
}

/// The text with the edits made.
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for edit in compatible(edits) {
        out.push_str(text.get(at..edit.range.start).unwrap_or_default());
        out.push_str(&edit.text);
        at = edit.range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Some lines in the place of others.
struct Change {
    /// First line that goes, or before which the new ones come; from 1.
    line: u32,
    /// How many go.
    gone: u32,
    /// What comes, with line ends.
    new: String,
}

/// The edits as whole lines, those that touch the same lines together.
fn changes(source: &Source<'_>, edits: &[Edit]) -> Vec<Change> {
    let text = source.text();
    let line_of = |at: usize| source.line_at(at);
    let mut groups: Vec<(Span, Vec<Edit>)> = Vec::new();
    for edit in compatible(edits) {
        let start = line_of(edit.range.start);
        // What ends with a line's end does not touch the next line.
        let whole = edit.range.end > edit.range.start && text.get(..edit.range.end).is_some_and(|t| t.ends_with('\n'));
        let end = if whole { line_of(edit.range.end) - 1 } else { line_of(edit.range.end) };
        match groups.last_mut() {
            Some((span, group)) if span.end >= start => {
                span.end = span.end.max(end);
                group.push(edit.clone());
            }
            _ => groups.push((Span { start, end }, vec![edit.clone()])),
        }
    }
    let change = |(span, group): (Span, Vec<Edit>)| {
        let lines = source.lines(span);
        let moved = |e: &Edit| {
            let range = e.range.start - lines.start..(e.range.end - lines.start).min(lines.len());
            Edit { range, text: e.text.clone() }
        };
        let edits: Vec<Edit> = group.iter().map(moved).collect();
        let new = apply(text.get(lines.clone()).unwrap_or_default(), &edits);
        Change { line: span.start, gone: span.end - span.start + 1, new }
    };
    groups.into_iter().map(change).collect()
}

/// A unified diff of the file `name` and the same with the edits made; empty when they change nothing.
pub fn diff(name: &str, source: &Source<'_>, edits: &[Edit]) -> String {
    let changes = changes(source, edits);
    if changes.is_empty() {
        return String::new();
    }
    let mut out = format!("--- a/{name}\n+++ b/{name}\n");
    let last = u32::try_from(source.text().split_inclusive('\n').count()).unwrap_or(u32::MAX);
    let mut added = 0i64;
    let mut rest = changes.as_slice();
    while let Some(first) = rest.first() {
        // Changes whose surroundings meet are one hunk.
        let near = |pair: &[Change]| match pair {
            [a, b] => (b.line - (a.line + a.gone)) as usize <= 2 * CONTEXT,
            _ => false,
        };
        let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
        let (hunk, behind) = rest.split_at(count);
        let context = u32::try_from(CONTEXT).unwrap_or_default();
        let start = first.line.saturating_sub(context).max(1);
        let end = hunk.last().map_or(0, |c| c.line + c.gone - 1 + context).min(last);
        added = write_hunk(&mut out, source, hunk, Span { start, end }, added);
        rest = behind;
    }
    out
}

/// Writes one hunk; gives by how many lines the new file is longer behind it.
fn write_hunk(out: &mut String, source: &Source<'_>, hunk: &[Change], span: Span, before: i64) -> i64 {
    let mut body = String::new();
    let (mut line, mut new) = (span.start, 0i64);
    for change in hunk {
        new += i64::from(change.line - line);
        kept(&mut body, source, line..change.line);
        for gone in change.line..change.line + change.gone {
            push(&mut body, '-', source.text().get(source.range(gone)).unwrap_or_default());
        }
        for come in change.new.split_inclusive('\n') {
            push(&mut body, '+', come);
            new += 1;
        }
        line = change.line + change.gone;
    }
    new += i64::from(span.end + 1) - i64::from(line);
    kept(&mut body, source, line..span.end + 1);
    let old = i64::from(span.end + 1 - span.start);
    let from = i64::from(span.start) + before;
    // A hunk of no lines is named after the line before it.
    let from = if new == 0 { from - 1 } else { from };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "@@ -{},{old} +{from},{new} @@", span.start);
    out.push_str(&body);
    before + new - old
}

fn kept(body: &mut String, source: &Source<'_>, lines: Range<u32>) {
    for line in lines {
        push(body, ' ', source.text().get(source.range(line)).unwrap_or_default());
    }
}

fn push(body: &mut String, mark: char, line: &str) {
    body.push(mark);
    body.push_str(line);
    if !line.ends_with('\n') {
        body.push_str("\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(range: Range<usize>, text: &str) -> Edit {
        Edit { range, text: text.to_owned() }
    }

    #[test]
    fn edits_that_touch_each_other_are_not_both_made() {
        let edits = [edit(4..5, "X"), edit(0..2, ""), edit(1..3, "Y"), edit(4..5, "X")];
        assert_eq!(apply("abcdef", &edits), "cdXf");
        assert_eq!(apply("ab", &[edit(1..1, "-")]), "a-b");
    }

    #[test]
    fn diffs_have_hunks_with_their_surroundings() {
        let text: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let source = Source::new(&text);
        let at = |line: u32| source.range(line);
        let edits =
            [edit(at(2).start..at(2).end - 1, "two"), edit(at(5), ""), edit(at(19).start..at(19).start, "new\n")];
        let expected = "--- a/D\n+++ b/D\n@@ -1,8 +1,7 @@\n 1\n-2\n+two\n 3\n 4\n-5\n 6\n 7\n 8\n\
                        @@ -16,5 +15,6 @@\n 16\n 17\n 18\n-19\n+new\n+19\n 20\n";
        assert_eq!(diff("D", &source, &edits), expected);
        assert_eq!(diff("D", &source, &[]), "");
    }

    #[test]
    fn a_last_line_without_an_end() {
        let source = Source::new("a\nb");
        let expected = "--- a/D\n+++ b/D\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+B\n\\ No newline at end of file\n";
        assert_eq!(diff("D", &source, &[edit(2..3, "B")]), expected);
        assert_eq!(diff("D", &Source::new("a\n"), &[edit(0..2, "")]), "--- a/D\n+++ b/D\n@@ -1,1 +0,0 @@\n-a\n");
    }
}
