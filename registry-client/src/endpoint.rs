//! Which hosts serve a name, over which scheme. Takes the configuration and a name; gives endpoints
//! in the order to try. Must never offer plain http for a host that is neither loopback nor marked
//! insecure.

use crate::RegistryError;
use crate::registries_conf::{RegistriesConf, RegistryTable, name_of};
use cooper_image::Reference;
use cooper_image::reference::valid_component;
use reqwest::Url;
use std::fmt::Display;
use std::net::IpAddr;

/// Where Docker Hub's registry really is.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// What stands in front of the host in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How much a host has to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// A certificate that somebody known has signed.
    Verified,
    /// Nothing: the person said so.
    Insecure,
}

/// Is another endpoint behind this one?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Mirror,
    Primary,
}

/// A place that serves a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host[:port]` to connect to.
    pub(crate) host: String,
    /// Repository there; empty when the registry as a whole is asked.
    pub(crate) repository: String,
    pub(crate) trust: Trust,
    pub(crate) role: Role,
}

impl Endpoint {
    fn at(place: &str, trust: Trust, role: Role) -> Result<Self, RegistryError> {
        let bad = || RegistryError::Config {
            what: "registries.conf".to_owned(),
            cause: format!("{place:?} is no place of a repository"),
        };
        let (host, repository) = place.split_once('/').ok_or_else(bad)?;
        let host = if is_docker_hub(host) { DOCKER_HUB_HOST } else { host };
        if !repository.split('/').all(valid_component) || Url::parse(&format!("https://{host}/")).is_err() {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), repository: repository.to_owned(), trust, role })
    }

    /// Host and repository.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// The schemes to try, in order.
    pub(crate) fn schemes(&self) -> &'static [Scheme] {
        if is_loopback(&host_without_port(&self.host)) {
            &[Scheme::Http, Scheme::Https]
        } else if self.trust == Trust::Insecure {
            &[Scheme::Https, Scheme::Http]
        } else {
            &[Scheme::Https]
        }
    }
}

/// Endpoints to pull from: the mirrors in order, then the location itself.
pub(crate) fn for_pull(
    conf: &RegistriesConf,
    insecure: &[String],
    name: &Reference,
) -> Result<Vec<Endpoint>, RegistryError> {
    let full = name_of(name);
    let Some(table) = unblocked(conf, name)? else {
        return Ok(vec![primary(&full, insecure, Trust::Verified)?]);
    };
    let rest = table.matched(&full).unwrap_or_default();
    let mut found = Vec::new();
    for mirror in table.mirrors_for(name) {
        let trust = if mirror.insecure { Trust::Insecure } else { marked(&mirror.location, insecure) };
        found.push(Endpoint::at(&format!("{}{rest}", mirror.location), trust, Role::Mirror)?);
    }
    let place = if table.location.is_empty() { full.clone() } else { format!("{}{rest}", table.location) };
    found.push(primary(&place, insecure, table_trust(table))?);
    Ok(found)
}

/// The endpoint to push to: the name as it is. The manual page of registries.conf says that
/// mirrors and rewritten locations are for reading only; `insecure` and `blocked` count.
pub(crate) fn for_push(
    conf: &RegistriesConf,
    insecure: &[String],
    name: &Reference,
) -> Result<Endpoint, RegistryError> {
    let trust = unblocked(conf, name)?.map_or(Trust::Verified, table_trust);
    primary(&name_of(name), insecure, trust)
}

/// The endpoint of a registry as a whole, `host[:port]`, as it would be pushed to.
pub(crate) fn for_registry(conf: &RegistriesConf, insecure: &[String], host: &str) -> Result<Endpoint, RegistryError> {
    let trust = permitted(conf.table_of(host), &host)?.map_or(Trust::Verified, table_trust);
    let trust = if trust == Trust::Insecure { trust } else { marked(host, insecure) };
    let host = if is_docker_hub(host) { DOCKER_HUB_HOST } else { host };
    if host.is_empty() || host.contains('/') || Url::parse(&format!("https://{host}/")).is_err() {
        return Err(RegistryError::Config { what: "registry".to_owned(), cause: format!("{host:?} is no host") });
    }
    Ok(Endpoint { host: host.to_owned(), repository: String::new(), trust, role: Role::Primary })
}

fn unblocked<'c>(conf: &'c RegistriesConf, name: &Reference) -> Result<Option<&'c RegistryTable>, RegistryError> {
    permitted(conf.table(name), name)
}

fn permitted<'c>(
    table: Option<&'c RegistryTable>,
    name: &dyn Display,
) -> Result<Option<&'c RegistryTable>, RegistryError> {
    match table {
        Some(t) if t.blocked => Err(RegistryError::Blocked { name: name.to_string() }),
        found => Ok(found),
    }
}

fn table_trust(table: &RegistryTable) -> Trust {
    if table.insecure { Trust::Insecure } else { Trust::Verified }
}

fn primary(place: &str, insecure: &[String], trust: Trust) -> Result<Endpoint, RegistryError> {
    let trust = if trust == Trust::Insecure { trust } else { marked(place, insecure) };
    Endpoint::at(place, trust, Role::Primary)
}

fn marked(place: &str, insecure: &[String]) -> Trust {
    let host = place.split('/').next().unwrap_or(place);
    if insecure.iter().any(|i| i == host) { Trust::Insecure } else { Trust::Verified }
}

/// Is it one of the names of Docker Hub?
pub(crate) fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | DOCKER_HUB_HOST)
}

/// The host of `host[:port]`, brackets of IPv6 left away.
pub(crate) fn host_without_port(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((h, port)) if port.bytes().all(|b| b.is_ascii_digit()) && (h.ends_with(']') || !h.contains(':')) => h,
        _ => authority,
    };
    host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

