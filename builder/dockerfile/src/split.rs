//! One logical line to keyword, flags and arguments.
//!
//! Takes joined text; gives slices of it. Knows no instruction by name.

use std::ops::Range;

/// The parts of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    /// The first word, as written.
    pub keyword: &'a str,
    /// What begins with `--` behind it.
    pub flags: Vec<Flag>,
    /// The rest, without blanks around it.
    pub args: &'a str,
}

/// `--name` or `--name=value`, quotes removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The name without the dashes.
    pub name: String,
    /// What stands behind `=`.
    pub value: Option<String>,
    /// Where it stands in the line, as written.
    pub(crate) range: Range<usize>,
}

/// The blanks between arguments; other white space belongs to the argument.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

/// Splits one line.
pub(crate) fn split(line: &str) -> Parts<'_> {
    let whole = line;
    let line = line.trim();
    let (keyword, rest) = line.split_once(is_blank).unwrap_or((line, ""));
    let mut rest = rest.trim_start();
    let mut flags = Vec::new();
    while rest.starts_with("--") {
        let (word, behind) = flag(rest);
        let range = whole.trim_end().len() - rest.len()..whole.trim_end().len() - behind.len();
        rest = behind.trim_start();
        if word == "--" {
            break;
        }
        let body = word.strip_prefix("--").unwrap_or(&word);
        flags.push(match body.split_once('=') {
            Some((name, value)) => Flag { name: name.to_owned(), value: Some(value.to_owned()), range },
            None => Flag { name: body.to_owned(), value: None, range },
        });
    }
    Parts { keyword, flags, args: rest.trim_end() }
}

/// One flag without its quotes, and what stands behind it. The escape is the backslash here,
/// whatever `# escape=` says.
fn flag(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (c, None) if c.is_whitespace() => return (word, text.get(at..).unwrap_or_default()),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', _) => word.extend(chars.next().map(|(_, c)| c)),
            (c, _) => word.push(c),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split() {
        type Case = (&'static str, &'static str, &'static [(&'static str, Option<&'static str>)], &'static str);
        let cases: [Case; 10] = [
            ("RUN a b ", "RUN", &[], "a b"),
            ("run\t a", "run", &[], "a"),
            ("RUN", "RUN", &[], ""),
            ("COPY --from=a --link  x  y", "COPY", &[("from", Some("a")), ("link", None)], "x  y"),
            ("COPY --chown=\"a b\" x y", "COPY", &[("chown", Some("a b"))], "x y"),
            ("COPY --chown='a'\\ b x y", "COPY", &[("chown", Some("a b"))], "x y"),
            ("RUN --mount=type=cache,target=/x a", "RUN", &[("mount", Some("type=cache,target=/x"))], "a"),
            ("RUN -- --a b", "RUN", &[], "--a b"),
            ("RUN -x --y", "RUN", &[], "-x --y"),
            ("RUN --x=\"open a", "RUN", &[("x", Some("open a"))], ""),
        ];
        for (line, keyword, flags, args) in cases {
            let parts = split(line);
            let found: Vec<_> = parts.flags.iter().map(|f| (f.name.as_str(), f.value.as_deref())).collect();
            assert_eq!((parts.keyword, found.as_slice(), parts.args), (keyword, flags, args), "{line}");
        }
    }
}
