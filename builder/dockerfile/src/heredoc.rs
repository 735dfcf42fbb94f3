//! Heredoc marks: where `<<NAME` stands in an instruction's arguments.
//!
//! Takes the arguments of one instruction; gives the marks in order. Looks at no body. Quotes and
//! escapes are read as a shell reads them, always with the backslash, whatever `# escape=` says.

use crate::lines::Tabs;
use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

/// One `<<NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where it stands in the arguments, in bytes.
    pub range: Range<usize>,
    /// The delimiter without quotes.
    pub name: String,
    /// `<<` or `<<-`.
    pub tabs: Tabs,
    /// Is the delimiter written without quotes?
    pub expand: bool,
}

/// Who reads the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// COPY and ADD: a delimiter ends at a blank only.
    Paths,
    /// RUN: a delimiter ends at the shell's own operators as well.
    Shell,
}

type Chars<'a> = Peekable<CharIndices<'a>>;

/// The marks in the arguments of one instruction. Arguments with an open quote have none.
pub fn scan(args: &str, reading: Reading) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut chars = args.char_indices().peekable();
    loop {
        while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some(&(start, _)) = chars.peek() else { return marks };
        if let Some(mark) = mark(args, start, reading, &mut chars) {
            marks.push(mark);
        }
        if word(&mut chars, Reading::Paths).is_none() {
            return Vec::new();
        }
    }
}

/// The mark that begins here, if one does; `chars` is moved behind it only then.
fn mark(args: &str, start: usize, reading: Reading, chars: &mut Chars<'_>) -> Option<Mark> {
    let mut ahead = chars.clone();
    while ahead.next_if(|(_, c)| c.is_ascii_digit()).is_some() {}
    ahead.next_if(|(_, c)| *c == '<')?;
    ahead.next_if(|(_, c)| *c == '<')?;
    let tabs = if ahead.next_if(|(_, c)| *c == '-').is_some() { Tabs::Strip } else { Tabs::Keep };
    while ahead.next_if(|(_, c)| c.is_whitespace()).is_some() {}
    let from = offset(args, &mut ahead);
    let found = word(&mut ahead, reading)?;
    let end = offset(args, &mut ahead);
    if found.name.is_empty() || args.get(from..end)?.contains('<') {
        return None;
    }
    *chars = ahead;
    Some(Mark { range: start..end, name: found.name, tabs, expand: !found.quoted })
}

fn offset(args: &str, chars: &mut Chars<'_>) -> usize {
    chars.peek().map_or(args.len(), |(at, _)| *at)
}

struct Word {
    name: String,
    quoted: bool,
}

/// Reads to the end of a word; nothing when a quote stays open.
fn word(chars: &mut Chars<'_>, reading: Reading) -> Option<Word> {
    let mut word = Word { name: String::new(), quoted: false };
    let ends =
        |c: char| c.is_whitespace() || (reading == Reading::Shell && matches!(c, ';' | '|' | '&' | '(' | ')' | '>'));
    while let Some((_, c)) = chars.next_if(|(_, c)| !ends(*c)) {
        match c {
            '\\' => word.name.extend(chars.next().map(|(_, c)| c)),
            '\'' | '"' => {
                word.quoted = true;
                quote(c, &mut word.name, chars)?;
            }
            c => word.name.push(c),
        }
    }
    Some(word)
}

fn quote(mark: char, name: &mut String, chars: &mut Chars<'_>) -> Option<()> {
    loop {
        let (_, c) = chars.next()?;
        if c == mark {
            return Some(());
        }
        if c == '\\' && mark == '"' {
            match chars.next_if(|(_, c)| matches!(c, '"' | '$' | '\\')) {
                Some((_, escaped)) => name.push(escaped),
                None => name.push(c),
            }
        } else {
            name.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &str, reading: Reading) -> Vec<String> {
        scan(args, reading).into_iter().map(|m| m.name).collect()
    }

    #[test]
    fn marks_are_found() {
        let cases: [(&str, &[&str]); 26] = [
            ("<<EOF", &["EOF"]),
            ("<<-EOF", &["EOF"]),
            ("<<- EOF", &["EOF"]),
            ("<< -EOF", &["-EOF"]),
            ("<<  EOF  > foo", &["EOF"]),
            ("3<<EOF", &["EOF"]),
            ("<<'EOF'", &["EOF"]),
            ("<<eo'f'", &["eof"]),
            ("<<eo\\'f", &["eo'f"]),
            ("<<'e'o\\'f", &["eo'f"]),
            ("<<'one two'", &["one two"]),
            ("<<\"a\\\"b\"", &["a\"b"]),
            ("<<$EOF", &["$EOF"]),
            ("<<A <<B x", &["A", "B"]),
            ("cat <<EOF>file <<B", &["EOF", "B"]),
            ("(cat <<EOF)", &["EOF"]),
            ("cat <<EOF|sort;x", &["EOF"]),
            ("\"<<EOF\"", &[]),
            ("[\"<<EOF\"]", &[]),
            ("<<<word", &[]),
            ("$((1<<2))", &[]),
            ("a<<b", &[]),
            ("<<", &[]),
            ("<<''", &[]),
            ("<<a<b", &[]),
            ("it's <<EOF", &[]),
        ];
        for (args, expected) in cases {
            assert_eq!(names(args, Reading::Shell), expected, "{args}");
        }
        assert_eq!(names("<<a;b /x", Reading::Paths), ["a;b"]);
    }

    #[test]
    fn marks_say_where_and_how() {
        let found = scan("x  4<<- 'A B' y", Reading::Shell);
        assert_eq!(found, [Mark { range: 3..13, name: "A B".into(), tabs: Tabs::Strip, expand: false }]);
        assert!(scan("<<A", Reading::Shell)[0].expand);
        assert!(scan("<<\\A", Reading::Shell)[0].expand);
    }
}
