//! The registry that `cooper registry serve --mirror-of` mirrors, asked by the client of every other command.

use cooper_image::{Descriptor, Digest, Reference};
use cooper_registry::{Client, Fault, RegistryError};
use cooper_registry_server::{Coming, Manifest, Sink, Upstream, UpstreamError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A question that takes so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry behind a client.
#[derive(Debug)]
pub struct Mirrored {
    /// Asks it.
    pub client: Client,
    /// `host[:port]`.
    pub host: String,
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
            let (name, runtime) = (name?, Handle::current());
            // On a thread of its own: what a client awaits may not move between threads, as far as the compiler knows.
            let asked = spawn_blocking(move || {
                runtime.block_on(timeout(PATIENCE, async { ask(&client, &name, known.as_ref()).await }))
            });
            let answer = asked.await.map_err(|e| UpstreamError::Failed(e.to_string()))?;
            answer.map_err(|_| UpstreamError::Failed("the upstream does not answer".to_owned()))?.map_err(failure)
        })
    }

    fn blob<'a>(&'a self, repository: &'a str, blob: &'a Descriptor, sink: Sink<'a>) -> Coming<'a, ()> {
        Box::pin(async move {
            let name = self.name(repository)?;
            self.client.blob(&name, blob, sink).await.map_err(failure)
        })
    }
}

impl Mirrored {
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
    Ok(Manifest::Changed { media_type: fetched.media_type, bytes: fetched.bytes.into_inner() })
}

fn failure(error: RegistryError) -> UpstreamError {
    match error.fault() {
        _ if error.is_absence() => UpstreamError::Absent,
        Fault::Auth => UpstreamError::Refused(error.to_string()),
        _ => UpstreamError::Failed(error.to_string()),
    }
}
