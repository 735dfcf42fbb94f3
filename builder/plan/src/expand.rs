//! Expansion of words under a budget.
//!
//! Takes: a word, the escape character, a look-up and a place. Gives: the text, or a diagnostic at that place.
//! Must never: let a short Dockerfile grow without bound. `ENV A=$A$A` doubles with every line: one word is bounded
//! where it is expanded (1 MiB), and all of a plan's texts together here.

use crate::fault;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::Span;
use cooper_dockerfile::words::{self, WordError};
use std::cell::Cell;

/// Most bytes that all texts of one plan may have together.
pub(crate) const PLAN_BYTES: usize = 256 * 1024 * 1024;

/// Values of variables by name.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A word to expand: its text, what escapes in it, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a> {
    pub text: &'a str,
    pub escape: char,
    pub span: Span,
}

/// What a plan has used of [`PLAN_BYTES`].
#[derive(Debug, Default)]
pub(crate) struct Budget(Cell<usize>);

impl Budget {
    /// Takes `bytes` from the budget.
    pub(crate) fn spend(&self, bytes: usize, span: Span) -> Result<(), Diagnostic> {
        self.0.set(self.0.get().saturating_add(bytes));
        if !self.is_exhausted() {
            return Ok(());
        }
        let message = format!("the expanded Dockerfile is larger than {} MiB", PLAN_BYTES >> 20);
        Err(fault::error(fault::TOO_LARGE, span, message, "use fewer or shorter variables, or split the file"))
    }

    /// Is nothing left? Then the answer is an error, and going on would only use more memory.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.0.get() > PLAN_BYTES
    }

    /// One word to one text.
    pub(crate) fn expand(&self, word: Word<'_>, lookup: Lookup<'_>) -> Result<String, Diagnostic> {
        let text = words::expand(word.text, word.escape, lookup).map_err(|e| refused(word, &e))?;
        self.spend(text.len(), word.span)?;
        Ok(text)
    }

    /// One word to as many as its value has (EXPOSE).
    pub(crate) fn expand_many(&self, word: Word<'_>, lookup: Lookup<'_>) -> Result<Vec<String>, Diagnostic> {
        let list = words::expand_many(word.text, word.escape, lookup).map_err(|e| refused(word, &e))?;
        self.spend(list.iter().map(String::len).sum(), word.span)?;
        Ok(list)
    }
}

fn refused(word: Word<'_>, e: &WordError) -> Diagnostic {
    let (code, hint) = match e {
        WordError::TooLarge | WordError::TooDeep | WordError::TooCostly => {
            (fault::TOO_LARGE, "does a variable repeat itself, as in ENV A=$A$A?")
        }
        _ => (fault::EXPANSION, "write \\$ for a dollar sign that is not a variable"),
    };
    let message = format!("cannot expand {:?}: {e}", clip(word.text));
    fault::error(code, word.span, message, e.hint().unwrap_or_else(|| hint.to_owned())).about(word.text)
}

/// The beginning of a text, for messages.
pub(crate) fn clip(text: &str) -> String {
    const SHOWN: usize = 120;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// A heredoc's body as a word in which quotes are ordinary characters: BuildKit expands variables in such a body and
/// leaves its quotes alone.
pub(crate) fn quotes_as_text(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut escaped = false;
    for c in body.chars() {
        if !escaped && matches!(c, '"' | '\'') {
            out.push('\\');
        }
        escaped = !escaped && c == '\\';
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word<'_> {
        Word { text, escape: '\\', span: Span::default() }
    }

    #[test]
    fn long_values_are_refused_and_the_whole_is_bounded() {
        let half = "x".repeat(512 * 1024);
        let lookup = |_: &str| Some(half.clone());
        let budget = Budget::default();
        assert_eq!(budget.expand(word("$A$A"), &lookup).unwrap().len(), 1024 * 1024);
        assert_eq!(budget.expand(word("$A$A$A"), &lookup).unwrap_err().code, fault::TOO_LARGE);
        assert!(budget.spend(PLAN_BYTES - 1024 * 1024, Span::default()).is_ok());
        assert_eq!(budget.expand(word("x"), &lookup).unwrap_err().code, fault::TOO_LARGE);
    }

    #[test]
    fn quotes_of_a_heredoc_survive() {
        let lookup = |name: &str| (name == "V").then(|| "value".to_owned());
        let body = "say \"$V\" and '$V'\ncost \\$V\n";
        let text = quotes_as_text(body);
        let out = Budget::default().expand(word(&text), &lookup).unwrap();
        assert_eq!(out, "say \"value\" and 'value'\ncost $V\n");
    }
}
