//! Layers are sent to where the image is pushed while they are compressed.
//!
//! Takes: the file that a layer's blob is written to. Gives: whether the registry has it, once it is whole. All of this
//! only saves time: what was not sent so, or failed, is sent by the push, which tells its failures and tries again.
//! Must never: slow down who compresses, or fail a build.

use crate::layers::lock;
use crate::meters::Meters;
use crate::output::{Output, Push};
use crate::request::BuildRequest;
use cooper_image::{Descriptor, Digest, Reference};
use cooper_registry::{Client, Growing, Pushed, RegistryError};
use cooper_store::StoreError;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Most blobs that are under way at once: each has a connection and two open files.
const PARALLEL: usize = 4;

/// Is the output sent to a registry?
pub fn is_pushed(output: &Output) -> bool {
    matches!(output, Output::Image(image) if image.push != Push::No)
}

/// The way to one repository. Dropping it ends what is under way.
pub struct Uplink {
    client: Client,
    runtime: Handle,
    name: Reference,
    /// How many more may be under way.
    permits: Arc<Semaphore>,
    whole: Mutex<Vec<Sent>>,
}

/// A blob that is whole here and on its way.
struct Sent {
    digest: Digest,
    growing: Arc<Growing>,
    task: JoinHandle<Result<Pushed, RegistryError>>,
}

impl Uplink {
    /// To the repository of a name.
    pub fn new(client: Client, runtime: Handle, name: Reference) -> Self {
        Self { client, runtime, name, permits: Arc::new(Semaphore::new(PARALLEL)), whole: Mutex::default() }
    }

    /// Where the build pushes to, if it does: of several repositories the first one.
    pub fn target(request: &BuildRequest) -> Option<&Reference> {
        match request.outputs.iter().find(|output| is_pushed(output)) {
            Some(Output::Image(image)) => image.names.first().or(request.tags.first()),
            _ => None,
        }
    }

    /// Does it lead to the repository of this name?
    pub fn leads_to(&self, name: &Reference) -> bool {
        (name.host(), name.repository()) == (self.name.host(), self.name.repository())
    }

    /// Begins to send what will be written to the file; nothing when enough is under way or it cannot be read.
    pub fn begin(&self, file: impl FnOnce() -> Result<File, StoreError>) -> Option<Sending<'_>> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let file = file().inspect_err(|error| tracing::debug!(%error, "a layer is not sent while it is made")).ok()?;
        let growing = Arc::new(Growing::new(file));
        let (client, name, source) = (self.client.clone(), self.name.clone(), Arc::clone(&growing));
        let task = self.runtime.spawn(async move {
            let _under_way = permit;
            client.stream_blob(&name, &source).await
        });
        Some(Sending { uplink: self, growing, task: Some(task) })
    }

    /// Waits for a blob that is sent, and gives how it came there; nothing when it was not sent, or in vain.
    pub fn sent(&self, name: &Reference, blob: &Descriptor, meters: &Meters<'_>) -> Option<Pushed> {
        if !self.leads_to(name) {
            return None;
        }
        let sent = {
            let mut whole = lock(&self.whole);
            whole.iter().position(|sent| sent.digest == blob.digest).map(|at| whole.swap_remove(at))
        }?;
        meters.watch(blob, move || sent.growing.sent());
        match self.runtime.block_on(sent.task) {
            Ok(Ok(pushed)) => Some(pushed),
            Ok(Err(error)) => {
                tracing::debug!(digest = %blob.digest, %error, "a layer could not be sent while it was made");
                None
            }
            Err(_) => None,
        }
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        lock(&self.whole).drain(..).for_each(|sent| sent.task.abort());
    }
}

/// One blob that is being written. Dropping it before it is whole gives it up.
pub struct Sending<'u> {
    uplink: &'u Uplink,
    growing: Arc<Growing>,
    task: Option<JoinHandle<Result<Pushed, RegistryError>>>,
}

impl Sending<'_> {
    /// The blob is whole.
    pub fn finish(mut self, blob: &Descriptor) {
        self.growing.finish(blob.clone());
        if let Some(task) = self.task.take() {
            lock(&self.uplink.whole).push(Sent {
                digest: blob.digest.clone(),
                growing: Arc::clone(&self.growing),
                task,
            });
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            self.growing.give_up();
            task.abort();
        }
    }
}

/// Passes bytes on and tells the uplink once the file has them.
pub struct Announced<'a, W> {
    out: &'a mut W,
    sending: Option<&'a Sending<'a>>,
    written: u64,
}

impl<'a, W: Write> Announced<'a, W> {
    /// Nothing is written yet.
    pub fn new(out: &'a mut W, sending: Option<&'a Sending<'a>>) -> Self {
        Self { out, sending, written: 0 }
    }
}

impl<W: Write> Write for Announced<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        if let Some(sending) = self.sending {
            self.out.flush()?;
            sending.growing.grow(self.written);
        }
        Ok(written)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
