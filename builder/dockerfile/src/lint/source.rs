//! The text that is checked, line by line, with the place of each piece.

use crate::diagnostic::Sink;
use crate::directives;
use crate::instruction::Span;
use crate::lint::Edit;
use crate::split::is_blank;
use std::ops::Range;

/// A text and where its lines begin.
#[derive(Debug)]
pub struct Source<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// The last line that is a directive: those are no comments on what stands below.
    pub(super) directives: u32,
}

/// A word between blanks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// Where it stands in the text, in bytes.
    pub at: usize,
    /// The word.
    pub text: &'a str,
}

impl Token<'_> {
    /// Puts another text in its place.
    pub fn replaced(&self, text: impl Into<String>) -> Edit {
        Edit { range: self.at..self.at + self.text.len(), text: text.into() }
    }
}

impl<'a> Source<'a> {
    /// Takes a whole file.
    pub fn new(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
        let directives = directives::read(bare, &mut Sink::default()).lines;
        Self { text, starts: std::iter::once(0).chain(ends).collect(), directives }
    }

    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The line on which a byte stands, from 1.
    pub(super) fn line_at(&self, at: usize) -> u32 {
        u32::try_from(self.starts.partition_point(|start| *start <= at)).unwrap_or(u32::MAX)
    }

    /// Where a line stands, its end included; empty for a line that is not there. Lines count from 1.
    pub fn range(&self, line: u32) -> Range<usize> {
        let index = usize::try_from(line).unwrap_or(usize::MAX).wrapping_sub(1);
        let start = self.starts.get(index).copied().unwrap_or(self.text.len());
        let end = index.checked_add(1).and_then(|next| self.starts.get(next)).copied().unwrap_or(self.text.len());
        start..end
    }

    /// A line without its end.
    pub fn line(&self, line: u32) -> &'a str {
        self.text.get(self.range(line)).unwrap_or_default().trim_end_matches(['\r', '\n'])
    }

    /// Whole lines, their ends included.
    pub fn lines(&self, span: Span) -> Range<usize> {
        self.range(span.start).start..self.range(span.end).end
    }

    /// The line's words. A byte order mark is no part of any.
    pub fn tokens(&self, line: u32) -> Vec<Token<'a>> {
        let (start, text) = (self.range(line).start, self.line(line));
        let bare = text.trim_start_matches('\u{feff}');
        tokens(bare, start + text.len() - bare.len())
    }

    /// The words of an instruction that stands on one line; nothing for one that does not, whose words may be cut.
    pub fn words_of(&self, span: Span) -> Vec<Token<'a>> {
        if span.start == span.end { self.tokens(span.start) } else { Vec::new() }
    }
}

/// The words of a text that stands at `at`.
pub fn tokens(text: &str, at: usize) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_blank);
        let offset = text.len() - rest.len();
        let end = rest.find(is_blank).unwrap_or(rest.len());
        let Some(word) = rest.get(..end).filter(|w| !w.is_empty()) else { return found };
        found.push(Token { at: at + offset, text: word });
        rest = rest.get(end..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_words_have_their_places() {
        let source = Source::new("\u{feff}FROM a\r\n\n  RUN\tb  c");
        let text = |tokens: Vec<Token<'_>>| tokens.iter().map(|t| (t.at, t.text.to_owned())).collect::<Vec<_>>();
        assert_eq!(text(source.tokens(1)), [(3, "FROM".into()), (8, "a".into())]);
        assert_eq!((source.line(1), source.line(2), source.line(3)), ("\u{feff}FROM a", "", "  RUN\tb  c"));
        assert_eq!(text(source.tokens(3)), [(14, "RUN".into()), (18, "b".into()), (21, "c".into())]);
        assert_eq!((source.line(0), source.line(4)), ("", ""));
        assert_eq!(source.lines(Span { start: 2, end: 3 }), 11..22);
        assert!(source.words_of(Span { start: 2, end: 3 }).is_empty());
    }
}
