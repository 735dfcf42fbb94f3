//! What steps are given, beside secrets: agents, rights, names, memory, limits.

use cooper_engine::run_request::{Limit, Resource};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// One `--ssh ID[=PATH[,PATH…]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshFlag {
    /// The name by which steps ask for it.
    pub id: String,
    /// An agent's socket, or files of keys; none is the socket of SSH_AUTH_SOCK.
    pub paths: Vec<PathBuf>,
}

/// One `--allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Entitlement {
    /// RUN --security=insecure.
    #[value(name = "security.insecure")]
    Insecure,
    /// RUN --network=host in a build that keeps steps from this machine's network.
    #[value(name = "network.host")]
    Host,
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum NetworkFlag {
    #[default]
    Default,
    None,
    Host,
    Isolated,
}

/// One `--add-host NAME:IP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFlag(pub String, pub IpAddr);

/// A number of bytes, as 64m.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// One `--ulimit NAME=SOFT[:HARD]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UlimitFlag(pub Limit);

/// `--cgroup-parent`, which cannot be honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupParent {}

/// Why a flag's value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepFlagError {
    /// An agent without a name.
    #[error("there is no id before the `=`; expected default, ID=SOCKET, or ID=KEY,KEY")]
    NoId,
    /// No name and address.
    #[error("expected NAME:ADDRESS, as db:10.0.0.7")]
    NoHost,
    /// Docker's word for the machine that its daemon runs on.
    #[error("host-gateway is not supported: steps share this machine's network, and reach it as 127.0.0.1")]
    Gateway,
    /// No address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// No size.
    #[error("{0:?} is not a size; expected bytes, or a number with k, m or g, as 64m")]
    Size(String),
    /// No limit.
    #[error("expected NAME=SOFT or NAME=SOFT:HARD, as nofile=1024:4096; -1 is no limit")]
    NoLimit,
    /// A resource that does not exist.
    #[error("there is no limit {0:?}; the limits are {all}", all = names())]
    Resource(String),
    /// More than may ever be had.
    #[error("the soft limit is above the hard one")]
    SoftAboveHard,
    /// Where groups of steps are made is for the build's own group to say.
    #[error(
        "it is not supported: steps run in the control group of the build, with limits in one of their own below it"
    )]
    Cgroup,
}

const RESOURCES: [(&str, Resource); 15] = [
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

fn names() -> String {
    RESOURCES.map(|(name, _)| name).join(", ")
}

impl FromStr for SshFlag {
    type Err = StepFlagError;
    fn from_str(text: &str) -> Result<Self, StepFlagError> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        if id.is_empty() {
            return Err(StepFlagError::NoId);
        }
        let paths = paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        Ok(Self { id: id.to_owned(), paths })
    }
}

impl FromStr for HostFlag {
    type Err = StepFlagError;
    fn from_str(text: &str) -> Result<Self, StepFlagError> {
        let (name, address) = text.split_once(['=', ':']).ok_or(StepFlagError::NoHost)?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err(StepFlagError::NoHost);
        }
        if address == "host-gateway" {
            return Err(StepFlagError::Gateway);
        }
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let address = bare.parse().map_err(|_| StepFlagError::Address(address.to_owned()))?;
        Ok(Self(name.to_owned(), address))
    }
}

impl FromStr for Bytes {
    type Err = StepFlagError;
    fn from_str(text: &str) -> Result<Self, StepFlagError> {
        let bytes = cooper_dockerfile::mount::bytes(text).filter(|n| *n > 0);
        bytes.map(Self).ok_or_else(|| StepFlagError::Size(text.to_owned()))
    }
}

impl FromStr for UlimitFlag {
    type Err = StepFlagError;
    fn from_str(text: &str) -> Result<Self, StepFlagError> {
        let (name, values) = text.split_once('=').ok_or(StepFlagError::NoLimit)?;
        let known = RESOURCES.iter().find(|(known, _)| *known == name);
        let (_, resource) = known.ok_or_else(|| StepFlagError::Resource(name.to_owned()))?;
        let number = |text: &str| match text {
            "-1" | "unlimited" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| StepFlagError::NoLimit),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
            return Err(StepFlagError::SoftAboveHard);
        }
        Ok(Self(Limit { resource: *resource, soft, hard }))
    }
}

impl FromStr for CgroupParent {
    type Err = StepFlagError;
    fn from_str(_: &str) -> Result<Self, StepFlagError> {
        Err(StepFlagError::Cgroup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let ssh = |text: &str| text.parse::<SshFlag>();
        let flag = |id: &str, paths: &[&str]| {
            Ok(SshFlag { id: id.to_owned(), paths: paths.iter().map(PathBuf::from).collect() })
        };
        assert_eq!(ssh("default"), flag("default", &[]));
        assert_eq!(ssh("default="), flag("default", &[]));
        assert_eq!(ssh("a=/run/s"), flag("a", &["/run/s"]));
        assert_eq!(ssh("a=k1,k2"), flag("a", &["k1", "k2"]));
        assert_eq!(ssh("=x"), Err(StepFlagError::NoId));
        let host = |text: &str| text.parse::<HostFlag>().map(|HostFlag(name, ip)| format!("{name} {ip}"));
        assert_eq!(host("db:10.0.0.7").as_deref(), Ok("db 10.0.0.7"));
        assert_eq!(host("db=10.0.0.7").as_deref(), Ok("db 10.0.0.7"));
        assert_eq!(host("six:[::1]").as_deref(), Ok("six ::1"));
        assert_eq!(host("six:fe80::1").as_deref(), Ok("six fe80::1"));
        assert_eq!(host("me:host-gateway"), Err(StepFlagError::Gateway));
        assert_eq!(host("db:lan"), Err(StepFlagError::Address("lan".into())));
        assert_eq!(host("a b:1.1.1.1"), Err(StepFlagError::NoHost));
        assert_eq!(host("db"), Err(StepFlagError::NoHost));
        assert_eq!("128m".parse(), Ok(Bytes(128 << 20)));
        assert_eq!("0".parse::<Bytes>(), Err(StepFlagError::Size("0".into())));
        let limit = |text: &str| text.parse::<UlimitFlag>().map(|UlimitFlag(l)| (l.resource, l.soft, l.hard));
        assert_eq!(limit("nofile=5"), Ok((Resource::Nofile, Some(5), Some(5))));
        assert_eq!(limit("core=0:-1"), Ok((Resource::Core, Some(0), None)));
        assert_eq!(limit("nofile=-1:5"), Err(StepFlagError::SoftAboveHard));
        assert_eq!(limit("files=5"), Err(StepFlagError::Resource("files".into())));
        assert_eq!(limit("nofile"), Err(StepFlagError::NoLimit));
        assert_eq!("x".parse::<CgroupParent>(), Err(StepFlagError::Cgroup));
    }
}
