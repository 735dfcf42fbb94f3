//! Splitting the arguments of ENV, LABEL and ARG at blanks that are not quoted.
//!
//! Quotes and escapes stay in the words: removing them is the expansion's work.

/// One word and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// Byte offset in the arguments.
    pub offset: usize,
    /// The word with its quotes and escapes.
    pub text: &'a str,
    /// Offset in the word of the first `=` outside quotes.
    pub equals: Option<usize>,
}

/// The words of some arguments. An escape at the very end is dropped; an open quote ends with the arguments.
pub fn split(args: &str, escape: char) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut open: Option<(usize, Option<usize>)> = None;
    let mut quote = None;
    let mut end = args.len();
    let mut chars = args.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(open.take().and_then(|(from, equals)| word(args, from, at, equals)));
            continue;
        }
        let (_, equals) = open.get_or_insert((at, None));
        match c {
            // Nothing is escaped in single quotes.
            c if c == escape && quote != Some('\'') => end = chars.next().map_or(at, |_| end),
            '\'' | '"' if quote.is_none() => quote = Some(c),
            c if quote == Some(c) => quote = None,
            '=' if quote.is_none() && equals.is_none() => *equals = Some(at),
            _ => {}
        }
    }
    words.extend(open.and_then(|(from, equals)| word(args, from, end, equals)));
    words
}

fn word(args: &str, from: usize, to: usize, equals: Option<usize>) -> Option<Word<'_>> {
    let text = args.get(from..to).filter(|t| !t.is_empty())?;
    Some(Word { offset: from, text, equals: equals.map(|at| at - from) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split() {
        let cases: [(&str, &[&str]); 12] = [
            ("a=b c=d", &["a=b", "c=d"]),
            ("  a=b \t c", &["a=b", "c"]),
            ("a=\"b c\" d='e f'", &["a=\"b c\"", "d='e f'"]),
            ("a=b\\ c d", &["a=b\\ c", "d"]),
            ("a=\"b\\\" c\" d", &["a=\"b\\\" c\"", "d"]),
            ("a='b\\' c", &["a='b\\'", "c"]),
            ("a=\"open b", &["a=\"open b"]),
            ("a=b\\", &["a=b"]),
            ("a=\"b\\", &["a=\"b"]),
            ("\\", &[]),
            ("\"\" a", &["\"\"", "a"]),
            ("", &[]),
        ];
        for (args, expected) in cases {
            let found: Vec<&str> = split(args, '\\').iter().map(|w| w.text).collect();
            assert_eq!(found, expected, "{args}");
        }
        let words = split("  \"k=1\"=v x", '\\');
        assert_eq!(words[0], Word { offset: 2, text: "\"k=1\"=v", equals: Some(5) });
        assert_eq!(words[1].equals, None);
        assert_eq!(split("a`=b=c", '`')[0].equals, Some(4));
    }
}
