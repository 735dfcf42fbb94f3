//! NoEmptyContinuation: empty lines inside a continued instruction.

use super::table::NO_EMPTY_CONTINUATION;
use super::{Edit, File, Finding, Findings};
use crate::ast::Node;
use crate::instruction::Span;

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (_, node) in file.nodes() {
        let last = last_line(node);
        let empty = |line: &u32| file.source.line(*line).trim().is_empty();
        let mut lines = (node.span.start..=last).filter(empty).peekable();
        if lines.peek().is_none() {
            continue;
        }
        let edits: Vec<Edit> = lines.map(|line| Edit { range: file.source.range(line), text: String::new() }).collect();
        // One finding for the whole instruction, at its last line: that is where BuildKit puts it.
        let span = Span { start: last, end: last };
        out.push(Finding::new(&NO_EMPTY_CONTINUATION, span, "Empty continuation line").mended_by(edits));
    }
}

/// The last line of the instruction itself, heredoc bodies left out.
fn last_line(node: &Node) -> u32 {
    let bodies: usize = node.heredocs.iter().map(|b| b.raw.split_inclusive('\n').count() + 1).sum();
    node.span.end.saturating_sub(u32::try_from(bodies).unwrap_or(u32::MAX)).max(node.span.start)
}
