//! The only reader of the environment and of the clock.
//!
//! | variable | meaning |
//! |---|---|
//! | `COOPER_ROOT` | where the store is; `--root` wins |
//! | `COOPER_GC_MAX_SIZE` | the cap above which a build deletes what was not used for longest, as `50g`; `--gc-max-size` wins |
//! | `XDG_DATA_HOME` | the store is `cooper` in it, for everybody but the root user |
//! | `HOME` | stands in for the XDG directories: `.local/share`, `.config`; also `.docker` |
//! | `XDG_CONFIG_HOME` | `containers/registries.conf` in it, and `containers/auth.json`, which is read after that of `XDG_RUNTIME_DIR` |
//! | `CONTAINERS_REGISTRIES_CONF` | the registries.conf to follow; `--registries-conf` wins |
//! | `REGISTRY_AUTH_FILE` | the file with credentials, in the format of `auth.json`; `cooper login` writes to it |
//! | `DOCKER_AUTH_CONFIG` | credentials themselves, as the text of a `config.json`; before those of files, or after them where `GITLAB_CI` is set, as for docker |
//! | `DOCKER_CONFIG` | directory of docker's `config.json`; without the variable before, `cooper login` writes to it |
//! | `XDG_RUNTIME_DIR` | `containers/auth.json` in it holds credentials; without the variable `/run/containers/UID/auth.json` does, as for podman |
//! | `SOURCE_DATE_EPOCH` | Unix time that images are dated with, and that newer files are set back to; the same as a build argument of that name, which wins |
//! | `NO_COLOR` | no colours in reports, whatever the value |
//! | `TERM` | `dumb` or nothing: no moving bars and no colours |
//! | `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` | how registries are reached; lower case does as well |
//! | `SSL_CERT_FILE`, `SSL_CERT_DIR` | certificate authorities in place of the system's; read by the TLS library, and given to git |
//! | `SSH_AUTH_SOCK` | the agent of `--ssh` |
//! | `PATH` | where credential helpers and git are found |
//! | any other | the value of `--build-arg NAME` without a value, or of `--secret id=…,env=NAME` |
//!
//! An empty variable counts as one that is not set; an XDG directory that is no absolute path is
//! passed over, as the XDG specification says. The variables are read once, at the start, since
//! the home of a process that became root of a user namespace could be taken for root's.

use crate::failure::Failure;
use crate::flags::steps::Bytes;
use cooper_engine::GitSurroundings;
use cooper_registry::{ProxyOptions, Secret};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where podman keeps logins of users without `XDG_RUNTIME_DIR`, each with their number.
pub const RUN: &str = "/run/containers";

/// Who started the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The root user.
    Root,
    /// Somebody else.
    Ordinary,
}

