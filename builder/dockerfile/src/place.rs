//! Where exactly a finding stands: lines and columns of the piece that it is about.
//!
//! Takes findings and the text they are about; gives each its columns. Must never change what a
//! finding says, and never panics on a span that the text does not have.

use crate::ast::{Ast, Node};
use crate::diagnostic::{Columns, Diagnostic};
use crate::instruction::Span;
use crate::lines::column;
use std::ops::Range;

/// Gives every finding about this file its columns, and sorts them by place. A finding that names
/// its subject is put where that stands in the instruction, any other on the whole instruction
/// without the bodies of its heredocs. One that is about no line, as of a flag, gets none.
pub fn fill(findings: &mut [Diagnostic], text: &str) {
    fill_from(findings, text, &crate::tree(text));
}

/// The same with a tree that is at hand.
pub(crate) fn fill_from(findings: &mut [Diagnostic], text: &str, ast: &Ast) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines: Option<Vec<&str>> = None;
    for finding in findings.iter_mut().filter(|d| d.columns.is_none() && d.span.start > 0) {
        let found = node_at(ast, finding.span.start).and_then(|node| in_node(node, finding));
        let (span, columns) = found.unwrap_or_else(|| {
            let lines = lines.get_or_insert_with(|| text.split('\n').collect());
            whole_lines(lines, finding.span)
        });
        (finding.span, finding.columns) = (span, Some(columns));
    }
    findings.sort_by_key(|d| (d.span.start, d.columns, d.span.end));
}

/// The instruction that a line belongs to.
pub(crate) fn node_at(ast: &Ast, line: u32) -> Option<&Node> {
    let behind = ast.nodes.partition_point(|n| n.span.start <= line);
    ast.nodes.get(behind.checked_sub(1)?).filter(|n| line <= n.span.end)
}

fn in_node(node: &Node, finding: &Diagnostic) -> Option<(Span, Columns)> {
    let subject = finding.subject.as_deref().filter(|s| !s.is_empty());
    if let Some(range) = subject.and_then(|s| find(node, s)) {
        return Some(node.place(range));
    }
    // A finding that names lines of its own, within the instruction, keeps them.
    (finding.span.start == node.span.start).then(|| node.place(node.whole()))
}

/// The first place of a text in an instruction, behind its keyword, whole words before parts of them.
fn find(node: &Node, text: &str) -> Option<Range<usize>> {
    let from = node.whole().start + node.keyword.len();
    let line = node.joined.get(from..)?;
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    let whole = line.match_indices(text).map(|(at, _)| at).find(|at| {
        let (before, behind) = (line.get(..*at), line.get(at + text.len()..));
        edge(before.and_then(|b| b.chars().next_back())) && edge(behind.and_then(|b| b.chars().next()))
    });
    let at = whole.or_else(|| line.find(text))? + from;
    Some(at..at + text.len())
}

/// From the first to the last byte of some lines that is not blank.
fn whole_lines(lines: &[&str], span: Span) -> (Span, Columns) {
    let line = |n: u32| lines.get((n as usize).saturating_sub(1)).copied().unwrap_or_default();
    let (first, last) = (line(span.start), line(span.end.max(span.start)));
    let start = column(first.len() - first.trim_start().len());
    let end = column(last.trim_end().len());
    // A blank line has no byte to mark.
    let columns = Columns { start: if first.trim().is_empty() { 1 } else { start }, end };
    (span, columns)
}

/// Where one text stands in another that it is a part of, in bytes.
pub(crate) fn within(outer: &str, inner: &str) -> Option<Range<usize>> {
    let from = (inner.as_ptr() as usize).checked_sub(outer.as_ptr() as usize)?;
    let range = from..from.checked_add(inner.len())?;
    (outer.get(range.clone())? == inner).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;

    fn place(text: &str, line: u32, subject: Option<&str>) -> (u32, u32, u32, u32) {
        let mut finding = Diagnostic::error("X", Span { start: line, end: line }, "x");
        finding.subject = subject.map(str::to_owned);
        let mut all = [finding];
        fill(&mut all, text);
        let columns = all[0].columns.expect("filled");
        (all[0].span.start, columns.start, all[0].span.end, columns.end)
    }

    #[test]
    fn places_are_found() {
        let text = "\u{feff}FROM a\n  RUN b \\\n\n    c$X ${X} \\\r\n  d\r\n\nCOPY <<E /x\nbody\nE\nRUN sp\\\nlit\n";
        let cases = [
            (1, None, (1, 1, 1, 7)),
            (2, None, (2, 3, 5, 4)),
            (2, Some("${X}"), (4, 9, 4, 13)),
            (2, Some("X"), (4, 7, 4, 8)),
            (2, Some("not there"), (2, 3, 5, 4)),
            (3, None, (3, 1, 3, 1)),
            (5, None, (5, 3, 5, 4)),
            (7, None, (7, 1, 7, 12)),
            (7, Some("<<E"), (7, 6, 7, 9)),
            (10, Some("split"), (10, 5, 11, 4)),
            (99, None, (99, 1, 99, 1)),
        ];
        for (line, subject, expected) in cases {
            assert_eq!(place(text, line, subject), expected, "{line} {subject:?}");
        }
    }

    #[test]
    fn a_part_knows_where_it_stands() {
        let outer = "abc abc".to_owned();
        assert_eq!(within(&outer, &outer[4..6]), Some(4..6));
        assert_eq!(within(&outer[..3], &outer[4..6]), None);
        assert_eq!(within(&outer, "bc"), None);
    }

    #[test]
    fn findings_are_sorted_by_place() {
        let found = crate::parse("FROM a\nENV A=1 B=${x \\\n C='\nRUNN x\n").diagnostics;
        let places: Vec<_> = found.iter().map(|d| (d.span.start, d.columns.map(|c| (c.start, c.end)))).collect();
        assert_eq!(places, [(2, Some((11, 14))), (3, Some((4, 5))), (4, Some((1, 5)))]);
        assert!(found.iter().all(|d| d.severity == Severity::Error));
    }
}
