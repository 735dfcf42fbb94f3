//! A conversation with one endpoint about one repository: scheme, authentication and retries around
//! single exchanges. Takes calls; gives answers of any status that is not worth another try. Must
//! never send an authorization to another origin than the endpoint's.

use crate::api::{self, Route};
use crate::auth::{Auth, Party, challenge, withheld_hint};
use crate::endpoint::{Endpoint, Role, Scheme, Trust};
use crate::error::{CERTIFICATE, PLAIN_REFUSED};
use crate::http::{Break, LED_TO, Payload, Peer, Request, Transport, authority};
use crate::options::ClientOptions;
use crate::patience::Patience;
use crate::redact::excerpt;
use crate::retry::{Budget, Failed, RetryPolicy, is_retryable, retry_after};
use crate::{Asked, RegistryError};
use cooper_image::{Digest, limits};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode, Url};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What all conversations of a client share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ClientOptions,
    pub(crate) transport: Transport,
    pub(crate) patience: Arc<Patience>,
    auth: Auth,
    /// Schemes of hosts that could have two, once they are known.
    schemes: Mutex<HashMap<String, Scheme>>,
    /// Mirrors' repositories and the blobs for which they gave other bytes.
    wrong: Mutex<HashSet<(String, Digest)>>,
    /// Who enters something in a list of referrers: one after the other.
    pub(crate) noting: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(crate) fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        let transport = Transport::new(&options)?;
        let auth = Auth::new(transport.clone(), &options);
        let patience = Arc::new(Patience::new(Arc::clone(&options.clock), options.retry.total));
        Ok(Self {
            options,
            transport,
            patience,
            auth,
            schemes: Mutex::default(),
            wrong: Mutex::default(),
            noting: tokio::sync::Mutex::default(),
        })
    }

    /// Does a mirror, by what is known of it, have the blob as it should be?
    pub(crate) fn may_have(&self, mirror: &Endpoint, blob: &Digest) -> bool {
        !self.wrong.lock().unwrap_or_else(PoisonError::into_inner).contains(&(mirror.place(), blob.clone()))
    }

    /// A mirror gave other bytes for a blob: it is not asked for it any more.
    pub(crate) fn gave_wrong(&self, mirror: &Endpoint, blob: &Digest) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).insert((mirror.place(), blob.clone()));
    }
}

/// What is going to be done with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
    Delete,
}

/// One request of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// The request in words, for errors.
    pub(crate) words: String,
}

/// A conversation.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    pub(crate) shared: &'c Shared,
    endpoint: &'c Endpoint,
    base: Url,
    scopes: Vec<String>,
}

