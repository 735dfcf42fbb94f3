//! Connections to registries that have certificates of their own: authorities that are trusted for them alone, and a
//! certificate by which this client says who it is. Must never use any of them for another host or port.

use crate::RegistryError;
use crate::endpoint::{Trust, is_docker_hub, names};
use crate::error::chain;
use crate::options::{Authority, HostCertificates, ProxyOptions};
use crate::own_leaf::OwnLeaf;
use crate::roots::Roots;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Client, ClientBuilder, Identity, Url};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Makes what all connections have in common, but for whom they trust.
type Begin = Arc<dyn Fn() -> Result<ClientBuilder, RegistryError> + Send + Sync>;

/// Connections by registry, made when they are first needed: what is wrong with a file for one registry is no matter for
/// another one.
#[derive(Clone)]
pub(crate) struct Certificates {
    all: Arc<Vec<HostCertificates>>,
    made: Arc<Mutex<HashMap<(String, Trust), Client>>>,
    proxies: ProxyOptions,
    roots: Roots,
    begin: Begin,
}

/// What is spoken over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    /// What the two agree on.
    Any,
    /// HTTP/1.1 alone.
    Old,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.all).finish()
    }
}

impl Certificates {
    pub(crate) fn new(all: &[HostCertificates], proxies: ProxyOptions, roots: Roots, begin: Begin) -> Self {
        Self { all: Arc::new(all.to_vec()), made: Arc::default(), proxies, roots, begin }
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
        let client = built(&first.host, self.builder(url, &mine, trust, Spoken::Any)?)?;
        made.insert(key, client.clone());
        Ok(Some(client))
    }

    /// Connections for a URL that speak HTTP/1.1 alone, for one question: with HTTP/2 the TLS library's word on why a
    /// connection has ended is lost.
    pub(crate) fn in_old_words(&self, url: &Url, trust: Trust) -> Result<Client, RegistryError> {
        built(url.host_str().unwrap_or_default(), self.builder(url, &self.about(url), trust, Spoken::Old)?)
    }

    fn about(&self, url: &Url) -> Vec<&HostCertificates> {
        let is = |host: &str| {
            let hub = is_docker_hub(host) && url.host_str().is_some_and(is_docker_hub) && url.port().is_none();
            names(host, url) || hub
        };
        self.all.iter().filter(|c| is(&c.host)).collect()
    }

    fn builder(
        &self,
        url: &Url,
        mine: &[&HostCertificates],
        trust: Trust,
        spoken: Spoken,
    ) -> Result<ClientBuilder, RegistryError> {
        let host = mine.first().map(|c| c.host.as_str()).unwrap_or_default();
        if let Some(cause) = mine.iter().find_map(|c| c.unusable.clone()) {
            return Err(RegistryError::Config { what: format!("the certificates for {host}"), cause });
        }
        let mut builder = (self.begin)()?.tls_danger_accept_invalid_certs(trust == Trust::Insecure);
        if spoken == Spoken::Old {
            builder = builder.http1_only();
        }
        let mut authorities = Vec::new();
        for authority in mine.iter().flat_map(|c| &c.authorities) {
            authorities.extend(of(authority, host)?);
        }
        let identity = mine.iter().find_map(|c| c.identity.as_ref());
        if let Some(pem) = identity {
            self.keep_from_proxy(url, host)?;
            let identity = Identity::from_pem(pem);
            builder = builder.identity(identity.map_err(|e| failed(format!("the client certificate for {host}"), &e))?);
        }
        if authorities.is_empty() || trust == Trust::Insecure {
            return self.roots.lay(builder).map_err(|e| failed("certificate authorities".to_owned(), &e));
        }
        let tls = self.tls(authorities, identity, spoken);
        Ok(builder.tls_backend_preconfigured(tls.map_err(|e| failed(format!("the certificates for {host}"), &e))?))
    }

    /// How a registry is spoken to for which authorities are configured.
    fn tls(
        &self,
        authorities: Vec<CertificateDer<'static>>,
        identity: Option<&Vec<u8>>,
        spoken: Spoken,
    ) -> Result<ClientConfig, rustls::Error> {
        let usual = self.roots.judge(authorities.clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OwnLeaf { usual, authorities }));
        let mut config = match identity {
            Some(pem) => {
                let unreadable = |e: rustls::pki_types::pem::Error| rustls::Error::General(e.to_string());
                let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(unreadable)?;
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pem).map_err(unreadable)?)?
            }
            None => config.with_no_client_auth(),
        };
        let protocols: &[&[u8]] = if spoken == Spoken::Old { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Ok(config)
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

/// The certificates of a file for a registry. None would mean that whoever put the file there is not heard.
fn of(authority: &Authority, host: &str) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let what = || format!("the certificate authority of {host}, {}", authority.file);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&authority.pem).collect();
    match found {
        Ok(none) if none.is_empty() => {
            Err(RegistryError::Config { what: what(), cause: "it holds no certificate in PEM form".to_owned() })
        }
        found => found.map_err(|e| failed(what(), &e)),
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

fn failed(what: String, e: &dyn std::error::Error) -> RegistryError {
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
            let error = Certificates::new(&[mine], proxies, Roots::default(), begin)
                .for_url(&url("a.example"), Trust::Verified)
                .unwrap_err();
            assert_eq!(error.to_string().contains("list a.example in NO_PROXY"), shown, "{error}");
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_an_error_that_names_it() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let key = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        for (text, says) in [
            (pem.as_slice(), None),
            (key, Some("it holds no certificate in PEM form")),
            (b"0\x82\x01\n", Some("it holds no certificate in PEM form")),
            (b"", Some("it holds no certificate in PEM form")),
            (&pem[..40], Some("ca.crt: ")),
        ] {
            let authority = Authority { file: "certs.d/a.example/ca.crt".to_owned(), pem: text.to_vec() };
            let got = of(&authority, "a.example");
            assert_eq!(got.as_ref().ok().map(Vec::len), says.is_none().then_some(1), "{text:?}");
            if let (Err(error), Some(says)) = (got, says) {
                assert!(matches!(error, RegistryError::Config { .. }), "{error}");
                let text = error.to_string();
                assert!(
                    text.starts_with("the certificate authority of a.example, certs.d/a.example/ca.crt: "),
                    "{text}"
                );
                assert!(text.contains(says), "{text}");
            }
        }
        // It is said whenever that registry is asked, however little it has to prove.
        let file = Authority { file: "ca.crt".to_owned(), pem: Vec::new() };
        let mine =
            HostCertificates { host: "a.example".to_owned(), authorities: vec![file], ..HostCertificates::default() };
        let begin: Begin = Arc::new(|| Ok(ClientBuilder::new().no_proxy()));
        let certificates = Certificates::new(&[mine], ProxyOptions::default(), Roots::default(), begin);
        for trust in [Trust::Verified, Trust::Insecure] {
            let found = certificates.for_url(&Url::parse("https://a.example/v2/").unwrap(), trust);
            assert!(found.unwrap_err().to_string().contains("ca.crt: it holds no"), "{trust:?}");
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
        let all = [broken("a.example:5000"), broken("docker.io")];
        let certificates = Certificates::new(&all, ProxyOptions::default(), Roots::default(), begin);
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
