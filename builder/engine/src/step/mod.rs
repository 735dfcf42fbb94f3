//! One file for each kind of step, all of the same shape: key, look-up, do, commit.

mod copy;
mod edit;
mod exec;
mod fetch;
mod given;
mod mounts;
mod workdir;

use crate::ahead::Ahead;
use crate::event::StepNo;
use cooper_plan::op::Stage;

/// Which step of which stage, and how people know it.
pub struct Place<'a> {
    /// The stage.
    pub stage: &'a Stage,
    /// Index in the stage's steps.
    pub index: usize,
    /// Number in the build.
    pub no: StepNo,
    /// `[stage 2/5] RUN make`.
    pub label: String,
    /// Where its layer is compressed ahead, when it becomes one of the image's.
    pub ahead: Option<&'a Ahead>,
}

impl Place<'_> {
    /// Does no other step of the stage come after it?
    pub fn is_last(&self) -> bool {
        self.index + 1 == self.stage.steps.len()
    }
}