impl<'c> Session<'c> {
    /// Opens a conversation; asks the host for its scheme when there is a choice.
    pub(crate) async fn open(
        shared: &'c Shared,
        endpoint: &'c Endpoint,
        access: Access,
    ) -> Result<Self, RegistryError> {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,push,delete",
        };
        Self::within(shared, endpoint, vec![format!("repository:{}:{actions}", endpoint.repository)]).await
    }

    /// Opens a conversation for which tokens have these scopes; none, to say only who we are.
    pub(crate) async fn within(
        shared: &'c Shared,
        endpoint: &'c Endpoint,
        scopes: Vec<String>,
    ) -> Result<Self, RegistryError> {
        let scheme = scheme(shared, endpoint).await?;
        let base = root(endpoint, scheme)?;
        Ok(Self { shared, endpoint, base, scopes })
    }

    /// The same conversation with the right to read another repository besides.
    pub(crate) fn reading(&self, repository: &str) -> Self {
        let mut scopes = self.scopes.clone();
        scopes.push(format!("repository:{repository}:pull"));
        Self { scopes, base: self.base.clone(), ..*self }
    }

    /// The tries of one piece of work at this endpoint.
    pub(crate) fn budget(&self) -> Budget {
        Budget::new(policy(self.shared, self.endpoint), &self.shared.patience, &self.endpoint.host)
    }

    /// For requests that must not be repeated as they are.
    pub(crate) fn single(&self) -> Budget {
        let once = RetryPolicy { tries: 1, outage: Duration::ZERO, ..self.shared.options.retry };
        Budget::new(once, &self.shared.patience, &self.endpoint.host)
    }

    /// For a question whose answer can be done without.
    pub(crate) fn brief(&self) -> Budget {
        Budget::new(self.shared.options.retry.hurried(), &self.shared.patience, &self.endpoint.host)
    }

    /// A call of a route without headers and content.
    pub(crate) fn call(&self, method: Method, route: &Route<'_>) -> Call {
        let mut url = self.base.clone();
        url.set_path(&route.path(&self.endpoint.repository));
        self.call_at(method, url, route.words())
    }

    /// A call of a URL that the registry gave.
    pub(crate) fn call_at(&self, method: Method, url: Url, words: String) -> Call {
        let words = format!("{method} {words}");
        Call { method, url, headers: HeaderMap::new(), payload: Payload::Empty, words }
    }

    /// Names the upload of a blob to this repository, for whoever keeps uploads.
    pub(crate) fn upload_name(&self, digest: &Digest) -> String {
        format!("{} {} {digest}", self.base, self.endpoint.repository)
    }

    /// What was asked, for an error.
    pub(crate) fn asked(&self, call: &Call) -> Asked {
        asked(self.endpoint, &call.words)
    }

    /// What was asked, for an error about an answer: by a redirect, or by where an upload is, it can be another host's.
    fn answered(&self, call: &Call, response: &Response) -> Asked {
        let there = authority(response.url());
        let led_to =
            (!self.is_own(response.url()) && there != authority(&self.base)).then(|| excerpt(there.as_bytes()));
        Asked { led_to, ..self.asked(call) }
    }

    /// Sends a call until its answer is worth keeping or the budget is spent.
    pub(crate) async fn send(&self, call: &Call, budget: &mut Budget) -> Result<Response, RegistryError> {
        let asked = || self.asked(call);
        // An upload can be at another host than its registry.
        let host = if self.is_own(&call.url) { self.endpoint.host.clone() } else { authority(&call.url) };
        let host = budget.at(&host);
        loop {
            host.turn(asked).await?;
            let (told, outcome) = match self.authorized(call, budget).await {
                Ok(response) if is_retryable(response.status()) => (retry_after(response.headers()), Ok(response)),
                Err(Failure::Broke(b @ Break::Passing(_))) => (None, Err(broke(b, &asked()))),
                Err(Failure::Broke(b)) => return Err(broke(b, &asked())),
                Err(Failure::Final(e)) => return Err(e),
                Ok(response) => return Ok(response),
            };
            told.map_or(Ok(()), |told| host.hear(told, asked))?;
            let failed = match &outcome {
                Ok(r) => Failed::answered(r.status().as_u16(), &call.method),
                Err(failure) => Failed::by(failure),
            };
            let Some(wait) = budget.next(failed, told) else { return outcome };
            match &outcome {
                Ok(r) => {
                    let asked = self.answered(call, r);
                    budget.pause(wait, &format!("{asked}: {} answered {}", asked.who(), r.status().as_u16())).await
                }
                Err(failure) => budget.pause(wait, failure).await,
            }
        }
    }

    /// One exchange, and a second one when the registry asks who we are.
    async fn authorized(&self, call: &Call, budget: &mut Budget) -> Result<Response, Failure> {
        let own = call.url.origin() == self.base.origin();
        let party = self.party();
        let mut request = Request {
            peer: Peer::Registry,
            method: call.method.clone(),
            url: call.url.clone(),
            headers: call.headers.clone(),
            payload: call.payload.clone(),
            authorization: self.shared.auth.kept(party).filter(|_| own),
            insecure: self.insecure(),
        };
        let response = self.shared.transport.send(&request).await?;
        if own {
            self.shared.patience.met(&self.endpoint.host);
        }
        tracing::debug!(registry = %self.endpoint.host, request = %call.words, status = response.status().as_u16());
        // A challenge of a host that a redirect led to is not one of the registry's.
        if !own || response.status() != StatusCode::UNAUTHORIZED || response.url().origin() != self.base.origin() {
            return Ok(response);
        }
        let challenges = challenge::parse(response.headers());
        if challenges.is_empty() {
            return Ok(response);
        }
        let rejected = request.authorization.take();
        let asked = self.asked(call);
        let header = self.shared.auth.answer(party, &challenges, rejected.as_ref(), (&asked, budget)).await?;
        if rejected.as_ref() == Some(&header) {
            return Ok(response);
        }
        request.authorization = Some(header);
        Ok(self.shared.transport.send(&request).await?)
    }

    /// Sends a call for a document of bounded size, in bytes; one that breaks off is asked for again.
    pub(crate) async fn document(
        &self,
        call: &Call,
        limit: u64,
        budget: &mut Budget,
    ) -> Result<(Response, Vec<u8>), RegistryError> {
        loop {
            let mut response = self.send(call, budget).await?;
            if response.status() != StatusCode::OK {
                return Err(self.refuse(call, response).await);
            }
            if api::announced_length(&response).is_some_and(|n| n > limit) {
                return Err(broke(Break::TooLarge(limit), &self.asked(call)));
            }
            match self.shared.transport.body(&mut response, limit).await {
                Ok(body) => return Ok((response, body)),
                Err(b @ Break::Passing(_)) => {
                    let failure = broke(b, &self.asked(call));
                    let Some(wait) = budget.next(Failed::Away, None) else { return Err(failure) };
                    budget.pause(wait, &failure).await;
                }
                Err(b) => return Err(broke(b, &self.asked(call))),
            }
        }
    }

    /// Is it a URL of the registry itself?
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Turns an answer that was not hoped for into an error.
    pub(crate) async fn refuse(&self, call: &Call, mut response: Response) -> RegistryError {
        let status = response.status().as_u16();
        // A body that cannot be read adds nothing to the status.
        let body = self.shared.transport.body(&mut response, limits::TOKEN_BYTES).await.unwrap_or_default();
        let asked = Box::new(self.answered(call, &response));
        // That of another host, where a redirect led, is about no login; and that to a login itself is about its words.
        let is_own = self.is_own(response.url()) && !self.endpoint.repository.is_empty();
        if status == 403 && is_own && self.shared.auth.is_named(self.party()) {
            return RegistryError::forbidden(asked, &api::explain(&body));
        }
        match self.withheld(call, &format!("the registry answered {status} to an anonymous request")) {
            Some(error) if asked.led_to.is_none() && (status == 401 || status == 403) => error,
            _ => RegistryError::Status { asked, status, answer: api::explain(&body) },
        }
    }

    /// The error for a request whose credentials were not sent, because its token server was not trusted with them.
    pub(crate) fn withheld(&self, call: &Call, cause: &str) -> Option<RegistryError> {
        let realm = self.shared.auth.withheld_from(self.party())?;
        let advice = withheld_hint(&self.endpoint.host, &realm);
        Some(RegistryError::Auth { asked: Box::new(self.asked(call)), cause: cause.to_owned(), advice })
    }

    /// Has the registry asked who we are, and taken the answer?
    pub(crate) fn is_known(&self) -> bool {
        self.shared.auth.kept(self.party()).is_some()
    }

    fn party(&self) -> Party<'_> {
        Party {
            base: &self.base,
            host: &self.endpoint.host,
            repository: &self.endpoint.repository,
            scopes: &self.scopes,
            insecure: (self.endpoint.trust == Trust::Insecure).then_some(self.endpoint.host.as_str()),
        }
    }

    fn insecure(&self) -> Option<String> {
        self.party().insecure.map(str::to_owned)
    }
}

