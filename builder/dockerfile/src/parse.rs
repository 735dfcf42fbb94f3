//! Text to tree. Never fails: what is wrong goes to the findings, and reading goes on behind it.

use crate::ast::{Ast, Body, Node};
use crate::diagnostic::{Diagnostic, Sink, quoted};
use crate::directives::{self, Directives};
use crate::heredoc::{self, Reading};
use crate::instruction::Span;
use crate::limits;
use crate::lines::{Logical, Reader, Unclosed};
use crate::split;

/// Reads a whole Dockerfile.
pub(crate) fn file(text: &str, sink: &mut Sink) -> Ast {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if too_large(text, sink) {
        return Ast::default();
    }
    let directives = directives::read(text, sink);
    nodes(text, directives, sink)
}

/// Reads text in which no directive may stand.
pub(crate) fn fragment(text: &str, escape: char, sink: &mut Sink) -> Ast {
    if too_large(text, sink) {
        return Ast::default();
    }
    nodes(text, Directives { escape, ..Directives::default() }, sink)
}

fn too_large(text: &str, sink: &mut Sink) -> bool {
    let large = text.len() > limits::FILE_BYTES;
    if large {
        let message = format!("the file is larger than {} bytes", limits::FILE_BYTES);
        let finding = Diagnostic::error("FileTooLarge", Span { start: 1, end: 1 }, message);
        sink.push(finding.with_hint("copy large texts from files instead; is this the Dockerfile at all?"));
    }
    large
}

fn nodes(text: &str, directives: Directives, sink: &mut Sink) -> Ast {
    let mut reader = Reader::new(text, directives.escape);
    reader.skip(directives.lines, sink);
    let mut ast = Ast { directives, nodes: Vec::new() };
    while let Some(logical) = reader.next(sink) {
        if ast.nodes.len() == limits::INSTRUCTIONS {
            let message = format!("there are more than {} instructions", limits::INSTRUCTIONS);
            let finding = Diagnostic::error("TooManyInstructions", logical.span, message);
            sink.push(finding.with_hint("join instructions, or split the file into several"));
            break;
        }
        ast.nodes.push(node(logical, &mut reader, sink));
    }
    ast
}

fn node(logical: Logical, reader: &mut Reader<'_>, sink: &mut Sink) -> Node {
    let parts = split::split(&logical.joined);
    let comments = reader.comments();
    let keyword = parts.keyword.to_ascii_uppercase();
    let mut node = Node {
        heredocs: Vec::new(),
        comments,
        flags: parts.flags,
        args_at: logical.joined.trim_end().len() - parts.args.len(),
        args: parts.args.to_owned(),
        keyword,
        text: logical.text,
        span: logical.span,
        starts: logical.starts,
        joined: logical.joined,
    };
    bodies(&mut node, reader, sink);
    node.span.end = reader.number().max(node.span.start);
    node
}

/// Reads the bodies of the heredocs that the instruction asks for.
fn bodies(node: &mut Node, reader: &mut Reader<'_>, sink: &mut Sink) {
    for mark in marks(&node.keyword, &node.args) {
        let place = node.place(node.args_at + mark.range.start..node.args_at + mark.range.end);
        match reader.body(&mark.name, mark.tabs, sink) {
            Ok(raw) => {
                if raw.len() > limits::HEREDOC_BYTES {
                    let message =
                        format!("the heredoc {} is larger than {} bytes", quoted(&mark.name), limits::HEREDOC_BYTES);
                    let finding = Diagnostic::error("HeredocTooLarge", node.span, message).at(place);
                    sink.push(finding.with_hint("put it into a file, and copy that"));
                }
                node.heredocs.push(Body { mark, raw });
            }
            Err(Unclosed { near }) => {
                let message = format!("the heredoc {} is never closed", quoted(&mark.name));
                let shift = node.args.get(..mark.range.start).is_some_and(|before| before.contains("(("));
                let hint = match near {
                    Some(line) => format!("line {line} is nearly it: write exactly {} there", mark.name),
                    None if shift => "where << is a shift, write $((1<<3)) without blanks, or quote it".to_owned(),
                    None => format!("write a line that is exactly {}", mark.name),
                };
                let finding = Diagnostic::error("UnterminatedHeredoc", node.span, message).at(place);
                sink.push(finding.with_hint(hint));
                return;
            }
        }
    }
}

/// Only RUN, COPY and ADD, and ONBUILD of them, have heredocs.
fn marks(keyword: &str, args: &str) -> Vec<heredoc::Mark> {
    match keyword {
        "RUN" => heredoc::scan(args, Reading::Shell),
        "COPY" | "ADD" => heredoc::scan(args, Reading::Paths),
        "ONBUILD" => {
            let inner = split::split(args);
            let at = args.len() - inner.args.len();
            let marks = match inner.keyword.to_ascii_uppercase().as_str() {
                "RUN" => heredoc::scan(inner.args, Reading::Shell),
                "COPY" | "ADD" => heredoc::scan(inner.args, Reading::Paths),
                _ => Vec::new(),
            };
            let moved = |m: heredoc::Mark| heredoc::Mark { range: m.range.start + at..m.range.end + at, ..m };
            marks.into_iter().map(moved).collect()
        }
        _ => Vec::new(),
    }
}
