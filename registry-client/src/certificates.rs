//! Connections to registries that have certificates of their own: authorities that are trusted for them alone, and a
//! certificate by which this client says who it is. Must never use any of them for another host or port.

use crate::RegistryError;
use crate::endpoint::{Trust, is_docker_hub, names};
use crate::error::chain;
use crate::options::{HostCertificates, ProxyOptions};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Certificate, Client, ClientBuilder, Identity, Url};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Makes what all connections have in common.
type Begin = Arc<dyn Fn() -> Result<ClientBuilder, RegistryError> + Send + Sync>;

/// Connections by registry, made when they are first needed: what is wrong with a file for one registry is no matter for
/// another one.
#[derive(Clone)]
pub(crate) struct Certificates {
    all: Arc<Vec<HostCertificates>>,
    made: Arc<Mutex<HashMap<(String, Trust), Client>>>,
    proxies: ProxyOptions,
    begin: Begin,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.all).finish()
    }
}

impl Certificates {
    pub(crate) fn new(all: &[HostCertificates], proxies: ProxyOptions, begin: Begin) -> Self {
        Self { all: Arc::new(all.to_vec()), made: Arc::default(), proxies, begin }
    }

    /// The connections for a URL; `None` where nothing is said of its host, or plain http needs none. A host that need
    /// not prove itself can still want to know who we are.
    pub(crate) fn for_url(&self, url: &Url, trust: Trust) -> Result<Option<Client>, RegistryError> {
        let mine = self.about(url);
        let Some(first) = mine.first().filter(|_| url.scheme() == "https") else { return Ok(None) };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (first.host.clone(), trust);
        if let Some(known) = made.get(&key) {
            return Ok(Some(known.clone()));
        }
        let client = built(&first.host, self.builder(url, &mine, trust)?)?;
        made.insert(key, client.clone());
        Ok(Some(client))
    }

    /// Connections for a URL that speak HTTP/1.1 alone, for one question: with HTTP/2 the TLS library's word on why a
    /// connection has ended is lost.
    pub(crate) fn in_old_words(&self, url: &Url, trust: Trust) -> Result<Client, RegistryError> {
        built(url.host_str().unwrap_or_default(), self.builder(url, &self.about(url), trust)?.http1_only())
    }

    fn about(&self, url: &Url) -> Vec<&HostCertificates> {
        let is = |host: &str| {
            let hub = is_docker_hub(host) && url.host_str().is_some_and(is_docker_hub) && url.port().is_none();
            names(host, url) || hub
        };
        self.all.iter().filter(|c| is(&c.host)).collect()
    }

    fn builder(&self, url: &Url, mine: &[&HostCertificates], trust: Trust) -> Result<ClientBuilder, RegistryError> {
        let host = mine.first().map(|c| c.host.as_str()).unwrap_or_default();
        if let Some(cause) = mine.iter().find_map(|c| c.unusable.clone()) {
            return Err(RegistryError::Config { what: format!("the certificates for {host}"), cause });
        }
        let mut builder = (self.begin)()?.tls_danger_accept_invalid_certs(trust == Trust::Insecure);
        let mut authorities = Vec::new();
        for pem in mine.iter().flat_map(|c| &c.authorities) {
            let found = Certificate::from_pem_bundle(pem);
            authorities.extend(found.map_err(|e| failed(format!("the certificate authority of {host}"), &e))?);
        }
        if !authorities.is_empty() {
            builder = builder.tls_certs_merge(authorities);
        }
        if let Some(pem) = mine.iter().find_map(|c| c.identity.as_ref()) {
            self.keep_from_proxy(url, host)?;
            let identity = Identity::from_pem(pem);
            builder = builder.identity(identity.map_err(|e| failed(format!("the client certificate for {host}"), &e))?);
        }
        Ok(builder)
    }

