//! Words: quoting and `$VAR`.
//!
//! Takes one word of an instruction and a look-up; gives the text with quotes removed and
//! variables put in, or says precisely why not. Every result and all work on it are bounded.
//! Must never look at an environment of its own.
//!
//! The grammar is the one of the Dockerfile reference's "environment replacement":
//! `$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r}
//! ${v//p/r}`, patterns of `*` and `?` only.

mod expand;
mod pattern;
mod split;

use crate::limits;
use expand::{Form, Quotes};
use std::cell::RefCell;
use std::collections::HashSet;

pub use split::{Word, split};

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A quote is never closed.
    #[error("the quote {0} is never closed")]
    OpenQuote(char),
    /// A `${` is never closed.
    #[error("${{ is never closed by }}")]
    OpenBrace,
    /// `${v/pattern` without the second slash.
    #[error("the second / of ${{{name}/pattern/replacement}} is missing")]
    OpenReplacement {
        /// The variable.
        name: String,
    },
    /// `${}` and the like: no name.
    #[error("${{ is not followed by a name")]
    NoName,
    /// A modifier that does not exist.
    #[error("{modifier:?} is not a modifier of ${{{name}}}")]
    Modifier {
        /// The variable.
        name: String,
        /// What was found.
        modifier: String,
    },
    /// `${v?message}` and `v` is not set, or empty with `:?`.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The Dockerfile's own words, or ours when it has none.
        message: String,
    },
    /// A pattern with an escape that means nothing.
    #[error("the pattern {pattern:?} escapes something other than * ? \\ / or }}")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// The result is too large.
    #[error("the result is larger than {} bytes", limits::WORD_BYTES)]
    TooLarge,
    /// Too many `${` inside each other.
    #[error("${{ is nested deeper than {} times", limits::WORD_DEPTH)]
    TooDeep,
    /// The word costs too much work.
    #[error("expanding the word takes too much work")]
    TooCostly,
}

impl WordError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::OpenQuote(quote) => format!("close the quote, or write \\{quote} for the character itself"),
            Self::OpenBrace | Self::NoName => "write \\$ for a dollar sign that is not a variable".into(),
            Self::Modifier { .. } => "the modifiers are :- - :+ + :? ? # ## % %% / and //".into(),
            Self::OpenReplacement { name } => {
                format!("write ${{{name}/pattern/replacement}}; \\/ is a slash within the pattern")
            }
            Self::Required { name, .. } => format!("set {name} with ENV, ARG or a build argument"),
            Self::Pattern { .. } => "take the escape away, or write it twice for the character itself".into(),
            Self::TooLarge => "does a variable repeat itself, as in ENV A=$A$A?".into(),
            Self::TooDeep => "give inner parts a name with ARG or ENV on a line above".into(),
            Self::TooCostly => "use a shorter value or a shorter pattern, or do it in a RUN".into(),
        }
    }
}

/// The look-up of variables: nothing for one that is not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands a word to one text. Blanks in it are kept.
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<String, WordError> {
    expand::Expander::new(word, escape, Quotes::Meant, lookup).whole(Form::Text).map(|e| e.text)
}

/// Expands the body of a heredoc: quotes are ordinary characters in it, and the escape is always a backslash.
pub fn expand_body(body: &str, lookup: Lookup<'_>) -> Result<String, WordError> {
    expand::Expander::new(body, '\\', Quotes::Text, lookup).whole(Form::Text).map(|e| e.text)
}

/// Expands a word and splits the result at blanks that are not quoted, those of values included.
/// EXPOSE alone does this.
pub fn expand_many(word: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, WordError> {
    expand::Expander::new(word, escape, Quotes::Meant, lookup).whole(Form::Words).map(|e| e.words)
}

/// The variables that a word mentions, each once, in order, special parameters left out.
/// A word that is malformed gives those before the fault.
pub fn names(word: &str, escape: char) -> Vec<String> {
    mentioned(|lookup| expand(word, escape, lookup))
}

/// The same of a heredoc's body.
pub fn names_of_body(body: &str) -> Vec<String> {
    mentioned(|lookup| expand_body(body, lookup))
}

fn mentioned(expand: impl Fn(Lookup<'_>) -> Result<String, WordError>) -> Vec<String> {
    let found = RefCell::new((Vec::new(), HashSet::new()));
    let lookup = |name: &str| {
        let (names, seen) = &mut *found.borrow_mut();
        if name.starts_with(|c: char| c.is_alphabetic() || c == '_') && seen.insert(name.to_owned()) {
            names.push(name.to_owned());
        }
        // A value that is set and not empty keeps `:?` from ending the search.
        Some("x".to_owned())
    };
    // The names before a fault are the answer; the fault is told by whoever expands the word.
    let _ = expand(&lookup);
    found.into_inner().0
}

/// Is the word well formed? What only a value can decide is not asked.
pub fn check(word: &str, escape: char) -> Result<(), WordError> {
    match expand(word, escape, &|_| Some("x".to_owned())) {
        // The pattern may come from a variable.
        Ok(_) | Err(WordError::Required { .. } | WordError::Pattern { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
