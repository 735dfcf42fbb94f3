//! One record of comma-separated fields, as `--mount`, `--secret` and `-o` take them.
//!
//! Takes a text; gives its fields with the quotes removed (RFC 4180: a field in double quotes may hold commas, and
//! `""` in it is one quote). Must never give half a record.

/// Quotes that do not close, or stand in the middle of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the quotes do not match")]
pub struct QuoteError;

/// The fields; a text without commas is one field, the empty text too.
///
/// # Errors
/// When the quotes do not match.
pub fn fields(text: &str) -> Result<Vec<String>, QuoteError> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains('"') {
                    return Err(QuoteError);
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(fields),
            None => return Err(QuoteError),
        }
    }
}

/// What stands in quotes (the opening one is gone already), and what follows the closing one.
fn quoted_field(text: &str) -> Result<(String, &str), QuoteError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or(QuoteError)?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        for (text, wanted) in [
            ("", Some(&[""][..])),
            ("a", Some(&["a"])),
            ("a,b=c,", Some(&["a", "b=c", ""])),
            ("\"a,b\",c", Some(&["a,b", "c"])),
            ("\"a\"\"b\"", Some(&["a\"b"])),
            ("a\"b", None),
            ("\"a", None),
            ("\"a\"b", None),
        ] {
            assert_eq!(fields(text).ok(), wanted.map(|w| w.iter().map(ToString::to_string).collect()), "{text}");
        }
    }
}
