//! Physical lines to logical lines: continuations, comments inside them, heredoc bodies.
//!
//! Takes text whose byte order mark is gone and the escape character. Gives one logical line at a
//! time, each with its physical lines. Never loses or changes a byte of a heredoc body.

use crate::diagnostic::{Diagnostic, Sink};
use crate::instruction::Span;
use crate::limits;
use crate::suggest;

/// One instruction's text, continuations removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logical {
    /// The pieces set end to end, as the shell gets them.
    pub joined: String,
    /// The pieces with one blank where a line was continued, for people.
    pub text: String,
    /// The physical lines.
    pub span: Span,
    /// Where in `joined` each physical line begins.
    pub starts: Vec<LineStart>,
}

/// Where a physical line begins in the joined text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineStart {
    /// Byte offset in the joined text.
    pub offset: usize,
    /// Number of the line, from 1.
    pub line: u32,
    /// Where in that line the piece begins, in bytes from 1.
    pub column: u32,
}

/// Reads logical lines one after the other.
pub(crate) struct Reader<'a> {
    lines: std::str::SplitInclusive<'a, char>,
    number: u32,
    escape: char,
    comments: Vec<Comment>,
}

/// A comment on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its line, from 1.
    pub line: u32,
    /// What it says, without `#` and the blanks around.
    pub text: String,
}

impl LineStart {
    /// A piece behind so many bytes of indentation.
    fn new(offset: usize, line: u32, indent: usize) -> Self {
        Self { offset, line, column: column(indent) }
    }
}

/// A number of bytes as a column, from 1.
pub(crate) fn column(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(1)
}

impl<'a> Reader<'a> {
    /// Begins at the first line.
    pub(crate) fn new(text: &'a str, escape: char) -> Self {
        Self { lines: text.split_inclusive('\n'), number: 0, escape, comments: Vec::new() }
    }

    /// The number of the last line read.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The next instruction's text, or nothing at the end of the file.
    pub(crate) fn next(&mut self, sink: &mut Sink) -> Option<Logical> {
        loop {
            let whole = self.line(sink)?;
            let first = whole.trim_start();
            if first.is_empty() {
                continue;
            }
            if let Some(comment) = first.strip_prefix('#') {
                self.comment(comment);
                continue;
            }
            let mut logical = Joining::begin(self.number);
            let indent = whole.len() - first.len();
            let mut open = logical.add(first, LineStart::new(0, self.number, indent), self.escape);
            while open {
                let Some(line) = self.line(sink) else { break };
                let bare = line.trim_start();
                if bare.starts_with('#') || bare.is_empty() {
                    continue;
                }
                open = logical.add(line, LineStart::new(0, self.number, 0), self.escape);
            }
            if let Some(done) = logical.finish(self.number) {
                return Some(done);
            }
        }
    }

    /// The comments read since the last instruction. An empty comment parts what stands above it from the rest.
    pub(crate) fn comments(&mut self) -> Vec<Comment> {
        std::mem::take(&mut self.comments)
    }

    fn comment(&mut self, text: &str) {
        match text.trim() {
            "" => self.comments.clear(),
            text => self.comments.push(Comment { line: self.number, text: text.to_owned() }),
        }
    }

    /// Leaves out lines that were read already, as directives.
    pub(crate) fn skip(&mut self, lines: u32, sink: &mut Sink) {
        while self.number < lines && self.raw(sink).is_some() {}
    }

    /// The raw body of a heredoc up to the line that is its delimiter.
    pub(crate) fn body(&mut self, delimiter: &str, tabs: Tabs, sink: &mut Sink) -> Result<String, Unclosed> {
        let mut body = String::new();
        let mut near = None;
        loop {
            let Some(raw) = self.raw(sink) else { return Err(Unclosed { near }) };
            let line = raw.trim_end_matches(['\r', '\n']);
            let line = if tabs == Tabs::Strip { line.trim_start_matches('\t') } else { line };
            if line == delimiter {
                return Ok(body);
            }
            if near.is_none() && nearly(line, delimiter) {
                near = Some(self.number);
            }
            body.push_str(raw);
        }
    }

    fn line(&mut self, sink: &mut Sink) -> Option<&'a str> {
        Some(self.raw(sink)?.trim_end_matches(['\r', '\n']))
    }

    fn raw(&mut self, sink: &mut Sink) -> Option<&'a str> {
        let raw = self.lines.next()?;
        self.number += 1;
        if raw.trim_end_matches(['\r', '\n']).len() > limits::LINE_BYTES {
            let span = Span { start: self.number, end: self.number };
            let message = format!("the line is longer than {} bytes", limits::LINE_BYTES);
            let finding = Diagnostic::error("LineTooLong", span, message);
            sink.push(finding.with_hint("break the line, or copy a file with the text"));
        }
        Some(raw)
    }
}

/// A heredoc that the file's end cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclosed {
    /// The first line that was probably meant to close it.
    pub near: Option<u32>,
}

/// Was this line meant to be the delimiter?
fn nearly(line: &str, delimiter: &str) -> bool {
    // Longer lines are text; comparing them would cost as much as they are long.
    let word = line.trim();
    word.len() <= delimiter.len() + 2 && suggest::nearest(word, [delimiter]).is_some()
}

/// What `<<-` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tabs {
    /// `<<`: every byte counts.
    Keep,
    /// `<<-`: tabs at the beginning of a line do not count.
    Strip,
}

