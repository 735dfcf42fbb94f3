//! The bytes behind `--secret`: read once, before anything is built, so that a missing one is told at once.
//!
//! Takes flags; gives values that nothing prints. Must never put a secret's bytes into a message.

use crate::env;
use crate::failure::{Exit, Failure};
use crate::flags::secret::{SecretFlag, SecretSource};
use cooper_engine::run_request::{SECRET_BYTES, Secret};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Reads every secret; the last of one id wins.
///
/// # Errors
/// A file that cannot be read, a variable that is not set, a secret that is too large.
pub fn read(flags: &[SecretFlag]) -> Result<BTreeMap<String, Secret>, Failure> {
    flags.iter().map(|flag| Ok((flag.id.clone(), one(flag)?))).collect()
}

fn one(SecretFlag { id, source }: &SecretFlag) -> Result<Secret, Failure> {
    let bytes = match source {
        SecretSource::File(path) => file(id, path)?,
        SecretSource::Variable(name) => env::secret(name).ok_or_else(|| {
            let message = format!("secret {id}: the environment variable {name} is not set");
            Failure::usage(message, "set and export the variable, or name a file with src=FILE")
        })?,
        SecretSource::ById => match env::secret(id) {
            Some(bytes) => bytes,
            None => file(id, Path::new(id))?,
        },
    };
    Secret::new(bytes).ok_or_else(|| {
        let message = format!("secret {id} is larger than {SECRET_BYTES} bytes");
        Failure::usage(message, "a secret is a password or a key; give larger files with --mount=type=bind")
    })
}

fn file(id: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = |e| Failure::file(format!("reading {} for secret {id}", path.display()), Exit::Usage, e);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_variables() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "\0bytes\n").unwrap();
        let flag = |text: String| text.parse::<SecretFlag>().unwrap();
        let found =
            read(&[flag("id=p,type=env,src=PATH".into()), flag(format!("id=t,src={}", path.display()))]).unwrap();
        assert_eq!(found["t"].bytes(), b"\0bytes\n");
        assert!(!found["p"].bytes().is_empty());
        std::fs::write(&path, vec![b'x'; SECRET_BYTES + 1]).unwrap();
        for (text, words) in [
            (format!("id=t,src={}", path.display()), "secret t is larger than 512000 bytes"),
            ("id=t,env=COOPER_TEST_THAT_IS_NOT_SET".to_owned(), "COOPER_TEST_THAT_IS_NOT_SET is not set"),
            ("id=no/such/file".to_owned(), "reading no/such/file for secret no/such/file"),
            (format!("id=t,src={}", dir.path().display()), "for secret t"),
        ] {
            let failure = read(&[flag(text)]).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }
}
