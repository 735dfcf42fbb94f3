//! Why a command ended without success: one value with its exit code, its hint and, for a build,
//! the Dockerfile that the report quotes.

use cooper_engine::{EngineError, ErrorClass};
use cooper_registry::{Fault, RegistryError};
use cooper_registry_server::ServerError;
use std::error::Error;
use std::io;

/// The exit codes, as the help text lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// A build step failed, checks found something, or what `exists` asked for is not there.
    Step = 1,
    /// Wrong use, or a wrong Dockerfile.
    Usage = 2,
    /// Input rejected as hostile or invalid.
    Input = 3,
    /// Registry or network.
    Registry = 4,
    /// Storage.
    Storage = 5,
    /// The sandbox is not available.
    Sandbox = 6,
    /// A lock was not free in time.
    Lock = 7,
    /// Interrupted from the keyboard.
    Interrupted = 130,
    /// Asked to end.
    Terminated = 143,
}

impl From<ErrorClass> for Exit {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Step => Self::Step,
            ErrorClass::Usage => Self::Usage,
            ErrorClass::Input => Self::Input,
            ErrorClass::Registry => Self::Registry,
            ErrorClass::Storage => Self::Storage,
            ErrorClass::Sandbox => Self::Sandbox,
            ErrorClass::Lock => Self::Lock,
            ErrorClass::Interrupted => Self::Interrupted,
        }
    }
}

/// A Dockerfile, for excerpts.
#[derive(Debug, Clone)]
pub struct Excerpt {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A room of the engine, or the engine itself.
    #[error(transparent)]
    Engine(Box<EngineError>),
    /// A build.
    #[error("{error}")]
    Build {
        /// What happened; not the `source`, because the report shows it in its place.
        error: Box<EngineError>,
        /// The Dockerfile.
        dockerfile: Excerpt,
    },
    /// The embedded registry.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Flags, variables or files that do not make sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A file that the user named or that the machine's settings name.
    #[error("{what}")]
    File {
        /// What was done with which file.
        what: String,
        /// How it is to be judged.
        exit: Exit,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A registry did not take a login.
    #[error("{host} did not take the login")]
    Login {
        /// Which registry.
        host: String,
        /// What it said.
        #[source]
        source: Box<RegistryError>,
    },
    /// The store holds more than it may.
    #[error("{what}")]
    Full {
        /// How much it holds, and how much it may.
        what: String,
        /// Why.
        in_the_way: String,
    },
    /// A program that a person asked for ended with this code, which is passed on.
    #[error("the program ended with code {0}")]
    Program(u8),
    /// A signal asked to stop.
    #[error("interrupted")]
    Interrupted(Exit),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl Failure {
    /// Wrong use.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// A file that cannot be used.
    pub fn file(what: impl Into<String>, exit: Exit, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::File { what: what.into(), exit, source: source.into() }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Engine(error) | Self::Build { error, .. } => error.class().into(),
            Self::Login { source, .. } => exit_of(source),
            Self::Server(_) => Exit::Registry,
            Self::Program(_) => Exit::Step,
            Self::Full { .. } => Exit::Storage,
            Self::Usage { .. } => Exit::Usage,
            Self::File { exit, .. } | Self::Interrupted(exit) => *exit,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(error) | Self::Build { error, .. } => error.hint(),
            Self::Server(error) => error.hint(),
            Self::Login { source, .. } => match &**source {
                // The usual advice, to log in, is what was just tried.
                RegistryError::Status { status: 401 | 403, .. } => Some(ABOUT_LOGINS.to_owned()),
                RegistryError::Auth { advice, .. } if advice.starts_with("log in") => Some(ABOUT_LOGINS.to_owned()),
                other => other.hint(),
            },
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::File { source, .. } => source.downcast_ref::<io::Error>().and_then(hint_of_io).map(str::to_owned),
            Self::Full { in_the_way, .. } => Some(in_the_way.clone()),
            Self::Interrupted(_) | Self::Program(_) => None,
        }
    }
}

/// What to do when a registry refuses a login.
const ABOUT_LOGINS: &str =
    "check the user name and the password; many registries want an access token in place of the password";

/// How a failure of the registry client is judged.
fn exit_of(error: &RegistryError) -> Exit {
    match error.fault() {
        Fault::Caller => Exit::Usage,
        Fault::Input => Exit::Input,
        Fault::Local => Exit::Storage,
        Fault::Auth | Fault::Registry | Fault::Network => Exit::Registry,
    }
}

/// What to do about a file, where its error alone tells.
fn hint_of_io(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::NotFound => Some("check the path; a relative one begins at the current directory"),
        io::ErrorKind::PermissionDenied => Some("give this user access to it, or name another path"),
        io::ErrorKind::StorageFull => Some("make room on that disk"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_of_files() {
        for (kind, hint) in [
            (io::ErrorKind::NotFound, Some("check the path")),
            (io::ErrorKind::PermissionDenied, Some("give this user access")),
            (io::ErrorKind::StorageFull, Some("make room")),
            (io::ErrorKind::InvalidData, None),
        ] {
            let failure = Failure::file("reading x", Exit::Usage, io::Error::from(kind));
            let found = failure.hint();
            assert_eq!(found.is_some(), hint.is_some(), "{kind}");
            assert!(found.unwrap_or_default().starts_with(hint.unwrap_or_default()), "{kind}");
        }
    }
}