impl Tabs {
    /// The body as the instruction gets it.
    pub fn apply(self, raw: &str) -> String {
        match self {
            Self::Keep => raw.to_owned(),
            Self::Strip => raw.split_inclusive('\n').map(|l| l.trim_start_matches('\t')).collect(),
        }
    }
}

/// A logical line in the making.
struct Joining {
    joined: String,
    text: String,
    start: u32,
    starts: Vec<LineStart>,
    /// A blank stood at the last cut, so the text for people needs one there.
    blank: bool,
}

impl Joining {
    fn begin(start: u32) -> Self {
        Self { joined: String::new(), text: String::new(), start, starts: Vec::new(), blank: false }
    }

    /// Adds one physical line; is the line continued?
    fn add(&mut self, line: &str, start: LineStart, escape: char) -> bool {
        let cut = continued(line, escape);
        let piece = cut.unwrap_or(line);
        self.starts.push(LineStart { offset: self.joined.len(), ..start });
        self.joined.push_str(piece);
        let told = piece.trim();
        // Where no blank stood around the cut, the two pieces are one word.
        if !told.is_empty() && !self.text.is_empty() && (self.blank || piece.starts_with(char::is_whitespace)) {
            self.text.push(' ');
            self.blank = false;
        }
        self.text.push_str(told);
        self.blank |= piece.ends_with(char::is_whitespace);
        cut.is_some()
    }

    fn finish(self, end: u32) -> Option<Logical> {
        if self.joined.trim().is_empty() {
            return None;
        }
        Some(Logical {
            joined: self.joined,
            text: self.text,
            span: Span { start: self.start, end },
            starts: self.starts,
        })
    }
}

/// The line without its continuation mark, when it has one. Two escape characters in a row are not
/// a mark, and neither are three: that is how the other builders read it, so files rely on it.
pub(crate) fn continued(line: &str, escape: char) -> Option<&str> {
    let piece = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!piece.ends_with(escape)).then_some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, escape: char) -> Vec<(String, String, u32, u32)> {
        let (mut sink, mut reader, mut all) = (Sink::default(), Reader::new(text, escape), Vec::new());
        while let Some(l) = reader.next(&mut sink) {
            all.push((l.joined, l.text, l.span.start, l.span.end));
        }
        all
    }

    #[test]
    fn lines_are_joined() {
        let cases = [
            ("RUN a \\\n  b", '\\', "RUN a   b", "RUN a b", 1, 2),
            ("RUN a\\\nb", '\\', "RUN ab", "RUN ab", 1, 2),
            ("RUN a \\  \t\r\n# no\n  # no\n b\r\n", '\\', "RUN a  b", "RUN a b", 1, 4),
            ("\n# c\n  RUN a \\\n\n\nb", '\\', "RUN a b", "RUN a b", 3, 6),
            ("RUN c:\\x `\nb", '`', "RUN c:\\x b", "RUN c:\\x b", 1, 2),
            ("RUN a \\", '\\', "RUN a ", "RUN a", 1, 1),
            ("RUN a \\\\", '\\', "RUN a \\\\", "RUN a \\\\", 1, 1),
            ("RUN a \\\\\\", '\\', "RUN a \\\\\\", "RUN a \\\\\\", 1, 1),
            ("\\\nRUN a", '\\', "RUN a", "RUN a", 1, 2),
            ("RUN a # b", '\\', "RUN a # b", "RUN a # b", 1, 1),
        ];
        for (text, escape, joined, told, start, end) in cases {
            assert_eq!(read(text, escape), [(joined.into(), told.into(), start, end)], "{text:?}");
        }
        assert!(read("# a \\\n\\\n \\\n", '\\').is_empty());
        assert_eq!(read("# a \\\nRUN b", '\\').len(), 1);
    }

    #[test]
    fn long_lines_are_told() {
        let long = format!("RUN a \\\n\n{}", "x".repeat(limits::LINE_BYTES + 1));
        let (mut sink, mut reader) = (Sink::default(), Reader::new(&long, '\\'));
        assert!(reader.next(&mut sink).is_some());
        let found: Vec<_> = sink.finish().iter().map(|d| (d.code, d.span.start)).collect();
        assert_eq!(found, [("LineTooLong", 3)]);
    }

    #[test]
    fn bodies_keep_every_byte() {
        let text = "a\r\n\n\t# b\\\n EOF\nEOF\r\nnext";
        let (mut sink, mut reader) = (Sink::default(), Reader::new(text, '\\'));
        assert_eq!(reader.body("EOF", Tabs::Keep, &mut sink).as_deref(), Ok("a\r\n\n\t# b\\\n EOF\n"));
        assert_eq!(reader.number(), 5);
        assert_eq!(reader.body("EOF", Tabs::Keep, &mut sink), Err(Unclosed { near: None }));
        for (text, near) in [(" x\n EOF\n", 2), ("eof\n", 1), ("EOF \n\tEOF", 1), ("EFO\nEOF;", 1)] {
            let mut reader = Reader::new(text, '\\');
            assert_eq!(reader.body("EOF", Tabs::Keep, &mut sink), Err(Unclosed { near: Some(near) }), "{text:?}");
        }
        let mut reader = Reader::new("\t\ta\n \tb\n\tEOF\n", '\\');
        let raw = reader.body("EOF", Tabs::Strip, &mut sink).unwrap();
        assert_eq!((raw.as_str(), Tabs::Strip.apply(&raw).as_str()), ("\t\ta\n \tb\n", "a\n \tb\n"));
    }
}
