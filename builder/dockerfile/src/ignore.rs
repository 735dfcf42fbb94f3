//! Ignore files (`.dockerignore`): which paths of the context do not exist for the build.
//!
//! Takes the file's bytes; answers about paths relative to the context. Patterns are anchored at
//! the root; `*` and `?` stay within one name, `**` does not; what is beneath an ignored directory
//! is ignored; `!` takes back; the last pattern that matches decides. Must never look at a file.

use crate::glob::{Class, GlobError, GlobFault, character, class, printable};
use crate::limits;

/// The longest pattern, in bytes: no path is longer.
const PATTERN_BYTES: usize = 4096;

/// Why an ignore file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// The file is too large.
    #[error("the file is larger than {} bytes", limits::IGNORE_BYTES)]
    TooLarge,
    /// There are too many patterns.
    #[error("there are more than {} patterns", limits::IGNORE_PATTERNS)]
    TooManyPatterns,
    /// A pattern is longer than any path.
    #[error("line {line}: the pattern is longer than {PATTERN_BYTES} bytes")]
    TooLong {
        /// The line, from 1.
        line: usize,
    },
    /// `!` alone.
    #[error("line {line}: ! is not followed by a pattern")]
    EmptyException {
        /// The line, from 1.
        line: usize,
    },
    /// A pattern is malformed.
    #[error("line {line}: {source}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: GlobError,
    },
}

impl IgnoreError {
    /// What the user can do about it, when that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { source, .. } => source.hint(),
            Self::EmptyException { .. } => Some("remove the line, or write the path to take back behind !".into()),
            _ => None,
        }
    }
}

/// The patterns of one ignore file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// `!`: takes back.
    takes_back: bool,
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
    /// `**` at the end: anything.
    All,
    /// `**` before something: nothing, or what [`State::DeepRest`] takes.
    Deep,
    /// Anything up to and with a `/`.
    DeepRest,
}

const SLASH: u32 = b'/' as u32;

impl Ignore {
    /// Ignores nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads an ignore file.
    pub fn parse(bytes: &[u8]) -> Result<Self, IgnoreError> {
        if bytes.len() > limits::IGNORE_BYTES {
            return Err(IgnoreError::TooLarge);
        }
        let mut patterns = Vec::new();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        for (line, text) in (1..).zip(bytes.split(|b| *b == b'\n')) {
            let trimmed = text.trim_ascii();
            // A comment begins in the first column; further right # is a name.
            if text.starts_with(b"#") || trimmed.is_empty() {
                continue;
            }
            if patterns.len() == limits::IGNORE_PATTERNS {
                return Err(IgnoreError::TooManyPatterns);
            }
            let (takes_back, text) = match trimmed.strip_prefix(b"!") {
                Some(rest) => (true, rest.trim_ascii()),
                None => (false, trimmed),
            };
            if text.is_empty() {
                return Err(IgnoreError::EmptyException { line });
            }
            if text.len() > PATTERN_BYTES {
                return Err(IgnoreError::TooLong { line });
            }
            let text = clean(text);
            let states = states(&text).map_err(|fault| IgnoreError::Malformed {
                line,
                source: GlobError { pattern: printable(&text), fault },
            })?;
            patterns.push(Pattern { takes_back, states });
        }
        Ok(Self { patterns })
    }

    /// Is the path ignored? It is relative to the context, clean, with `/` between names.
    pub fn ignored(&self, path: &[u8]) -> bool {
        self.decided_by(&characters(path)).is_some()
    }

    /// Can anything beneath this directory not be ignored? When not, nobody needs to look into it.
    /// May say yes in vain, never no in vain.
    pub fn may_hold_included(&self, dir: &[u8]) -> bool {
        let mut path = characters(dir);
        let Some(decided) = self.decided_by(&path) else { return true };
        path.push(SLASH);
        // What matches the directory decides the same for everything beneath it. So only a later
        // pattern that can match strictly beneath it makes a difference.
        self.patterns.iter().skip(decided + 1).any(|p| p.takes_back && p.goes_on_beneath(&path))
    }

    /// The pattern because of which the path is ignored.
    fn decided_by(&self, path: &[u32]) -> Option<usize> {
        let mut decided = None;
        for (i, pattern) in self.patterns.iter().enumerate() {
            if pattern.takes_back == decided.is_some() && pattern.matches(path) {
                decided = (!pattern.takes_back).then_some(i);
            }
        }
        decided
    }
}

