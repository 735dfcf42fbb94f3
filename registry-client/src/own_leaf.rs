//! The judgement on a registry's certificate where authorities are configured for that registry.
//!
//! `openssl req -x509` makes a certificate that signs itself and says that it is an authority, and to the TLS library
//! an authority is no server's certificate. Where that very certificate is configured, it is what the registry was meant
//! to show: curl, skopeo and Docker see it so.
//!
//! Takes the usual judgement and the authorities; gives the judgement on both. Must never let anything else pass that
//! the usual one refuses, nor leave out the name, the dates or the handshake's signature.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;

/// The usual judgement, and the authorities that may be shown as they are.
#[derive(Debug)]
pub(crate) struct OwnLeaf {
    pub(crate) usual: Arc<dyn ServerCertVerifier>,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OwnLeaf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            // Who has its key could have signed a certificate for the registry, so that nobody gets in who could not
            // before. The dates were looked at before its being an authority: this error says that they are right.
            Err(error) if is_authority(&error) && self.authorities.iter().any(|a| a == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Was the certificate refused for nothing but being an authority's?
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::pem::PemObject as _;
    use std::time::Duration;

    /// `openssl req -x509 … -subj /CN=localhost -addext subjectAltName=DNS:localhost`, from 2026 until 2126.
    const OWN: &[u8] = b"-----BEGIN CERTIFICATE-----\n\
MIIBlDCCATugAwIBAgIUSn6FhReKgybLJZ9dDWWIsPedpP8wCgYIKoZIzj0EAwIw\n\
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzAxMDkyMFoYDzIxMjYxMTAz\n\
MDEwOTIwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
PQMBBwNCAARQUE3dyEY00CJp7nqwhOCXIr5EC1rKC2L2sXQNADm5uZ50aewoLKVl\n\
UW5BFUces1ZIWtKLk2cIsjqXMSqK+YJuo2kwZzAdBgNVHQ4EFgQUpPbjqT9JEWhL\n\
xguVA/+BBDo64L0wHwYDVR0jBBgwFoAUpPbjqT9JEWhLxguVA/+BBDo64L0wDwYD\n\
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID\n\
RwAwRAIgBCXM9zt9kgxTezVkEG+zJgM3Xo33wgQEAj4RcNIzdtQCIBNx6+YdKuW7\n\
teXxgBxOTUZ13iDiMjFHQt2pelm4IzxH\n\
-----END CERTIFICATE-----\n\
";

    #[test]
    fn the_name_and_the_dates_count_and_so_does_who_is_configured() {
        let own = CertificateDer::from_pem_slice(OWN).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let (before, within, after) = (1_600_000_000, 1_900_000_000, 5_000_000_000);
        for (configured, name, now, refusal) in [
            (true, "localhost", within, None),
            (true, "other.example", within, Some("not valid for name")),
            (true, "127.0.0.1", within, Some("not valid for name")),
            (true, "localhost", before, Some("not valid yet")),
            (true, "localhost", after, Some("expired")),
            (false, "localhost", within, Some("CaUsedAsEndEntity")),
        ] {
            let authorities = if configured { vec![own.clone()] } else { Vec::new() };
            let judge = OwnLeaf { usual: usual.clone(), authorities };
            let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
            let name = ServerName::try_from(name).unwrap();
            let judged = judge.verify_server_cert(&own, &[], &name, &[], now);
            let said = judged.err().map(|e| e.to_string());
            assert_eq!(said.is_some(), refusal.is_some(), "{name:?} {now:?}: {said:?}");
            assert!(said.unwrap_or_default().contains(refusal.unwrap_or_default()), "{name:?} {now:?}: {refusal:?}");
        }
    }
}
