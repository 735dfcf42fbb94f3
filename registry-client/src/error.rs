//! What can go wrong between Cooper and a registry, sorted by whose fault it is. Takes what was
//! asked and what came back; gives a sentence and a hint. Must never hold a secret or an unbounded
//! text of a stranger.

use crate::http::{BY_PROXY, FATAL_ALERT};
use cooper_image::index::DocumentError;
use cooper_image::{Digest, DigestError};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What is said of a host that plain http was tried at, and that took it for something else.
pub(crate) const PLAIN_REFUSED: &str = "http: the answer was 400";

/// What is in all words about certificates, however they begin.
pub(crate) const CERTIFICATE: &str = "ertificate";

/// What was asked of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Host and port that were spoken to.
    pub registry: String,
    /// Repository there; empty when the registry as a whole was asked.
    pub repository: String,
    /// The request in words, as `GET manifest latest`.
    pub request: String,
    /// Another host and port, which they led to, and which is the one that answered or could not be asked.
    pub led_to: Option<String>,
}

/// What a token server is asked for.
pub(crate) const TOKEN: &str = "token for ";

impl Asked {
    /// Who answered.
    pub(crate) fn who(&self) -> Cow<'static, str> {
        if let Some(there) = &self.led_to {
            return Cow::Owned(format!("{there}, which it led to,"));
        }
        let is_token = self.request.split_once(' ').is_some_and(|(_, what)| what.starts_with(TOKEN));
        Cow::Borrowed(if is_token { "the token server" } else { "the registry" })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.repository.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{}: {}", self.registry, self.repository, self.request)
    }
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The options, the configuration or the name that was asked for.
    Caller,
    /// Credentials are missing, wrong, or were not allowed to be sent.
    Auth,
    /// The registry refused or broke the protocol.
    Registry,
    /// The network in between.
    Network,
    /// What came is invalid or hostile: other bytes than promised, an ambiguous document.
    Input,
    /// A file or sink on our side.
    Local,
}

