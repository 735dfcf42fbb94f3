//! Which certificate authorities are trusted wherever nothing else is said: those of the system and those of the options.
//! Takes PEM text; gives connections that trust them, or a judge by them for connections that are made otherwise.
//! Must never bring back an authority that an administrator has removed.

use reqwest::{Certificate, ClientBuilder};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{Error, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// The authorities.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots {
    base: Base,
    /// In PEM form.
    extra: Arc<Vec<Vec<u8>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Base {
    /// Those of the system.
    #[default]
    System,
    /// Mozilla's, as compiled in.
    BuiltIn,
}

impl Roots {
    pub(crate) fn new(extra: &[Vec<u8>]) -> Self {
        // A machine without any CA file makes the builder fail, even for plain http. Only then the
        // built-in roots stand in: merging them always would bring back what an administrator removed.
        let base = if ClientBuilder::new().no_proxy().build().is_ok() { Base::System } else { Base::BuiltIn };
        Self { base, extra: Arc::new(extra.to_vec()) }
    }

    /// Connections that trust these.
    pub(crate) fn lay(&self, builder: ClientBuilder) -> reqwest::Result<ClientBuilder> {
        let mut extra = Vec::new();
        for pem in self.extra.iter() {
            extra.extend(Certificate::from_pem_bundle(pem)?);
        }
        match self.base {
            Base::System => Ok(builder.tls_certs_merge(extra)),
            Base::BuiltIn => {
                for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
                    extra.push(Certificate::from_der(der)?);
                }
                Ok(builder.tls_certs_only(extra))
            }
        }
    }

    /// The judgement that connections with these and some more authorities come to.
    pub(crate) fn judge(&self, more: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        let mut extra = more;
        for pem in self.extra.iter() {
            for found in CertificateDer::pem_slice_iter(pem) {
                extra.push(found.map_err(|e| Error::General(e.to_string()))?);
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        match self.base {
            Base::System => Ok(Arc::new(Verifier::new_with_extra_roots(extra, provider)?)),
            Base::BuiltIn => {
                let mut store = RootCertStore::empty();
                for der in extra.into_iter().chain(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned()) {
                    store.add(der)?;
                }
                let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build();
                Ok(judge.map_err(|e| Error::General(e.to_string()))?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_judges_can_be_had_with_either_roots() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----".to_vec();
        for base in [Base::System, Base::BuiltIn] {
            for (extra, fine) in [(vec![], true), (vec![pem.clone()], false)] {
                let roots = Roots { base, extra: Arc::new(extra) };
                let built = roots.lay(ClientBuilder::new().no_proxy()).and_then(ClientBuilder::build);
                assert_eq!(built.is_ok(), fine, "{roots:?}: {built:?}");
                assert_eq!(roots.judge(Vec::new()).is_ok(), fine, "{roots:?}");
            }
        }
    }
}
