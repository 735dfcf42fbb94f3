//! Credential helpers: `docker-credential-<name> get`, `store` and `erase`. Takes the helper's name
//! from a credential file and the registry's name; gives the credential that it answers. Must never
//! run a program that is not of that name, wait for ever, give it a password as an argument, or show
//! what it said on success.

use super::credential::{Credential, Login, server_key};
use crate::redact::excerpt;
use crate::{RegistryError, Secret};
use serde::{Deserialize, Serialize};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Longest time that a helper may take; some of them ask a person.
const PATIENCE: Duration = Duration::from_secs(60);
/// From then on people are told what is being waited for.
const NOTICED: Duration = Duration::from_secs(5);
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

/// What `store` reads.
#[derive(Serialize)]
struct Order<'l> {
    #[serde(rename = "ServerURL")]
    server: &'l str,
    #[serde(rename = "Username")]
    username: &'l str,
    #[serde(rename = "Secret")]
    secret: &'l str,
}

/// Asks a helper for the credential of a host. `None` when it has nothing for it.
pub(crate) async fn get(name: &str, host: &str) -> Result<Option<Credential>, RegistryError> {
    let answer = talk(name, "get", server_key(host).as_bytes()).await?;
    if !answer.success {
        return if is_absence(&answer.output) { Ok(None) } else { Err(failed(name, &excerpt(&answer.output))) };
    }
    let answer: Answer =
        serde_json::from_slice(&answer.output).map_err(|_| bad(name, "the answer is malformed".to_owned()))?;
    Ok(understand(answer))
}

/// Gives a helper the login at a host to keep.
///
/// # Errors
/// [`RegistryError::Config`] when it cannot be run or does not keep it; its words are shown without the password.
pub async fn store(name: &str, host: &str, login: &Login) -> Result<(), RegistryError> {
    let order = Order { server: &server_key(host), username: &login.username, secret: login.password.expose() };
    let input = serde_json::to_vec(&order).map_err(|_| bad(name, "the login has no JSON form".to_owned()))?;
    let answer = talk(name, "store", &input).await?;
    if answer.success {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&answer.output).into_owned();
    let quoted = serde_json::to_string(order.secret).unwrap_or_default();
    let secrets = [quoted.trim_matches('"'), order.secret].into_iter().filter(|s| !s.is_empty());
    let hidden = secrets.fold(words, |words, secret| words.replace(secret, "***"));
    Err(failed(name, &excerpt(hidden.as_bytes())))
}

/// Makes a helper forget the login at a host; that it has none is no failure.
///
/// # Errors
/// [`RegistryError::Config`] when it cannot be run or fails.
pub async fn erase(name: &str, host: &str) -> Result<(), RegistryError> {
    let answer = talk(name, "erase", server_key(host).as_bytes()).await?;
    let done = answer.success || is_absence(&answer.output);
    if done { Ok(()) } else { Err(failed(name, &excerpt(&answer.output))) }
}

/// How a helper ended.
struct Ended {
    success: bool,
    output: Vec<u8>,
}

fn bad(name: &str, cause: String) -> RegistryError {
    RegistryError::Config { what: format!("credential helper {name:?}"), cause }
}

fn failed(name: &str, words: &str) -> RegistryError {
    bad(name, format!("it failed: {words}"))
}

/// The words of docker's library of helpers for a name that it does not know.
fn is_absence(output: &[u8]) -> bool {
    excerpt(output).contains("credentials not found")
}

/// Runs one action of a helper within the time and size that it may take.
async fn talk(name: &str, action: &str, input: &[u8]) -> Result<Ended, RegistryError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
        return Err(RegistryError::Helper(name.to_owned()));
    }
    let program = format!("docker-credential-{name}");
    let run = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let cannot = |e| format!("cannot run {program}: {e}; install it, or remove it from the credential file");
    let child = run.map_err(|e| bad(name, cannot(e)))?;
    let mut talk = std::pin::pin!(tokio::time::timeout(PATIENCE, converse(child, input)));
    let ended = match tokio::time::timeout(NOTICED, &mut talk).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!("waiting for {program}, for {} s at most", PATIENCE.as_secs());
            talk.await
        }
    };
    let ended = match ended {
        Err(_) => return Err(bad(name, format!("no answer within {} s", PATIENCE.as_secs()))),
        Ok(done) => done.map_err(|e| bad(name, e.to_string()))?,
    };
    if ended.output.len() as u64 > ANSWER_BYTES {
        return Err(bad(name, format!("the answer is longer than {ANSWER_BYTES} bytes")));
    }
    Ok(ended)
}

/// Gives the helper its input and takes its whole answer, one byte beyond the bound at most.
async fn converse(mut child: Child, input: &[u8]) -> std::io::Result<Ended> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that needs no input may be gone already; its answer counts.
        let _ = stdin.write_all(input).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_BYTES + 1).read_to_end(&mut output).await?;
    }
    Ok(Ended { success: child.wait().await?.success(), output })
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
            let error = get(name, "r.example").await.unwrap_err();
            assert!(error.to_string().contains("malformed"), "{name:?}: {error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("what follows docker-credential-")), "{name:?}");
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
