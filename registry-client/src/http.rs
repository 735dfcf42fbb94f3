//! One exchange over HTTP: proxies, time-outs, redirects. Takes a request; gives an
//! answer or a fault. Must never repeat a request, carry an authorization to another origin, go
//! from https to http, or speak plain http to a host that is neither loopback nor marked insecure.

use crate::certificates::Certificates;
use crate::endpoint::{Trust, host_without_port, is_loopback, names};
use crate::error::{CERTIFICATE, chain};
use crate::options::{ClientOptions, ProxyOptions, Timeouts};
use crate::redact::excerpt;
use crate::roots::Roots;
use crate::warnings::Warnings;
use crate::{RegistryError, blob::body::Upload};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, ClientBuilder, Method, NoProxy, Proxy, Response, Url, redirect};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Most redirects that one request follows.
const REDIRECTS: usize = 10;

/// What is sent along. `Debug` shows sizes alone: a form can hold a token.
#[derive(Clone)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// A file, opened anew for each try.
    File(Upload),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File(upload) => upload.fmt(f),
        }
    }
}

/// Who is asked, and what therefore holds for certificates and plain http.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A registry: plain http only on loopback and where it is marked insecure.
    Registry,
    /// Any server of files: plain http where the URL says so; marks for registries mean nothing to it.
    Web,
}

/// One request, which can be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) peer: Peer,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// For the origin of `url` and no other.
    pub(crate) authorization: Option<HeaderValue>,
    /// `host[:port]` that need not prove itself, besides those of the options.
    pub(crate) insecure: Option<String>,
}

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            peer: Peer::Registry,
            method,
            url,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            authorization: None,
            insecure: None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Break {
    /// Worth another try: no connection, or it broke, or silence.
    Passing(String),
    /// The same again would end the same: certificates, malformed answers, forbidden redirects.
    Lasting(String),
    /// The answer broke a rule of ours or of the protocol.
    Refused(String),
    /// The answer is longer than the limit, in bytes.
    TooLarge(u64),
    /// The file to send.
    Source(std::io::Error),
    /// What this client was told about the host cannot be used.
    Told(RegistryError),
}

impl Break {
    /// The same with what stands before the network's words.
    fn behind(self, words: &str) -> Self {
        match self {
            Self::Passing(cause) => Self::Passing(format!("{words}{cause}")),
            Self::Lasting(cause) => Self::Lasting(format!("{words}{cause}")),
            other => other,
        }
    }
}

/// The connections, shared by all conversations.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    verified: Client,
    unverified: Client,
    insecure: Vec<String>,
    certificates: Certificates,
    warnings: Warnings,
    proxies: ProxyOptions,
    pub(crate) timeouts: Timeouts,
}

impl Transport {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, RegistryError> {
        let config = |what: &str, e: reqwest::Error| RegistryError::Config { what: what.to_owned(), cause: chain(&e) };
        let roots = Roots::new(&options.extra_authorities);
        let builder = |trust_nobody: bool| -> Result<Client, RegistryError> {
            let builder = roots.lay(base(options)?).map_err(|e| config("certificate authorities", e))?;
            let builder = if trust_nobody { builder.tls_danger_accept_invalid_certs(true) } else { builder };
            builder.build().map_err(|e| config("HTTP client", e))
        };
        let given = options.clone();
        let begin = Arc::new(move || base(&given));
        Ok(Self {
            verified: builder(false)?,
            unverified: builder(true)?,
            certificates: Certificates::new(&options.certificates, options.proxies.clone(), roots, begin),
            insecure: options.insecure.clone(),
            warnings: Warnings::default(),
            proxies: options.proxies.clone(),
            timeouts: options.timeouts,
        })
    }

    /// Is the URL's host marked insecure?
    pub(crate) fn is_marked(&self, url: &Url, besides: Option<&str>) -> bool {
        self.insecure.iter().map(String::as_str).chain(besides).any(|mark| names(mark, url))
    }

