//! Whose turn it is to ask the upstream: one question about a name at a time, and no more about all of them than an
//! upstream bears. What the upstream does not answer keeps nobody waiting who wants something else, as long as it is not
//! everything.
//!
//! Must never: grow with what strangers ask for.

use cooper_store::RepoName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Questions that wait for the upstream at once.
const QUESTIONS: usize = 64;
/// Names that are remembered before those are forgotten that nobody asks about.
const NAMES: usize = 1024;

type Name = (RepoName, String);

/// All turns.
pub struct Turns {
    names: Mutex<HashMap<Name, Weak<tokio::sync::Mutex<()>>>>,
    questions: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { names: Mutex::default(), questions: Semaphore::new(QUESTIONS) }
    }
}

/// The turn to ask about a name, which others may want too.
pub struct Turn<'t> {
    turns: &'t Turns,
    /// `None` when it did not come in time.
    mine: Option<OwnedMutexGuard<()>>,
    end: Instant,
    waited: bool,
}

impl Turns {
    /// Waits for the turn to ask about a name until then, if somebody else has it.
    pub async fn of(&self, name: &RepoName, reference: &str, end: Instant) -> Turn<'_> {
        let turn = self.name((name.clone(), reference.to_owned()));
        let (mine, waited) = match Arc::clone(&turn).try_lock_owned() {
            Ok(mine) => (Some(mine), false),
            Err(_) => (timeout_at(end, turn.lock_owned()).await.ok(), true),
        };
        Turn { turns: self, mine, end, waited }
    }

    fn name(&self, name: Name) -> Arc<tokio::sync::Mutex<()>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = names.get(&name).and_then(Weak::upgrade) {
            return turn;
        }
        if names.len() >= NAMES {
            names.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        names.insert(name, Arc::downgrade(&turn));
        turn
    }
}

impl Turn<'_> {
    /// Room for one question more; `None` when there is none in time, or the turn did not come.
    pub async fn question(&mut self) -> Option<SemaphorePermit<'_>> {
        self.mine.as_ref()?;
        match self.turns.questions.try_acquire() {
            Ok(room) => Some(room),
            Err(_) => {
                self.waited = true;
                timeout_at(self.end, self.turns.questions.acquire()).await.ok()?.ok()
            }
        }
    }

    /// Was somebody else's question waited for?
    pub fn has_waited(&self) -> bool {
        self.waited
    }
}
