//! What registries warn of beside their answers (distribution-spec, "Warnings"): told to people, each thing once for as
//! long as a client lives.
//!
//! Takes the headers of an answer; traces a warning for each that is new. Must never let anything else depend on one.

use crate::redact::excerpt;
use reqwest::header::{HeaderMap, WARNING};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The code and the agent of all that registries may send; others are those of caches in between.
const OURS: (&[u8], &[u8]) = (b"299", b"-");
/// More than anybody reads: after so many nothing is told, for a registry can have new words for each answer.
const MOST: usize = 100;

/// What was told, by all conversations of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<HashSet<(String, String)>>>);

impl Warnings {
    /// Tells what is new in the headers of a host's answer.
    pub(crate) fn tell(&self, host: &str, headers: &HeaderMap) {
        for value in headers.get_all(WARNING) {
            texts(value.as_bytes()).into_iter().filter(|text| self.is_new(host, text)).for_each(|text| {
                tracing::warn!("registry {host} says: {text}");
            });
        }
    }

    fn is_new(&self, host: &str, text: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < MOST && told.insert((host.to_owned(), text.to_owned()))
    }
}

/// The texts of a header, fit to be shown. It can hold several warnings with commas between (RFC 7234, section 5.5); what
/// follows something malformed is left out.
fn texts(value: &[u8]) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), value);
    while let Some((is_ours, text, after)) = one(rest) {
        let shown = excerpt(&text);
        if is_ours && !shown.is_empty() {
            found.push(shown);
        }
        rest = after;
    }
    found
}

/// Is the first warning a registry's? Its text, and what follows it.
fn one(value: &[u8]) -> Option<(bool, Vec<u8>, &[u8])> {
    let start = value.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
    let (code, rest) = word(value.get(start..)?)?;
    let (agent, rest) = word(rest)?;
    let (text, rest) = quoted(rest)?;
    // No registry may send a date; one is passed over.
    let after = rest.strip_prefix(b" ").and_then(quoted).map_or(rest, |(_, after)| after);
    Some(((code, agent) == OURS, text, after))
}

/// What stands before the next space, and what behind it.
fn word(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = value.iter().position(|b| *b == b' ')?;
    Some((value.get(..end)?, value.get(end + 1..)?))
}

/// What stands between quotes, and what behind them (RFC 9110, section 5.6.4).
fn quoted(value: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut bytes = value.strip_prefix(b"\"")?.iter();
    let mut text = Vec::new();
    loop {
        match bytes.next()? {
            b'"' => return Some((text, bytes.as_slice())),
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_headers() {
        let long = format!("299 - \"{}\"", "x".repeat(5000));
        for (value, expected) in [
            (r#"299 - "Your token ends soon.""#, &["Your token ends soon."][..]),
            (r#"299 - "say \"no\", or \\", 299 - "again""#, &[r#"say "no", or \"#, "again"]),
            (r#"299 - "dated" "Sat, 25 Aug 2012 23:34:45 GMT" , 299 - "b""#, &["dated", "b"]),
            // Those of caches.
            (r#"110 cache.example:80 "stale", 299 - "b""#, &["b"]),
            (r#"299 cache.example "not of the registry""#, &[]),
            (r#"199 - "neither""#, &[]),
            ("299 - \"a\x1b[31m\tb\"", &["a\\u{1b}[31m\\u{9}b"]),
            ("299 - \"\"", &[]),
            ("299 - \"open", &[]),
            ("299 - bare", &[]),
            ("299", &[]),
            ("", &[]),
        ] {
            assert_eq!(texts(value.as_bytes()), expected, "{value}");
        }
        let [shown] = &texts(long.as_bytes())[..] else { panic!("it is one") };
        assert!(shown.ends_with("x…") && shown.len() < 300, "{shown}");
    }

    #[test]
    fn it_ends_after_many() {
        let warnings = Warnings::default();
        assert!(warnings.is_new("a.example", "x"));
        assert!(!warnings.is_new("a.example", "x"));
        assert!(warnings.is_new("b.example", "x"));
        let told = (0..2 * MOST).filter(|n| warnings.is_new("a.example", &n.to_string())).count();
        assert_eq!(told, MOST - 2);
    }
}
