//! Files behind URLs that are no registry's: asked for over the same connections, time-outs, proxies and retries.
//!
//! Takes a URL, what is known of its file from an earlier time, and a place for the bytes. Gives the file, or the word
//! that it has not changed. Must never: follow a redirect to anything but http and https, accept more bytes than the
//! limit, give a part of a file for the whole, or send an authorization to another origin than the URL's.

use crate::client::Client;
use crate::error::Fault;
use crate::http::{Break, Peer, Request};
use crate::redact::{Secret, excerpt};
use crate::retry::{Budget, Failed, http_date, is_retryable, retry_after};
use base64::Engine as _;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use reqwest::{Method, Response, StatusCode, Url};
use std::io::Write;

/// Longest value of a header that is kept, in bytes.
const HEADER_BYTES: usize = 1024;
/// A file that was changed so shortly before it was sent may have been changed again within the same second, in
/// seconds (RFC 9110, section 8.8.2.2, with the margin of its predecessor).
const SETTLED: i64 = 60;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct WebRequest {
    /// The URL; user and password in it become an authorization.
    pub url: String,
    /// What an earlier answer said of the file, if the file is still there.
    pub known: Option<Validators>,
    /// Value of the `Authorization` header.
    pub authorization: Option<Secret>,
    /// Most bytes that are accepted.
    pub limit: u64,
}

/// What an answer says of its file, so that it can be asked later whether it has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
    /// `Date`.
    pub date: Option<String>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?.trim();
            (!value.is_empty() && value.len() <= HEADER_BYTES).then(|| value.to_owned())
        };
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED), date: text(DATE) }
    }

    /// When the file was changed, in seconds since 1970.
    pub fn modified(&self) -> Option<i64> {
        http_date(self.last_modified.as_deref()?)
    }

    /// The header with which to ask, if the answer can be relied on.
    fn condition(&self) -> Option<(HeaderName, HeaderValue)> {
        if let Some(etag) = &self.etag {
            return Some((IF_NONE_MATCH, HeaderValue::from_str(etag).ok()?));
        }
        let settled = http_date(self.date.as_deref()?)? - self.modified()? >= SETTLED;
        let value = settled.then(|| HeaderValue::from_str(self.last_modified.as_deref()?).ok()).flatten()?;
        Some((IF_MODIFIED_SINCE, value))
    }

    /// Do both have the same tag? Whether it is a weak one says nothing to a caller who takes whole files.
    fn same_tag(&self, other: &Self) -> bool {
        let plain = |v: &Self| v.etag.as_deref().map(|t| t.strip_prefix("W/").unwrap_or(t).to_owned());
        plain(self).is_some_and(|tag| plain(other) == Some(tag))
    }
}

/// The authorization of a user with a password (RFC 7617).
pub fn basic(user: &str, password: &str) -> Secret {
    let both = format!("{user}:{password}");
    Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both)))
}