impl Pattern {
    /// Does the pattern match the path or a directory above it?
    fn matches(&self, path: &[u32]) -> bool {
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
    fn goes_on_beneath(&self, dir: &[u32]) -> bool {
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
fn characters(mut text: &[u8]) -> Vec<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_ignored_or_not() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("a", &["a", "a/b", "a/b/c"], &["b/a", "ab"]),
            ("/a", &["a", "a/b"], &["b/a"]),
            ("./a//b/../c/", &["a/c", "a/c/d"], &["a", "a/b"]),
            ("  a  \r\n", &["a"], &[" a"]),
            ("\u{feff}a", &["a"], &[]),
            ("# a\n # b", &["# b"], &["a", "# a"]),
            ("*", &["a", ".a", "a/b"], &[""]),
            ("*.md\n!R.md", &["a.md"], &["R.md", "x/a.md"]),
            ("*/t", &["a/t", "a/t/x"], &["t", "a/b/t"]),
            ("a?", &["ab", "aé"], &["a", "a/", "abc"]),
            ("**", &["a", "a/b/c"], &[""]),
            ("**/a", &["a", "b/a", "b/c/a/d"], &["ba", "b/ca"]),
            ("**/*.go", &["x.go", "a/x.go", "a/b/x.go"], &["x.goo"]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b/z"], &["a/xb", "ab"]),
            ("a**b", &["ab", "ax/b", "a/x/b"], &["axb"]),
            ("[a-c]x", &["ax", "cx/y"], &["dx"]),
            ("[^a]x", &["bx"], &["ax"]),
            ("\\*a", &["*a"], &["ba"]),
            ("a.b$(c)|+{d}", &["a.b$(c)|+{d}"], &["aXb$(c)|+{d}"]),
            ("d\n!d/keep", &["d", "d/x"], &["d/keep", "d/keep/y"]),
            ("!a\na", &["a"], &[]),
            ("*\n!a\na/b", &["b", "a/b", "a/b/c"], &["a", "a/c"]),
            ("*\n!a/**/k", &["a", "a/x"], &["a/k", "a/x/k"]),
            ("..\n../a\n.\n/", &[], &["a", "b"]),
        ];
        for (text, yes, no) in cases {
            let ignore = Ignore::parse(text.as_bytes()).unwrap();
            for path in *yes {
                assert!(ignore.ignored(path.as_bytes()), "{text:?} ignores {path:?}");
            }
            for path in *no {
                assert!(!ignore.ignored(path.as_bytes()), "{text:?} does not ignore {path:?}");
            }
        }
        assert!(Ignore::parse(b"a\xff?").unwrap().ignored(b"a\xff\xfe"));
        assert!(!Ignore::none().ignored(b"a"));
    }

    #[test]
    fn directories_are_pruned_only_when_nothing_can_be_in_them() {
        let cases = [
            ("d", "d", false),
            ("d\n!d/a", "d", true),
            ("d\n!d/a", "d/b", false),
            ("!d/a\nd", "d", false),
            ("*\n!a/b/c", "a", true),
            ("*\n!a/b/c", "a/b", true),
            ("*\n!a/b/c", "a/x", false),
            ("*\n!**/c", "x/y", true),
            ("*\n!*.md", "x", false),
            ("*\n!x*/y", "xa", true),
            ("*\n!x*/y", "ya", false),
            ("d", "e", true),
        ];
        for (text, dir, expected) in cases {
            assert_eq!(
                Ignore::parse(text.as_bytes()).unwrap().may_hold_included(dir.as_bytes()),
                expected,
                "{text:?} {dir}"
            );
        }
    }

    #[test]
    fn malformed_files_are_errors() {
        let error = |text: &[u8]| Ignore::parse(text).unwrap_err();
        assert_eq!(error(b"a\n!\n"), IgnoreError::EmptyException { line: 2 });
        assert!(matches!(error(b"a\n\n[a"), IgnoreError::Malformed { line: 3, .. }));
        assert!(matches!(error(b"a\\"), IgnoreError::Malformed { line: 1, .. }));
        assert_eq!(error(&vec![b'a'; PATTERN_BYTES + 1]), IgnoreError::TooLong { line: 1 });
        assert_eq!(error(&vec![b'\n'; limits::IGNORE_BYTES + 1]), IgnoreError::TooLarge);
        assert_eq!(error(&b"a\n".repeat(limits::IGNORE_PATTERNS + 1)), IgnoreError::TooManyPatterns);
    }
}