/// Why an exchange gave no answer.
enum Failure {
    Broke(Break),
    Final(RegistryError),
}
impl From<Break> for Failure {
    fn from(b: Break) -> Self {
        Self::Broke(b)
    }
}
impl From<RegistryError> for Failure {
    fn from(e: RegistryError) -> Self {
        Self::Final(e)
    }
}

/// Names the request in a transport's failure.
pub(crate) fn broke(b: Break, asked: &Asked) -> RegistryError {
    let mut asked = Box::new(asked.clone());
    if let Break::Passing(cause) | Break::Lasting(cause) = &b
        && let Some((there, _)) = cause.strip_prefix(LED_TO).and_then(|rest| rest.split_once(": "))
    {
        asked.led_to = Some(there.to_owned());
    }
    match b {
        Break::Passing(cause) | Break::Lasting(cause) => RegistryError::Network { asked, cause },
        Break::Refused(cause) => RegistryError::Protocol { asked, cause },
        Break::TooLarge(limit) => RegistryError::TooLarge { asked, limit: format!("{limit} bytes") },
        Break::Told(error) => error,
        Break::Source(source) => RegistryError::Local { asked, what: "the blob cannot be read", source },
    }
}

fn asked(endpoint: &Endpoint, words: &str) -> Asked {
    let (registry, repository) = (endpoint.host.clone(), endpoint.repository.clone());
    Asked { registry, repository, request: words.to_owned(), led_to: None }
}