/// A failed conversation with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// An option or a configuration file cannot be used.
    #[error("{what}: {cause}")]
    Config {
        /// Which option or file.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The file with credentials names a credential helper that can be none.
    #[error("credential helper {0:?}: the name is malformed")]
    Helper(String),
    /// The file with credentials has something for the registry that cannot be read.
    #[error("{file}: the login for {key} cannot be used: {why}")]
    Login {
        /// The file's path.
        file: String,
        /// The registry, with a path where it is for a part of its repositories.
        key: String,
        /// What is wrong; nothing of the entry is quoted.
        why: &'static str,
    },
    /// `registries.conf` blocks the name.
    #[error("{name} is blocked by registries.conf")]
    Blocked {
        /// The image name.
        name: String,
    },
    /// The registry wants credentials that it did not get, or refused those that it got.
    #[error("{asked}: {cause}")]
    Auth {
        /// What was asked.
        asked: Box<Asked>,
        /// What went wrong.
        cause: String,
        /// What to do.
        advice: String,
    },
    /// The registry answered with a status that ends the conversation.
    #[error("{asked}: {} answered {status}{}{answer}", .asked.who(), if answer.is_empty() { "" } else { ": " })]
    Status {
        /// What was asked.
        asked: Box<Asked>,
        /// HTTP status code.
        status: u16,
        /// What it said, bounded and escaped.
        answer: String,
    },
    /// The host has said when it wants to be asked again, and that is longer than anybody waits for it here.
    #[error("{asked}: {} wants to be asked again in {}, not before", .asked.who(), length(*.wait))]
    Later {
        /// What was asked, or would have been.
        asked: Box<Asked>,
        /// How long that is.
        wait: Duration,
    },
    /// The registry cannot be told under which digest a tag is to have a manifest.
    #[error("{asked}: it gives no tag to {digest}, and would keep what is sent for the tag under another digest")]
    NoTag {
        /// What would have been asked.
        asked: Box<Asked>,
        /// The digest by which the manifest is known.
        digest: Digest,
    },
    /// The registry does not follow the protocol.
    #[error("{asked}: {cause}")]
    Protocol {
        /// What was asked.
        asked: Box<Asked>,
        /// Which rule was broken.
        cause: String,
    },
    /// No connection, or it broke, or nothing came for too long.
    #[error("{asked}: {cause}")]
    Network {
        /// What was asked.
        asked: Box<Asked>,
        /// The network's words.
        cause: String,
    },
    /// The bytes are not those that the digest or the size promised.
    #[error("{asked}: the content is not what was promised")]
    Digest {
        /// What was asked.
        asked: Box<Asked>,
        /// Promised and actual.
        #[source]
        source: DigestError,
    },
    /// A mirror gave other bytes than promised, and the sink has some of them. It is not asked for these any more: who
    /// asks again is served by another endpoint.
    #[error(transparent)]
    Mirror(Box<RegistryError>),
    /// The manifest is malformed, ambiguous, or of an unknown type.
    #[error("{asked}: the manifest cannot be used")]
    Document {
        /// What was asked.
        asked: Box<Asked>,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// More bytes than are accepted from strangers, or deeper nesting.
    #[error("{asked}: the answer exceeds the limit of {limit}")]
    TooLarge {
        /// What was asked.
        asked: Box<Asked>,
        /// The limit with its unit.
        limit: String,
    },
    /// The index has no image for the platform.
    #[error("{asked}: there is no image for {wanted}; there are images for {}", listed(.available))]
    Platform {
        /// What was asked.
        asked: Box<Asked>,
        /// The platform that was wanted.
        wanted: String,
        /// The platforms that exist, attestations left away.
        available: Vec<String>,
    },
    /// Every endpoint of a name failed.
    #[error("no endpoint could serve {name}: {}", .failures.iter().map(whole).collect::<Vec<_>>().join("; "))]
    Endpoints {
        /// The image name.
        name: String,
        /// What each endpoint said, in the order in which they were tried.
        failures: Vec<RegistryError>,
    },
    /// The file to send, or the sink for what came, failed.
    #[error("{asked}: {what}")]
    Local {
        /// What was asked.
        asked: Box<Asked>,
        /// What was done.
        what: &'static str,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
}

impl RegistryError {
    /// A refusal to somebody who is logged in.
    pub(crate) fn forbidden(asked: Box<Asked>, answer: &str) -> Self {
        let colon = if answer.is_empty() { "" } else { ": " };
        let advice = format!(
            "the user that is logged in to {} may not do this: ask there for the right, or log in as another one",
            asked.registry
        );
        Self::Auth { asked, cause: format!("the registry answered 403{colon}{answer}"), advice }
    }

    /// Whose fault it is. For several endpoints the last one, the primary, decides.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Config { .. }
            | Self::Helper(_)
            | Self::Login { .. }
            | Self::Blocked { .. }
            | Self::Platform { .. } => Fault::Caller,
            Self::Auth { .. } | Self::Status { status: 401 | 403, .. } => Fault::Auth,
            Self::Status { .. } | Self::Later { .. } | Self::NoTag { .. } | Self::Protocol { .. } => Fault::Registry,
            Self::Network { .. } => Fault::Network,
            Self::Digest { .. } | Self::Document { .. } | Self::TooLarge { .. } => Fault::Input,
            Self::Local { .. } => Fault::Local,
            Self::Mirror(failure) => failure.fault(),
            Self::Endpoints { failures, .. } => failures.last().map_or(Fault::Network, Self::fault),
        }
    }

    /// Did the registry say that there is no such thing? A mirror's word does not count for another endpoint's.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Status { status: 404, .. } => true,
            Self::Endpoints { failures, .. } => failures.last().is_some_and(Self::is_absence),
            _ => false,
        }
    }

    /// Is it invalid or hostile input (exit code 3), rather than the registry or the network (4)?
    pub fn is_input(&self) -> bool {
        self.fault() == Fault::Input
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Auth { advice, .. } => Some(advice.clone()),
            Self::Helper(_) => Some(
                "credsStore and credHelpers of the credential file take what follows docker-credential- in the name of a \
                 helper: letters, digits, _, - and . alone"
                    .to_owned(),
            ),
            Self::Login { file, key, .. } => {
                let host = key.split('/').next().unwrap_or(key);
                Some(format!("take the entry {key} out of {file}, and log in again with: cooper login {host}"))
            }
            Self::Status { status, asked, .. } => Some(status_hint(*status, asked)),
            Self::Later { wait, .. } => {
                Some(format!("try again in {}; who is logged in, or uses a mirror, may wait less", length(*wait)))
            }
            Self::NoTag { .. } => Some(
                "send it to a registry that gives tags beside a digest (?tag=), as cooper registry serve does".to_owned(),
            ),
            Self::Network { cause, asked } => Some(network_hint(cause, asked)),
            Self::Digest { asked, .. } if asked.request.starts_with("PUT") => Some(
                "the registry, or a proxy in between, says that it keeps other bytes than it was sent: try again, and tell \
                 whoever runs it"
                    .to_owned(),
            ),
            Self::Digest { .. } => {
                Some("the registry or a mirror or proxy in between serves other content; nothing was kept".to_owned())
            }
            Self::Platform { available, .. } if available.is_empty() => {
                Some("ask who made it, or choose another one; cooper inspect --raw shows what is in it".to_owned())
            }
            Self::Platform { .. } => Some("choose one of these with --platform".to_owned()),
            Self::Blocked { .. } => Some("remove blocked = true from the matching [[registry]] table".to_owned()),
            Self::Endpoints { failures, .. } => failures.last().and_then(Self::hint),
            Self::Mirror(failure) => failure.hint(),
            Self::Local { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("free space on that disk; cooper prune deletes what nobody needs".to_owned())
            }
            _ => None,
        }
    }
}