/// The variables that are read.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    cooper_root: Option<PathBuf>,
    gc_max_size: Option<String>,
    /// Whose files those are that have a user's number in their path.
    uid: Option<u32>,
    home: Option<PathBuf>,
    data_home: Option<PathBuf>,
    config_home: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    registries_conf: Option<PathBuf>,
    auth_file: Option<PathBuf>,
    docker_config: Option<PathBuf>,
    auth_config: Option<Secret>,
    gitlab: bool,
    source_date_epoch: Option<String>,
    no_color: bool,
    term: Option<String>,
    proxies: ProxyOptions,
    agent: Option<PathBuf>,
    git: GitSurroundings,
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        let uid = Some(rustix::process::getuid().as_raw());
        Self { uid, ..Self::of(|name| std::env::var_os(name)) }
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|v| !v.is_empty());
        let path = |name: &str| set(name).map(PathBuf::from);
        let text = |name: &str| set(name).map(|v| v.to_string_lossy().into_owned());
        let either = |upper: &str, lower: &str| text(upper).or_else(|| text(lower));
        let xdg = |name: &str| path(name).filter(|p| p.is_absolute());
        Self {
            cooper_root: path("COOPER_ROOT"),
            gc_max_size: text("COOPER_GC_MAX_SIZE"),
            uid: None,
            home: path("HOME"),
            data_home: xdg("XDG_DATA_HOME"),
            config_home: xdg("XDG_CONFIG_HOME"),
            runtime_dir: xdg("XDG_RUNTIME_DIR"),
            registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
            auth_file: path("REGISTRY_AUTH_FILE"),
            docker_config: path("DOCKER_CONFIG"),
            auth_config: text("DOCKER_AUTH_CONFIG").map(Secret::new),
            gitlab: set("GITLAB_CI").is_some(),
            source_date_epoch: text("SOURCE_DATE_EPOCH"),
            no_color: set("NO_COLOR").is_some(),
            term: text("TERM"),
            proxies: ProxyOptions {
                http: either("HTTP_PROXY", "http_proxy"),
                https: either("HTTPS_PROXY", "https_proxy"),
                bypass: either("NO_PROXY", "no_proxy"),
            },
            agent: path("SSH_AUTH_SOCK"),
            git: GitSurroundings {
                search: set("PATH"),
                authority_file: path("SSL_CERT_FILE"),
                authority_directory: path("SSL_CERT_DIR"),
            },
        }
    }

    /// Where the store is.
    ///
    /// # Errors
    /// When neither a flag nor a variable nor a home says it.
    pub fn store_root(&self, flag: Option<&Path>, user: User) -> Result<PathBuf, Failure> {
        if let Some(root) = flag.or(self.cooper_root.as_deref()) {
            return Ok(root.to_owned());
        }
        if user == User::Root {
            return Ok(PathBuf::from("/var/lib/cooper"));
        }
        let data = self.data_home.clone().or_else(|| self.in_home(".local/share"));
        data.map(|d| d.join("cooper")).ok_or_else(|| {
            Failure::usage("there is no place for the store: HOME is not set", "set HOME, or give --root DIR")
        })
    }

    /// `$COOPER_GC_MAX_SIZE`.
    ///
    /// # Errors
    /// When it is no size.
    pub fn gc_max_size(&self) -> Result<Option<Bytes>, Failure> {
        let parsed = self.gc_max_size.as_deref().map(str::parse).transpose();
        parsed.map_err(|e| {
            Failure::usage(format!("COOPER_GC_MAX_SIZE: {e}"), "give a number of bytes with k, m or g, as 50g")
        })
    }

    /// `$CONTAINERS_REGISTRIES_CONF`.
    pub fn registries_conf(&self) -> Option<&Path> {
        self.registries_conf.as_deref()
    }

    /// The user's own registries.conf, whether it is there or not.
    pub fn user_registries_conf(&self) -> Option<PathBuf> {
        self.user_containers().map(|c| c.join("registries.conf"))
    }

    /// The user's own certs.d, whether it is there or not.
    pub fn user_certificates(&self) -> Option<PathBuf> {
        self.user_containers().map(|c| c.join("certs.d"))
    }

    /// Files that may hold credentials, the one that wins first: docker's, then podman's in its own order
    /// (containers-auth.json(5)). With `$REGISTRY_AUTH_FILE` it is the only one.
    pub fn credential_files(&self) -> Vec<PathBuf> {
        if let Some(file) = &self.auth_file {
            return vec![file.clone()];
        }
        let in_run = || self.uid.map(|uid| PathBuf::from(format!("{RUN}/{uid}/auth.json")));
        let podman = [self.runtime_file().or_else(in_run), self.user_containers().map(|c| c.join("auth.json"))];
        self.docker_file().into_iter().chain(podman.into_iter().flatten()).collect()
    }

    /// Credentials that are in the environment itself: `$DOCKER_AUTH_CONFIG`, but not beside `$REGISTRY_AUTH_FILE`.
    pub fn credentials(&self) -> Option<&Secret> {
        self.auth_config.as_ref().filter(|_| self.auth_file.is_none())
    }

    /// Do files go before [`Environment::credentials`]? Docker's rule: GitLab gives its jobs the variable for the images
    /// that they run in, and what a job logs in to itself has to count.
    pub fn files_go_first(&self) -> bool {
        self.gitlab
    }

    /// The file that logins are written to: of these the one that wins, but none of those that podman only reads or that
    /// are in a directory which root makes.
    ///
    /// # Errors
    /// When nothing says where it is.
    pub fn login_file(&self) -> Result<PathBuf, Failure> {
        let file = self.auth_file.clone().or_else(|| self.docker_file()).or_else(|| self.runtime_file());
        file.ok_or_else(|| {
            Failure::usage(
                "there is no place for logins: HOME is not set",
                "set HOME, DOCKER_CONFIG or REGISTRY_AUTH_FILE",
            )
        })
    }

    /// Docker's file of credentials.
    fn docker_file(&self) -> Option<PathBuf> {
        self.docker_config.clone().or_else(|| self.in_home(".docker")).map(|d| d.join("config.json"))
    }

    /// Podman's own, which is gone after the next start of the machine.
    fn runtime_file(&self) -> Option<PathBuf> {
        self.runtime_dir.as_ref().map(|d| d.join("containers/auth.json"))
    }

    /// The user's own settings for tools that are about containers.
    fn user_containers(&self) -> Option<PathBuf> {
        let config = self.config_home.clone().or_else(|| self.in_home(".config"));
        config.map(|c| c.join("containers"))
    }

    /// `$SOURCE_DATE_EPOCH`.
    pub fn source_date_epoch(&self) -> Option<&str> {
        self.source_date_epoch.as_deref()
    }

    /// What git is given, which is started with an environment of its own.
    pub fn git(&self) -> &GitSurroundings {
        &self.git
    }

    /// How registries are reached.
    pub fn proxies(&self) -> &ProxyOptions {
        &self.proxies
    }

    /// `$TERM`.
    pub fn term(&self) -> Option<&str> {
        self.term.as_deref()
    }

    /// May reports have colours, on a terminal?
    pub fn colours(&self) -> bool {
        !self.no_color && !matches!(self.term(), None | Some("dumb"))
    }

    /// Socket of the user's ssh agent.
    pub fn agent(&self) -> Option<PathBuf> {
        self.agent.clone()
    }

    fn in_home(&self, name: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|h| h.join(name))
    }
}

