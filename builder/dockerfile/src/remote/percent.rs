//! Percent-encoding of URLs, decoded.
//!
//! Takes the encoded text; gives the text, or nothing when an escape is torn or the bytes are no UTF-8.

/// What a `+` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// Itself: paths and fragments.
    Literal,
    /// A space: queries.
    Space,
}

/// The text that was encoded.
pub(super) fn decode(text: &str, plus: Plus) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(b) = bytes.next() {
        decoded.push(match b {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if plus == Plus::Space => b' ',
            b => b,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (text, decoded) in [
            ("a%2fb%2F", Some("a/b/")),
            ("%C3%a9+", Some("é+")),
            ("", Some("")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decode(text, Plus::Literal).as_deref(), decoded, "{text}");
        }
        assert_eq!(decode("a+b%2B", Plus::Space).as_deref(), Some("a b+"));
    }
}
