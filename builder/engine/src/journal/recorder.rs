//! Listens to a build and writes down what became of each step.

use super::{BuildEntry, Ended, Outcome, StepEntry, VERSION};
use crate::EngineError;
use crate::event::{Event, Sink, StepNo};
use crate::layers::lock;
use crate::request::{BuildRequest, BuildResult};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Passes events on and remembers what they say of steps.
pub struct Recorder {
    inner: Arc<dyn Sink>,
    steps: Mutex<Vec<StepEntry>>,
}

impl Recorder {
    /// Listens before another sink.
    pub fn new(inner: Arc<dyn Sink>) -> Self {
        Self { inner, steps: Mutex::default() }
    }

    /// The whole build, once it is over; it began at a Unix time.
    pub fn entry(
        &self,
        request: &BuildRequest,
        started_unix: i64,
        took: Duration,
        result: Result<&BuildResult, &EngineError>,
    ) -> BuildEntry {
        let mut steps = lock(&self.steps).clone();
        for step in steps.iter_mut().filter(|s| s.outcome == Outcome::Miss && s.took_ms.is_none()) {
            step.outcome = Outcome::Stopped;
        }
        BuildEntry {
            version: VERSION,
            started_unix,
            took_ms: millis(took),
            context: request.context.name().to_owned(),
            dockerfile: request.dockerfile_name.clone(),
            target: request.target.clone(),
            platforms: request.platforms.iter().map(ToString::to_string).collect(),
            tags: request.tags.iter().map(|t| t.clone().or_latest().familiar()).collect(),
            result: match result {
                Ok(built) => Ended::Built { image_id: built.image_id.clone() },
                Err(error) => Ended::Failed { message: error.to_string() },
            },
            steps,
        }
    }

    fn note(&self, event: &Event) {
        let mut steps = lock(&self.steps);
        let mut change = |no: StepNo, change: &dyn Fn(&mut StepEntry)| {
            if let Some(step) = no.0.checked_sub(1).and_then(|at| steps.get_mut(at)) {
                change(step);
            }
        };
        match event {
            Event::Planned { steps: planned, .. } => {
                let new = |(number, p): (usize, &crate::event::PlannedStep)| StepEntry {
                    number,
                    stage: p.stage.clone(),
                    label: p.label.clone(),
                    outcome: Outcome::NotReached,
                    took_ms: None,
                    key: None,
                    reasons: Vec::new(),
                    message: None,
                };
                *steps = (1..).zip(planned).map(new).collect();
            }
            Event::Noted { step, .. } => change(*step, &|s| s.outcome = Outcome::Config),
            Event::Cached { step, key, .. } => change(*step, &|s| {
                (s.outcome, s.key) = (Outcome::Hit, Some(key.clone()));
            }),
            Event::Missed { step, key, reasons } => change(*step, &|s| {
                (s.outcome, s.key, s.reasons) = (Outcome::Miss, Some(key.clone()), reasons.clone());
            }),
            Event::Finished { step, took } => change(*step, &|s| s.took_ms = Some(millis(*took))),
            Event::Failed { step, message, .. } => change(*step, &|s| {
                (s.outcome, s.message) = (Outcome::Failed, Some(message.clone()));
            }),
            _ => {}
        }
    }
}

impl Sink for Recorder {
    fn event(&self, event: Event) {
        self.note(&event);
        self.inner.event(event);
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
