//! What a build did, step by step, as it is kept in the store and told later.
//!
//! [`Recorder`] listens to a build and makes a [`BuildEntry`]; [`compare`] sets two of them side by side. Values that
//! may be secret are in neither, as little as what steps wrote.

mod compare;
mod recorder;

pub use compare::{Comparison, Pair, Relation, compare};
pub use recorder::Recorder;

use crate::{Engine, EngineError};
use cooper_image::Digest;
use cooper_plan::difference::Difference;
use cooper_store::Store;
use serde::{Deserialize, Serialize};

/// The version that is understood.
const VERSION: u32 = 1;

/// One build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildEntry {
    /// Version of this form; 1.
    pub version: u32,
    /// When it began, in Unix seconds.
    pub started_unix: i64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Name of the context.
    pub context: String,
    /// Name of the Dockerfile.
    pub dockerfile: String,
    /// `--target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What it was for.
    pub platforms: Vec<String>,
    /// The names that it was to give.
    pub tags: Vec<String>,
    /// How it ended.
    pub result: Ended,
    /// Its steps; none when the Dockerfile could not be planned.
    pub steps: Vec<StepEntry>,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// With an image.
    Built {
        /// Digest of its configuration or index.
        image_id: Digest,
    },
    /// Without one.
    Failed {
        /// What was wrong.
        message: String,
    },
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEntry {
    /// Its number in the build, from 1.
    pub number: usize,
    /// Its stage.
    pub stage: String,
    /// `[stage 2/5] RUN make`.
    pub label: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it ran, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Its cache key, once it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// Why it was not taken from the cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Difference>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The build ended before.
    NotReached,
    /// It makes no layer: FROM, or an edit of the configuration.
    Config,
    /// Its result was known.
    Hit,
    /// It was run.
    Miss,
    /// It was run or looked at, and failed.
    Failed,
    /// It was under way when the build was given up.
    Stopped,
}

impl Outcome {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotReached => "not reached",
            Self::Config => "-",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

impl StepEntry {
    /// The instruction alone.
    pub(crate) fn text(&self) -> &str {
        self.label.split_once("] ").map_or(&self.label, |(_, text)| text)
    }
}

impl Engine {
    /// Keeps the entry of a build; gives its number.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&self, entry: &BuildEntry) -> Result<u64, EngineError> {
        Ok(self.store.add_build(entry, || entry.brief())?)
    }
}

impl BuildEntry {
    /// Without reasons, which can be as long as what changed.
    fn brief(&self) -> Self {
        let steps = self.steps.iter().map(|step| StepEntry { reasons: Vec::new(), ..step.clone() }).collect();
        Self { steps, ..self.clone() }
    }
}

/// The entry of a build; nothing when it is not there, damaged, or of a version that is not understood.
///
/// # Errors
/// When the store cannot be read.
pub fn entry(store: &Store, number: u64) -> Result<Option<BuildEntry>, EngineError> {
    Ok(store.build::<BuildEntry>(number)?.filter(|e| e.version == VERSION))
}
