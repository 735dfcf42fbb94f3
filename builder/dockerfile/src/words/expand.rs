//! The expansion itself: one pass over the word, recursion at `${…}` only.

use super::pattern::{Anchor, Pattern, Reach};
use super::{Lookup, WordError};
use crate::limits;
use std::iter::Peekable;
use std::str::Chars;

/// Are escapes kept in the result? In patterns they are, because the pattern reads them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Remove,
    Keep,
}

/// What a quote is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// It begins text that is taken as it is, and is itself left out.
    Meant,
    /// A character as any other, as in the body of a heredoc.
    Text,
}

/// What a result is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One text.
    Text,
    /// One text, and the words in it.
    Words,
}

/// A result as one text, and as words where they are wanted.
#[derive(Debug)]
pub(super) struct Expansion {
    /// Everything.
    pub text: String,
    /// Split at blanks that are not quoted.
    pub words: Vec<String>,
    word: String,
    form: Form,
}

impl Expansion {
    fn new(form: Form) -> Self {
        Self { text: String::new(), words: Vec::new(), word: String::new(), form }
    }

    /// Text that can be split.
    fn open(&mut self, text: &str) {
        self.text.push_str(text);
        if self.form == Form::Words {
            for c in text.chars() {
                if c.is_whitespace() { self.end_word() } else { self.word.push(c) }
            }
        }
    }

    /// Text in quotes or behind an escape.
    fn closed(&mut self, text: &str) {
        self.text.push_str(text);
        if self.form == Form::Words {
            self.word.push_str(text);
        }
    }

    fn open_char(&mut self, c: char) {
        self.open(c.encode_utf8(&mut [0; 4]));
    }

    fn closed_char(&mut self, c: char) {
        self.closed(c.encode_utf8(&mut [0; 4]));
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}

/// One word being expanded.
pub(super) struct Expander<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    quotes: Quotes,
    lookup: Lookup<'a>,
    depth: usize,
    cost: usize,
}

impl<'a> Expander<'a> {
    pub(super) fn new(word: &'a str, escape: char, quotes: Quotes, lookup: Lookup<'a>) -> Self {
        Self { chars: word.chars().peekable(), escape, quotes, lookup, depth: 0, cost: 0 }
    }

    /// Expands the whole word.
    pub(super) fn whole(mut self, form: Form) -> Result<Expansion, WordError> {
        self.until(None, Escapes::Remove, Expansion::new(form))?.ok_or(WordError::OpenBrace)
    }

    /// Expands up to a character that stands in a `${…}`.
    fn inner(&mut self, stop: char, escapes: Escapes) -> Result<Option<String>, WordError> {
        Ok(self.until(Some(stop), escapes, Expansion::new(Form::Text))?.map(|e| e.text))
    }

    /// Expands up to a character, which is taken; nothing when the word ends before it. No text is put where it would
    /// become too large: a value may be doubled very often.
    fn until(
        &mut self,
        stop: Option<char>,
        escapes: Escapes,
        mut out: Expansion,
    ) -> Result<Option<Expansion>, WordError> {
        while let Some(c) = self.chars.next() {
            match c {
                c if Some(c) == stop => {
                    out.end_word();
                    return Ok(Some(out));
                }
                '$' => {
                    let value = self.dollar()?;
                    bound(out.text.len() + value.len())?;
                    out.open(&value);
                }
                '\'' if self.quotes == Quotes::Meant => {
                    let text = self.single()?;
                    bound(out.text.len() + text.len())?;
                    out.closed(&text);
                }
                '"' if self.quotes == Quotes::Meant => {
                    let text = self.double(escapes)?;
                    bound(out.text.len() + text.len())?;
                    out.closed(&text);
                }
                c if c == self.escape => {
                    if escapes == Escapes::Keep {
                        out.closed_char(c);
                    }
                    if let Some(next) = self.chars.next() {
                        out.closed_char(next);
                    }
                }
                c => out.open_char(c),
            }
            bound(out.text.len())?;
        }
        out.end_word();
        Ok(stop.is_none().then_some(out))
    }

    fn single(&mut self) -> Result<String, WordError> {
        let mut text = String::new();
        loop {
            match self.chars.next().ok_or(WordError::OpenQuote('\''))? {
                '\'' => return Ok(text),
                c => text.push(c),
            }
        }
    }

    fn double(&mut self, escapes: Escapes) -> Result<String, WordError> {
        let mut text = String::new();
        loop {
            match self.chars.next().ok_or(WordError::OpenQuote('"'))? {
                '"' => return Ok(text),
                '$' => {
                    let value = self.dollar()?;
                    bound(text.len() + value.len())?;
                    text.push_str(&value);
                }
                c if c == self.escape => {
                    if escapes == Escapes::Keep {
                        text.push(c);
                    }
                    let escape = self.escape;
                    match self.chars.next_if(|n| matches!(n, '"' | '$') || *n == escape) {
                        Some(escaped) => text.push(escaped),
                        None => text.push(c),
                    }
                }
                c => text.push(c),
            }
            bound(text.len())?;
        }
    }