/// Where to give credentials.
pub(crate) fn login_hint(registry: &str) -> String {
    let name = if crate::endpoint::is_docker_hub(registry) { "docker.io" } else { registry };
    format!("log in with: cooper login {name}; what docker login and podman login keep counts as well")
}

fn status_hint(status: u16, asked: &Asked) -> String {
    let (method, host) = (asked.request.split(' ').next().unwrap_or_default(), &asked.registry);
    let is_push = matches!(method, "POST" | "PATCH" | "PUT");
    match (status, &asked.led_to) {
        (401 | 403, Some(there)) => {
            format!("{there} is sent no credentials: ask whoever runs {host} why that leads to a place that refuses")
        }
        (401 | 403, None) => login_hint(host),
        (404, _) if asked.repository.is_empty() => format!("check the name: what answers at {host} may be no registry"),
        (404, _) => "check the name and the tag; a private repository can look absent".to_owned(),
        (400 | 405, _) if method == "DELETE" => {
            "many registries delete nothing, or only by digest: give NAME@DIGEST, or allow deletes at the registry"
                .to_owned()
        }
        (405, _) if is_push => {
            format!("{host} takes no pushes: it may be a mirror, or read-only; push to the registry behind it")
        }
        (413, _) if is_push => format!(
            "{host}, or a proxy before it, takes nothing so large: have its limit raised, or make smaller layers"
        ),
        (429, _) => format!("{} limits requests; wait, log in, or use a mirror", asked.who()),
        (507, _) => format!("the disk of {host} is full: whoever runs it has to make room"),
        (500.., _) => "try again later; whoever runs it finds the reason in its log".to_owned(),
        _ => format!("whoever runs {host} can say why it refuses this"),
    }
}

fn network_hint(cause: &str, asked: &Asked) -> String {
    let host = asked.led_to.as_ref().unwrap_or(&asked.registry);
    if let Some(alert) = cause.split(FATAL_ALERT).nth(1)
        && let Some(hint) = alert_hint(alert, host)
    {
        return hint;
    }
    let by_proxy = cause.contains(BY_PROXY);
    let cause = cause.to_ascii_lowercase();
    if cause.contains("certificate") {
        format!(
            "trust the authority that signed it (--registry-ca {host}=FILE, or certs.d/{host}/ca.crt), or mark the registry insecure (--insecure-registry {host})"
        )
    } else if cause.contains(PLAIN_REFUSED) {
        format!("{host} was asked over http as well, and no registry answered: check the port")
    } else if cause.contains("corrupt message") || cause.contains("invalidcontenttype") {
        format!("if it speaks plain http, mark it insecure: --insecure-registry {host}")
    } else if by_proxy {
        format!("check the proxy settings (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), and that the proxy reaches {host}")
    } else {
        format!("check that {host} can be reached from here, and the proxy settings")
    }
}

/// What a registry has against the certificate by which this client says who it is, or against having been shown none
/// (RFC 8446, section 6.2): some say `BadCertificate` of that.
fn alert_hint(alert: &str, registry: &str) -> Option<String> {
    let about_it = [
        "CertificateRequired",
        "BadCertificate",
        "UnsupportedCertificate",
        "CertificateRevoked",
        "CertificateExpired",
        "CertificateUnknown",
        "UnknownCA",
        "AccessDenied",
    ];
    about_it.iter().any(|name| alert.starts_with(name)).then(|| {
        format!(
            "the registry wants a certificate of this client, one that it trusts: put it and its key into certs.d/{registry}/NAME.cert and NAME.key"
        )
    })
}