/// What came.
#[derive(Debug)]
pub enum WebAnswer<W> {
    /// The file that is known is still the file.
    Unchanged,
    /// The whole file.
    File {
        /// Where it was written.
        to: W,
        /// What to ask with next time.
        validators: Validators,
    },
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WebError {
    /// The URL cannot be used.
    #[error("{url}: {cause}")]
    Url { url: String, cause: String },
    /// The server refused.
    #[error("{url}: the server answered {status}")]
    Status { url: String, status: u16 },
    /// No connection, or it broke, or nothing came for too long.
    #[error("{url}: {cause}")]
    Network { url: String, cause: String },
    /// The server's answer leads where nobody may be led.
    #[error("{url}: {cause}")]
    Refused { url: String, cause: String },
    /// More bytes than are accepted.
    #[error("{url}: it has more than {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    /// The place for the bytes failed.
    #[error("{url}: it cannot be written")]
    Local {
        url: String,
        #[source]
        source: std::io::Error,
    },
}

impl WebError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Url { .. } => Fault::Caller,
            Self::Status { status: 401 | 403, .. } => Fault::Auth,
            Self::Status { .. } => Fault::Registry,
            Self::Network { .. } => Fault::Network,
            Self::Refused { .. } | Self::TooLarge { .. } => Fault::Input,
            Self::Local { .. } => Fault::Local,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Status { status: 401 | 403, .. } => {
                "the file wants an authorization: see HTTP_AUTH_TOKEN_host in Dockerfile's reference of ADD"
            }
            Self::Status { status: 404 | 410, .. } => "check the URL",
            Self::Network { cause, .. } if cause.contains("certificate") => {
                "add the authority that signed the server's certificate to the trusted ones"
            }
            Self::Network { .. } => "check that the server can be reached from here, and the proxy settings",
            Self::Refused { .. } => "ask the server's owner, or give the URL that it means",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// How one try ended.
enum Try<W> {
    Done(WebAnswer<W>),
    /// Worth another try, after as long as the server says.
    Again(WebError, Option<std::time::Duration>),
}

impl Client {
    /// Fetches a file. `open` gives an empty place for each try; what a failed try wrote is dropped with its place.
    ///
    /// # Errors
    /// All that [`WebError`] lists, once the tries are used up.
    pub async fn get<W: Write + Send>(
        &self,
        ask: &WebRequest,
        open: &mut (dyn FnMut() -> std::io::Result<W> + Send),
    ) -> Result<WebAnswer<W>, WebError> {
        let (request, shown) = prepare(ask)?;
        let mut budget =
            Budget::new(self.shared.options.retry, &self.shared.patience, request.url.host_str().unwrap_or_default());
        loop {
            let (failure, told) = match self.try_once(ask, &request, &shown, open).await? {
                Try::Done(answer) => return Ok(answer),
                Try::Again(failure, told) => (failure, told),
            };
            let failed = match &failure {
                WebError::Status { status, .. } => Failed::answered(*status, &request.method),
                _ => Failed::Away,
            };
            let Some(wait) = budget.next(failed, told) else { return Err(failure) };
            budget.pause(wait, &failure).await;
        }
    }

    async fn try_once<W: Write + Send>(
        &self,
        ask: &WebRequest,
        request: &Request,
        shown: &str,
        open: &mut (dyn FnMut() -> std::io::Result<W> + Send),
    ) -> Result<Try<W>, WebError> {
        let mut response = match self.shared.transport.send(request).await {
            Ok(response) => response,
            Err(b) => return again(b, shown),
        };
        self.shared.patience.met(request.url.host_str().unwrap_or_default());
        let status = response.status();
        let refused = || WebError::Status { url: shown.to_owned(), status: status.as_u16() };
        if is_retryable(status) {
            return Ok(Try::Again(refused(), retry_after(response.headers())));
        }
        let validators = Validators::of(response.headers());
        match (status, &ask.known) {
            (StatusCode::NOT_MODIFIED, Some(_)) => return Ok(Try::Done(WebAnswer::Unchanged)),
            // Some servers give tags and do not read them.
            (StatusCode::OK, Some(known)) if known.same_tag(&validators) => {
                return Ok(Try::Done(WebAnswer::Unchanged));
            }
            (StatusCode::OK, _) => {}
            _ => return Err(refused()),
        }
        let too_large = || WebError::TooLarge { url: shown.to_owned(), limit: ask.limit };
        if announced(&response).is_some_and(|length| length > ask.limit) {
            return Err(too_large());
        }
        let local = |source| WebError::Local { url: shown.to_owned(), source };
        let mut to = open().map_err(local)?;
        let mut came = 0_u64;
        loop {
            match self.shared.transport.chunk(&mut response).await {
                Ok(Some(piece)) => {
                    came += piece.len() as u64;
                    if came > ask.limit {
                        return Err(too_large());
                    }
                    to.write_all(&piece).map_err(local)?;
                }
                Ok(None) => return Ok(Try::Done(WebAnswer::File { to, validators })),
                Err(b) => return again(b, shown),
            }
        }
    }
}

/// The request, and its URL for people.
fn prepare(ask: &WebRequest) -> Result<(Request, String), WebError> {
    let malformed = |cause: String| WebError::Url { url: excerpt(without_user(&ask.url).as_bytes()), cause };
    let mut url = Url::parse(&ask.url).map_err(|e| malformed(e.to_string()))?;
    let user = (!url.username().is_empty() || url.password().is_some())
        .then(|| basic(&decoded(url.username()), &decoded(url.password().unwrap_or_default())));
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err(malformed("it names no host".to_owned()));
    }
    url.set_fragment(None);
    let shown = url.to_string();
    let mut request = Request { peer: Peer::Web, ..Request::new(Method::GET, url) };
    // A body that was packed on the way would be another file.
    request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request.headers.extend(ask.known.as_ref().and_then(Validators::condition));
    if let Some(value) = ask.authorization.clone().or(user) {
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| malformed("its authorization holds characters that no header can".to_owned()))?;
        value.set_sensitive(true);
        request.authorization = Some(value);
    }
    Ok((request, shown))
}

