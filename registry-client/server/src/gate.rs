//! Who may do what: the one gate that every request passes.
//!
//! Takes: who asks, an action, a repository. Gives: leave, or the refusal to answer with. Must never: take wrong
//! credentials for none, or tell from a refusal whether a repository exists.

use crate::api_error::{ApiError, Code};
use crate::rules::Rules;
use crate::users::Users;
use axum::http::HeaderMap;
use axum::http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cooper_store::RepoName;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Longest `Authorization` header that is looked at, in bytes.
const LONGEST: usize = 4096;
/// What a client is asked for (RFC 7617).
const CHALLENGE: &str = "Basic realm=\"Cooper registry\", charset=\"UTF-8\"";

/// What somebody wants to do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Get something, or learn that it is there.
    Read,
    /// Add blobs, manifests and tags that are not there yet.
    Create,
    /// Have a tag lead elsewhere than before.
    Replace,
    /// Take something away.
    Delete,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Delete => "delete",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody who said who they are.
    Anonymous,
    /// A user whose password was right.
    User(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "anonymous",
            Self::User(name) => name,
        })
    }
}

/// Users, and what each may do.
#[derive(Debug)]
pub struct Access {
    /// Those who have a password.
    pub users: Users,
    /// What each may do. Without rules every user may do everything, and nobody else anything.
    pub rules: Rules,
}

/// Users and rules in force, which may be replaced while a registry serves. Clones are one.
#[derive(Debug, Clone)]
pub struct AccessControl(Arc<RwLock<Arc<Access>>>);

impl AccessControl {
    /// With these in force.
    pub fn new(access: Access) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(access))))
    }

    /// Puts others into force, for every question from now on, also on connections that are open.
    pub fn replace(&self, access: Access) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    fn now(&self) -> Arc<Access> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Access> for AccessControl {
    fn from(access: Access) -> Self {
        Self::new(access)
    }
}

/// What nobody may do, whatever the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Everything is possible.
    Nothing,
    /// Only the upstream brings something here.
    Pushes,
    /// Everything stays as it is.
    Changes,
}

impl Closed {
    fn why(self, action: Action) -> Option<&'static str> {
        match (self, action) {
            (_, Action::Read) | (Self::Nothing, _) | (Self::Pushes, Action::Delete) => None,
            (Self::Pushes, _) => Some("this registry is a mirror: push to the registry that it mirrors"),
            (Self::Changes, _) => Some("this registry is only read"),
        }
    }
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    closed: Closed,
    access: Option<AccessControl>,
}

impl Gate {
    pub fn new(closed: Closed, access: Option<AccessControl>) -> Self {
        Self { closed, access }
    }

    fn now(&self) -> Option<Arc<Access>> {
        self.access.as_ref().map(AccessControl::now)
    }

    /// Who sent these headers.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Who, ApiError> {
        // An open registry asks nobody who they are.
        let Some(access) = self.now() else { return Ok(Who::Anonymous) };
        let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Who::Anonymous) };
        let Some((name, password)) = header.to_str().ok().and_then(basic) else {
            return Err(unauthorized("the Authorization header is none of Basic"));
        };
        // So send clients that were asked for credentials and have none.
        if name.is_empty() && password.is_empty() {
            return Ok(Who::Anonymous);
        }
        match access.users.verify(&name, password).await? {
            true => Ok(Who::User(name)),
            false => Err(unauthorized("there is no such user with this password")),
        }
    }

    /// May this be done?
    pub fn authorise(&self, who: &Who, action: Action, name: &RepoName) -> Result<(), ApiError> {
        let allowed = self.now().is_none_or(|access| access.rules.allow(who, action, name.as_str()));
        match (allowed, who) {
            (false, Who::Anonymous) => Err(unauthorized("this is not for everybody: say who you are").about(name)),
            (false, Who::User(user)) => {
                let message = format!("{user} may not {} in this repository", action.name());
                Err(ApiError::new(Code::Denied, message).about(name))
            }
            (true, _) => self
                .closed
                .why(action)
                .map_or(Ok(()), |why| Err(ApiError::new(Code::MethodNotAllowed, why).header(ALLOW, "GET, HEAD"))),
        }
    }

    /// Asks a client that only looks whether this is a registry to say who it is: whoever is not asked there never is.
    pub fn greet(&self, who: &Who) -> Result<(), ApiError> {
        match (&self.access, who) {
            (Some(_), Who::Anonymous) => Err(unauthorized("say who you are")),
            _ => Ok(()),
        }
    }

    /// Are figures about the whole registry for this one?
    pub fn figures(&self, who: &Who) -> Result<(), ApiError> {
        match self.now() {
            None => Ok(()),
            Some(access) if access.rules.allow_metrics(who) => Ok(()),
            Some(_) if *who == Who::Anonymous => Err(unauthorized("say who you are")),
            Some(_) => Err(ApiError::new(Code::Denied, format!("{who} may not see the metrics"))),
        }
    }
}

/// Name and password of `Basic` (RFC 7617).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if header.len() > LONGEST || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(Code::Unauthorized, message).header(WWW_AUTHENTICATE, CHALLENGE)
}
