//! The dumb tree: every instruction as keyword, flags, arguments and heredocs, not yet understood.
//!
//! Holds what was written and where; must never judge it.

use crate::diagnostic::Columns;
use crate::directives::Directives;
use crate::heredoc::Mark;
use crate::instruction::{Heredoc, Span};
use crate::lines::column;
use crate::lines::{Comment, LineStart, Tabs};
use crate::lint::Options;
use crate::place;
use crate::split::Flag;
use std::fmt::Write;
use std::ops::Range;

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
    /// The comments between the instruction before it and this one.
    pub comments: Vec<Comment>,
    /// The whole line, continuations removed.
    pub(crate) joined: String,
    /// Where in `joined` the arguments begin.
    pub(crate) args_at: usize,
    /// Where in `joined` each physical line begins.
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
    /// Where a part of `joined` stands in the file.
    pub(crate) fn place(&self, range: Range<usize>) -> (Span, Columns) {
        let (start, first) = self.point(range.start);
        // The end belongs to the line of the last byte, not to the one that begins behind it.
        let (end, last) = match range.end.checked_sub(1).filter(|last| *last >= range.start) {
            Some(last) => self.point(last),
            None => (start, first.saturating_sub(1)),
        };
        (Span { start, end }, Columns { start: first, end: last.saturating_add(1) })
    }

    /// Line and column of a byte of `joined`.
    fn point(&self, offset: usize) -> (u32, u32) {
        // An instruction may have very many lines and words, so the lines are not walked.
        let behind = self.starts.partition_point(|s| s.offset <= offset);
        match behind.checked_sub(1).and_then(|i| self.starts.get(i)) {
            Some(s) => (s.line, s.column.saturating_add(column(offset - s.offset) - 1)),
            None => (self.span.start, 1),
        }
    }

    /// The instruction in `joined`, without blanks around.
    pub(crate) fn whole(&self) -> Range<usize> {
        let end = self.joined.trim_end().len();
        end - self.joined.trim().len()..end
    }

    /// Where a text stands in `joined`: as a part of the arguments, or else the first that reads the same.
    pub(crate) fn range_of(&self, piece: &str) -> Range<usize> {
        let within = place::within(&self.args, piece).map(|r| r.start + self.args_at..r.end + self.args_at);
        let found = || {
            let at = self.joined.get(self.args_at..)?.find(piece)? + self.args_at;
            Some(at..at + piece.len())
        };
        within.or_else(found).filter(|r| !r.is_empty()).unwrap_or_else(|| self.whole())
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

/// The tree as text: the directives, then one instruction a line, with its lines, flags and
/// arguments, its comments above it and its heredocs beneath it. Equal trees give equal text.
pub fn dump(ast: &Ast) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let d = &ast.directives;
    if let Some(syntax) = &d.syntax {
        let _ = writeln!(out, "syntax {syntax:?}");
    }
    if d.escape != '\\' {
        let _ = writeln!(out, "escape {:?}", d.escape);
    }
    if d.check != Options::default() {
        let _ = writeln!(out, "check {}", d.check);
    }
    for node in &ast.nodes {
        for comment in &node.comments {
            let _ = writeln!(out, "{} # {:?}", comment.line, comment.text);
        }
        let _ = write!(out, "{}-{} {}", node.span.start, node.span.end, node.keyword);
        for flag in &node.flags {
            let _ = match &flag.value {
                Some(value) => write!(out, " --{}={value:?}", flag.name),
                None => write!(out, " --{}", flag.name),
            };
        }
        let _ = writeln!(out, " {:?}", node.args);
        for Body { mark, raw } in &node.heredocs {
            let tabs = if mark.tabs == Tabs::Strip { "-" } else { "" };
            let quoted = if mark.expand { "" } else { " quoted" };
            let _ = writeln!(out, "  <<{tabs}{:?}{quoted} {raw:?}", mark.name);
        }
    }
    out
}
