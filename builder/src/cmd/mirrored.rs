//! The registry that `cooper registry serve --mirror-of` mirrors, asked by the client of every other command.

use cooper_image::{Descriptor, Digest, Reference};
use cooper_registry::{Client, Fault, RegistryError};
use cooper_registry_server::{Coming, Manifest, Sink, Upstream, UpstreamError};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A question that takes so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most questions at once. Each has a thread, also when whoever asked has given up waiting, and what reads the disk
/// needs threads too.
const QUESTIONS: usize = 64;

/// A registry behind a client.
#[derive(Debug)]
pub struct Mirrored {
    client: Client,
    /// `host[:port]`.
    host: String,
    questions: Arc<Semaphore>,
}

impl Upstream for Mirrored {
    fn manifest<'a>(
        &'a self,
        repository: &'a str,
        reference: &'a str,
        known: Option<&'a Digest>,
    ) -> Coming<'a, Manifest> {
        // No tag has a colon.
        let mark = if reference.contains(':') { '@' } else { ':' };
        let name = self.name(&format!("{repository}{mark}{reference}"));
        let (client, known) = (self.client.clone(), known.cloned());
        Box::pin(async move {
            let name = name?;
            self.question(async move || ask(&client, &name, known.as_ref()).await).await
        })
    }

    fn blob<'a>(&'a self, repository: &'a str, blob: &'a Descriptor, sink: Sink<'a>) -> Coming<'a, ()> {
        Box::pin(async move {
            let name = self.name(repository)?;
            self.client.blob(&name, blob, sink).await.map_err(failure)
        })
    }

    fn referrers<'a>(&'a self, repository: &'a str, subject: &'a Digest) -> Coming<'a, Vec<Descriptor>> {
        Box::pin(async move {
            let (name, client, subject) = (self.name(repository)?, self.client.clone(), subject.clone());
            self.question(async move || client.referrers(&name, &subject, None).await).await
        })
    }
}

impl Mirrored {
    /// The registry at `host[:port]`.
    pub fn new(client: Client, host: String) -> Self {
        Self { client, host, questions: Arc::new(Semaphore::new(QUESTIONS)) }
    }

    /// Asks something, unless too many wait for an answer already.
    async fn question<T: Send + 'static>(
        &self,
        ask: impl AsyncFnOnce() -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let failed = |why: &str| UpstreamError::Failed(why.to_owned());
        let permit = Arc::clone(&self.questions).try_acquire_owned();
        let permit = permit.map_err(|_| failed("too many wait for the upstream already"))?;
        let runtime = Handle::current();
        // On a thread of its own: what a client awaits may not move between threads, as far as the compiler knows.
        let asked = spawn_blocking(move || {
            let answer = runtime.block_on(timeout(PATIENCE, async { ask().await }));
            drop(permit);
            answer
        });
        let answer = asked.await.map_err(|e| UpstreamError::Failed(e.to_string()))?;
        answer.map_err(|_| failed("the upstream does not answer"))?.map_err(failure)
    }

    fn name(&self, rest: &str) -> Result<Reference, UpstreamError> {
        // A name of the distribution specification that is none of an image is nowhere.
        format!("{}/{rest}", self.host).parse().map_err(|_| UpstreamError::Absent)
    }
}

async fn ask(client: &Client, name: &Reference, known: Option<&Digest>) -> Result<Manifest, RegistryError> {
    // Asking costs less than fetching, and at Docker Hub counts as no pull.
    if let Some(known) = known
        && client.describe(name).await?.digest == *known
    {
        return Ok(Manifest::Unchanged);
    }
    let fetched = client.top(name).await?;
    let (digest, media_type) = (fetched.bytes.digest().clone(), fetched.media_type);
    Ok(Manifest::Changed { bytes: fetched.bytes.into_inner(), digest, media_type })
}

fn failure(error: RegistryError) -> UpstreamError {
    match error.fault() {
        _ if error.is_absence() => UpstreamError::Absent,
        Fault::Auth => UpstreamError::Refused(error.to_string()),
        _ => UpstreamError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_registry::ClientOptions;

    #[test]
    fn an_upstream_that_hangs_has_a_bounded_number_of_threads() {
        // It takes connections, and says nothing.
        let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = hanging.local_addr().unwrap().to_string();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mirrored = Mirrored::new(Client::new(ClientOptions::default()).unwrap(), host);
            for n in 0..QUESTIONS {
                // Whoever asks gives up.
                let asked = mirrored.manifest("app", "v1", None);
                assert!(timeout(Duration::from_millis(1), asked).await.is_err(), "{n}");
            }
            let refused = timeout(Duration::from_secs(30), mirrored.manifest("app", "v1", None)).await.unwrap();
            assert!(matches!(refused, Err(UpstreamError::Failed(why)) if why.contains("too many")));
        });
        // Nobody waits for the threads.
        runtime.shutdown_background();
    }
}
