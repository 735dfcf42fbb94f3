//! `--secret id=NAME,src=FILE|env=NAME,type=file|env`.

use cooper_dockerfile::csv;
use std::path::PathBuf;
use std::str::FromStr;

/// One `--secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFlag {
    /// The name by which steps ask for it.
    pub id: String,
    /// Where its bytes are.
    pub source: SecretSource,
}

/// Where the bytes of a secret are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
    /// In the variable named as the secret, else in the file named so.
    ById,
}

/// Why it is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Quotes that do not close, or stand in the middle of a field.
    #[error("the quotes do not match")]
    Quotes,
    /// A field that is no `key=value`.
    #[error("{0:?} is not key=value; expected id=NAME,src=FILE or id=NAME,env=VARIABLE")]
    NoPair(String),
    /// A key that no secret has.
    #[error("there is no key {0:?}; the keys are id, src, env and type")]
    Key(String),
    /// A key that is given twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// No `id=`.
    #[error("id= is missing: the name by which RUN --mount=type=secret asks for it")]
    NoId,
    /// Two places at once.
    #[error("both a file and a variable are given")]
    TwoSources,
    /// A type that does not exist.
    #[error("there is no type {0:?}; the types are file and env")]
    Type(String),
}

impl FromStr for SecretFlag {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for field in csv::fields(text).map_err(|_| SecretError::Quotes)? {
            let (key, value) = field.split_once('=').ok_or_else(|| SecretError::NoPair(field.clone()))?;
            let (slot, name) = match key.trim().to_ascii_lowercase().as_str() {
                "id" => (&mut id, "id"),
                "src" | "source" => (&mut file, "src"),
                "env" => (&mut variable, "env"),
                "type" => (&mut kind, "type"),
                _ => return Err(SecretError::Key(key.to_owned())),
            };
            if slot.replace(value.to_owned()).is_some() {
                return Err(SecretError::Twice(name));
            }
        }
        let given = |value: Option<String>| value.filter(|v| !v.is_empty());
        let (id, file, variable) = (given(id).ok_or(SecretError::NoId)?, given(file), given(variable));
        let source = match (kind.as_deref(), file, variable) {
            (_, Some(_), Some(_)) => return Err(SecretError::TwoSources),
            // As docker: with type=env, src names the variable.
            (Some("env"), Some(name), None) | (None | Some("env"), None, Some(name)) => SecretSource::Variable(name),
            (Some("env"), None, None) => SecretSource::Variable(id.clone()),
            (None | Some("file"), Some(path), None) => SecretSource::File(path.into()),
            (Some("file"), None, None) => SecretSource::File(id.clone().into()),
            (Some("file"), None, Some(_)) => return Err(SecretError::TwoSources),
            (None, None, None) => SecretSource::ById,
            (Some(other), ..) => return Err(SecretError::Type(other.to_owned())),
        };
        Ok(Self { id, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        use SecretSource::{ById, File, Variable};
        for (text, id, source) in [
            ("id=a,src=f", "a", File("f".into())),
            ("source=f,ID=a", "a", File("f".into())),
            ("id=a,env=V", "a", Variable("V".into())),
            ("type=env,id=a,src=V", "a", Variable("V".into())),
            ("type=env,id=a", "a", Variable("a".into())),
            ("type=file,id=a,src=f", "a", File("f".into())),
            ("type=file,id=a", "a", File("a".into())),
            ("id=a", "a", ById),
            ("id=a,\"src=x,y\"", "a", File("x,y".into())),
        ] {
            assert_eq!(text.parse(), Ok(SecretFlag { id: id.to_owned(), source }), "{text}");
        }
    }

    #[test]
    fn what_is_no_secret() {
        let owned = str::to_owned;
        for (text, error) in [
            ("", SecretError::NoPair(String::new())),
            ("a", SecretError::NoPair(owned("a"))),
            ("src=f", SecretError::NoId),
            ("id=,src=f", SecretError::NoId),
            ("id=a,id=b", SecretError::Twice("id")),
            ("id=a,src=f,env=V", SecretError::TwoSources),
            ("id=a,type=file,env=V", SecretError::TwoSources),
            ("id=a,type=vault", SecretError::Type(owned("vault"))),
            ("id=a,mode=0400", SecretError::Key(owned("mode"))),
            ("id=a,\"src=f", SecretError::Quotes),
        ] {
            assert_eq!(text.parse::<SecretFlag>(), Err(error), "{text}");
        }
    }
}
