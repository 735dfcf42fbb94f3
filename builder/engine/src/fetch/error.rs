//! Why something could not be fetched. Must never hold a password: URLs are without user and password.

use crate::ErrorClass;
use cooper_registry::Fault;
use cooper_registry::web::WebError;

/// A failure to fetch.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum FetchError {
    /// A file behind a URL.
    #[error(transparent)]
    Web(#[from] WebError),
    /// Other bytes than the checksum says. Nothing was kept.
    #[error("{url}: digest mismatch: expected {expected}, got {actual}")]
    Digest { url: String, expected: String, actual: String },
    /// Another commit than the checksum says.
    #[error("{url}: expected a commit that begins with {expected}, got {actual}")]
    Commit { url: String, expected: String, actual: String },
    /// There is no git.
    #[error("{url} needs git, and git cannot be started")]
    NoGit {
        url: String,
        #[source]
        source: std::io::Error,
    },
    /// git failed.
    #[error("{url}: git {what} failed: {said}")]
    Git { url: String, what: String, said: String },
    /// git or its server was too slow, or too talkative.
    #[error("{url}: git {what} {limit}")]
    Limit { url: String, what: String, limit: String },
    /// No such branch, tag or commit.
    #[error("{url} has no {reference}")]
    NoReference { url: String, reference: String },
    /// No such directory.
    #[error("{url} has no directory {subdir} in commit {commit}")]
    NoDirectory { url: String, subdir: String, commit: String },
    /// The repository leads where it must not.
    #[error("{url}: {what}")]
    Hostile { url: String, what: String },
}

impl FetchError {
    /// Whose fault it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Web(e) => match e.fault() {
                Fault::Caller => ErrorClass::Usage,
                Fault::Input => ErrorClass::Input,
                Fault::Local => ErrorClass::Storage,
                Fault::Auth | Fault::Registry | Fault::Network => ErrorClass::Registry,
            },
            Self::Digest { .. } | Self::Commit { .. } | Self::Hostile { .. } => ErrorClass::Input,
            Self::NoGit { .. } | Self::NoDirectory { .. } => ErrorClass::Usage,
            Self::Git { .. } | Self::Limit { .. } | Self::NoReference { .. } => ErrorClass::Registry,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Web(e) => return e.hint(),
            Self::Digest { .. } | Self::Commit { .. } => {
                "somebody changed what is behind the URL: look at it before you change the checksum"
            }
            Self::NoGit { .. } => "install git, and let PATH lead to it",
            Self::Git { said, .. } if said.contains("could not read Username") => {
                "the repository wants an authorization: see GIT_AUTH_TOKEN in Dockerfile's reference of ADD"
            }
            Self::Git { said, .. } if said.contains("error: 30") => {
                "give the URL that it redirects to: an authorization follows no redirect"
            }
            Self::Git { said, .. } if said.contains("Host key verification failed") => {
                "put the server's key into ~/.ssh/known_hosts, after you have compared it with what the server's owner says"
            }
            // Only ssh names the ways in brackets that it tried; a file may be denied as well.
            Self::Git { said, .. } if said.contains("Permission denied (") => {
                "give --ssh default, with a key in the agent that the server knows, or --ssh default=KEY; without --ssh no \
                 key is used"
            }
            Self::Git { .. } | Self::Limit { .. } => "check the URL, and that its server can be reached from here",
            Self::NoReference { .. } => "name a branch, a tag, or a commit with its whole id",
            Self::NoDirectory { .. } => "name a directory of that commit, without links on the way",
            Self::Hostile { .. } => "look at the repository and the URL before you use them",
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_sentences() {
        let url = || "https://h/a.git".to_owned();
        for (error, class, says) in [
            (
                FetchError::Commit { url: url(), expected: "ab".into(), actual: "cd".into() },
                ErrorClass::Input,
                "https://h/a.git: expected a commit that begins with ab, got cd",
            ),
            (
                FetchError::NoReference { url: url(), reference: "v9".into() },
                ErrorClass::Registry,
                "https://h/a.git has no v9",
            ),
            (
                FetchError::Web(WebError::Status { url: "http://h/f".into(), status: 404 }),
                ErrorClass::Registry,
                "http://h/f: the server answered 404",
            ),
            (
                FetchError::Web(WebError::Refused { url: "http://h/f".into(), cause: "no".into() }),
                ErrorClass::Input,
                "http://h/f: no",
            ),
        ] {
            assert_eq!((error.class(), error.to_string().as_str()), (class, says));
            assert!(error.hint().is_some(), "{says}");
        }
    }
    #[test]
    fn keys_are_spoken_of_where_ssh_wanted_one() {
        for (said, keys) in [
            ("git@h: Permission denied (publickey).; fatal: Could not read from remote repository.", true),
            ("fatal: could not create work tree dir 'x': Permission denied", false),
        ] {
            let error = FetchError::Git { url: "ssh://h/a".into(), what: "fetch".into(), said: said.into() };
            assert_eq!(error.hint().is_some_and(|hint| hint.contains("--ssh default")), keys, "{said}");
        }
    }
}
