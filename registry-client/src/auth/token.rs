//! Tokens from a token server (the distribution project's token and OAuth2 documents). Takes a
//! Bearer challenge; gives a token and its life. Must never ask a server that `realm` refuses, nor
//! read more of an answer than [`limits::TOKEN_BYTES`].

use super::credential::Credential;
use super::realm::{Disclosure, judge};
use super::{Auth, Kept, Party, basic_header, sensitive};
use crate::error::{TOKEN, login_hint};
use crate::http::{Break, Payload, Request, authority};
use crate::retry::{Budget, Failed, is_retryable, retry_after};
use crate::session::broke;
use crate::{Asked, RegistryError, Secret, api};
use bytes::Bytes;
use cooper_image::limits;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// Life of a token whose server does not say, in seconds (token document, `expires_in`).
const DEFAULT_LIFE: u64 = 60;
/// How long before its end a token is not used any more, in seconds.
const MARGIN: u64 = 10;
/// How Cooper names itself to OAuth2 servers.
const CLIENT_ID: &str = "cooper";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

/// What a token server said.
struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

/// One question to one token server.
struct Question<'a> {
    party: Party<'a>,
    realm: &'a Url,
    service: Option<&'a str>,
    asked: &'a Asked,
}

impl Auth {
    /// Fetches a token for a party.
    pub(super) async fn token(
        &self,
        party: Party<'_>,
        realm: &str,
        service: Option<&str>,
        (asked, budget): (&Asked, &mut Budget),
    ) -> Result<Kept, RegistryError> {
        let refuse = |cause: String| RegistryError::Auth {
            asked: Box::new(asked.clone()),
            cause: format!("the registry is not trusted: {cause}"),
            advice: "ask the registry's operator to name a token server with an https URL on the registry's own host"
                .to_owned(),
        };
        let realm = Url::parse(realm).map_err(|_| refuse("its token server's URL is malformed".to_owned()))?;
        let disclosure = judge(party.base, &realm, &self.trusted).map_err(refuse)?;
        let place = match realm.scheme() {
            "https" => realm.host_str().unwrap_or_default().to_owned(),
            plain => format!("{plain}://{}", authority(&realm)),
        };
        let question = Question { party, realm: &realm, service, asked };
        let (credential, withheld_from) = match disclosure {
            Disclosure::Credentials => (self.credential(party).await?, None),
            Disclosure::Anonymous => (None, self.has_credential(party).then_some(place)),
        };
        if let Some(token) = credential.as_ref().and_then(|c| c.registry_token.as_ref()) {
            return Ok(Kept { header: bearer(token, asked)?, until: None, withheld_from, named: true });
        }
        // What that server says of waiting is about itself, and not about the registry.
        let mut budget = budget.at(&authority(&realm));
        let reply = self.exchange(&question, credential.as_ref(), &mut budget).await?;
        question.read(reply, withheld_from, credential.is_some())
    }

    /// OAuth2 with an identity token, else (or when the server knows no OAuth2) the simple form.
    async fn exchange(
        &self,
        q: &Question<'_>,
        credential: Option<&Credential>,
        budget: &mut Budget,
    ) -> Result<Reply, RegistryError> {
        let login = credential.and_then(|c| c.login.as_ref());
        if let Some(identity) = credential.and_then(|c| c.identity_token.as_ref()) {
            let reply = self.ask(q, q.refresh(identity), budget).await?;
            let unknown = matches!(reply.status.as_u16(), 400 | 401 | 404 | 405);
            if !unknown || login.is_none() {
                return Ok(reply);
            }
        }
        let authorization = login.map(|l| basic_header(l, q.asked)).transpose()?;
        self.ask(q, q.simple(authorization), budget).await
    }

    async fn ask(&self, q: &Question<'_>, request: Request, budget: &mut Budget) -> Result<Reply, RegistryError> {
        let asked = || q.asked_there(&request.method);
        loop {
            budget.turn(asked).await?;
            let (told, failed, failure) = match self.transport.send(&request).await {
                Ok(mut response) => {
                    budget.met();
                    let (status, told) = (response.status(), retry_after(response.headers()));
                    match self.transport.body(&mut response, limits::TOKEN_BYTES).await {
                        Ok(body) if !is_retryable(status) => return Ok(Reply { status, body }),
                        Ok(body) => {
                            let (asked, status) = (Box::new(asked()), status.as_u16());
                            let failure = RegistryError::Status { asked, status, answer: api::explain(&body) };
                            (told, Failed::answered(status, &request.method), failure)
                        }
                        Err(b @ Break::Passing(_)) => (told, Failed::Away, broke(b, &asked())),
                        Err(b) => return Err(broke(b, &asked())),
                    }
                }
                Err(b @ Break::Passing(_)) => (None, Failed::Away, broke(b, &asked())),
                Err(b) => return Err(broke(b, &asked())),
            };
            told.map_or(Ok(()), |told| budget.hear(told, asked))?;
            let Some(wait) = budget.next(failed, told) else { return Err(failure) };
            budget.pause(wait, &failure).await;
        }
    }
}

