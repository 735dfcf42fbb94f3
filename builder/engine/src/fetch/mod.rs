//! What comes from elsewhere: files behind URLs and git repositories, for ADD and for contexts.
//!
//! Takes a parsed [`cooper_dockerfile::remote`] source. Gives a blob of the store, or a checked-out directory, both
//! verified. In reading order: `http`, then `git` (which commit it is, and its files), `program` (how git is run),
//! `tidy` (what a checkout looks like in the end), `secrets`. Must never: let anything be used before it was compared
//! with its checksum, read a user's configuration of git, or give a password to anybody but its host.

mod error;
mod git;
mod http;
mod program;
mod secrets;
mod tidy;

pub use error::FetchError;
pub use git::{Checkout, GitCommit, Wanted};
pub use http::{Answered, HttpFile};
pub use program::GitSurroundings;
pub use secrets::SecretSource;

use crate::{Engine, EngineError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often somebody looks whether the build is to stop.
const GLANCE: Duration = Duration::from_millis(50);

/// Fetches on behalf of one build.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    /// Its connections, its store.
    pub engine: &'a Engine,
    /// Stops everything when it becomes true.
    pub cancel: &'a AtomicBool,
    /// What `--secret` gave.
    pub secrets: &'a dyn SecretSource,
}

impl Fetcher<'_> {
    /// Waits for a transfer, or until the build is to stop.
    fn wait<T>(&self, transfer: impl Future<Output = T>) -> Result<T, EngineError> {
        let stopped = async {
            while !self.cancel.load(Ordering::SeqCst) {
                tokio::time::sleep(GLANCE).await;
            }
        };
        self.engine.runtime.block_on(async {
            tokio::select! {
                done = transfer => Ok(done),
                () = stopped => Err(EngineError::Interrupted),
            }
        })
    }
}
