//! Expansion of words under a budget.
//!
//! Takes: a word, the escape character, a look-up and a place. Gives: the text, or a diagnostic at that place.
//! Must never: let a short Dockerfile grow without bound. `ENV A=$A$A` doubles with every line: one word is bounded
//! where it is expanded (1 MiB), and all of a plan's texts together here.

use crate::fault;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::Span;
use cooper_dockerfile::suggest;
use cooper_dockerfile::words::{self, WordError};
use std::cell::Cell;

/// Most bytes that all texts of one plan may have together.
pub(crate) const PLAN_BYTES: usize = 256 * 1024 * 1024;

/// Most names that are compared with mistyped ones in one plan: a hostile file has very many of both.
pub(crate) const COMPARED: usize = 100_000;

/// Values of variables by name.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A word to expand: its text, what escapes in it, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a> {
    pub text: &'a str,
    pub escape: char,
    pub span: Span,
}

/// What a plan has used of [`PLAN_BYTES`] and of [`COMPARED`].
#[derive(Debug, Default)]
pub(crate) struct Budget {
    bytes: Cell<usize>,
    compared: Cell<usize>,
}

impl Budget {
    /// "Did you mean": the name that is nearest to a mistyped one. Once enough names were compared, none is.
    pub(crate) fn near<'a>(&self, typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let left = COMPARED.saturating_sub(self.compared.get());
        let names = names.into_iter().take(left).inspect(|_| self.compared.set(self.compared.get() + 1));
        suggest::nearest(typed, names)
    }

    /// Takes `bytes` from the budget.
    pub(crate) fn spend(&self, bytes: usize, span: Span) -> Result<(), Diagnostic> {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        if !self.is_exhausted() {
            return Ok(());
        }
        let message = format!("the expanded Dockerfile is larger than {} MiB", PLAN_BYTES >> 20);
        Err(fault::error(fault::TOO_LARGE, span, message, "use fewer or shorter variables, or split the file"))
    }

    /// Is nothing left? Then the answer is an error, and going on would only use more memory.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.bytes.get() > PLAN_BYTES
    }

    /// One word to one text.
    pub(crate) fn expand(&self, word: Word<'_>, lookup: Lookup<'_>) -> Result<String, Diagnostic> {
        let text = words::expand(word.text, word.escape, lookup).map_err(|e| refused(word, &e))?;
        self.spend(text.len(), word.span)?;
        Ok(text)
    }

    /// A heredoc's body, in which quotes are ordinary characters and the escape is always a backslash, as in BuildKit.
    pub(crate) fn expand_body(&self, body: &str, span: Span, lookup: Lookup<'_>) -> Result<String, Diagnostic> {
        let text =
            words::expand_body(body, lookup).map_err(|e| refused(Word { text: body, escape: '\\', span }, &e))?;
        self.spend(text.len(), span)?;
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
    let code = match e {
        WordError::TooLarge | WordError::TooDeep | WordError::TooCostly => fault::TOO_LARGE,
        _ => fault::EXPANSION,
    };
    let message = format!("cannot expand {:?}: {e}", clip(word.text));
    fault::error(code, word.span, message, e.hint()).about(word.text)
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
    fn only_so_many_names_are_compared() {
        let names: Vec<String> = (0..COMPARED - 10).map(|n| format!("NAME_{n}")).collect();
        let asked = Cell::new(0);
        let all = || names.iter().map(String::as_str).inspect(|_| asked.set(asked.get() + 1));
        let budget = Budget::default();
        assert_eq!(budget.near("NAM_77", all()), Some("NAME_77"));
        assert_eq!(budget.near("NAM_7", all()), Some("NAME_7"), "one of the ten that are left");
        for _ in 0..1000 {
            assert_eq!(budget.near("NAM_7", all()), None);
        }
        assert_eq!(asked.get(), COMPARED);
    }
}
