//! Conditional requests (RFC 9110, section 13): whoever has the bytes already need not get them again, and whoever
//! replaces a tag can say what they replace.
//!
//! The entity tag of everything here is its digest, which is a strong one: same tag, same bytes.

use crate::api_error::{ApiError, Code};
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use cooper_image::Digest;

/// The entity tag of content.
pub fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Does the client hold this already? The answer is then 304.
pub fn held(headers: &HeaderMap, digest: &Digest) -> bool {
    list(headers, &IF_NONE_MATCH).is_some_and(|tags| named(&tags, Some(digest)))
}

/// May a part be sent? Only when the rest that the client has is of the same content.
pub fn part_fits(headers: &HeaderMap, digest: &Digest) -> bool {
    headers.get(IF_RANGE).is_none_or(|value| value.to_str().is_ok_and(|value| value == etag(digest)))
}

/// What a client wants to be true of what it is about to replace.
#[derive(Debug, Default)]
pub struct Precondition {
    matching: Option<Vec<String>>,
    unlike: Option<Vec<String>>,
}

impl Precondition {
    /// Reads the headers of a writing request.
    pub fn of(headers: &HeaderMap) -> Self {
        Self { matching: list(headers, &IF_MATCH), unlike: list(headers, &IF_NONE_MATCH) }
    }

    /// Compares with what is there now.
    pub fn check(&self, there: Option<&Digest>) -> Result<(), ApiError> {
        let failed = |what: String| Err(ApiError::new(Code::PreconditionFailed, what));
        let now = there.map_or_else(|| "nothing".to_owned(), Digest::to_string);
        if self.matching.as_ref().is_some_and(|tags| !named(tags, there)) {
            return failed(format!("If-Match names something else than what is there: {now}"));
        }
        if self.unlike.as_ref().is_some_and(|tags| named(tags, there)) {
            return failed(format!("If-None-Match names what is there: {now}"));
        }
        Ok(())
    }
}

/// The entity tags of a header. An unreadable header is no condition.
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).peekable();
    values.peek()?;
    // Digests hold no comma, so that a tag that does is none of ours.
    let tags = values.flat_map(|v| v.split(',')).map(|tag| tag.trim().trim_start_matches("W/").to_owned());
    Some(tags.collect())
}

fn named(tags: &[String], there: Option<&Digest>) -> bool {
    there.is_some_and(|digest| tags.iter().any(|tag| tag == "*" || *tag == etag(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_a_list() {
        let (mine, other) = (Digest::sha256("mine"), Digest::sha256("other"));
        for (value, expected) in [
            (etag(&mine), true),
            (format!("W/{}", etag(&mine)), true),
            (format!("{}, {}", etag(&other), etag(&mine)), true),
            ("*".to_owned(), true),
            (etag(&other), false),
            (mine.to_string(), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, value.parse().unwrap());
            assert_eq!(held(&headers, &mine), expected, "{value}");
            assert_eq!(Precondition::of(&headers).check(Some(&mine)).is_err(), expected, "{value}");
            assert!(Precondition::of(&headers).check(None).is_ok(), "{value}");
            headers.insert(IF_MATCH, headers[IF_NONE_MATCH].clone());
            headers.remove(IF_NONE_MATCH);
            assert_eq!(Precondition::of(&headers).check(Some(&mine)).is_ok(), expected, "{value}");
            assert!(Precondition::of(&headers).check(None).is_err(), "{value}");
        }
        assert!(!held(&HeaderMap::new(), &mine));
    }
}
