//! Makes text of strangers fit for a terminal: step output, names, messages of registries.
//!
//! Takes any text, gives text in which nothing but a tab steers the terminal. It must never let
//! an escape sequence through, whole or in part.

use std::iter::Peekable;
use std::str::Chars;

/// One line: every control character, line breaks among them, becomes a visible `\xNN` or `\u{N}`.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut out, c);
    }
    out
}

/// Several lines: as [`line`], but line feeds stay.
pub fn lines(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// One line of a program's output. Whole escape sequences (colours, titles, cursor movements) are
/// left out, since programs write them for a terminal that is not theirs; what is left is escaped
/// as by [`line`].
pub fn output(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let rest = match c {
            '\u{1b}' => after_sequence(chars.clone()),
            '\u{9b}' => after_csi(chars.clone()),
            _ => None,
        };
        match rest {
            Some(rest) => chars = rest,
            None => push(&mut out, c),
        }
    }
    out
}

/// What follows the sequence that an ESC began; `None` when it does not end in this line.
fn after_sequence(mut chars: Peekable<Chars<'_>>) -> Option<Peekable<Chars<'_>>> {
    match chars.next()? {
        '[' => after_csi(chars),
        // Operating system commands, device control and other strings: up to BEL or ESC \.
        ']' | 'P' | 'X' | '^' | '_' => loop {
            match chars.next()? {
                '\u{7}' | '\u{9c}' => return Some(chars),
                '\u{1b}' if chars.next_if_eq(&'\\').is_some() => return Some(chars),
                _ => {}
            }
        },
        // Intermediates and one final character, as in ESC ( B.
        ' '..='/' => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c))?;
            Some(chars)
        }
        '0'..='~' => Some(chars),
        _ => None,
    }
}

/// What follows a control sequence: parameters, intermediates, one final character (ECMA-48, 5.4).
fn after_csi(mut chars: Peekable<Chars<'_>>) -> Option<Peekable<Chars<'_>>> {
    while chars.next_if(|c| ('0'..='?').contains(c)).is_some() {}
    while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c))?;
    Some(chars)
}

fn push(out: &mut String, c: char) {
    match c {
        '\t' => out.push(c),
        c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if is_steering(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        c => out.push(c),
    }
}

/// C1 controls, and the characters that turn the direction of the text around them.
fn is_steering(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON text whose strings hold no character that steers a terminal. The serializer escapes C0
/// already; DEL, C1 and the direction marks can only stand inside strings, where `\u` is as good.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\u{7f}' || is_steering(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harmless(text: &str) -> bool {
        text.chars().all(|c| c == '\t' || !(c.is_control() || is_steering(c)))
    }

    #[test]
    fn no_byte_gets_through() {
        let all: Vec<u8> = (0..=255).collect();
        assert!(harmless(&output(&all)));
        assert!(harmless(&line(&String::from_utf8_lossy(&all))));
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let bytes = [b'a', 0x1b, first, second, b'z'];
                assert!(harmless(&output(&bytes)), "{bytes:?}");
            }
        }
        assert!(harmless(&line("\u{80}\u{9b}31m\u{9d}0;t\u{9c}\u{202e}\u{2066}\u{7f}\r\n")));
    }

    #[test]
    fn sequences_are_left_out_and_text_stays() {
        for (given, shown) in [
            ("\u{1b}[1;32mgreen\u{1b}[0m", "green"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]52;c;aGk=\u{1b}\\b", "ab"),
            ("a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\b", "alinkb"),
            ("a\u{1b}Pq#0\u{1b}\\b", "ab"),
            ("a\u{1b}(Bb", "ab"),
            ("a\u{1b}cb", "ab"),
            ("a\u{9b}2Jb", "ab"),
            ("tab\tstays", "tab\tstays"),
            ("unended \u{1b}]0;x", "unended \\x1b]0;x"),
            ("cut \u{1b}[3", "cut \\x1b[3"),
            ("bell\u{7}", "bell\\x07"),
            ("häß 日本", "häß 日本"),
        ] {
            assert_eq!(output(given.as_bytes()), shown);
        }
    }

    #[test]
    fn names_show_what_they_hold() {
        assert_eq!(line("a\nb\u{1b}[2J\u{9b}"), "a\\x0ab\\x1b[2J\\u{9b}");
        assert_eq!(lines("a\nb\r\u{7f}"), "a\nb\\x0d\\x7f");
        assert_eq!(json("{\"a\":\"\u{9b}\u{7f}é\"}"), "{\"a\":\"\\u009b\\u007fé\"}");
    }
}
