//! `NAME=VALUE` arguments.

use std::str::FromStr;

/// `NAME=VALUE`, or a name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What stands before the first `=`; never empty.
    pub name: String,
    /// What stands after it, if there is one.
    pub value: Option<String>,
}

/// A text without a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no name before the `=`; expected NAME=VALUE")]
pub struct PairError;

impl FromStr for Pair {
    type Err = PairError;
    fn from_str(text: &str) -> Result<Self, PairError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err(PairError);
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_divides() {
        for (text, name, value) in
            [("A=b", "A", Some("b")), ("A=", "A", Some("")), ("A", "A", None), ("A=b=c d", "A", Some("b=c d"))]
        {
            assert_eq!(text.parse(), Ok(Pair { name: name.to_owned(), value: value.map(str::to_owned) }));
        }
        assert_eq!("=x".parse::<Pair>(), Err(PairError));
        assert_eq!("".parse::<Pair>(), Err(PairError));
    }
}
