//! The users of a registry: an htpasswd file with bcrypt, and passwords that were right lately.
//!
//! Takes: the text of the file; a name and a password. Gives: whether they belong together. Must never: show a hash or
//! a password, or let a flood of wrong passwords have every processor.

use crate::api_error::ApiError;
use cooper_image::{Digest, Hasher};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Costs of bcrypt that are accepted: 4 is its least, and each step more doubles the time. 14 takes about a second.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;
/// How long a password waits for its turn to be compared.
const TURN: Duration = Duration::from_secs(10);
/// What a file without users costs.
const COST: u32 = 10;
/// The part of a hash behind its cost; of no password.
const OF_NOBODY: &str = "abcdefghijklmnopqrstuu...............................";

/// What is wrong with a file of users or rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong; nothing of the line itself, which may hold a secret.
    pub problem: String,
}

/// Users and their passwords.
pub struct Users {
    hashes: BTreeMap<String, String>,
    /// Compared for a name that nobody has, so that it takes as long as for the one that takes longest.
    nobody: String,
    /// For each user a keyed hash of the password that was right last: bcrypt is slow on purpose, and a pull of an image
    /// asks many times.
    right: Mutex<HashMap<String, Digest>>,
    /// Of this process alone, so that the hashes above are of no use to anybody.
    key: [u8; 32],
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("names", &self.hashes.keys()).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads an htpasswd file: `name:hash` in each line, empty lines and those with `#` left out.
    ///
    /// # Errors
    /// [`LineError`] for a hash that is not of bcrypt or costs too much, and for a name that comes twice.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let mut hashes = BTreeMap::new();
        let mut dearest = None;
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem: &str| LineError { line: n + 1, problem: problem.to_owned() };
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("there is no colon after a name"))?;
            if name.is_empty() || name == "*" || name == "anonymous" || name.chars().any(char::is_control) {
                return Err(wrong("this cannot be the name of a user"));
            }
            dearest = dearest.max(Some(cost(hash).map_err(|problem| wrong(&problem))?));
            if hashes.insert(name.to_owned(), hash.to_owned()).is_some() {
                return Err(wrong("this user has a line already"));
            }
        }
        let mut key = [0; 32];
        let random = rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty());
        random.map_err(|e| LineError { line: 0, problem: format!("the system gives no random numbers: {e}") })?;
        let turns = std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        let nobody = format!("$2b${:02}${OF_NOBODY}", dearest.unwrap_or(COST));
        Ok(Self { hashes, nobody, right: Mutex::default(), key, turns: Arc::new(Semaphore::new(turns)) })
    }

    /// Is there a user of this name?
    pub fn has(&self, name: &str) -> bool {
        self.hashes.contains_key(name)
    }

    /// Do name and password belong together?
    pub(crate) async fn verify(&self, name: &str, password: String) -> Result<bool, ApiError> {
        let keyed = self.keyed(name, &password);
        if self.right.lock().unwrap_or_else(PoisonError::into_inner).get(name) == Some(&keyed) {
            return Ok(true);
        }
        let busy = || ApiError::busy("too many passwords are being compared");
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        let known = self.hashes.get(name);
        let hash = known.unwrap_or(&self.nobody).clone();
        // The turn ends with the work, and not with a client that hangs up and asks again.
        let compare = move || {
            let right = bcrypt::verify(password, &hash).unwrap_or(false);
            drop(turn);
            right
        };
        let compared = tokio::task::spawn_blocking(compare).await;
        let right = compared.map_err(|e| ApiError::internal(&e))? && known.is_some();
        if right {
            self.right.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), keyed);
        }
        Ok(right)
    }

    fn keyed(&self, name: &str, password: &str) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(&self.key);
        hasher.update(name.as_bytes());
        // No name has a zero byte.
        hasher.update(&[0]);
        hasher.update(password.as_bytes());
        hasher.finish()
    }
}

