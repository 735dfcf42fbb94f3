//! Go's `filepath.Match`, on bytes.
//!
//! `*` and `?` never cross `/`; `[a-z]` and `[^a]` may match any character; a backslash takes the
//! next one literally. The whole name has to match. Time is at most pattern times name.

/// The pattern is malformed, wherever in it the fault is and whatever the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} is malformed: {fault}")]
pub struct GlobError {
    /// The pattern, made printable.
    pub pattern: String,
    /// What is wrong.
    pub fault: GlobFault,
}

impl GlobError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        "write a backslash before * ? [ and \\ that are meant literally"
    }
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobFault {
    /// A backslash at the end.
    #[error("a backslash at the end")]
    Escape,
    /// `[` without `]`, or without anything in it.
    #[error("a [ that is not closed or is empty")]
    Class,
}

/// One thing that matches one character.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Atom {
    /// This byte.
    Byte(u8),
    /// `?`: one character other than `/`.
    Any,
    /// `[…]`.
    Class(Class),
}

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    not: bool,
    ranges: Vec<(u32, u32)>,
}

impl Class {
    /// Is the character in the set?
    pub(crate) fn holds(&self, value: u32) -> bool {
        // Whatever is beyond all characters is a byte that is none.
        let value = if value > u32::from(char::MAX) { INVALID } else { value };
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&value)) != self.not
    }
}

/// The value of a byte that is no character, as Go has it.
const INVALID: u32 = 0xfffd;

/// Does the whole name match the pattern?
pub fn glob_match(pattern: &[u8], name: &[u8]) -> Result<bool, GlobError> {
    let chunks = parse(pattern).map_err(|fault| GlobError { pattern: printable(pattern), fault })?;
    Ok(match_chunks(&chunks, name))
}

/// Bytes as text for a message.
pub(crate) fn printable(pattern: &[u8]) -> String {
    String::from_utf8_lossy(pattern).chars().take(80).collect()
}

/// The pattern as chunks with a star between each two.
fn parse(mut pattern: &[u8]) -> Result<Vec<Vec<Atom>>, GlobFault> {
    let mut chunks = vec![Vec::new()];
    while let Some((&byte, rest)) = pattern.split_first() {
        pattern = rest;
        if byte == b'*' {
            chunks.push(Vec::new());
            continue;
        }
        let atom = atom(byte, &mut pattern)?;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(atom);
        }
    }
    Ok(chunks)
}

/// The atom that begins with this byte; `rest` is moved behind it.
fn atom(byte: u8, rest: &mut &[u8]) -> Result<Atom, GlobFault> {
    match byte {
        b'?' => Ok(Atom::Any),
        b'[' => class(rest).map(Atom::Class).ok_or(GlobFault::Class),
        b'\\' => {
            let (&literal, behind) = rest.split_first().ok_or(GlobFault::Escape)?;
            *rest = behind;
            Ok(Atom::Byte(literal))
        }
        literal => Ok(Atom::Byte(literal)),
    }
}

/// The set behind a `[`; nothing when it is malformed. `rest` is moved behind it.
pub(crate) fn class(rest: &mut &[u8]) -> Option<Class> {
    let mut class = Class { not: false, ranges: Vec::new() };
    if let Some(behind) = rest.strip_prefix(b"^") {
        (class.not, *rest) = (true, behind);
    }
    loop {
        if let Some(behind) = rest.strip_prefix(b"]")
            && !class.ranges.is_empty()
        {
            *rest = behind;
            return Some(class);
        }
        let low = member(rest)?;
        let high = match rest.strip_prefix(b"-") {
            Some(behind) => {
                *rest = behind;
                member(rest)?
            }
            None => low,
        };
        class.ranges.push((low, high));
    }
}

fn member(rest: &mut &[u8]) -> Option<u32> {
    if matches!(rest.first()?, b'-' | b']') {
        return None;
    }
    if let Some(behind) = rest.strip_prefix(b"\\") {
        *rest = behind;
    }
    let (value, width) = character(rest)?;
    // A byte that is no character cannot stand in a class, though U+FFFD itself can.
    if value == INVALID && width == 1 {
        return None;
    }
    *rest = rest.get(width..)?;
    (!rest.is_empty()).then_some(value)
}

/// The first character and its length; a byte that is no character is one of its own.
pub(crate) fn character(text: &[u8]) -> Option<(u32, usize)> {
    let first = *text.first()?;
    let width = match first {
        0..=0x7f => return Some((u32::from(first), 1)),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((INVALID, 1)),
    };
    let valid = text.get(..width).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|s| s.chars().next());
    Some(valid.map_or((INVALID, 1), |c| (u32::from(c), width)))
}

