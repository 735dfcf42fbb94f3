//! Waiting before another try, in sight of people: all that a client waits comes from one account, whatever it is for,
//! and what a registry told one transfer holds back the others.
//!
//! Takes how long and why; gives leave to wait, and waits. Must never decide whether something deserves another try.

use crate::retry::jitter;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// From this wait on people are told why nothing happens.
const NOTICED: Duration = Duration::from_millis(900);
/// Over so long those who were held back come back, so that they do not come together.
const SPREAD: Duration = Duration::from_secs(1);
/// After so long a host is asked again, whatever it has told: a server's client lives long, and what is told can be a
/// slip.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);

/// Time, as far as tries wait for it.
pub trait Clock: fmt::Debug + Send + Sync {
    /// How long it is since a moment that stays the same.
    fn now(&self) -> Duration;
    /// Ends after as long a time.
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's.
#[derive(Debug)]
pub(crate) struct Real(Instant);

impl Real {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Real {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// How long a client has waited, and for whom it has to.
#[derive(Debug)]
pub(crate) struct Patience {
    clock: Arc<dyn Clock>,
    /// All waits together.
    total: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Time in which somebody waited; several who wait at the same time wait once.
    waited: Duration,
    /// Until when that is counted.
    counted: Duration,
    /// Hosts that are not to be asked before a moment.
    held: HashMap<String, Duration>,
    /// Hosts that have answered something.
    met: HashSet<String>,
}

impl Patience {
    pub(crate) fn new(clock: Arc<dyn Clock>, total: Duration) -> Self {
        Self { clock, total, state: Mutex::default() }
    }

    /// Takes a wait from the account; `false` when there is not enough left.
    pub(crate) fn grants(&self, wait: Duration) -> bool {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(waited) = self.after(&state, now, wait) else { return false };
        (state.waited, state.counted) = (waited, state.counted.max(now.saturating_add(wait)));
        true
    }

    /// Is enough left for a wait?
    pub(crate) fn affords(&self, wait: Duration) -> bool {
        let now = self.clock.now();
        self.after(&self.state(), now, wait).is_some()
    }

    /// What would be waited in all after a wait that begins now; `None` where that is too long. Who has not waited for as
    /// long as all of the account lasts, as a server may, has all of it again.
    fn after(&self, state: &State, now: Duration, wait: Duration) -> Option<Duration> {
        let rested = now.saturating_sub(state.counted) > self.total;
        let before = if rested { Duration::ZERO } else { state.waited };
        let more = now.saturating_add(wait).saturating_sub(state.counted.max(now));
        Some(before.saturating_add(more)).filter(|waited| *waited <= self.total)
    }

    /// Waits for something else than another try, which nobody has to be told of.
    pub(crate) async fn sleep(&self, wait: Duration) {
        self.clock.sleep(wait).await;
    }

    /// What the clock says.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// A host has answered, whatever it said.
    pub(crate) fn met(&self, host: &str) {
        let mut state = self.state();
        if !state.met.contains(host) {
            state.met.insert(host.to_owned());
        }
    }

    /// Has the host answered anything yet?
    pub(crate) fn was_there(&self, host: &str) -> bool {
        self.state().met.contains(host)
    }

    /// A host wants to be asked nothing for a while.
    pub(crate) fn hold(&self, host: &str, wait: Duration) {
        let until = self.clock.now().saturating_add(wait.min(LONGEST_HOLD));
        let mut state = self.state();
        let held = state.held.entry(host.to_owned()).or_default();
        *held = until.max(*held);
    }

    /// Waits until a host may be asked. The error is how long that would be, where it is longer than `longest` or than
    /// the account has.
    pub(crate) async fn turn(&self, host: &str, longest: Duration) -> Result<(), Duration> {
        loop {
            let until = self.state().held.get(host).copied().unwrap_or_default();
            let left = until.saturating_sub(self.clock.now());
            if left.is_zero() {
                return Ok(());
            }
            let wait = left + jitter(SPREAD.min(left));
            if left > longest || !self.grants(wait) {
                return Err(left);
            }
            tracing::debug!(host, wait_ms = left.as_millis() as u64, "the host has told another request to wait");
            self.clock.sleep(wait).await;
        }
    }

    /// Waits. `cause` is what ended the try before.
    pub(crate) async fn pause(&self, wait: Duration, cause: &(dyn Display + Sync)) {
        match wait >= NOTICED {
            true => tracing::warn!("{cause}: trying again in {:.0} s", wait.as_secs_f64()),
            false => tracing::debug!(wait_ms = wait.as_millis() as u64, "{cause}: trying again"),
        }
        self.clock.sleep(wait).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
