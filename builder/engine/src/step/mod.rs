//! One file for each kind of step, all of the same shape: key, look-up, do, commit.

mod copy;
mod edit;
mod exec;
mod fetch;
mod given;
mod keep;
mod mounts;
mod owned;
mod placed;
mod rescue;
mod whole;
mod workdir;

pub use whole::StageRoot;

use crate::ahead::Ahead;
use crate::event::StepNo;
use cooper_plan::op::{Op, Stage, Step};
use cooper_sandbox::{Next, Standby};
pub use keep::{Kept, KeptContent, KeptSharing, WRITTEN};
pub use mounts::{COPIED, await_cache, in_one_order, put, start_agent};

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
    /// Is it the step that makes the image's topmost layer?
    pub last: bool,
    /// The root that the stage's RUN steps go on in, where nothing can be mounted.
    pub root: &'a StageRoot,
    /// The process of the RUN step that comes next.
    pub standby: &'a Standby,
}

/// Do all steps after this one of a stage leave the files alone?
pub fn ends_files(steps: &[Step], index: usize) -> bool {
    steps.iter().skip(index + 1).all(|step| matches!(step.op, Op::Edit(_)))
}

/// Does a step after this one of a stage run something?
pub fn next(steps: &[Step], index: usize) -> Next {
    let runs = steps.iter().skip(index + 1).any(|step| matches!(step.op, Op::Exec(_)));
    if runs { Next::Step } else { Next::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::Platform;
    use cooper_plan::build::{Planned, plan};
    use cooper_plan::request::PlanRequest;
    use std::collections::BTreeMap;

    #[test]
    fn what_sets_only_the_configuration_may_come_after_the_last_layer() {
        let text = "FROM scratch\nCOPY a /\nENV A=b\nRUN [\"x\"]\nUSER 1\nEXPOSE 80\nCMD [\"y\"]\n";
        let request = PlanRequest {
            target: None,
            build_args: BTreeMap::new(),
            platform: Platform::host(),
            build_platform: Platform::host(),
            no_cache_filter: Vec::new(),
            contexts: Default::default(),
            aliases: Default::default(),
        };
        let file = cooper_dockerfile::parse(text).dockerfile.unwrap();
        let Ok(Planned::Ready(plan)) = plan(&file, &request, &BTreeMap::new()) else { panic!("nothing is missing") };
        let steps = &plan.stages[plan.target.0].steps;
        let at = |wanted: fn(&Op) -> bool| steps.iter().position(|step| wanted(&step.op)).unwrap();
        assert!(!ends_files(steps, at(|op| matches!(op, Op::Copy(_)))));
        assert!(ends_files(steps, at(|op| matches!(op, Op::Exec(_)))));
        assert!(ends_files(steps, steps.len() - 1));
        assert_eq!(next(steps, at(|op| matches!(op, Op::Copy(_)))), Next::Step);
        assert_eq!(next(steps, at(|op| matches!(op, Op::Exec(_)))), Next::Nothing);
    }
}