    /// May this URL be spoken to at all?
    fn permit(&self, peer: Peer, url: &Url, besides: Option<&str>) -> Result<(), Break> {
        let plain_is_fine = || {
            let loopback = || url.host_str().is_some_and(|h| is_loopback(&host_without_port(h)));
            peer == Peer::Web || self.is_marked(url, besides) || loopback()
        };
        match url.scheme() {
            "https" => Ok(()),
            "http" if plain_is_fine() => Ok(()),
            "http" => Err(Break::Refused(format!("plain http to {} is not allowed", host_of(url)))),
            other => Err(Break::Refused(format!("{other} URLs are not allowed"))),
        }
    }

    /// Sends a request. `GET` and `HEAD` follow redirects, others give them back as answers.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, Break> {
        let mut url = request.url.clone();
        let mut authorization = request.authorization.clone();
        let mut trail = vec![host_of(&url)];
        loop {
            self.permit(request.peer, &url, request.insecure.as_deref())?;
            let answer = self.once(request, url.clone(), authorization.as_ref()).await;
            let is_away = authority(&url) != authority(&request.url);
            let response = answer.map_err(|b| if is_away { b.behind(&led_to(&url)) } else { b })?;
            let follows = request.method == Method::GET || request.method == Method::HEAD;
            if !follows || !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let next = location(&response, &url)?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(Break::Refused(format!("a redirect leads from https to {}", next.scheme())));
            }
            if next.origin() != url.origin() {
                // Once away it stays away: a later hop back must not get it again.
                authorization = None;
            }
            trail.push(host_of(&next));
            if trail.len() > REDIRECTS + 1 {
                return Err(Break::Refused(format!("more than {REDIRECTS} redirects: {}", trail.join(" → "))));
            }
            url = next;
        }
    }

    async fn once(&self, request: &Request, url: Url, authorization: Option<&HeaderValue>) -> Result<Response, Break> {
        let marked = request.peer == Peer::Registry && self.is_marked(&url, request.insecure.as_deref());
        let trust = if marked { Trust::Insecure } else { Trust::Verified };
        let own = match request.peer {
            Peer::Registry => self.certificates.for_url(&url, trust).map_err(Break::Told)?,
            Peer::Web => None,
        };
        let client = own.as_ref().unwrap_or(if marked { &self.unverified } else { &self.verified });
        let mut builder = client.request(request.method.clone(), url.clone()).headers(request.headers.clone());
        if let Some(value) = authorization {
            builder = builder.header(AUTHORIZATION, value.clone());
        }
        let answer = match &request.payload {
            Payload::Empty if request.method == Method::POST => {
                self.in_time(builder.header(CONTENT_LENGTH, 0).send()).await
            }
            Payload::Empty => self.in_time(builder.send()).await,
            Payload::Bytes(bytes) => self.in_time(builder.body(bytes.clone()).send()).await,
            Payload::File(upload) => upload.send(builder, self.timeouts).await,
        };
        if let Ok(response) = &answer
            && request.peer == Peer::Registry
        {
            self.warnings.tell(&authority(&url), response.headers());
        }
        let answer = match answer {
            Err(Break::Passing(words)) if request.peer == Peer::Registry && has_lost_words(&url, &words) => {
                Err(self.why(&url, trust).await.unwrap_or(Break::Passing(words)))
            }
            other => other,
        };
        answer.map_err(|b| match self.proxies.for_url(&url) {
            Some(proxy) => b.behind(&format!("{BY_PROXY}{proxy}: ")),
            None => b,
        })
    }

    /// Why connections to a host end before there is an answer, where that will not pass.
    async fn why(&self, url: &Url, trust: Trust) -> Option<Break> {
        let client = self.certificates.in_old_words(url, trust).ok()?;
        let root = url.join("/").ok()?;
        for _ in 0..ASKED_WHY {
            let said = self.in_time(client.get(root.clone()).send()).await.err()?;
            if matches!(said, Break::Lasting(_)) {
                return Some(said);
            }
        }
        None
    }

    async fn in_time(&self, answer: impl Future<Output = reqwest::Result<Response>>) -> Result<Response, Break> {
        let limit = self.timeouts.idle + self.timeouts.connect;
        tokio::time::timeout(limit, answer).await.map_err(|_| silence(limit))?.map_err(broken)
    }

    /// The next piece of a body.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Break> {
        let limit = self.timeouts.idle;
        let piece = tokio::time::timeout(limit, response.chunk()).await.map_err(|_| silence(limit))?;
        // Who has begun to answer has nothing against certificates: it is the line that breaks or damages.
        piece.map_err(|e| Break::Passing(words(e)))
    }

    /// A whole body of bounded size.
    pub(crate) async fn body(&self, response: &mut Response, limit: u64) -> Result<Vec<u8>, Break> {
        let mut body = Vec::new();
        while let Some(piece) = self.chunk(response).await? {
            if (body.len() + piece.len()) as u64 > limit {
                return Err(Break::TooLarge(limit));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

fn base(options: &ClientOptions) -> Result<ClientBuilder, RegistryError> {
    // Decoding a body would break its digest, whatever features another crate turns on.
    let builder = ClientBuilder::new()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .redirect(redirect::Policy::none())
        .user_agent(&options.user_agent)
        .connect_timeout(options.timeouts.connect)
        .no_proxy();
    proxies(&options.proxies)?.into_iter().try_fold(builder, |b, p| Ok(b.proxy(p)))
}

fn proxies(options: &ProxyOptions) -> Result<Vec<Proxy>, RegistryError> {
    let bypass = options.never_for();
    let config = |e: reqwest::Error| RegistryError::Config { what: "proxy".to_owned(), cause: chain(&e.without_url()) };
    let mut found = Vec::new();
    for (url, make) in [(&options.http, Proxy::http as fn(String) -> _), (&options.https, Proxy::https)] {
        if let Some(url) = url {
            found.push(make(url.clone()).map_err(config)?.no_proxy(NoProxy::from_string(&bypass)));
        }
    }
    Ok(found)
}

/// Where an answer points to, relative to the URL that was asked. User names in it are dropped:
/// they would become an authorization.
pub(crate) fn location(response: &Response, asked: &Url) -> Result<Url, Break> {
    let text =
        response.headers().get(LOCATION).ok_or_else(|| Break::Refused("the answer has no Location".to_owned()))?;
    let parsed = text.to_str().ok().and_then(|t| asked.join(t).ok());
    let mut url = parsed.ok_or_else(|| Break::Refused("the answer's Location is malformed".to_owned()))?;
    if url.host_str().is_none() || url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err(Break::Refused("the answer's Location names no host".to_owned()));
    }
    url.set_fragment(None);
    Ok(url)
}

fn led_to(url: &Url) -> String {
    format!("{LED_TO}{}: ", excerpt(authority(url).as_bytes()))
}

fn host_of(url: &Url) -> String {
    format!("{}://{}", url.scheme(), authority(url))
}

/// `host[:port]` of a URL.
pub(crate) fn authority(url: &Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// What is said before a failure at a host that a redirect led to, and its name.
pub(crate) const LED_TO: &str = "redirected to ";

/// What is said before a failure on the way through a proxy, and its name.
pub(crate) const BY_PROXY: &str = "by way of the proxy ";

/// How the TLS library says that the other side has ended the conversation (RFC 8446, section 6.2).
pub(crate) const FATAL_ALERT: &str = "received fatal alert: ";

/// Alerts of a side that cannot read what came, and does not say that it is somebody's fault: a line that damages bytes
/// makes them, and hardly twice. Certificates are spoken of in other words.
const DAMAGED: [&str; 6] =
    ["BadRecordMac", "DecryptError", "DecodeError", "RecordOverflow", "UnexpectedMessage", "InternalError"];

/// What is said of a connection that the other side has ended, whatever that side's word was: of one of HTTP/2, and of one
/// that ended before anything was sent.
const LOST_WORDS: [&str; 2] = ["channel closed", "operation was canceled"];
/// How often it is asked for its word: that can be lost once more.
const ASKED_WHY: usize = 3;

/// Only TLS has words for it.
fn has_lost_words(url: &Url, words: &str) -> bool {
    url.scheme() == "https" && LOST_WORDS.iter().any(|lost| words.contains(lost))
}

pub(crate) fn silence(limit: Duration) -> Break {
    Break::Passing(format!("nothing came for {} s", limit.as_secs_f32()))
}

/// Sorts a transport error; what is said of certificates, and what TLS ends a conversation with, as "received fatal
/// alert: CertificateRequired", will be said again. Its URL is dropped: a redirect's query can hold a signature.
pub(crate) fn broken(error: reqwest::Error) -> Break {
    let is_builder = error.is_builder();
    let words = words(error);
    if is_builder || is_lasting(&words) { Break::Lasting(words) } else { Break::Passing(words) }
}

fn words(error: reqwest::Error) -> String {
    excerpt(chain(&error.without_url()).as_bytes())
}

fn is_lasting(words: &str) -> bool {
    let is_damage = words.split(FATAL_ALERT).nth(1).is_some_and(|alert| DAMAGED.iter().any(|d| alert.starts_with(d)));
    !is_damage && [CERTIFICATE, "InvalidContentType", FATAL_ALERT].iter().any(|said| words.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_and_the_ways_of_sending_do_not_print_secrets() {
        let mut request = Request::new(Method::POST, Url::parse("https://a.example/token").unwrap());
        request.payload = Payload::Bytes(Bytes::from_static(b"refresh_token=hunter2"));
        let url = Some("http://me:hunter2@proxy.example:3128".to_owned());
        let proxies = ProxyOptions { http: url.clone(), https: url, bypass: None };
        let options = ClientOptions { proxies, ..ClientOptions::default() };
        let shown = format!("{request:?} {options:?}");
        assert!(!shown.contains("hunter2") && shown.contains("Bytes(21)"), "{shown}");
    }

    #[test]
    fn words_are_lost_where_tls_had_some() {
        let [tls, plain] = ["https://a.example/v2/", "http://a.example/v2/"].map(|url| Url::parse(url).unwrap());
        let canceled = "error sending request: client error (Canceled): operation was canceled: connection closed";
        assert!(has_lost_words(&tls, canceled) && !has_lost_words(&plain, canceled));
        assert!(has_lost_words(&tls, "error sending request: channel closed"));
        assert!(!has_lost_words(&tls, "error sending request: received fatal alert: BadCertificate"));
    }

    #[test]
    fn plain_http_needs_a_reason() {
        let t =
            Transport::new(&ClientOptions { insecure: vec!["lab.example:5000".into()], ..ClientOptions::default() })
                .unwrap();
        for (url, fine) in [
            ("https://a.example/", true),
            ("http://a.example/", false),
            ("http://127.0.0.1:5000/", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("http://127.0.0.1.example/", false),
            ("http://lab.example:5000/", true),
            ("http://lab.example/", false),
            ("http://mine.example/", true),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(
                t.permit(Peer::Registry, &Url::parse(url).unwrap(), Some("mine.example")).is_ok(),
                fine,
                "{url}"
            );
        }
    }

    #[test]
    fn what_a_damaged_line_makes_passes() {
        for (words, lasts) in [
            ("received fatal alert: BadRecordMac", false),
            ("received fatal alert: DecodeError", false),
            ("received fatal alert: DecryptError", false),
            ("received fatal alert: InternalError", false),
            ("received fatal alert: CertificateRequired", true),
            ("received fatal alert: BadCertificate", true),
            ("received fatal alert: HandshakeFailure", true),
            ("invalid peer certificate: UnknownIssuer", true),
            ("received corrupt message of type InvalidContentType", true),
            ("cannot decrypt peer's message", false),
            ("connection reset by peer", false),
        ] {
            assert_eq!(is_lasting(&format!("client error (Connect): {words}")), lasts, "{words}");
        }
    }

    #[test]
    fn proxies_are_checked() {
        let of = |http: &str| proxies(&ProxyOptions { http: Some(http.to_owned()), ..ProxyOptions::default() });
        assert_eq!(of("http://proxy.example:3128").unwrap().len(), 1);
        assert!(matches!(of("http://[proxy"), Err(RegistryError::Config { .. })));
    }
}
