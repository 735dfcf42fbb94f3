//! Who we are: answers challenges with a password or a token, and keeps tokens until they expire.
//! Takes a challenge and the registry that it came from; gives the value of an `Authorization`
//! header for that registry's origin and scope. Must never give a credential to a token server
//! that `realm` does not allow, nor keep anything beyond this process.

pub mod credential;
pub mod edit;
pub mod helper;

pub(crate) mod challenge;
mod realm;
pub(crate) use token::withheld_hint;

mod token;

use crate::error::login_hint;
use crate::http::Transport;
use crate::options::{ClientOptions, TrustedRealm};
use crate::retry::Budget;
use crate::{Asked, RegistryError};
use base64::Engine as _;
use challenge::Challenge;
use credential::{Credential, DockerConfig, Login, Place};
use reqwest::Url;
use reqwest::header::HeaderValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Who wants to know, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party<'a> {
    /// URL of the registry's root.
    pub(crate) base: &'a Url,
    /// `host[:port]` as configured, the key of credentials.
    pub(crate) host: &'a str,
    pub(crate) repository: &'a str,
    /// What is to be done there: `repository:<name>:<actions>`, one or several.
    pub(crate) scopes: &'a [String],
    /// The registry's host when it need not prove itself.
    pub(crate) insecure: Option<&'a str>,
}

impl Party<'_> {
    fn key(&self) -> Key {
        (self.base.origin().ascii_serialization(), self.scopes.join(" "))
    }
}

/// Origin and scopes.
type Key = (String, String);

/// The value of an `Authorization` header and its life.
#[derive(Debug, Clone)]
struct Kept {
    header: HeaderValue,
    /// When it should not be used any more; `None` for ever.
    until: Option<Instant>,
    /// The token server that could have had credentials, but was not trusted with them.
    withheld_from: Option<String>,
    /// Does it say who we are, rather than that anybody asks?
    named: bool,
}

/// All credentials and tokens of a client.
#[derive(Debug)]
pub(crate) struct Auth {
    transport: Transport,
    files: Vec<DockerConfig>,
    trusted: Vec<TrustedRealm>,
    kept: Mutex<HashMap<Key, Kept>>,
    /// One for each key, so that parallel transfers fetch one token.
    gates: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

impl Auth {
    pub(crate) fn new(transport: Transport, options: &ClientOptions) -> Self {
        let (files, trusted) = (options.credentials.clone(), options.trusted_realms.clone());
        Self { transport, files, trusted, kept: Mutex::default(), gates: Mutex::default() }
    }

    /// What is known to work, if it is still good.
    pub(crate) fn kept(&self, party: Party<'_>) -> Option<HeaderValue> {
        let kept = lock(&self.kept);
        kept.get(&party.key()).filter(|k| k.until.is_none_or(|t| t > Instant::now())).map(|k| k.header.clone())
    }

    /// Does the registry know by a login who asks?
    pub(crate) fn is_named(&self, party: Party<'_>) -> bool {
        lock(&self.kept).get(&party.key()).is_some_and(|k| k.named)
    }

    /// The token server that credentials were withheld from, for an error's hint.
    pub(crate) fn withheld_from(&self, party: Party<'_>) -> Option<String> {
        lock(&self.kept).get(&party.key())?.withheld_from.clone()
    }

    /// Answers a challenge. `rejected` is what the registry did not accept.
    pub(crate) async fn answer(
        &self,
        party: Party<'_>,
        challenges: &[Challenge],
        rejected: Option<&HeaderValue>,
        (asked, budget): (&Asked, &mut Budget),
    ) -> Result<HeaderValue, RegistryError> {
        let gate = lock(&self.gates).entry(party.key()).or_default().clone();
        let _only_one = gate.lock().await;
        if let Some(fresh) = self.kept(party).filter(|k| Some(k) != rejected) {
            return Ok(fresh);
        }
        let bearer = challenges.iter().find_map(|c| match c {
            Challenge::Bearer { realm, service } => Some((realm.as_str(), service.as_deref())),
            Challenge::Basic => None,
        });
        let kept = match bearer {
            Some((realm, service)) => self.token(party, realm, service, (asked, budget)).await?,
            None => self.basic(party, asked).await?,
        };
        let header = kept.header.clone();
        lock(&self.kept).insert(party.key(), kept);
        Ok(header)
    }

    async fn basic(&self, party: Party<'_>, asked: &Asked) -> Result<Kept, RegistryError> {
        let login = self.credential(party).await?.and_then(|c| c.login);
        let login = login.ok_or_else(|| RegistryError::Auth {
            asked: Box::new(asked.clone()),
            cause: "the registry wants a user name and a password, and none are known for it".to_owned(),
            advice: login_hint(party.host),
        })?;
        Ok(Kept { header: basic_header(&login, asked)?, until: None, withheld_from: None, named: true })
    }

    /// The credential of a repository, from the first file that has one.
    async fn credential(&self, party: Party<'_>) -> Result<Option<Credential>, RegistryError> {
        for file in &self.files {
            if let Some(found) = file.credential(party.host, party.repository).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn has_credential(&self, party: Party<'_>) -> bool {
        self.files.iter().any(|f| f.find(party.host, party.repository).is_some())
    }
}

impl DockerConfig {
    /// The credential of a repository, or with an empty one of the registry; a helper is asked where one keeps it.
    ///
    /// # Errors
    /// [`RegistryError::Login`] when the entry cannot be read, [`RegistryError::Config`] when a helper fails.
    pub async fn credential(&self, host: &str, repository: &str) -> Result<Option<Credential>, RegistryError> {
        match self.find(host, repository) {
            Some(Place::Known(credential)) => Ok(Some(credential)),
            Some(Place::Helper(name)) => helper::get(&name, host).await,
            Some(Place::Unreadable { key, why }) => {
                Err(RegistryError::Login { file: self.name().to_owned(), key, why })
            }
            None => Ok(None),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn basic_header(login: &Login, asked: &Asked) -> Result<HeaderValue, RegistryError> {
    let pair = format!("{}:{}", login.username, login.password.expose());
    sensitive(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)), asked)
}

fn sensitive(text: &str, asked: &Asked) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| RegistryError::Protocol {
        asked: Box::new(asked.clone()),
        cause: "the token holds characters that no header may hold".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
