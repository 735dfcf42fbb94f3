//! Everything that can be observed of a build. The engine emits these and never prints.

use cooper_dockerfile::lint::Finding;
use cooper_image::{Digest, Reference};
use cooper_plan::difference::Difference;
use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

/// Receives events, from any thread.
pub trait Sink: Send + Sync {
    /// Called for each event, in order for one step.
    fn event(&self, event: Event);
}

/// Number of a step in one build, from 1, in plan order over all stages (FROM counts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepNo(pub usize);

/// A step that the build will come to, if nothing fails before.
#[derive(Debug, Clone)]
pub struct PlannedStep {
    /// Its stage, by name or number.
    pub stage: String,
    /// `[stage 2/5] RUN make`.
    pub label: String,
}

/// One thing that happened.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Event {
    /// The plan is known: its steps, the first of them number 1.
    Planned {
        steps: Vec<PlannedStep>,
        stages: usize,
    },
    /// Something a person should know.
    Warning {
        text: String,
    },
    /// A base has its name from an alias; for who wants to know it, when the build is over.
    Followed {
        alias: String,
        name: Reference,
    },
    /// What the build checks found, once for each platform; to be shown when the build is over.
    Checked {
        findings: Vec<Finding>,
    },
    /// A step begins; `label` is `[stage 2/5] RUN make`.
    Started {
        step: StepNo,
        label: String,
    },
    /// Bytes that the step wrote, raw.
    Output {
        step: StepNo,
        bytes: Vec<u8>,
    },
    /// What was learnt of a source before it was known whether the step has to be done.
    Asked {
        step: StepNo,
        text: String,
    },
    /// Nothing had to be run: a FROM, or a step that only edits the configuration.
    Noted {
        step: StepNo,
        label: String,
    },
    /// The step was done before; why it was not is in `reasons` of [`Event::Missed`].
    Cached {
        step: StepNo,
        label: String,
        key: Digest,
    },
    /// No record for the step's key, or none that may be used.
    Missed {
        step: StepNo,
        key: Digest,
        reasons: Vec<Difference>,
    },
    Finished {
        step: StepNo,
        took: Duration,
    },
    Failed {
        step: StepNo,
        label: String,
        message: String,
    },
    /// A blob moves: `done` of `total` bytes so far.
    Transfer {
        direction: Direction,
        digest: Digest,
        done: u64,
        total: u64,
    },
    /// A blob is where it is to be.
    Arrived {
        direction: Direction,
        digest: Digest,
        size: u64,
        how: How,
    },
    /// The image has its name in the store.
    Tagged {
        reference: Reference,
    },
    /// The registry took the image.
    Pushed {
        reference: Reference,
        digest: Digest,
    },
    /// A file or directory was written.
    Exported {
        dest: String,
    },
}

/// Passes events on, each warning once: every platform of a build would say the same.
pub(crate) struct Unrepeated<'a> {
    inner: &'a dyn Sink,
    told: Mutex<HashSet<String>>,
}

impl<'a> Unrepeated<'a> {
    /// Nothing was said yet.
    pub fn new(inner: &'a dyn Sink) -> Self {
        Self { inner, told: Mutex::default() }
    }
}

impl Sink for Unrepeated<'_> {
    fn event(&self, event: Event) {
        if let Event::Warning { text } = &event
            && !crate::layers::lock(&self.told).insert(text.clone())
        {
            return;
        }
        self.inner.event(event);
    }
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a registry into the store.
    Pull,
    /// To a registry.
    Push,
    /// From any place into the store, a layout or an archive.
    Store,
}

/// How a blob came to be where it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Its bytes went there.
    Moved,
    /// The registry took it from another of its repositories.
    Mounted {
        /// That repository, as people write it.
        from: String,
    },
    /// It was there.
    Existed,
}
