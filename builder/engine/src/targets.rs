//! May the image be pushed to where it is to go? Asked while the build is under way, so that a long one does not end
//! with a refusal that could have been heard at its beginning.
//!
//! Takes: the request. Gives: the refusal, and stops the build. Must never: let a build fail for a network that fails
//! now and may work later, or make anybody wait.

use crate::layers::lock;
use crate::output::{Output, Push};
use crate::request::BuildRequest;
use crate::{Engine, EngineError};
use cooper_image::Reference;
use cooper_registry::{Fault, RegistryError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A build that ends sooner hears the refusal from its push.
const MOMENT: Duration = Duration::from_millis(300);

/// The questions that are under way. Dropping it ends them.
pub(crate) struct Targets {
    tasks: Vec<JoinHandle<()>>,
    refusal: Arc<Mutex<Option<RegistryError>>>,
}

impl Engine {
    /// Asks each repository that is pushed to, after a moment; a refusal sets `cancel`.
    pub(crate) fn ask_targets(&self, request: &BuildRequest, cancel: &Arc<AtomicBool>) -> Targets {
        let refusal: Arc<Mutex<Option<RegistryError>>> = Arc::default();
        let ask = |name: &Reference| {
            let (client, name) = (self.client.clone(), name.clone());
            let (cancel, refusal) = (Arc::clone(cancel), Arc::clone(&refusal));
            self.runtime.spawn(async move {
                tokio::time::sleep(MOMENT).await;
                match client.may_push(&name).await {
                    Err(error) if is_refusal(&error) => {
                        lock(&refusal).get_or_insert(error);
                        cancel.store(true, Ordering::SeqCst);
                    }
                    Err(error) => tracing::debug!(%name, %error, "it is not known whether this can be pushed to"),
                    Ok(()) => {}
                }
            })
        };
        let tasks = repositories(request).into_iter().map(ask).collect();
        Targets { tasks, refusal }
    }
}

impl Targets {
    /// What the build came to: the refusal, if that is what ended it.
    pub(crate) fn judge<T>(&self, done: Result<T, EngineError>) -> Result<T, EngineError> {
        match lock(&self.refusal).take() {
            Some(refusal) => Err(refusal.into()),
            None => done,
        }
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One name of each repository that is pushed to.
fn repositories(request: &BuildRequest) -> Vec<&Reference> {
    let mut found: Vec<&Reference> = Vec::new();
    for output in &request.outputs {
        let Output::Image(image) = output else { continue };
        let names = if image.names.is_empty() { &request.tags } else { &image.names };
        for name in names.iter().filter(|_| image.push != Push::No) {
            if !found.iter().any(|f| (f.host(), f.repository()) == (name.host(), name.repository())) {
                found.push(name);
            }
        }
    }
    found
}

/// Would the push end the same? A repository that is not there, and a registry that takes no pushes, stay so.
fn is_refusal(error: &RegistryError) -> bool {
    let refused = matches!(error, RegistryError::Status { status: 404 | 405, .. });
    refused || matches!(error.fault(), Fault::Auth | Fault::Caller)
}
