//! How registries are reached, as plain data that the front door fills from files, flags and
//! environment. Must never read any of these itself.

use crate::credentials::DockerConfig;
use crate::kept::Uploads;
use crate::patience::{Clock, Real};
use crate::registries_conf::RegistriesConf;
use crate::retry::RetryPolicy;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a [`crate::Client`] has to know.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `registries.conf` and its drop-ins, laid over each other.
    pub registries: RegistriesConf,
    /// Credential files, the most important first.
    pub credentials: Vec<DockerConfig>,
    /// `host[:port]` of registries that may be spoken to without a verified certificate, or over
    /// plain http when https is not offered.
    pub insecure: Vec<String>,
    /// Token servers on another host than their registry that may see its credentials.
    pub trusted_realms: Vec<TrustedRealm>,
    /// Certificate authorities in PEM form, trusted besides those of the system.
    pub extra_authorities: Vec<Vec<u8>>,
    /// What holds for single registries beside that.
    pub certificates: Vec<HostCertificates>,
    /// Proxies.
    pub proxies: ProxyOptions,
    /// How this client names itself.
    pub user_agent: String,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// What tries wait by: the machine's, but for tests.
    pub clock: Arc<dyn Clock>,
    /// How long silence is borne.
    pub timeouts: Timeouts,
    /// Blobs of more bytes are sent in parts of so many, so that after a break only the last part is sent again; a
    /// registry may ask for larger ones.
    pub part: u64,
    /// Who keeps uploads of several parts for a later process; nobody, then each process begins anew.
    pub uploads: Option<Arc<dyn Uploads>>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            registries: RegistriesConf::default(),
            credentials: Vec::new(),
            insecure: Vec::new(),
            trusted_realms: Vec::new(),
            extra_authorities: Vec::new(),
            certificates: Vec::new(),
            proxies: ProxyOptions::default(),
            user_agent: concat!("cooper/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            clock: Arc::new(Real::new()),
            timeouts: Timeouts::default(),
            part: 32 << 20,
            uploads: None,
        }
    }
}

/// Certificates for one registry, as `certs.d` has them. `Debug` does not show the keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HostCertificates {
    /// `host[:port]` of the registry.
    pub host: String,
    /// Certificate authorities, trusted for this registry besides the others.
    pub authorities: Vec<Authority>,
    /// Certificate and key in PEM form by which this client says who it is.
    pub identity: Option<Vec<u8>>,
    /// What is wrong with what there is for this registry, and so for it alone: told when it is first asked.
    pub unusable: Option<String>,
}

/// Certificate authorities of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The file's path, for errors.
    pub file: String,
    /// What it holds: one certificate or several in PEM form.
    pub pem: Vec<u8>,
}

impl fmt::Debug for HostCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("HostCertificates");
        shown.field("host", &self.host).field("authorities", &self.authorities.len());
        shown.field("identity", &self.identity.as_ref().map(|_| "***")).field("unusable", &self.unusable).finish()
    }
}

/// A token server that may see the credentials of a registry on another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRealm {
    /// `host[:port]` of the registry.
    pub registry: String,
    /// Host of the token server, without a port.
    pub realm: String,
}

/// Proxies, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` have them. Loopback is never proxied.
/// `Debug` does not show the URLs: they can hold a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// URL of the proxy for plain http.
    pub http: Option<String>,
    /// URL of the proxy for https.
    pub https: Option<String>,
    /// Comma-separated hosts, domains and networks that are reached directly.
    pub bypass: Option<String>,
}

impl ProxyOptions {
    /// The proxy that a URL is reached by, without the user and password of its own URL.
    pub(crate) fn for_url(&self, url: &Url) -> Option<String> {
        let url = url.as_str().parse().ok()?;
        let given = |proxy: &Option<String>| proxy.clone().unwrap_or_default();
        let proxies = Matcher::builder().http(given(&self.http)).https(given(&self.https)).no(self.never_for()).build();
        let proxy = proxies.intercept(&url)?;
        Some(format!("{}://{}", proxy.uri().scheme_str()?, proxy.uri().authority()?))
    }

    /// What is reached directly, as `NO_PROXY` has it.
    pub(crate) fn never_for(&self) -> String {
        format!("localhost,127.0.0.0/8,::1,{}", self.bypass.as_deref().unwrap_or_default())
    }
}

impl fmt::Debug for ProxyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |url: &Option<String>| url.as_ref().map(|_| "***");
        let mut shown = f.debug_struct("ProxyOptions");
        shown.field("http", &hidden(&self.http)).field("https", &hidden(&self.https));
        shown.field("bypass", &self.bypass).finish()
    }
}

/// How long silence is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// Without one byte in either direction.
    pub idle: Duration,
    /// Between the last byte of an upload and the answer; a registry may hash all of it first.
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), idle: Duration::from_secs(30), commit: Duration::from_secs(300) }
    }
}