/// A time for people.
fn length(time: Duration) -> String {
    match time.as_millis().div_ceil(1000) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}

fn listed(platforms: &[String]) -> String {
    if platforms.is_empty() { "no platform".to_owned() } else { platforms.join(", ") }
}

/// An error and its causes on one line, for a list of several.
fn whole(error: &RegistryError) -> String {
    chain(error)
}

/// An error and its causes on one line; a cause that repeats its parent is left away.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::Digest;

    fn asked() -> Box<Asked> {
        Box::new(Asked {
            registry: "r.example".into(),
            repository: "a/b".into(),
            request: "GET manifest 1".into(),
            led_to: None,
        })
    }

    #[test]
    fn faults_and_sentences() {
        let digest = RegistryError::Digest {
            asked: asked(),
            source: DigestError::Mismatch { expected: Digest::sha256("a"), actual: Digest::sha256("b") },
        };
        assert!(digest.is_input());
        assert!(digest.hint().is_some_and(|hint| hint.contains("nothing was kept")));
        let put = Box::new(Asked { request: "PUT blob x".into(), ..*asked() });
        let sent = RegistryError::Digest { asked: put, source: DigestError::Size { expected: 1, actual: 2 } };
        assert!(sent.is_input() && sent.hint().is_some_and(|hint| hint.contains("than it was sent")));
        let status = RegistryError::Status { asked: asked(), status: 404, answer: String::new() };
        assert_eq!(status.to_string(), "r.example/a/b: GET manifest 1: the registry answered 404");
        assert_eq!((status.fault(), status.is_input()), (Fault::Registry, false));
        let denied = RegistryError::Status { asked: asked(), status: 403, answer: "no".into() };
        assert_eq!(denied.fault(), Fault::Auth);
        let all = RegistryError::Endpoints { name: "r.example/a/b:1".into(), failures: vec![denied, digest] };
        assert!(all.is_input(), "the primary decides");
        let text = all.to_string();
        assert!(text.contains("answered 403: no") && text.contains("digest mismatch: expected sha256:"), "{text}");
    }

    #[test]
    fn every_refusal_has_a_hint() {
        for (status, request, words) in [
            (401, "GET manifest 1", "cooper login r.example"),
            (404, "GET manifest 1", "check the name and the tag"),
            (405, "DELETE manifest 1", "NAME@DIGEST"),
            (405, "POST blob upload", "r.example takes no pushes"),
            (405, "GET list of tags", "can say why it refuses this"),
            (413, "PUT blob x", "make smaller layers"),
            (418, "GET manifest 1", "can say why it refuses this"),
            (429, "GET manifest 1", "limits requests"),
            (500, "GET manifest 1", "try again later"),
            (507, "PATCH blob upload", "the disk of r.example is full"),
        ] {
            let asked = Box::new(Asked { request: request.to_owned(), ..*asked() });
            let hint = RegistryError::Status { asked, status, answer: String::new() }.hint().unwrap();
            assert!(hint.contains(words), "{status} {request}: {hint}");
        }
    }

    #[test]
    fn hints_name_the_registry() {
        let tls = RegistryError::Network { asked: asked(), cause: "invalid peer certificate: UnknownIssuer".into() };
        assert!(tls.hint().unwrap().contains("--insecure-registry r.example"));
        for (alert, words) in [
            ("CertificateRequired", "put it and its key into certs.d/r.example/NAME.cert and NAME.key"),
            ("BadCertificate", "a certificate of this client, one that it trusts"),
            ("ProtocolVersion", "check that r.example can be reached"),
        ] {
            let cause = format!("error sending request: received fatal alert: {alert}");
            let hint = RegistryError::Network { asked: asked(), cause }.hint().unwrap();
            assert!(hint.contains(words), "{alert}: {hint}");
        }
        let corrupt = "https: received corrupt message of type InvalidContentType";
        for (before, words) in [("", "--insecure-registry r.example"), ("http: the answer was 400; ", "check the port")]
        {
            let cause = format!("{before}{corrupt}");
            let hint = RegistryError::Network { asked: asked(), cause }.hint().unwrap();
            assert!(hint.contains(words), "{before}: {hint}");
        }
        let source = std::io::ErrorKind::StorageFull.into();
        let full = RegistryError::Local { asked: asked(), what: "the blob cannot be written", source };
        assert!(full.hint().unwrap().contains("free space"));
        assert_eq!(
            login_hint("registry-1.docker.io"),
            "log in with: cooper login docker.io; what docker login and podman login keep counts as well"
        );
    }
}