/// The number of bytes that an atom takes at the beginning of the text.
fn take(atom: &Atom, text: &[u8]) -> Option<usize> {
    let (value, width) = character(text)?;
    match atom {
        Atom::Byte(byte) => (text.first() == Some(byte)).then_some(1),
        Atom::Any => (value != u32::from(b'/')).then_some(width),
        Atom::Class(class) => class.holds(value).then_some(width),
    }
}

/// What is left of the text behind a chunk at its beginning.
fn behind<'n>(chunk: &[Atom], mut text: &'n [u8]) -> Option<&'n [u8]> {
    for atom in chunk {
        text = text.get(take(atom, text)?..)?;
    }
    Some(text)
}

/// Between two stars stands a chunk. Its leftmost place is taken for good, as Go does it.
fn match_chunks(chunks: &[Vec<Atom>], name: &[u8]) -> bool {
    let Some((first, rest)) = chunks.split_first() else { return name.is_empty() };
    let Some(mut name) = behind(first, name) else { return false };
    for (i, chunk) in rest.iter().enumerate() {
        let last = i + 1 == rest.len();
        if last && chunk.is_empty() {
            return !name.contains(&b'/');
        }
        let reach = name.iter().position(|b| *b == b'/').unwrap_or(name.len());
        let fits = |at: usize| behind(chunk, name.get(at..)?).filter(|left| !last || left.is_empty());
        match (0..=reach).find_map(fits) {
            Some(left) => name = left,
            None => return false,
        }
    }
    name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_match_as_in_go() {
        let cases: [(&str, &str, Option<bool>); 62] = [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "abc", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Some(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^b-d]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "aéb", Some(true)),
            ("a[^a]b", "aéb", Some(true)),
            ("a???b", "aéb", Some(false)),
            ("a[^a][^a][^a]b", "aéb", Some(false)),
            ("[a-ζ]*", "α", Some(true)),
            ("*[a-ζ]", "A", Some(false)),
            ("a?b", "a/b", Some(false)),
            ("a*b", "a/b", Some(false)),
            ("a[^x]b", "a/b", Some(true)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-]", "-", Some(true)),
            ("[x\\-]", "x", Some(true)),
            ("[x\\-]", "-", Some(true)),
            ("[x\\-]", "z", Some(false)),
            ("[\\-x]", "-", Some(true)),
            ("[\\-x]", "a", Some(false)),
            ("*x", "xxx", Some(true)),
            ("**", "ab", Some(true)),
            ("**", "a/b", Some(false)),
            ("a**b", "axb", Some(true)),
            ("", "", Some(true)),
            ("", "a", Some(false)),
            ("?", "", Some(false)),
            ("]", "]", Some(true)),
            ("a-b", "a-b", Some(true)),
            ("[!a]", "!", Some(true)),
            ("[*]", "*", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[-x]", "x", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a[", "a", None),
            ("a[", "ab", None),
            ("a[", "x", None),
            ("a/b[", "x", None),
            ("\\", "a", None),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(glob_match(pattern.as_bytes(), name.as_bytes()).ok(), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn bytes_that_are_no_characters_match() {
        assert_eq!(glob_match(b"a?", b"a\xff"), Ok(true));
        assert_eq!(glob_match(b"a\xff", b"a\xff"), Ok(true));
        assert_eq!(glob_match(b"a[\xff]", b"a\xff").map_err(|e| e.fault), Err(GlobFault::Class));
    }

    /// The definition without stars that stop early; classes hold no slash here.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, rest) => rest.is_none(),
            (Some(('*', p)), rest) => naive(p, name) || rest.is_some_and(|(c, n)| *c != '/' && naive(pattern, n)),
            (Some(('?', p)), Some((c, n))) => *c != '/' && naive(p, n),
            (Some((own, p)), Some((c, n))) => own == c && naive(p, n),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab/*?é]{0,8}", name in "[ab/é]{0,10}") {
            let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(glob_match(pattern.as_bytes(), name.as_bytes()), Ok(naive(&p, &n)));
        }

        #[test]
        fn any_bytes_are_answered(pattern in proptest::collection::vec(any::<u8>(), 0..40), name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let once = glob_match(&pattern, &name);
            // A malformed pattern is malformed for every name.
            prop_assert_eq!(once.is_err(), glob_match(&pattern, b"").is_err());
        }
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let (pattern, name) = ("*a".repeat(2_000), "a".repeat(1_999));
        assert_eq!(glob_match(pattern.as_bytes(), name.as_bytes()), Ok(false));
    }
}