impl Question<'_> {
    /// What the token server is asked, for errors that are about that.
    fn asked_there(&self, method: &Method) -> Asked {
        let Asked { registry, repository, .. } = self.asked;
        let slash = if repository.is_empty() { "" } else { "/" };
        let request = format!("{method} {TOKEN}{registry}{slash}{repository}");
        Asked { registry: authority(self.realm), repository: String::new(), request, led_to: None }
    }

    fn simple(&self, authorization: Option<HeaderValue>) -> Request {
        let mut url = self.realm.clone();
        self.pairs(&mut url);
        self.request(Method::GET, url, authorization)
    }

    fn refresh(&self, identity: &Secret) -> Request {
        // A URL's query has the encoding of a form.
        let mut form = self.realm.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", CLIENT_ID)
            .append_pair("refresh_token", identity.expose())
            .append_pair("scope", &self.party.scopes.join(" "));
        if let Some(service) = self.service {
            form.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.request(Method::POST, self.realm.clone(), None);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.payload = Payload::Bytes(Bytes::from(form.query().unwrap_or_default().to_owned()));
        request
    }

    fn request(&self, method: Method, url: Url, authorization: Option<HeaderValue>) -> Request {
        let insecure = self.party.insecure.map(str::to_owned);
        Request { authorization, insecure, ..Request::new(method, url) }
    }

    fn pairs(&self, url: &mut Url) {
        let mut pairs = url.query_pairs_mut();
        for scope in self.party.scopes {
            pairs.append_pair("scope", scope);
        }
        if let Some(service) = self.service {
            pairs.append_pair("service", service);
        }
    }

    fn read(&self, reply: Reply, withheld_from: Option<String>, named: bool) -> Result<Kept, RegistryError> {
        if !reply.status.is_success() {
            return Err(self.refused(reply.status, &reply.body, withheld_from));
        }
        let malformed = || RegistryError::Protocol {
            asked: Box::new(self.asked.clone()),
            cause: format!("the token server {} gave no token", self.host()),
        };
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| malformed())?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        if token.is_empty() {
            return Err(malformed());
        }
        let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).clamp(1, 365 * 86_400);
        // A very short life keeps half of itself rather than nothing.
        let life = life.saturating_sub(MARGIN).max(life / 2);
        let until = Some(Instant::now() + Duration::from_secs(life));
        Ok(Kept { header: bearer(&Secret::new(token), self.asked)?, until, withheld_from, named })
    }

    fn refused(&self, status: StatusCode, body: &[u8], withheld_from: Option<String>) -> RegistryError {
        let words = api::explain(body);
        let colon = if words.is_empty() { "" } else { ": " };
        let cause = format!("the token server {} answered {}{colon}{words}", self.host(), status.as_u16());
        let advice =
            withheld_from.map_or_else(|| login_hint(self.party.host), |realm| withheld_hint(self.party.host, &realm));
        RegistryError::Auth { asked: Box::new(self.asked.clone()), cause, advice }
    }

    fn host(&self) -> &str {
        self.realm.host_str().unwrap_or_default()
    }
}

/// What to do when credentials were withheld from a token server: a host reached by https, else a URL.
pub(crate) fn withheld_hint(registry: &str, realm: &str) -> String {
    if realm.contains("://") {
        return format!(
            "credentials for {registry} exist but were not sent to its token server {realm}, which is another place \
             and reached over plain http, where anybody can read them: give it a certificate and an https URL"
        );
    }
    format!(
        "credentials for {registry} exist but were not sent to its token server {realm}, which is another host; \
         if that server really belongs to the registry, give --trusted-token-server {registry}={realm}"
    )
}

fn bearer(token: &Secret, asked: &Asked) -> Result<HeaderValue, RegistryError> {
    sensitive(&format!("Bearer {}", token.expose()), asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_say_what_helps() {
        for (realm, words) in [
            ("sso.lab.example", "--trusted-token-server r.example:5000=sso.lab.example"),
            ("http://r.example:5001", "give it a certificate and an https URL"),
        ] {
            let hint = withheld_hint("r.example:5000", realm);
            assert!(hint.contains(words) && hint.contains(&format!("token server {realm}, ")), "{hint}");
        }
    }
}