/// How much a hash costs, when it is one that is accepted.
fn cost(hash: &str) -> Result<u32, String> {
    let only = "only hashes of bcrypt are accepted: htpasswd -nB NAME makes such a line";
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|kind| hash.strip_prefix(kind)).ok_or(only)?;
    let (cost, salted) = rest.split_once('$').ok_or(only)?;
    let cost: u32 = cost.parse().map_err(|_| only)?;
    if salted.len() != 53 || !salted.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/') {
        return Err(only.to_owned());
    }
    if !COSTS.contains(&cost) {
        return Err(format!("the hash costs {cost}; {} to {} are accepted", COSTS.start(), COSTS.end()));
    }
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_line_by_line_and_tell_no_secret() {
        let hash = bcrypt::hash("right", 4).unwrap();
        let users = Users::parse(&format!("# people\n\nme:{hash}\n")).unwrap();
        assert!(users.has("me") && !users.has("you"));
        assert!(!format!("{users:?}").contains(&hash));
        for (text, line) in [
            (format!("me:{hash}\nme:{hash}"), 2),
            ("me".to_owned(), 1),
            (format!("*:{hash}"), 1),
            (format!("anonymous:{hash}"), 1),
            ("me:secret".to_owned(), 1),
            ("me:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(), 1),
            ("me:$apr1$x$y".to_owned(), 1),
            (format!("\nme:{}", hash.replace("$04$", "$31$")), 2),
            (format!("me:{}", &hash[..59]), 1),
        ] {
            let error = Users::parse(&text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_password_is_right_for_its_user_alone() {
        let line = |name: &str, password: &str| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap());
        let users = Users::parse(&(line("me", "mine") + &line("you", "yours"))).unwrap();
        // Twice, since the second time it is remembered.
        for _ in 0..2 {
            for (name, password, right) in [
                ("me", "mine", true),
                ("me", "yours", false),
                ("you", "mine", false),
                ("no", "mine", false),
                ("me", "", false),
            ] {
                assert_eq!(users.verify(name, password.to_owned()).await.unwrap(), right, "{name} {password}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_costs_as_much_as_the_dearest() {
        let line = |name: &str, cost: u32| format!("{name}:$2y${cost:02}${OF_NOBODY}\n");
        for (text, cost) in [(String::new(), 10), (line("a", 4), 4), (line("a", 5) + &line("b", 6) + &line("c", 4), 6)]
        {
            let users = Users::parse(&text).unwrap();
            assert!(users.nobody.starts_with(&format!("$2b${cost:02}$")), "{}", users.nobody);
            // A hash that bcrypt refuses would cost nothing.
            assert_eq!(bcrypt::verify("", &users.nobody).ok(), Some(false));
        }
    }

    #[tokio::test]
    async fn who_hangs_up_frees_no_turn_before_the_work_is_done() {
        let users = Users::parse(&format!("me:$2y$09${OF_NOBODY}\n")).unwrap();
        let all = users.turns.available_permits();
        let gave_up = tokio::time::timeout(Duration::from_millis(1), users.verify("me", "wrong".to_owned())).await;
        assert!(gave_up.is_err());
        assert_eq!(users.turns.available_permits(), all - 1);
        // Nobody waits for it, and it ends all the same.
        let back = Arc::clone(&users.turns).acquire_many_owned(u32::try_from(all).unwrap()).await;
        assert!(back.is_ok());
    }

    #[tokio::test]
    async fn only_a_wrong_password_is_a_failed_login() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::parse(&format!("me:$2y$04${OF_NOBODY}\n")).unwrap();
        let turns = Arc::clone(&users.turns);
        let mut options = crate::ServerOptions::new(cooper_store::Store::open(dir.path()).unwrap());
        options.access = Some(crate::Access { users, rules: crate::Rules::default() }.into());
        let registry = crate::Registry::new(options);
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("authorization", "Basic bWU6d3Jvbmc=".parse().unwrap());
        let failures = || registry.shared.metrics.text(0).contains("login_failures_total 1\n");
        let refused = registry.clone().identify(&headers).await.err().unwrap();
        assert!(refused.is(crate::Code::Unauthorized) && failures());
        // No turn is to be had.
        turns.close();
        let refused = registry.clone().identify(&headers).await.err().unwrap();
        assert!(refused.is(crate::Code::TooManyRequests) && failures());
    }
}
