//! The dumb tree: every instruction as keyword, flags, arguments and heredocs, not yet understood.
//!
//! Holds what was written and where; must never judge it.

use crate::directives::Directives;
use crate::heredoc::Mark;
use crate::instruction::{Heredoc, Span};
use crate::lines::LineStart;
use crate::split::Flag;
use std::fmt::Write;

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ast {
    /// The first lines.
    pub directives: Directives,
    /// The instructions, in order.
    pub nodes: Vec<Node>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The keyword in upper case.
    pub keyword: String,
    /// The flags, quotes removed.
    pub flags: Vec<Flag>,
    /// The arguments, continuations removed, no blanks around.
    pub args: String,
    /// The heredocs, in order.
    pub heredocs: Vec<Body>,
    /// The instruction as written, for people, without heredoc bodies.
    pub text: String,
    /// Its lines, heredoc bodies included.
    pub span: Span,
    /// Where in `args` each physical line begins.
    pub(crate) starts: Vec<LineStart>,
}

/// A heredoc's mark and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Where and how it is asked for.
    pub mark: Mark,
    /// Every byte between the instruction and the delimiter.
    pub raw: String,
}

impl Body {
    /// The body as the instruction gets it.
    pub(crate) fn heredoc(&self) -> Heredoc {
        Heredoc { name: self.mark.name.clone(), body: self.mark.tabs.apply(&self.raw), expand: self.mark.expand }
    }
}

impl Node {
    /// The physical line on which a byte of the arguments stands.
    pub(crate) fn line_at(&self, offset: usize) -> Span {
        // An instruction may have very many lines and words, so the lines are not walked.
        let behind = self.starts.partition_point(|s| s.offset <= offset);
        let line = behind.checked_sub(1).and_then(|i| self.starts.get(i)).map_or(self.span.start, |s| s.line);
        Span { start: line, end: line }
    }

    /// A text with the heredoc bodies set behind it, as a shell or an image's trigger wants it.
    pub(crate) fn with_bodies(&self, text: &str) -> String {
        let mut whole = text.to_owned();
        for body in &self.heredocs {
            whole.push('\n');
            whole.push_str(&body.raw);
            whole.push_str(&body.mark.name);
        }
        whole
    }
}

impl Ast {
    /// The tree as text: one instruction a line, with its lines, flags and arguments; heredocs
    /// beneath it. Equal trees give equal text.
    pub fn dump(&self) -> String {
        let mut out = String::new();
        for node in &self.nodes {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}-{} {}", node.span.start, node.span.end, node.keyword);
            for flag in &node.flags {
                let _ = match &flag.value {
                    Some(value) => write!(out, " --{}={value:?}", flag.name),
                    None => write!(out, " --{}", flag.name),
                };
            }
            let _ = writeln!(out, " {:?}", node.args);
            for body in &node.heredocs {
                let _ = writeln!(out, "  <<{} {:?}", body.mark.name, body.raw);
            }
        }
        out
    }
}
