//! Waiting before another try, in sight of people. Takes how long and why; must never decide either.

use std::fmt::Display;
use std::time::Duration;

/// From this wait on people are told why nothing happens.
const NOTICED: Duration = Duration::from_millis(900);

/// Waits. `cause` is what ended the try before.
pub(crate) async fn pause(wait: Duration, cause: &(dyn Display + Sync)) {
    match wait >= NOTICED {
        true => tracing::warn!("{cause}: trying again in {:.0} s", wait.as_secs_f64()),
        false => tracing::debug!(wait_ms = wait.as_millis() as u64, "{cause}: trying again"),
    }
    tokio::time::sleep(wait).await;
}