/// A variable by name, for `--build-arg NAME`.
///
/// # Errors
/// When its value is no text.
pub fn build_arg(name: &str) -> Result<Option<String>, Failure> {
    // What no variable can be called is not set; the look-up would panic.
    if name.contains(['=', '\0']) {
        return Ok(None);
    }
    std::env::var_os(name).map(OsString::into_string).transpose().map_err(|_| {
        Failure::usage(format!("the environment variable {name} is not UTF-8"), "give --build-arg NAME=VALUE instead")
    })
}

/// The bytes of a variable that `--secret` names; `None` when it is not set.
pub fn secret(name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt as _;
    // The look-up would panic on what no variable can be called.
    let possible = !name.is_empty() && !name.contains(['=', '\0']);
    possible.then(|| std::env::var_os(name)).flatten().map(OsString::into_vec)
}

/// Unix seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Who started the process; to be asked before a user namespace makes everybody root.
pub fn user() -> User {
    if rustix::process::geteuid().is_root() { User::Root } else { User::Ordinary }
}

/// Processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Environment {
        Environment::of(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
    }

    #[test]
    fn the_store_root() {
        let all = [("COOPER_ROOT", "/c"), ("XDG_DATA_HOME", "/d"), ("HOME", "/h")];
        let root = |e: &Environment, user| e.store_root(None, user).ok().map(|p| p.display().to_string());
        assert_eq!(of(&all).store_root(Some(Path::new("/flag")), User::Root).unwrap(), Path::new("/flag"));
        for (variables, user, place) in [
            (&all[..], User::Root, Some("/c")),
            (&all[1..], User::Root, Some("/var/lib/cooper")),
            (&all[1..], User::Ordinary, Some("/d/cooper")),
            (&all[2..], User::Ordinary, Some("/h/.local/share/cooper")),
            (&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")], User::Ordinary, Some("/h/.local/share/cooper")),
            (&[("COOPER_ROOT", ""), ("HOME", "/h")], User::Ordinary, Some("/h/.local/share/cooper")),
            (&[], User::Ordinary, None),
        ] {
            assert_eq!(root(&of(variables), user).as_deref(), place, "{variables:?}");
        }
    }

    #[test]
    fn credentials_are_looked_for_in_order() {
        let files = |pairs: &[(&str, &str)]| -> Vec<String> {
            of(pairs).credential_files().iter().map(|p| p.display().to_string()).collect()
        };
        assert_eq!(files(&[("REGISTRY_AUTH_FILE", "/a"), ("HOME", "/h")]), ["/a"]);
        let (docker, own) = ("/h/.docker/config.json", "/h/.config/containers/auth.json");
        let home = ("HOME", "/h");
        assert_eq!(files(&[home, ("XDG_RUNTIME_DIR", "/run/u")]), [docker, "/run/u/containers/auth.json", own]);
        assert_eq!(files(&[home, ("DOCKER_CONFIG", "/d")]), ["/d/config.json", own]);
        assert_eq!(files(&[home, ("XDG_CONFIG_HOME", "/c")]), [docker, "/c/containers/auth.json"]);
        let of_seven = |pairs: &[(&str, &str)]| Environment { uid: Some(7), ..of(pairs) };
        let paths = |e: Environment| e.credential_files().iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(paths(of_seven(&[home])), [docker, "/run/containers/7/auth.json", own]);
        assert_eq!(paths(of_seven(&[("XDG_RUNTIME_DIR", "/run/u")])), ["/run/u/containers/auth.json"]);
        for (pairs, place) in [
            (&[home, ("XDG_RUNTIME_DIR", "/run/u")][..], Some(docker)),
            (&[("XDG_RUNTIME_DIR", "/run/u"), ("XDG_CONFIG_HOME", "/c")], Some("/run/u/containers/auth.json")),
            (&[("XDG_CONFIG_HOME", "/c")], None),
        ] {
            let file = of_seven(pairs).login_file().ok().map(|p| p.display().to_string());
            assert_eq!(file.as_deref(), place, "{pairs:?}");
        }
    }

    #[test]
    fn given_credentials_are_not_shown_and_yield_to_a_file_that_is_named() {
        let given = ("DOCKER_AUTH_CONFIG", "{\"auths\":{}}");
        let env = of(&[given]);
        assert_eq!(env.credentials().map(Secret::expose), Some(given.1));
        assert!(!env.files_go_first() && !format!("{env:?}").contains("auths"));
        assert!(of(&[given, ("GITLAB_CI", "true")]).files_go_first());
        assert_eq!(of(&[given, ("REGISTRY_AUTH_FILE", "/a")]).credentials(), None);
    }

    #[test]
    fn proxies_in_either_case() {
        let proxies =
            of(&[("https_proxy", "http://a"), ("HTTP_PROXY", "http://b"), ("http_proxy", "http://c")]).proxies;
        let expected = ProxyOptions { http: Some("http://b".into()), https: Some("http://a".into()), bypass: None };
        assert_eq!(proxies, expected);
    }

    #[test]
    fn colours_need_a_terminal_that_has_them() {
        for (pairs, colours) in [
            (&[("TERM", "xterm")][..], true),
            (&[("TERM", "dumb")], false),
            (&[], false),
            (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
            (&[("TERM", "xterm"), ("NO_COLOR", "")], true),
        ] {
            assert_eq!(of(pairs).colours(), colours, "{pairs:?}");
        }
    }
}
