//! Docker's `config.json` and containers-auth.json(5): who we are to which registry. Takes the
//! file's text; gives the credential of a host and repository, or the helper that keeps it. Must
//! never read a file, run a helper, or show a secret.

use crate::endpoint::is_docker_hub;
use crate::{RegistryError, Secret};
use base64::Engine as _;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What proves who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// User name and password.
    pub login: Option<Login>,
    /// To be changed for tokens at the token server (OAuth2 `refresh_token`).
    pub identity_token: Option<Secret>,
    /// To be sent to the registry as it is.
    pub registry_token: Option<Secret>,
}

/// User name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password, or an access token in its place.
    pub password: Secret,
}

/// One credential file.
#[derive(Debug, Clone, Default)]
pub struct DockerConfig {
    /// Where it is, for errors.
    file: String,
    /// What is wrong with one entry concerns nobody but its registry.
    auths: BTreeMap<String, Result<Credential, &'static str>>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// Where a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Known(Credential),
    /// With `docker-credential-<name>`.
    Helper(String),
    /// Here, in a form that cannot be read.
    Unreadable {
        /// The entry's key.
        key: String,
        /// Why not.
        why: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl DockerConfig {
    /// Parses `config.json` or `auth.json`. Whether a single entry can be read is told to who asks for it.
    ///
    /// # Errors
    /// [`RegistryError::Config`]; the text is not quoted, for it holds secrets.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let bad = |cause: String| RegistryError::Config { what: "credential file".to_owned(), cause };
        // An empty file counts as one without entries, as in Docker.
        let file: File = serde_json::from_str(if text.trim().is_empty() { "{}" } else { text })
            .map_err(|e| bad(format!("malformed JSON at line {} column {}", e.line(), e.column())))?;
        let mut auths = BTreeMap::new();
        for (key, entry) in file.auths {
            let entry = Entry::deserialize(entry).map_err(|_| "it is not of the form that entries have");
            let credential = entry.and_then(Entry::credential);
            if credential.as_ref().ok() != Some(&Credential::default()) {
                auths.insert(normal_key(&key), credential);
            }
        }
        let helpers = file.cred_helpers.into_iter().map(|(k, v)| (normal_key(&k), v)).collect();
        let store = file.creds_store.filter(|s| !s.is_empty());
        Ok(Self { file: "credential file".to_owned(), auths, helpers, store })
    }

    /// The same with the path where it is, for errors.
    #[must_use]
    pub fn named(self, file: &str) -> Self {
        Self { file: file.to_owned(), ..self }
    }

    /// Where it is.
    pub(super) fn name(&self) -> &str {
        &self.file
    }

    /// A file with one entry, for credentials that somebody gave directly. The key is
    /// `host[:port]`, with a path for a part of its repositories.
    pub fn with(key: &str, credential: Credential) -> Self {
        Self { auths: BTreeMap::from([(normal_key(key), Ok(credential))]), ..Self::default() }
    }

    /// The helper that a login at this host is given to; `None` when the file itself keeps it.
    pub fn keeper(&self, host: &str) -> Option<&str> {
        self.helpers.get(&normal_key(host)).or(self.store.as_ref()).map(String::as_str)
    }

    /// Where the credential of a repository is: a helper of the host, the entry with the longest
    /// path, the store of all.
    pub fn find(&self, host: &str, repository: &str) -> Option<Place> {
        let host = normal_key(host);
        if let Some(helper) = self.helpers.get(&host) {
            return Some(Place::Helper(helper.clone()));
        }
        let full = format!("{host}/{repository}");
        let mut key = full.as_str();
        loop {
            match self.auths.get(key) {
                Some(Ok(found)) => return Some(Place::Known(found.clone())),
                Some(Err(why)) => return Some(Place::Unreadable { key: key.to_owned(), why }),
                None => {}
            }
            match key.rsplit_once('/') {
                Some((shorter, _)) => key = shorter,
                None => return self.store.clone().map(Place::Helper),
            }
        }
    }
}

/// The name under which helpers and files of docker keep the credential of a host.
pub(crate) fn server_key(host: &str) -> String {
    if is_docker_hub(host) { "https://index.docker.io/v1/".to_owned() } else { host.to_owned() }
}

/// Keys come as `host`, `host/path`, and from old clients as URLs, of which only the host counts.
pub(super) fn normal_key(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let place = bare.map_or(key, |b| b.split('/').next().unwrap_or(b)).trim_end_matches('/');
    let (host, path) = place.split_once('/').map_or((place, None), |(h, p)| (h, Some(p)));
    let old_path = path.is_some_and(|p| p == "v1" || p == "v2");
    match (is_docker_hub(host), path) {
        (true, Some(p)) if !old_path => format!("docker.io/{p}"),
        (true, _) => "docker.io".to_owned(),
        (false, _) => place.to_owned(),
    }
}

impl Entry {
    fn credential(self) -> Result<Credential, &'static str> {
        let some = |t: Option<String>| t.filter(|t| !t.is_empty());
        let login = match some(self.auth) {
            Some(packed) => unpack(&packed)?,
            None => some(self.username).map(|u| (u, self.password.unwrap_or_default())),
        };
        Ok(Credential {
            login: login
                .filter(|(u, p)| !u.is_empty() && !p.is_empty())
                .map(|(username, p)| Login { username, password: Secret::new(p) }),
            identity_token: some(self.identitytoken).map(Secret::new),
            registry_token: some(self.registrytoken).map(Secret::new),
        })
    }
}

