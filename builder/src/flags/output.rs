//! `-o`: a list of `key=value` fields (RFC 4180 quoting), a bare path, or `-`.

use cooper_dockerfile::csv;
use cooper_engine::request::{Output, OutputKind};
use std::path::PathBuf;
use std::str::FromStr;

/// One `-o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFlag(pub Output);

/// Why it is no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Quotes that do not close, or stand in the middle of a field.
    #[error("the quotes do not match")]
    Quotes,
    /// A field that is no `key=value`.
    #[error("{0:?} is not key=value")]
    NoPair(String),
    /// A key that no output has.
    #[error("there is no key {0:?}; the keys are type and dest")]
    Key(String),
    /// A key that is given twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// No `type=`.
    #[error("type= is missing: oci, docker, tar or local")]
    NoType,
    /// A type that means the store or the registry.
    #[error("type={0} needs no -o here: -t keeps the image in the store under a name, --push sends it")]
    Implied(String),
    /// A type that does not exist.
    #[error("there is no type {0:?}; the types are oci, docker, tar and local")]
    Type(String),
    /// No `dest=` where one is needed.
    #[error("type={0} needs dest=PATH")]
    NoDest(&'static str),
    /// A directory on standard output.
    #[error("type=local writes a directory, which cannot go to standard output; type=tar can")]
    LocalToStdout,
}

impl FromStr for OutputFlag {
    type Err = OutputError;
    fn from_str(text: &str) -> Result<Self, OutputError> {
        if text == "-" {
            return Ok(Self(Output { kind: OutputKind::Tar, dest: PathBuf::from("-") }));
        }
        let fields = csv::fields(text).map_err(|_| OutputError::Quotes)?;
        if let [path] = fields.as_slice()
            && !path.contains('=')
        {
            return if path.is_empty() { Err(OutputError::NoType) } else { local(path) };
        }
        let (mut kind, mut dest) = (None, None);
        for field in &fields {
            let (key, value) = field.split_once('=').ok_or_else(|| OutputError::NoPair(field.clone()))?;
            let (slot, name) = match key.trim().to_ascii_lowercase().as_str() {
                "type" => (&mut kind, "type"),
                "dest" => (&mut dest, "dest"),
                _ => return Err(OutputError::Key(key.to_owned())),
            };
            if slot.replace(value.to_owned()).is_some() {
                return Err(OutputError::Twice(name));
            }
        }
        let dest = dest.filter(|d| !d.is_empty());
        let archive = |kind| Output { kind, dest: PathBuf::from(dest.clone().unwrap_or_else(|| "-".to_owned())) };
        match kind.as_deref() {
            None => Err(OutputError::NoType),
            Some("oci") => Ok(Self(archive(OutputKind::Oci))),
            Some("tar") => Ok(Self(archive(OutputKind::Tar))),
            // Elsewhere no dest means the daemon's own store, which does not exist here.
            Some("docker") if dest.is_none() => Err(OutputError::NoDest("docker")),
            Some("docker") => Ok(Self(archive(OutputKind::Docker))),
            Some("local") => local(&dest.ok_or(OutputError::NoDest("local"))?),
            Some(kind @ ("image" | "registry")) => Err(OutputError::Implied(kind.to_owned())),
            Some(other) => Err(OutputError::Type(other.to_owned())),
        }
    }
}

fn local(path: &str) -> Result<OutputFlag, OutputError> {
    if path == "-" {
        return Err(OutputError::LocalToStdout);
    }
    Ok(OutputFlag(Output { kind: OutputKind::Local, dest: PathBuf::from(path) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs() {
        use OutputKind::{Docker, Local, Oci, Tar};
        for (text, kind, dest) in [
            ("-", Tar, "-"),
            ("out", Local, "out"),
            ("type=local,dest=out", Local, "out"),
            ("type=oci,dest=a.tar", Oci, "a.tar"),
            ("dest=a.tar,type=docker", Docker, "a.tar"),
            ("type=docker,dest=-", Docker, "-"),
            ("type=tar", Tar, "-"),
            ("type=oci,dest=", Oci, "-"),
            ("type=tar,\"dest=a,\"\"b\"\".tar\"", Tar, "a,\"b\".tar"),
        ] {
            assert_eq!(text.parse(), Ok(OutputFlag(Output { kind, dest: PathBuf::from(dest) })), "{text}");
        }
    }

    #[test]
    fn what_is_no_output() {
        let owned = str::to_owned;
        for (text, error) in [
            ("", OutputError::NoType),
            ("dest=x", OutputError::NoType),
            ("type=docker", OutputError::NoDest("docker")),
            ("type=local", OutputError::NoDest("local")),
            ("type=local,dest=-", OutputError::LocalToStdout),
            ("type=registry", OutputError::Implied(owned("registry"))),
            ("type=zip,dest=x", OutputError::Type(owned("zip"))),
            ("type=oci,compression=zstd", OutputError::Key(owned("compression"))),
            ("type=oci,type=oci", OutputError::Twice("type")),
            ("type=oci,out.tar", OutputError::NoPair(owned("out.tar"))),
            ("type=tar,\"dest=x", OutputError::Quotes),
            ("type=tar,\"dest=x\"y", OutputError::Quotes),
            ("type=t\"ar", OutputError::Quotes),
        ] {
            assert_eq!(text.parse::<OutputFlag>(), Err(error), "{text}");
        }
    }
}
