//! Credential helpers: `docker-credential-<name> get`. Takes the helper's name from a credential
//! file and the registry's name; gives the credential that it answers. Must never run a program
//! that is not of that name, wait for ever, or show what the helper said on success.

use super::credential::{Credential, Login};
use crate::redact::excerpt;
use crate::{RegistryError, Secret};
use serde::Deserialize;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Longest time that a helper may take; some of them ask a person.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest answer of a helper, in bytes.
const ANSWER_BYTES: u64 = 64 * 1024;
/// The user name that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Asks a helper. `None` when it has nothing for the registry.
pub(crate) async fn get(name: &str, server: &str) -> Result<Option<Credential>, RegistryError> {
    let bad = |cause: String| RegistryError::Config { what: format!("credential helper {name:?}"), cause };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
        return Err(bad("the name is malformed".to_owned()));
    }
    let program = format!("docker-credential-{name}");
    let run = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let child =
        run.map_err(|e| bad(format!("cannot run {program}: {e}; install it, or remove it from the credential file")))?;
    let talk = tokio::time::timeout(PATIENCE, converse(child, server));
    let (success, output) = match talk.await {
        Err(_) => return Err(bad(format!("no answer within {} s", PATIENCE.as_secs()))),
        Ok(done) => done.map_err(|e| bad(e.to_string()))?,
    };
    if output.len() as u64 > ANSWER_BYTES {
        return Err(bad(format!("the answer is longer than {ANSWER_BYTES} bytes")));
    }
    if !success {
        let words = excerpt(&output);
        return if words.contains("credentials not found") {
            Ok(None)
        } else {
            Err(bad(format!("it failed: {words}")))
        };
    }
    let answer: Answer = serde_json::from_slice(&output).map_err(|_| bad("the answer is malformed".to_owned()))?;
    Ok(understand(answer))
}

/// Gives the helper the registry's name and takes its whole answer, one byte beyond the bound at most.
async fn converse(mut child: Child, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that needs no input may be gone already; its answer counts.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_BYTES + 1).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

fn understand(answer: Answer) -> Option<Credential> {
    if answer.secret.is_empty() {
        return None;
    }
    let secret = Secret::new(answer.secret);
    Some(if answer.username == TOKEN_USER {
        Credential { identity_token: Some(secret), ..Credential::default() }
    } else {
        Credential { login: Some(Login { username: answer.username, password: secret }), ..Credential::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_checked_before_anything_runs() {
        for name in ["", "../evil", "a/b", "-x", ".x", "a b", "a;b", "a\0b"] {
            let error = get(name, "r.example").await.unwrap_err().to_string();
            assert!(error.contains("malformed"), "{name:?}: {error}");
        }
        let error = get("surely-not-installed", "r.example").await.unwrap_err().to_string();
        assert!(error.contains("cannot run docker-credential-surely-not-installed"), "{error}");
    }

    #[test]
    fn answers() {
        let of = |username: &str, secret: &str| understand(Answer { username: username.into(), secret: secret.into() });
        assert_eq!(of("<token>", "t").unwrap().identity_token, Some(Secret::new("t")));
        assert_eq!(of("u", "p").unwrap().login.unwrap().username, "u");
        assert_eq!(of("u", ""), None);
    }
}
