//! A request that writes to an upload, as others see it: does anything come? A client whose line broke asks and goes on,
//! while its old connection may still stand here; that one must not keep it out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A request of which nothing came for so long ends when another one wants to write.
pub const STALLED: Duration = Duration::from_secs(1);

/// One request's way through an upload.
#[derive(Default)]
pub struct Course {
    /// Since when the client is waited for; absent while what came is being dealt with.
    waiting: Mutex<Option<Instant>>,
    over: Notify,
}

impl Course {
    /// Waits for what the client sends; nothing when the request is to end for another one.
    pub async fn wait<T>(&self, coming: impl Future<Output = T>) -> Option<T> {
        self.mark(Some(Instant::now()));
        let came = tokio::select! {
            biased;
            came = coming => Some(came),
            () = self.over.notified() => None,
        };
        self.mark(None);
        came
    }

    /// Ends the request if nothing has come for a while. A slow disk is not the client's fault.
    pub fn end_if_stalled(&self) -> bool {
        let waiting = *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let stalled = waiting.is_some_and(|since| since.elapsed() >= STALLED);
        if stalled {
            self.over.notify_one();
        }
        stalled
    }

    fn mark(&self, waiting: Option<Instant>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }
}
