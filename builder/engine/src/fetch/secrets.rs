//! Secrets that authorize a fetch, under the names that BuildKit gives them.
//!
//! | secret | header |
//! |---|---|
//! | `HTTP_AUTH_TOKEN_host` | `Bearer TOKEN`, to a URL's host without port |
//! | `HTTP_AUTH_HEADER_host` | as it is |
//! | `GIT_AUTH_HEADER.host`, `GIT_AUTH_TOKEN.host` | to a repository's host with its port: as it is, or as user `x-access-token` |
//! | `GIT_AUTH_HEADER`, `GIT_AUTH_TOKEN` | to any repository |
//!
//! Takes hosts; gives values of the `Authorization` header. Must never show one.

use crate::agent::AgentSource;
use crate::run_request::RunRequest;
use cooper_registry::Secret;
use cooper_registry::web::basic;

/// Where secrets are found.
pub trait SecretSource: Sync {
    /// The bytes of a secret.
    fn secret(&self, id: &str) -> Option<&[u8]>;
    /// The agent that holds keys for ssh: `--ssh default`.
    fn agent(&self) -> Option<&AgentSource> {
        None
    }
}

impl SecretSource for RunRequest {
    fn secret(&self, id: &str) -> Option<&[u8]> {
        self.secrets.get(id).map(crate::run_request::Secret::bytes)
    }
    fn agent(&self) -> Option<&AgentSource> {
        self.agents.get("default")
    }
}

/// A secret as text on one line.
fn text(secrets: &dyn SecretSource, id: &str) -> Option<String> {
    let bytes = secrets.secret(id)?;
    Some(String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned())
}

/// The authorization for a URL whose host has this name; a port does not count.
pub(super) fn for_url(secrets: &dyn SecretSource, host: &str) -> Option<Secret> {
    let token = text(secrets, &format!("HTTP_AUTH_TOKEN_{host}")).map(|t| format!("Bearer {t}"));
    token.or_else(|| text(secrets, &format!("HTTP_AUTH_HEADER_{host}"))).map(Secret::new)
}

/// The authorization for a repository on `host[:port]`.
pub(super) fn for_git(secrets: &dyn SecretSource, host: &str) -> Option<Secret> {
    for end in [format!(".{host}"), String::new()] {
        if let Some(header) = text(secrets, &format!("GIT_AUTH_HEADER{end}")) {
            return Some(Secret::new(header));
        }
        if let Some(token) = text(secrets, &format!("GIT_AUTH_TOKEN{end}")) {
            return Some(basic("x-access-token", &token));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    impl SecretSource for BTreeMap<&str, &str> {
        fn secret(&self, id: &str) -> Option<&[u8]> {
            self.get(id).map(|s| s.as_bytes())
        }
    }

    #[test]
    fn names_are_buildkits() {
        let secrets = BTreeMap::from([
            ("HTTP_AUTH_TOKEN_h", "t\n"),
            ("HTTP_AUTH_HEADER_h", "unused"),
            ("HTTP_AUTH_HEADER_i", "Basic x"),
            ("GIT_AUTH_TOKEN.h:1", "pat"),
            ("GIT_AUTH_HEADER.i", "Bearer y"),
            ("GIT_AUTH_TOKEN", "any"),
        ]);
        let shown = |s: Option<Secret>| s.map(|s| s.expose().to_owned());
        for (host, url, git) in [
            ("h", Some("Bearer t"), Some("Basic eC1hY2Nlc3MtdG9rZW46YW55")),
            ("i", Some("Basic x"), Some("Bearer y")),
            ("h:1", None, Some("Basic eC1hY2Nlc3MtdG9rZW46cGF0")),
        ] {
            assert_eq!(shown(for_url(&secrets, host)).as_deref(), url, "{host}");
            assert_eq!(shown(for_git(&secrets, host)).as_deref(), git, "{host}");
        }
        assert_eq!(shown(for_git(&BTreeMap::from([("x", "y")]), "h")), None);
    }
}
