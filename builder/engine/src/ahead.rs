//! Layers that will be wanted compressed are compressed as soon as they are made, while later steps run.
//!
//! Takes: the layers that become part of the image, in any order. Gives: nothing that the end of the build needs; what
//! is not done by then, or failed, is done there, where failures are told. Must never: delay a step, or go on after
//! the build was given up.

use crate::Engine;
use crate::layers::{Layer, lock};
use crate::output::{Compression, Finish, Form, ImageOutput, Output, Push};
use crate::request::BuildRequest;
use crate::uplink::{self, Uplink};
use cooper_plan::op::{Base, Plan, StageId};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// Where layers are handed in.
pub struct Ahead {
    form: Form,
    /// Where the layers are sent as they are compressed.
    uplink: Option<Arc<Uplink>>,
    queue: Mutex<Option<Sender<Layer>>>,
}

impl Ahead {
    /// The way to hand layers in, and where they come out; nothing when no output compresses layers. Of several forms
    /// that of the push is made ahead, else the first one. What is sent is in the form of the push and in no other.
    pub fn of(request: &BuildRequest, uplink: Option<Arc<Uplink>>) -> Option<(Self, Receiver<Layer>)> {
        let pushed = request.outputs.iter().find(|output| uplink::is_pushed(output)).and_then(compressed);
        let uplink = uplink.filter(|_| pushed.is_some());
        let form = pushed.or_else(|| request.outputs.iter().find_map(compressed))?;
        let (sender, receiver) = channel();
        Some((Self { form: form.clone(), uplink, queue: Mutex::new(Some(sender)) }, receiver))
    }

    /// How layers are compressed.
    pub fn method(&self) -> Compression {
        self.form.compression
    }

    /// Where the layers are sent.
    pub fn uplink(&self) -> Option<&Uplink> {
        self.uplink.as_deref()
    }

    /// Hands a layer in.
    pub fn hand_in(&self, layer: &Layer) {
        if let Some(queue) = &*lock(&self.queue) {
            // Nobody takes it any more when the build was given up.
            let _ = queue.send(layer.clone());
        }
    }

    /// No more layers come.
    pub fn close(&self) {
        lock(&self.queue).take();
    }
}

impl Engine {
    /// Compresses what is handed in, until no more comes or the build is given up.
    pub(crate) fn work_ahead(&self, ahead: &Ahead, layers: &Receiver<Layer>, cancel: &AtomicBool) {
        for layer in layers {
            if cancel.load(Ordering::SeqCst) {
                return;
            }
            if let Err(error) = self.ensure_blob(&layer, &ahead.form, ahead.uplink(), &|| cancel.load(Ordering::SeqCst))
            {
                tracing::debug!(layer = %layer.diff.0, %error, "a layer could not be compressed ahead");
            }
        }
    }
}

/// The form of an output that needs compressed layers.
fn compressed(output: &Output) -> Option<&Form> {
    let form = match output {
        Output::Image(ImageOutput { push: Push::No, finish: Finish::Lazily, .. }) | Output::Files(_) => None,
        Output::Image(image) => Some(&image.form),
        Output::Archive(archive) => Some(&archive.form),
    };
    form.filter(|f| f.compression != Compression::Plain)
}

/// The stages whose layers are the image's: the target, what it begins with, and so on.
pub fn lasting(plan: &Plan) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut next = Some(plan.target);
    while let Some(StageId(at)) = next.filter(|id| found.insert(id.0)) {
        next = match plan.stages.get(at).map(|s| &s.base) {
            Some(Base::Stage(id)) => Some(*id),
            _ => None,
        };
    }
    found
}

/// Fails once the work is given up, so that no long piece of it goes on.
pub struct Watched<'a> {
    out: &'a mut dyn Write,
    given_up: &'a dyn Fn() -> bool,
}

impl<'a> Watched<'a> {
    /// Watches what goes to `out`.
    pub fn new(out: &'a mut dyn Write, given_up: &'a dyn Fn() -> bool) -> Self {
        Self { out, given_up }
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.given_up)() {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        self.out.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