    /// What stands behind a `$`.
    fn dollar(&mut self) -> Result<String, WordError> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            return if name.is_empty() { Ok("$".to_owned()) } else { self.value(&name).map(Option::unwrap_or_default) };
        }
        self.depth += 1;
        if self.depth > limits::WORD_DEPTH {
            return Err(WordError::TooDeep);
        }
        let value = self.braces()?;
        self.depth -= 1;
        Ok(value)
    }

    /// What stands behind `${`.
    fn braces(&mut self) -> Result<String, WordError> {
        match self.chars.peek() {
            None => return Err(WordError::OpenBrace),
            Some('{' | '}' | ':') => return Err(WordError::NoName),
            Some(_) => {}
        }
        let name = self.name();
        let modifier = self.chars.next().ok_or(WordError::OpenBrace)?;
        match modifier {
            '}' => Ok(self.value(&name)?.unwrap_or_default()),
            '-' | '+' | '?' => self.default(&name, modifier, Empty::IsSet),
            ':' => match self.chars.next().ok_or(WordError::OpenBrace)? {
                modifier @ ('-' | '+' | '?') => self.default(&name, modifier, Empty::IsUnset),
                other => Err(WordError::Modifier { name, modifier: format!(":{other}") }),
            },
            '#' | '%' => self.trim(&name, modifier),
            '/' => self.replace(name),
            other => Err(WordError::Modifier { name, modifier: other.to_string() }),
        }
    }

    fn default(&mut self, name: &str, modifier: char, empty: Empty) -> Result<String, WordError> {
        let word = self.inner('}', Escapes::Remove)?.ok_or(WordError::OpenBrace)?;
        let value = self.value(name)?;
        let missing = match &value {
            None => Some("is not allowed to be unset"),
            Some(v) if v.is_empty() && empty == Empty::IsUnset => Some("is not allowed to be empty"),
            Some(_) => None,
        };
        match (modifier, missing) {
            ('+', None) | ('-', Some(_)) => Ok(word),
            ('+', Some(_)) => Ok(String::new()),
            ('?', Some(ours)) => {
                let message = if word.is_empty() { ours.to_owned() } else { word };
                Err(WordError::Required { name: name.to_owned(), message })
            }
            _ => Ok(value.unwrap_or_default()),
        }
    }

    fn trim(&mut self, name: &str, modifier: char) -> Result<String, WordError> {
        let text = self.inner('}', Escapes::Keep)?.ok_or(WordError::OpenBrace)?;
        let (reach, text) = match text.strip_prefix(modifier) {
            Some(rest) => (Reach::Longest, rest),
            None => (Reach::Shortest, text.as_str()),
        };
        let mut pattern = Pattern::parse(text, self.escape)?;
        let mut value: Vec<char> = self.value(name)?.unwrap_or_default().chars().collect();
        // The end of a text is the beginning of its mirror image.
        if modifier == '%' {
            pattern.reverse();
            value.reverse();
        }
        self.spend(pattern.cost(value.len()))?;
        if let Some(found) = pattern.find(&value, 0, Anchor::Here, reach) {
            value.drain(found);
        }
        if modifier == '%' {
            value.reverse();
        }
        Ok(value.into_iter().collect())
    }

    fn replace(&mut self, name: String) -> Result<String, WordError> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let open = WordError::OpenReplacement { name: name.clone() };
        let pattern = self.inner('/', Escapes::Keep)?.ok_or(open)?;
        let by = self.inner('}', Escapes::Keep)?.ok_or(WordError::OpenBrace)?;
        let pattern = Pattern::parse(&pattern, self.escape)?;
        let value: Vec<char> = self.value(&name)?.unwrap_or_default().chars().collect();
        let (mut out, mut at, mut copied) = (String::new(), 0, 0);
        while at <= value.len() {
            // The most that one search may take has to be there; what it did take is spent.
            if pattern.cost(value.len() - at) > limits::WORD_COST.saturating_sub(self.cost) {
                return Err(WordError::TooCostly);
            }
            let Some(found) = pattern.find(&value, at, Anchor::Anywhere, Reach::Longest) else { break };
            self.spend(pattern.cost(found.end - at))?;
            out.extend(value.get(copied..found.start).unwrap_or_default());
            // An empty match that touches the one before it is no match.
            if found.end > copied || found.start == 0 {
                out.push_str(&by);
            }
            bound(out.len())?;
            copied = found.end;
            at = found.end.max(at + 1);
            if !all {
                break;
            }
        }
        out.extend(value.get(copied..).unwrap_or_default());
        bound(out.len())?;
        Ok(out)
    }

    /// A name, the digits of a positional parameter, or one special parameter. Letters are those of
    /// every script, as in BuildKit.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek() {
            Some(c) if c.is_numeric() => {
                while let Some(c) = self.chars.next_if(|c| c.is_numeric()) {
                    name.push(c);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.chars.next()),
            _ => {
                while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, WordError> {
        let value = (self.lookup)(name);
        self.spend(value.as_ref().map_or(0, String::len))?;
        if let Some(value) = &value {
            bound(value.len())?;
        }
        Ok(value)
    }

    fn spend(&mut self, cost: usize) -> Result<(), WordError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > limits::WORD_COST { Err(WordError::TooCostly) } else { Ok(()) }
    }
}

/// May a text have so many bytes?
fn bound(bytes: usize) -> Result<(), WordError> {
    if bytes > limits::WORD_BYTES { Err(WordError::TooLarge) } else { Ok(()) }
}

/// What the colon of `:-` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    IsSet,
    IsUnset,
}
