//! Where a token may be fetched, and who may see a credential there. A registry names its token
//! server itself, so the name is a stranger's word: following it blindly would let any registry
//! reach into the network that the build runs in, or collect the credentials of another.
//!
//! The rules: an https registry has an https token server. A token server with a private, loopback
//! or link-local address is refused unless the registry has the same address. Credentials are sent
//! when the token server has the registry's own host name, or the two are a pair that is known
//! (Docker Hub's) or that the person allowed. A common parent domain is not enough: on a shared
//! domain the neighbours are strangers. Nor is the host name over plain http at another port, but on
//! loopback. Everybody else is asked for an anonymous token. Why: docs/decisions/0010-token-server-ports.md.

use crate::endpoint::{host_without_port, is_docker_hub, is_loopback};
use crate::options::TrustedRealm;
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the token server may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disclosure {
    /// The registry's credentials.
    Credentials,
    /// Only what is asked for.
    Anonymous,
}

/// Judges a token server. The `Err` says why it must not be asked at all.
pub(crate) fn judge(registry: &Url, realm: &Url, trusted: &[TrustedRealm]) -> Result<Disclosure, String> {
    let host = |u: &Url| u.host_str().map(host_without_port).unwrap_or_default();
    let (registry_host, realm_host) = (host(registry), host(realm));
    if !matches!(realm.scheme(), "https" | "http") || realm_host.is_empty() {
        return Err(format!("its token server has a {} URL", realm.scheme()));
    }
    if registry.scheme() == "https" && realm.scheme() != "https" {
        return Err(format!("its token server {realm_host} is reached over plain http"));
    }
    let by_https = realm.scheme() == "https";
    if realm_host == registry_host {
        // A plain port is spoken to because somebody has named it, and named no other.
        let is_fine = by_https || realm.origin() == registry.origin() || is_loopback(&realm_host);
        return Ok(if is_fine { Disclosure::Credentials } else { Disclosure::Anonymous });
    }
    if is_inner(&realm_host) {
        return Err(format!("its token server {realm_host} has an address inside this network"));
    }
    let hub = is_docker_hub(&registry_host) && realm_host == "auth.docker.io";
    let allowed = trusted
        .iter()
        .any(|t| crate::endpoint::names(&t.registry, registry) && t.realm.eq_ignore_ascii_case(&realm_host));
    Ok(if by_https && (hub || allowed) { Disclosure::Credentials } else { Disclosure::Anonymous })
}

/// Is the host an address that only this machine or its network can mean?
fn is_inner(host: &str) -> bool {
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => is_inner_v4(ip),
        Ok(IpAddr::V6(ip)) => ip.to_ipv4_mapped().map_or_else(|| is_inner_v6(ip), is_inner_v4),
        Err(_) => false,
    }
}

fn is_inner_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let carrier_grade = a == 100 && (64..128).contains(&b);
    ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_multicast()
        || carrier_grade
}

fn is_inner_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realm_matrix() {
        let trusted = [TrustedRealm { registry: "registry.lab.example".into(), realm: "sso.lab.example".into() }];
        let yes = Some(Disclosure::Credentials);
        let no = Some(Disclosure::Anonymous);
        for (registry, realm, wanted) in [
            ("https://r.example", "https://r.example/token", yes),
            ("https://r.example:5000", "https://r.example/token", yes),
            ("https://r.example", "http://r.example/token", None),
            ("https://registry-1.docker.io", "https://auth.docker.io/token", yes),
            ("https://registry-1.docker.io", "http://auth.docker.io/token", None),
            ("https://r.example", "https://auth.docker.io/token", no),
            ("https://registry-1.docker.io", "https://auth.docker.io.evil.example/token", no),
            ("https://a.shared.example", "https://b.shared.example/token", no),
            ("https://registry.lab.example", "https://sso.lab.example/token", yes),
            ("https://registry.lab.example:444", "https://sso.lab.example/token", no),
            ("https://other.lab.example", "https://sso.lab.example/token", no),
            ("https://r.example", "https://169.254.169.254/latest", None),
            ("https://r.example", "https://10.0.0.1/token", None),
            ("https://r.example", "https://[::1]/token", None),
            ("https://r.example", "https://[::ffff:10.0.0.1]/token", None),
            ("https://r.example", "https://localhost/token", None),
            ("http://lab.example:5000", "http://lab.example:5000/token", yes),
            ("http://lab.example:5000", "https://lab.example:5001/token", yes),
            ("http://lab.example:5000", "http://lab.example:5001/token", no),
            ("http://lab.example:5000", "http://lab.example/token", no),
            ("http://10.0.0.1:5000", "http://10.0.0.1:5001/token", no),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", yes),
            ("http://[::1]:5000", "http://[::1]:5001/token", yes),
            ("http://localhost:5000", "http://localhost:5001/token", yes),
            ("http://127.0.0.1:5000", "http://127.0.0.2:5001/token", None),
            ("http://127.0.0.1:5000", "https://auth.example/token", no),
            ("https://r.example", "file:///etc/passwd", None),
        ] {
            let verdict = judge(&Url::parse(registry).unwrap(), &Url::parse(realm).unwrap(), &trusted);
            assert_eq!(verdict.ok(), wanted, "{registry} {realm}");
        }
    }
}
