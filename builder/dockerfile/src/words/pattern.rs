//! The patterns of `${v#p}` and `${v/p/r}`: `*` and `?`, no brackets.
//!
//! Works on characters, without backtracking: between two stars stands a chunk, and the leftmost
//! place of a chunk leaves the most room for those behind it.

use super::WordError;
use std::ops::Range;

/// Where a match may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// At the given place.
    Here,
    /// There or anywhere behind.
    Anywhere,
}

/// How much a match takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Shortest,
    Longest,
}

/// One character of a chunk; nothing is `?`.
type Atom = Option<char>;

/// A pattern: chunks with a star between each two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    chunks: Vec<Vec<Atom>>,
}

impl Pattern {
    pub(super) fn parse(text: &str, escape: char) -> Result<Self, WordError> {
        let mut chunks = vec![Vec::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let atom = match c {
                '*' => {
                    chunks.push(Vec::new());
                    continue;
                }
                '?' => None,
                c if c == escape => match chars.next() {
                    Some(c) if matches!(c, '*' | '?' | '}' | '/') || c == escape => Some(c),
                    _ => return Err(WordError::Pattern { pattern: text.chars().take(80).collect() }),
                },
                c => Some(c),
            };
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(atom);
            }
        }
        Ok(Self { chunks })
    }

    /// Turns the pattern around.
    pub(super) fn reverse(&mut self) {
        self.chunks.reverse();
        self.chunks.iter_mut().for_each(|c| c.reverse());
    }

    /// The most comparisons that one search of so many characters takes.
    pub(super) fn cost(&self, chars: usize) -> usize {
        let longest = self.chunks.iter().map(Vec::len).max().unwrap_or(0);
        (chars + 1).saturating_mul(longest + 1).saturating_add(self.chunks.len())
    }

    /// The first match at or behind a place.
    pub(super) fn find(&self, text: &[char], from: usize, anchor: Anchor, reach: Reach) -> Option<Range<usize>> {
        let (first, rest) = self.chunks.split_first()?;
        let start = match anchor {
            Anchor::Here => fits(first, text, from).then_some(from)?,
            Anchor::Anywhere => leftmost(first, text, from)?,
        };
        let mut at = start + first.len();
        let Some((last, middle)) = rest.split_last() else { return Some(start..at) };
        for chunk in middle {
            at = leftmost(chunk, text, at)? + chunk.len();
        }
        let end = match reach {
            Reach::Shortest => leftmost(last, text, at)?,
            Reach::Longest => (at..=text.len()).rev().find(|i| fits(last, text, *i))?,
        };
        Some(start..end + last.len())
    }
}

fn fits(chunk: &[Atom], text: &[char], at: usize) -> bool {
    match text.get(at..at + chunk.len()) {
        Some(part) => chunk.iter().zip(part).all(|(a, c)| a.is_none_or(|a| a == *c)),
        None => false,
    }
}

fn leftmost(chunk: &[Atom], text: &[char], from: usize) -> Option<usize> {
    (from..=text.len()).find(|i| fits(chunk, text, *i))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: a star is any text, a question mark any character.
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|i| matches(rest, &text[i..])),
            Some(('?', rest)) => !text.is_empty() && matches(rest, &text[1..]),
            Some((c, rest)) => text.first() == Some(c) && matches(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn search_agrees_with_the_definition(pattern in "[ab*?]{0,6}", text in "[abc]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            let parsed = Pattern::parse(&pattern, '\\').unwrap();
            let ends: Vec<usize> = (0..=t.len()).filter(|e| matches(&p, &t[..*e])).collect();
            prop_assert_eq!(parsed.find(&t, 0, Anchor::Here, Reach::Shortest), ends.first().map(|e| 0..*e));
            prop_assert_eq!(parsed.find(&t, 0, Anchor::Here, Reach::Longest), ends.last().map(|e| 0..*e));
            let anywhere = (0..=t.len()).find_map(|s| {
                (s..=t.len()).rev().find(|e| matches(&p, &t[s..*e])).map(|e| s..e)
            });
            prop_assert_eq!(parsed.find(&t, 0, Anchor::Anywhere, Reach::Longest), anywhere);
        }
    }
}
