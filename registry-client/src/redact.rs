//! What may be shown: secrets that never print themselves, and bounded, escaped excerpts of foreign
//! bytes. Must never give a secret out except through [`Secret::expose`].

use std::fmt;

/// Most bytes of a stranger's text that an error quotes.
pub const EXCERPT_BYTES: usize = 256;

/// A password or token. `Debug` shows `***`; there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text itself, to be sent and not to be shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// At most [`EXCERPT_BYTES`] of foreign bytes, on one line, with control and direction-changing
/// characters escaped.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    // One byte more than is shown tells whether something was cut.
    let head = String::from_utf8_lossy(bytes.get(..EXCERPT_BYTES + 1).unwrap_or(bytes)).into_owned();
    let mut shown = String::new();
    for c in head.trim().chars() {
        let piece = if is_unsafe_to_show(c) { c.escape_unicode().to_string() } else { c.to_string() };
        if shown.len() + piece.len() > EXCERPT_BYTES {
            shown.push('…');
            break;
        }
        shown.push_str(&piece);
    }
    shown
}

fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let s = Secret::new("hunter2");
        assert_eq!(format!("{s:?} {:?}", Some(&s)), "*** Some(***)");
        assert_eq!(s.expose(), "hunter2");
    }

    #[test]
    fn excerpts_are_bounded_and_harmless() {
        assert_eq!(excerpt(b"plain text\n"), "plain text");
        assert_eq!(excerpt(b"a\x1b[31mb\nc"), "a\\u{1b}[31mb\\u{a}c");
        assert_eq!(excerpt("x\u{202e}y".as_bytes()), "x\\u{202e}y");
        let long = excerpt(&[b'x'; 5000]);
        assert!(long.len() <= EXCERPT_BYTES + '…'.len_utf8() && long.ends_with('…'), "{long}");
        assert!(excerpt(&[1; 5000]).len() <= EXCERPT_BYTES + 3);
    }
}