/// User or password of a URL, in which everything unusual is written as %XX.
pub fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).and_then(|two| u8::from_str_radix(two, 16).ok());
        match digits {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part.bytes().skip(2));
            }
            None => {
                bytes.push(b'%');
                bytes.extend(part.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A URL that cannot be parsed may hold a password all the same.
fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

fn announced(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn again<W>(b: Break, shown: &str) -> Result<Try<W>, WebError> {
    let url = shown.to_owned();
    match b {
        Break::Passing(cause) => Ok(Try::Again(WebError::Network { url, cause }, None)),
        Break::Lasting(cause) => Err(WebError::Network { url, cause }),
        Break::Refused(cause) => Err(WebError::Refused { url, cause }),
        Break::TooLarge(limit) => Err(WebError::TooLarge { url, limit }),
        Break::Source(source) => Err(WebError::Local { url, source }),
        Break::Told(error) => Err(WebError::Refused { url, cause: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(etag: Option<&str>, modified: Option<&str>, date: Option<&str>) -> Validators {
        let text = |t: Option<&str>| t.map(str::to_owned);
        Validators { etag: text(etag), last_modified: text(modified), date: text(date) }
    }

    #[test]
    fn questions_that_can_be_relied_on() {
        let (old, soon, late) =
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:36 GMT", "Sun, 06 Nov 1994 08:50:37 GMT");
        for (validators, asked) in [
            (known(Some("\"a\""), Some(old), None), Some("if-none-match")),
            (known(None, Some(old), Some(late)), Some("if-modified-since")),
            (known(None, Some(old), Some(soon)), None),
            (known(None, Some(old), None), None),
            (known(None, Some("then"), Some(late)), None),
            (known(None, None, Some(late)), None),
        ] {
            let name = validators.condition().map(|(name, _)| name.to_string());
            assert_eq!(name.as_deref(), asked, "{validators:?}");
        }
        assert!(known(Some("W/\"a\""), None, None).same_tag(&known(Some("\"a\""), None, None)));
        assert!(!known(None, None, None).same_tag(&known(None, None, None)));
    }

    #[test]
    fn authorizations_come_from_the_url_and_are_not_shown() {
        let ask = |url: &str, secret: Option<&str>| {
            let authorization = secret.map(Secret::new);
            prepare(&WebRequest { url: url.to_owned(), known: None, authorization, limit: 0 })
        };
        let (request, shown) = ask("https://me:hunter2@h/f#x", None).unwrap();
        assert_eq!(shown, "https://h/f");
        assert_eq!(request.authorization.as_ref().unwrap(), "Basic bWU6aHVudGVyMg==");
        assert!(!format!("{request:?}").contains("bWU6"));
        let (request, _) = ask("https://me:%68unter2@h/f", None).unwrap();
        assert_eq!(request.authorization.unwrap(), "Basic bWU6aHVudGVyMg==");
        let (request, _) = ask("https://me:hunter2@h/f", Some("Bearer x")).unwrap();
        assert_eq!(request.authorization.unwrap(), "Bearer x");
        for (url, secret) in [("https://me:hunter2@h:x/f", None), ("https://h/", Some("a\nb")), ("me:hunter2@", None)] {
            let error = ask(url, secret).unwrap_err();
            assert_eq!(error.fault(), Fault::Caller);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
