//! `cooper login` and `cooper logout`, the registry that they are about, and who else may see a login.

use clap::Args;
use cooper_image::Reference;
use std::fmt;
use std::str::FromStr;

/// `cooper login`.
#[derive(Debug, Args)]
pub struct LoginFlags {
    /// The registry, as HOST or HOST:PORT; docker.io is Docker Hub
    #[arg(value_name = "HOST")]
    pub host: Host,
    /// The user's name; without it, it is asked for on the terminal
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Read the password from standard input, to its end; one line break at the end is no part of it
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// Only print the user name that is kept for the registry; fails with 2 when there is none
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    pub get_login: bool,
    /// Print JSON, for programs: registry, user name, and what keeps the login
    #[arg(long)]
    pub json: bool,
}

/// `cooper logout`.
#[derive(Debug, Args)]
pub struct LogoutFlags {
    /// The registry, as HOST or HOST:PORT; docker.io is Docker Hub
    #[arg(value_name = "HOST")]
    pub host: Host,
    /// Print JSON, for programs: registry, whether there was a login, and files that have one still
    #[arg(long)]
    pub json: bool,
}

/// A registry, `host[:port]`, as it stands at the beginning of image names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// `host[:port]`, `docker.io` for Docker Hub.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no registry: {reason}")]
pub struct HostError {
    text: String,
    reason: &'static str,
}

impl FromStr for Host {
    type Err = HostError;
    fn from_str(text: &str) -> Result<Self, HostError> {
        let bad = |reason| HostError { text: text.chars().take(160).collect(), reason };
        if text.contains('/') {
            return Err(bad("give HOST or HOST:PORT, without https:// and without a path"));
        }
        let read = format!("{text}/x").parse::<Reference>();
        let name = read.map_err(|_| bad("the host is malformed"))?;
        let hub = matches!(text, "docker.io" | "index.docker.io" | "registry-1.docker.io");
        if name.host() != text && !hub {
            return Err(bad("an image name that begins with it means Docker Hub; write a host with a dot or a port"));
        }
        Ok(Self(name.host().to_owned()))
    }
}

/// `--trusted-token-server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenServer {
    /// The registry that names it.
    pub registry: Host,
    /// Its host, without a port.
    pub server: String,
}

impl FromStr for TokenServer {
    type Err = HostError;
    fn from_str(text: &str) -> Result<Self, HostError> {
        let bad = |reason| HostError { text: text.chars().take(160).collect(), reason };
        let (registry, server) = text.split_once('=').ok_or_else(|| bad("write REGISTRY=HOST"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if server.is_empty() || !server.chars().all(plain) {
            return Err(bad("the token server is a host without https://, port and path"));
        }
        Ok(Self { registry: registry.parse()?, server: server.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_what_image_names_begin_with() {
        for (text, host) in [
            ("docker.io", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("localhost", "localhost"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("[::1]:5000", "[::1]:5000"),
            ("quay.io", "quay.io"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().name(), host);
        }
        for (text, reason) in [
            ("https://quay.io", "without https://"),
            ("quay.io/team", "without https://"),
            ("quay", "means Docker Hub"),
            ("", "malformed"),
            ("a b.c", "malformed"),
            ("user@host.example", "malformed"),
            ("host.example:port", "malformed"),
        ] {
            let wrong = text.parse::<Host>().unwrap_err().to_string();
            assert!(wrong.contains(reason), "{wrong}");
        }
    }

    #[test]
    fn token_servers() {
        let both = "registry.example:5000=auth.example".parse::<TokenServer>().unwrap();
        assert_eq!((both.registry.name(), both.server.as_str()), ("registry.example:5000", "auth.example"));
        for (text, reason) in [
            ("auth.example", "REGISTRY=HOST"),
            ("registry.example=", "without https://"),
            ("registry.example=https://auth.example", "without https://"),
            ("registry.example=auth.example:443", "without https://"),
            ("=auth.example", "malformed"),
            ("https://registry.example=auth.example", "without https://"),
        ] {
            let wrong = text.parse::<TokenServer>().unwrap_err().to_string();
            assert!(wrong.contains(reason), "{wrong}");
        }
    }
}