/// Is a host, without port and brackets, this machine itself?
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Does `host[:port]` name the authority of a URL?
pub(crate) fn names(mark: &str, url: &Url) -> bool {
    let host = host_without_port(mark);
    let same_host = url.host_str().is_some_and(|h| h.trim_start_matches('[').trim_end_matches(']') == host);
    let port = mark.rsplit_once(':').and_then(|(_, p)| p.parse::<u16>().ok()).filter(|_| !mark.ends_with(']'));
    same_host && port.map_or(url.port().is_none(), |p| url.port_or_known_default() == Some(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r#"
[[registry]]
prefix = "docker.io"
[[registry.mirror]]
location = "mirror.example/hub"
[[registry.mirror]]
location = "10.0.0.1:5000"
insecure = true
[[registry]]
prefix = "old.example/team"
location = "new.example/moved/team"
insecure = true
[[registry]]
prefix = "*.wild.example"
location = "tame.example"
[[registry]]
prefix = "no.example"
blocked = true
"#;

    fn pull(name: &str) -> Vec<String> {
        let conf = RegistriesConf::parse(CONF).unwrap();
        let found = for_pull(&conf, &["lab.example:5000".to_owned()], &name.parse().unwrap()).unwrap();
        found.iter().map(|e| format!("{}/{} {:?} {:?}", e.host, e.repository, e.trust, e.role)).collect()
    }

    #[test]
    fn endpoints_in_order() {
        for (name, places) in [
            (
                "debian:12",
                vec![
                    "mirror.example/hub/library/debian Verified Mirror",
                    "10.0.0.1:5000/library/debian Insecure Mirror",
                    "registry-1.docker.io/library/debian Verified Primary",
                ],
            ),
            ("old.example/team/app", vec!["new.example/moved/team/app Insecure Primary"]),
            ("old.example/other/app", vec!["old.example/other/app Verified Primary"]),
            ("a.wild.example/x/y", vec!["tame.example/x/y Verified Primary"]),
            ("lab.example:5000/x", vec!["lab.example:5000/x Insecure Primary"]),
            ("lab.example/x", vec!["lab.example/x Verified Primary"]),
        ] {
            assert_eq!(pull(name), places, "{name}");
        }
    }

    #[test]
    fn pushing_ignores_mirrors_and_rewriting() {
        let conf = RegistriesConf::parse(CONF).unwrap();
        let e = for_push(&conf, &[], &"old.example/team/app".parse().unwrap()).unwrap();
        assert_eq!((e.host.as_str(), e.repository.as_str(), e.trust), ("old.example", "team/app", Trust::Insecure));
        let e = for_push(&conf, &[], &"debian".parse().unwrap()).unwrap();
        assert_eq!(e.host, "registry-1.docker.io");
        for name in ["no.example/x", "no.example/y/z:1"] {
            let name = name.parse().unwrap();
            assert!(matches!(for_push(&conf, &[], &name), Err(RegistryError::Blocked { .. })));
            assert!(matches!(for_pull(&conf, &[], &name), Err(RegistryError::Blocked { .. })));
        }
    }

    #[test]
    fn registries_as_a_whole() {
        let conf = RegistriesConf::parse(CONF).unwrap();
        let of = |host: &str| for_registry(&conf, &["lab.example:5000".to_owned()], host);
        for (given, host, trust) in [
            ("docker.io", "registry-1.docker.io", Trust::Verified),
            ("old.example", "old.example", Trust::Verified),
            ("lab.example:5000", "lab.example:5000", Trust::Insecure),
            ("a.wild.example", "a.wild.example", Trust::Verified),
        ] {
            let e = of(given).unwrap();
            assert_eq!((e.host.as_str(), e.repository.as_str(), e.trust), (host, "", trust), "{given}");
        }
        assert!(matches!(of("no.example"), Err(RegistryError::Blocked { .. })));
        for wrong in ["", "a/b", "a b", "user@x:y"] {
            assert!(matches!(of(wrong), Err(RegistryError::Config { .. })), "{wrong}");
        }
    }

    #[test]
    fn plain_http_only_where_it_may_be() {
        let schemes = |host: &str, trust| {
            Endpoint { host: host.into(), repository: "x".into(), trust, role: Role::Primary }.schemes()
        };
        for host in ["127.0.0.1:5000", "127.9.9.9", "localhost", "localhost:5000", "[::1]:5000"] {
            assert_eq!(schemes(host, Trust::Verified), [Scheme::Http, Scheme::Https], "{host}");
        }
        for host in ["128.0.0.1:5000", "localhost.example", "10.0.0.1", "127.0.0.1.example", "registry-1.docker.io"] {
            assert_eq!(schemes(host, Trust::Verified), [Scheme::Https], "{host}");
            assert_eq!(schemes(host, Trust::Insecure), [Scheme::Https, Scheme::Http], "{host}");
        }
    }

    #[test]
    fn marks_name_authorities() {
        for (mark, url, same) in [
            ("a.example", "https://a.example/x", true),
            ("a.example", "http://a.example/x", true),
            ("a.example", "https://a.example:5000/x", false),
            ("a.example:443", "https://a.example/x", true),
            ("a.example:5000", "https://a.example:5000/x", true),
            ("[::1]:5000", "http://[::1]:5000/", true),
            ("[::1]", "http://[::1]/", true),
            ("b.example", "https://a.example/", false),
        ] {
            assert_eq!(names(mark, &Url::parse(url).unwrap()), same, "{mark} {url}");
        }
    }
}