fn policy(shared: &Shared, endpoint: &Endpoint) -> RetryPolicy {
    match endpoint.role {
        Role::Mirror => shared.options.retry.hurried(),
        Role::Primary => shared.options.retry,
    }
}

fn root(endpoint: &Endpoint, scheme: Scheme) -> Result<Url, RegistryError> {
    Url::parse(&format!("{}://{}/", scheme.name(), endpoint.host))
        .map_err(|e| RegistryError::Config { what: format!("registry {:?}", endpoint.host), cause: e.to_string() })
}

/// The scheme that a host speaks. Only hosts that may be spoken to in plain are asked.
async fn scheme(shared: &Shared, endpoint: &Endpoint) -> Result<Scheme, RegistryError> {
    let known =
        |m: &Mutex<HashMap<_, _>>| m.lock().unwrap_or_else(PoisonError::into_inner).get(&endpoint.host).copied();
    let [first, second] = *endpoint.schemes() else { return Ok(Scheme::Https) };
    if let Some(scheme) = known(&shared.schemes) {
        return Ok(scheme);
    }
    let insecure = (endpoint.trust == Trust::Insecure).then(|| endpoint.host.clone());
    let mut budget = Budget::new(policy(shared, endpoint), &shared.patience, &endpoint.host);
    loop {
        let (mut said, mut passing, mut distrusted) = (Vec::new(), false, false);
        for scheme in [first, second] {
            let mut url = root(endpoint, scheme)?;
            url.set_path("/v2/");
            let probe = Request { insecure: insecure.clone(), ..Request::new(Method::GET, url) };
            match shared.transport.send(&probe).await {
                // This is how TLS ports answer to plain http.
                Ok(r) if r.status() == StatusCode::BAD_REQUEST && scheme == Scheme::Http => {
                    said.push(PLAIN_REFUSED.to_owned());
                }
                Ok(r) => {
                    shared.patience.met(&endpoint.host);
                    let found = if r.url().scheme() == "https" && r.url().host() == probe.url.host() {
                        Scheme::Https
                    } else {
                        scheme
                    };
                    shared.schemes.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint.host.clone(), found);
                    return Ok(found);
                }
                Err(b @ (Break::Passing(_) | Break::Lasting(_) | Break::Refused(_))) => {
                    passing |= matches!(b, Break::Passing(_));
                    let (Break::Passing(words) | Break::Lasting(words) | Break::Refused(words)) = b else { continue };
                    // Whoever shows a certificate speaks TLS: how plain http failed says nothing.
                    distrusted |= words.contains(CERTIFICATE);
                    said.push(format!("{}: {words}", scheme.name()));
                }
                Err(b) => return Err(broke(b, &asked(endpoint, "GET /v2/"))),
            }
        }
        let cause = said.join("; ");
        let failure = RegistryError::Network { asked: Box::new(asked(endpoint, "GET /v2/")), cause };
        // A certificate that is not trusted will not be the next time either.
        let Some(wait) = budget.next(Failed::Away, None).filter(|_| passing && !distrusted) else {
            return Err(failure);
        };
        budget.pause(wait, &failure).await;
    }
}
