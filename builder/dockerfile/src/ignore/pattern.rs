//! One pattern of an ignore file, as an automaton that reads a path character by character.
//!
//! Takes the pattern's bytes and paths; answers whether they match. Must never take longer than the product of their
//! lengths: patterns and paths come from strangers.

use crate::glob::{Class, GlobError, GlobFault, character, class, printable};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// `!`: takes back.
    pub(super) takes_back: bool,
    states: Vec<State>,
}

/// One state of the automaton that reads a path character by character.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// This character.
    Char(u32),
    /// `?`
    Any,
    /// `[…]`
    Class(Class),
    /// `*`: any characters but `/`.
    Star,
    /// `**` at the end, or before nothing but a plain end: anything.
    All,
    /// `**` before something: nothing, or what [`State::DeepRest`] takes.
    Deep,
    /// Anything up to and with a `/`.
    DeepRest,
}

pub(super) const SLASH: u32 = b'/' as u32;

impl Pattern {
    /// Reads one pattern, without its `!`.
    pub(super) fn parse(text: &[u8], takes_back: bool) -> Result<Self, GlobError> {
        let text = clean(text);
        let states = states(&text).map_err(|fault| GlobError { pattern: printable(&text), fault })?;
        Ok(Self { takes_back, states })
    }

    /// Does the pattern match the path or a directory above it?
    pub(super) fn matches(&self, path: &[u32]) -> bool {
        if let (Some(State::Char(c)), Some(first)) = (self.states.first(), path.first())
            && c != first
        {
            return false;
        }
        let mut live = Live::begin(&self.states);
        for (i, c) in path.iter().enumerate() {
            if *c == SLASH && i > 0 && live.accepts() {
                return true;
            }
            live.step(&self.states, *c);
            if live.dead {
                return false;
            }
        }
        !path.is_empty() && live.accepts()
    }

    /// After this directory and its slash, is there anything left that the pattern could match?
    pub(super) fn goes_on_beneath(&self, dir: &[u32]) -> bool {
        let mut live = Live::begin(&self.states);
        for c in dir {
            live.step(&self.states, *c);
        }
        !live.dead
    }
}

/// The states that are reached; the one behind the last is acceptance.
struct Live {
    now: Vec<bool>,
    next: Vec<bool>,
    dead: bool,
}

impl Live {
    fn begin(states: &[State]) -> Self {
        let mut live = Self { now: vec![false; states.len() + 1], next: vec![false; states.len() + 1], dead: false };
        live.now[0] = true;
        live.close(states);
        live
    }

    fn accepts(&self) -> bool {
        self.now.last().copied().unwrap_or(false)
    }

    /// Follows what needs no character. States lead forward only, so one pass is enough.
    fn close(&mut self, states: &[State]) {
        for (i, state) in states.iter().enumerate() {
            if self.now[i] {
                match state {
                    State::Star | State::All => self.now[i + 1] = true,
                    State::Deep => {
                        self.now[i + 1] = true;
                        self.now[i + 2] = true;
                    }
                    _ => {}
                }
            }
        }
    }

    fn step(&mut self, states: &[State], c: u32) {
        self.next.fill(false);
        for (i, state) in states.iter().enumerate().filter(|(i, _)| self.now[*i]) {
            match state {
                State::Char(own) => self.next[i + 1] |= *own == c,
                State::Any => self.next[i + 1] |= c != SLASH,
                State::Class(class) => self.next[i + 1] |= class.holds(c),
                State::Star => self.next[i] |= c != SLASH,
                State::All => self.next[i] = true,
                State::Deep => {}
                State::DeepRest => {
                    self.next[i] = true;
                    self.next[i + 1] |= c == SLASH;
                }
            }
        }
        std::mem::swap(&mut self.now, &mut self.next);
        self.close(states);
        self.dead = !self.now.contains(&true);
    }
}

/// The characters of a path. A byte that is none stands for itself, beyond all characters.
pub(super) fn characters(mut text: &[u8]) -> Vec<u32> {
    let mut all = Vec::with_capacity(text.len() + 1);
    while let Some((value, rest)) = next(text) {
        all.push(value);
        text = rest;
    }
    all
}

fn next(text: &[u8]) -> Option<(u32, &[u8])> {
    let (value, width) = character(text)?;
    let value = match text.first() {
        Some(byte) if width == 1 && *byte >= 0x80 => 0x11_0000 + u32::from(*byte),
        _ => value,
    };
    Some((value, text.get(width..).unwrap_or_default()))
}

/// Go's `filepath.Clean`, then without the leading slash.
fn clean(text: &[u8]) -> Vec<u8> {
    let rooted = text.starts_with(b"/");
    let mut names: Vec<&[u8]> = Vec::new();
    for name in text.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => match names.last() {
                Some(last) if *last != b".." => {
                    names.pop();
                }
                _ if rooted => {}
                _ => names.push(name),
            },
            _ => names.push(name),
        }
    }
    names.join(&b'/')
}

fn states(mut text: &[u8]) -> Result<Vec<State>, GlobFault> {
    let mut states = Vec::new();
    if let Some(end) = suffix(text) {
        states.push(State::All);
        text = end;
    }
    while let Some((c, rest)) = next(text) {
        text = rest;
        match u8::try_from(c).unwrap_or(0xff) {
            b'*' => match text.strip_prefix(b"*") {
                None => states.push(State::Star),
                Some(behind) => {
                    text = behind.strip_prefix(b"/").unwrap_or(behind);
                    match text {
                        [] => states.push(State::All),
                        _ => states.extend([State::Deep, State::DeepRest]),
                    }
                }
            },
            b'?' => states.push(State::Any),
            b'[' => states.push(State::Class(class(&mut text).ok_or(GlobFault::Class)?)),
            b'\\' => {
                let (literal, rest) = next(text).ok_or(GlobFault::Escape)?;
                text = rest;
                states.push(State::Char(literal));
            }
            _ => states.push(State::Char(c)),
        }
    }
    Ok(states)
}

/// The plain text behind a `**` at the beginning: as in BuildKit, `**.log` is what ends so, also within a name, while
/// a `**` before anything else stands for whole names.
fn suffix(text: &[u8]) -> Option<&[u8]> {
    let end = text.strip_prefix(b"**").filter(|end| !end.is_empty() && !end.starts_with(b"/"))?;
    (!end.iter().any(|b| b"*?[]\\".contains(b))).then_some(end)
}