    fn keep_from_proxy(&self, url: &Url, host: &str) -> Result<(), RegistryError> {
        if !proxied_over_tls(&self.proxies, url) {
            return Ok(());
        }
        let cause = format!(
            "the proxy is spoken to over TLS and could ask for it: list {} in NO_PROXY, or give the proxy's URL with http",
            url.host_str().unwrap_or_default()
        );
        Err(RegistryError::Config { what: format!("the client certificate for {host}"), cause })
    }
}

/// A client certificate is for its host alone, and the TLS library would show it to a proxy that asks for one as well.
fn proxied_over_tls(proxies: &ProxyOptions, url: &Url) -> bool {
    let Some(proxy) = proxies.https.as_ref().filter(|url| url.to_ascii_lowercase().starts_with("https:")) else {
        return false;
    };
    let matcher = Matcher::builder().https(proxy.clone()).no(proxies.never_for()).build();
    url.as_str().parse().is_ok_and(|uri| matcher.intercept(&uri).is_some())
}

fn built(host: &str, builder: ClientBuilder) -> Result<Client, RegistryError> {
    builder.build().map_err(|e| failed(format!("the certificates for {host}"), &e))
}

fn failed(what: String, e: &reqwest::Error) -> RegistryError {
    RegistryError::Config { what, cause: chain(e) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_no_client_certificate() {
        for (https, bypass, shown) in [
            (None, None, false),
            (Some("http://proxy.example:3128"), None, false),
            (Some("https://proxy.example:3128"), None, true),
            (Some("HTTPS://proxy.example"), Some("other.example"), true),
            (Some("https://proxy.example:3128"), Some(".example"), false),
            (Some("https://proxy.example:3128"), Some("a.example"), false),
        ] {
            let proxies = ProxyOptions {
                https: https.map(str::to_owned),
                bypass: bypass.map(str::to_owned),
                ..ProxyOptions::default()
            };
            let url = |host: &str| Url::parse(&format!("https://{host}:5000/v2/")).unwrap();
            assert_eq!(proxied_over_tls(&proxies, &url("a.example")), shown, "{https:?} {bypass:?}");
            assert!(!proxied_over_tls(&proxies, &url("127.0.0.1")), "{https:?} {bypass:?}");
            let mine = HostCertificates {
                host: "a.example:5000".to_owned(),
                identity: Some(b"hunter2".to_vec()),
                ..HostCertificates::default()
            };
            let begin: Begin = Arc::new(|| Ok(ClientBuilder::new().no_proxy()));
            let error =
                Certificates::new(&[mine], proxies, begin).for_url(&url("a.example"), Trust::Verified).unwrap_err();
            assert_eq!(error.to_string().contains("list a.example in NO_PROXY"), shown, "{error}");
        }
    }

    #[test]
    fn what_is_for_one_host_is_for_no_other() {
        let broken = |host: &str| HostCertificates {
            host: host.to_owned(),
            identity: Some(b"hunter2".to_vec()),
            ..HostCertificates::default()
        };
        let begin: Begin = Arc::new(|| Ok(ClientBuilder::new().no_proxy()));
        let certificates =
            Certificates::new(&[broken("a.example:5000"), broken("docker.io")], ProxyOptions::default(), begin);
        // What is chosen for a URL cannot be used, and that is how it is seen to be chosen.
        for (url, chosen) in [
            ("https://a.example:5000/v2/", true),
            ("http://a.example:5000/v2/", false),
            ("https://a.example/v2/", false),
            ("https://b.example:5000/v2/", false),
            ("https://registry-1.docker.io/v2/", true),
            ("https://auth.docker.io/token", false),
        ] {
            let found = |trust| certificates.for_url(&Url::parse(url).unwrap(), trust);
            for trust in [Trust::Verified, Trust::Insecure] {
                assert_eq!(found(trust).is_err(), chosen, "{url} {trust:?}");
                if let Err(error) = found(trust) {
                    assert!(!error.to_string().contains("hunter2"));
                }
            }
        }
        assert!(!format!("{certificates:?}").contains("104, 117"), "{certificates:?}");
    }
}
