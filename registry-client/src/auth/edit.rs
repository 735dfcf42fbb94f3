//! Logins written into and taken out of a credential file's text. Takes the text of `config.json` or
//! `auth.json`; gives the new one, with everything else in it as it was. Must never read or write a
//! file, or quote the text in an error, for it holds secrets.

use super::credential::{DockerConfig, Login, normal_key, server_key};
use crate::RegistryError;
use base64::Engine as _;
use serde::Serialize as _;
use serde_json::{Map, Value, json};

/// Where the password of a login stays.
#[derive(Debug, Clone, Copy)]
pub enum Keeping<'l> {
    /// In the file.
    Here(&'l Login),
    /// With a helper; the file says only that there is a login, as docker's does.
    Helper,
}

/// The text with a login at a registry, `host[:port]`, in place of whatever logins it had there.
///
/// # Errors
/// [`RegistryError::Config`] when the text is malformed, or the user name cannot be kept.
pub fn with_login(text: &str, host: &str, keeping: Keeping<'_>) -> Result<String, RegistryError> {
    let entry = match keeping {
        Keeping::Here(login) => {
            check_name(&login.username)?;
            let pair = format!("{}:{}", login.username, login.password.expose());
            json!({ "auth": base64::engine::general_purpose::STANDARD.encode(pair) })
        }
        Keeping::Helper => json!({}),
    };
    let mut file = parse(text)?;
    remove(&mut file, host);
    if let Value::Object(auths) = file.entry("auths").or_insert_with(|| json!({})) {
        auths.insert(server_key(host), entry);
    }
    written(&file)
}

/// The text without any login at a registry; `None` when it has none.
///
/// # Errors
/// [`RegistryError::Config`] when the text is malformed.
pub fn without_login(text: &str, host: &str) -> Result<Option<String>, RegistryError> {
    let mut file = parse(text)?;
    if remove(&mut file, host) == 0 { Ok(None) } else { written(&file).map(Some) }
}

/// May a user have this name? Basic authentication parts name and password at the first colon (RFC 7617, section 2).
///
/// # Errors
/// [`RegistryError::Config`] when not.
pub fn check_name(name: &str) -> Result<(), RegistryError> {
    let bad = |cause: &str| RegistryError::Config { what: "user name".to_owned(), cause: cause.to_owned() };
    if name.is_empty() {
        return Err(bad("it is empty"));
    }
    if name.contains(|c: char| c == ':' || c.is_control()) {
        return Err(bad("it holds a colon or a control character, which no registry could tell from the password"));
    }
    Ok(())
}

/// Only what [`DockerConfig`] understands is changed: a file that it refuses is left alone.
fn parse(text: &str) -> Result<Map<String, Value>, RegistryError> {
    DockerConfig::parse(text)?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|e| malformed(&e))
}

fn malformed(e: &serde_json::Error) -> RegistryError {
    let cause = format!("malformed JSON at line {} column {}", e.line(), e.column());
    RegistryError::Config { what: "credential file".to_owned(), cause }
}

/// Takes every form of the host's key away; says how many there were.
fn remove(file: &mut Map<String, Value>, host: &str) -> usize {
    let Some(Value::Object(auths)) = file.get_mut("auths") else { return 0 };
    let (before, wanted) = (auths.len(), normal_key(host));
    auths.retain(|key, _| normal_key(key) != wanted);
    before - auths.len()
}

/// Indented with tabs, as docker writes it.
fn written(file: &Map<String, Value>) -> Result<String, RegistryError> {
    let mut out = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    file.serialize(&mut serde_json::Serializer::with_formatter(&mut out, form)).map_err(|e| malformed(&e))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn login() -> Login {
        Login { username: "u".to_owned(), password: Secret::new("p:w") }
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_login_replaces_every_form_of_the_key_and_nothing_else() {
        let before = r#"{"HttpHeaders":{"a":"b"},"psFormat":"x","big":18446744073709551615,"auths":{
            "https://q.example/v2/":{"auth":"b2xkOm9sZA=="},"q.example/team":{"auth":"dDp0"},
            "q.example.org":{"auth":"bzpv","email":"e"}}}"#;
        let after = with_login(before, "q.example", Keeping::Here(&login())).unwrap();
        let expected = json!({"HttpHeaders":{"a":"b"},"psFormat":"x","big":18_446_744_073_709_551_615_u64,"auths":{
            "q.example":{"auth":"dTpwOnc="},"q.example/team":{"auth":"dDp0"},
            "q.example.org":{"auth":"bzpv","email":"e"}}});
        assert_eq!(value(&after), expected);
        let found = DockerConfig::parse(&after).unwrap();
        let Some(super::super::Place::Known(c)) = found.find("q.example", "x") else { panic!() };
        assert_eq!(c.login, Some(login()));
    }

    #[test]
    fn docker_hub_has_the_key_that_docker_gives_it() {
        for empty in ["", "{}", " \n"] {
            let after = with_login(empty, "docker.io", Keeping::Here(&login())).unwrap();
            assert_eq!(value(&after), json!({"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnc="}}}));
            assert!(after.starts_with("{\n\t\"auths\": {\n\t\t\"https"), "{after}");
        }
        let kept = with_login("{\"credsStore\":\"x\"}", "docker.io", Keeping::Helper).unwrap();
        assert_eq!(value(&kept), json!({"credsStore":"x","auths":{"https://index.docker.io/v1/":{}}}));
    }

    #[test]
    fn logging_out() {
        let before = r#"{"auths":{"docker.io":{},"index.docker.io":{"auth":"dDp0"},"docker.io/team":{"auth":"dDp0"}}}"#;
        let after = without_login(before, "docker.io").unwrap().unwrap();
        assert_eq!(value(&after), json!({"auths":{"docker.io/team":{"auth":"dDp0"}}}));
        assert_eq!(without_login(&after, "docker.io").unwrap(), None);
        assert_eq!(without_login("", "docker.io").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_understood_is_left_alone_and_not_quoted() {
        for text in ["{", "[]", r#"{"auths":["secret"]}"#, "{} secret"] {
            let wrong = with_login(text, "q.example", Keeping::Here(&login())).unwrap_err().to_string();
            assert!(!wrong.contains("secret"), "{wrong}");
            assert!(without_login(text, "q.example").is_err(), "{text}");
        }
        // What is wrong with an entry is mended by a new login there, and stays where the login is another's.
        let before = r#"{"auths":{"a.example":{"auth":"secret!"}}}"#;
        let after = with_login(before, "q.example", Keeping::Here(&login())).unwrap();
        let entry = json!({"auth":"dTpwOnc="});
        assert_eq!(value(&after), json!({"auths":{"a.example":{"auth":"secret!"},"q.example":entry}}));
        let after = with_login(before, "a.example", Keeping::Here(&login())).unwrap();
        assert_eq!(value(&after), json!({"auths":{"a.example":entry}}));
        for name in ["", "a:b", "a\nb"] {
            let wrong = Login { username: name.to_owned(), ..login() };
            assert!(with_login("{}", "q.example", Keeping::Here(&wrong)).is_err(), "{name:?}");
        }
    }
}
