//! Ignore files (`.dockerignore`): which paths of the context do not exist for the build.
//!
//! Takes the file's bytes; answers about paths relative to the context. Patterns are anchored at
//! the root; `*` and `?` stay within one name, `**` does not; what is beneath an ignored directory
//! is ignored; `!` takes back; the last pattern that matches decides. Must never look at a file.

mod pattern;

use crate::glob::GlobError;
use crate::limits;
use pattern::{Pattern, SLASH, characters};

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
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Malformed { source, .. } => source.hint(),
            Self::EmptyException { .. } => "remove the line, or write the path to take back behind !",
            Self::TooLarge | Self::TooManyPatterns => "name directories or use patterns instead of single files",
            Self::TooLong { .. } => "shorten the pattern with *; no path is as long as this",
        }
    }
}

/// The patterns of one ignore file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

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
            add(&mut patterns, line, trimmed)?;
        }
        Ok(Self { patterns })
    }

    /// The same rules from a list, as `--exclude` gives them: no comments, and the line of an error is the number of
    /// the pattern.
    pub fn of<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for (number, text) in (1..).zip(list) {
            let trimmed = text.as_bytes().trim_ascii();
            if !trimmed.is_empty() {
                add(&mut patterns, number, trimmed)?;
            }
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

    /// Can anything beneath this directory match a pattern that takes nothing back? For lists that say what to take.
    /// May say yes in vain, never no in vain.
    pub fn may_match_beneath(&self, dir: &[u8]) -> bool {
        let mut path = characters(dir);
        if !path.is_empty() {
            path.push(SLASH);
        }
        self.patterns.iter().any(|p| !p.takes_back && p.goes_on_beneath(&path))
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

/// Reads one line and adds its pattern.
fn add(patterns: &mut Vec<Pattern>, line: usize, trimmed: &[u8]) -> Result<(), IgnoreError> {
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
    patterns.push(Pattern::parse(text, takes_back).map_err(|source| IgnoreError::Malformed { line, source })?);
    Ok(())
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

    /// The documented cases of moby/patternmatcher.
    #[test]
    fn patterns_match_as_in_moby() {
        for (pattern, path, expected) in [
            ("**", "file", true),
            ("**/", "file", true),
            ("**", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir3/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**file", "dir/dir/file", true),
            ("**.log", "dir/x.log", true),
            ("**.l*", "x.log", false),
            ("**/file", "dir/dir/file", true),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/file*.txt*", "dir/dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("**/**/*.txt2", "dir/dir/file.txt", false),
            ("**/*.txt", "file.txt", true),
            ("**/**/*.txt", "file.txt", true),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a/*.txt**", "a/file.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "aze", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcZdef", false),
            ("abc?def", "abcZdef", true),
            ("**/foo/bar", "dir/dir2/foo/bar", true),
            ("abc/**", "abc", false),
            ("abc/**", "abc/def/ghi", true),
            ("**/.foo", ".foo", true),
            ("**/.foo", "bar.foo", false),
            ("a(b)c/def", "a(b)c/def", true),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            ("a\\\\", "a\\", true),
            ("a\\*b", "a*b", true),
            ("a?b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[\\]a]", "]", true),
            ("[x\\-]", "-", true),
            ("**\n!util/docker/web", "util/docker/web/foo", false),
            ("**\n!util/docker/web\nutil/docker/web/foo", "util/docker/web/foo", true),
            ("docs/\n!docs/README.md", "docs/README.md", false),
            ("docs/*\n!docs/README.md", "docs/README.md", false),
            ("!file.go\n*.go", "file.go", true),
            ("docs\n!docs/README.md  ", "docs/README.md", false),
            ("*\n! /inverted/path", "inverted/path", false),
        ] {
            let ignore = Ignore::parse(pattern.as_bytes()).unwrap();
            assert_eq!(ignore.ignored(path.as_bytes()), expected, "{pattern:?} {path}");
            let listed = Ignore::of(pattern.split('\n')).unwrap();
            assert_eq!(listed.ignored(path.as_bytes()), expected, "a list of {pattern:?} {path}");
        }
    }

    #[test]
    fn a_list_knows_no_comments_and_says_where_it_can_match() {
        assert!(Ignore::of(["#a", ""]).unwrap().ignored(b"#a"));
        assert_eq!(Ignore::of(["a", "!"]), Err(IgnoreError::EmptyException { line: 2 }));
        for (pattern, dir, expected) in
            [("a/b", "", true), ("a/b", "a", true), ("a/b", "c", false), ("**/b", "c/d", true), ("*.c", "d", false)]
        {
            assert_eq!(Ignore::of([pattern]).unwrap().may_match_beneath(dir.as_bytes()), expected, "{pattern} {dir}");
        }
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