fn unpack(packed: &str) -> Result<Option<(String, String)>, &'static str> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed.trim()).map_err(|_| "auth is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "auth is not UTF-8")?;
    let (user, password) = text.split_once(':').ok_or("auth has no colon between user and password")?;
    // Old clients padded with zero bytes.
    Ok(Some((user.to_owned(), password.trim_end_matches('\0').to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> DockerConfig {
        let b64 = |s: &str| base64::engine::general_purpose::STANDARD.encode(s);
        DockerConfig::parse(&format!(
            r#"{{"auths":{{
                "https://index.docker.io/v1/":{{"auth":"{}"}},
                "q.example":{{"username":"plain","password":"pw"}},
                "q.example/team":{{"auth":"{}"}},
                "q.example/team/app":{{"auth":"{}"}},
                "https://old.example:5000/v2/":{{"auth":"{}"}},
                "acr.example":{{"auth":"{}","identitytoken":"idt"}},
                "tok.example":{{"registrytoken":"rt"}},
                "kept.example":{{}}
               }},
               "credHelpers":{{"gcr.example":"gcloud"}},
               "credsStore":"desktop","HttpHeaders":{{"a":"b"}}}}"#,
            b64("hub:hubpw"),
            b64("team:a:b"),
            b64("app:pw"),
            b64("old:pw"),
            b64("0000:"),
        ))
        .unwrap()
    }

    #[test]
    fn the_most_particular_entry_wins() {
        let file = file();
        for (host, repository, user) in [
            ("registry-1.docker.io", "library/debian", "hub hubpw"),
            ("docker.io", "library/debian", "hub hubpw"),
            ("q.example", "other/app", "plain pw"),
            ("q.example", "team/lib", "team a:b"),
            ("q.example", "teams/lib", "plain pw"),
            ("q.example", "team/app", "app pw"),
            ("q.example", "team/app/sub", "app pw"),
            ("old.example:5000", "x", "old pw"),
        ] {
            let Some(Place::Known(Credential { login: Some(l), .. })) = file.find(host, repository) else {
                panic!("{host}/{repository}");
            };
            assert_eq!(format!("{} {}", l.username, l.password.expose()), user, "{host}/{repository}");
        }
    }

    #[test]
    fn tokens_and_helpers() {
        let file = file();
        let Some(Place::Known(acr)) = file.find("acr.example", "x") else { panic!() };
        assert_eq!((acr.login, acr.identity_token), (None, Some(Secret::new("idt"))));
        let Some(Place::Known(tok)) = file.find("tok.example", "x") else { panic!() };
        assert_eq!(tok.registry_token, Some(Secret::new("rt")));
        assert_eq!(file.find("gcr.example", "x"), Some(Place::Helper("gcloud".into())));
        assert_eq!(file.find("kept.example", "x"), Some(Place::Helper("desktop".into())));
        assert_eq!((file.keeper("gcr.example"), file.keeper("q.example")), (Some("gcloud"), Some("desktop")));
        assert_eq!(DockerConfig::parse("\n").unwrap().keeper("a.example"), None);
        assert_eq!(DockerConfig::parse("{}").unwrap().find("a.example", "x"), None);
        assert_eq!(server_key("registry-1.docker.io"), "https://index.docker.io/v1/");
        assert_eq!(server_key("q.example"), "q.example");
    }

    #[test]
    fn refused_files_do_not_leak() {
        let error = DockerConfig::parse(r#"{"auths":"secret"}"#).unwrap_err().to_string();
        assert!(error.contains("malformed JSON at line 1") && !error.contains("secret"), "{error}");
        assert!(!format!("{:?}", file()).contains("hubpw"));
    }

    #[tokio::test]
    async fn an_entry_that_cannot_be_read_concerns_its_registry_alone() {
        let text = r#"{"auths":{"a.example":{"auth":"secret!"},"b.example/team":{"auth":"c2VjcmV0"},
            "c.example":{"auth":["secret"]},"d.example":"secret","e.example":null,"q.example":{"auth":"dTpwdw=="}}}"#;
        let file = DockerConfig::parse(text).unwrap().named("/h/config.json");
        let good = file.credential("q.example", "x").await.unwrap().unwrap();
        assert_eq!(good.login.unwrap().username, "u");
        assert_eq!(file.credential("b.example", "other").await.unwrap(), None);
        let form = "it is not of the form that entries have";
        for (host, repository, why, hint) in [
            (
                "a.example",
                "x",
                "auth is not base64",
                "out of /h/config.json, and log in again with: cooper login a.example",
            ),
            ("b.example", "team/x", "auth has no colon between user and password", "take the entry b.example/team out"),
            ("c.example", "x", form, "cooper login c.example"),
            ("d.example", "x", form, "cooper login d.example"),
            ("e.example", "x", form, "cooper login e.example"),
        ] {
            let error = file.credential(host, repository).await.unwrap_err();
            let (said, advice) = (error.to_string(), error.hint().unwrap());
            assert!(said.starts_with("/h/config.json: the login for ") && said.ends_with(why), "{said}");
            assert!(said.contains(host) && advice.contains(hint), "{said}: {advice}");
            assert!(!format!("{said}{advice}{error:?}{file:?}").contains("secret"), "{error:?}");
            assert_eq!(error.fault(), crate::Fault::Caller);
        }
    }
}
