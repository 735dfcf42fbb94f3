//! What the roots of steps are: layers that overlay stacks, or one directory into which they are copied.
//!
//! The place of a store decides, once: the first who makes a tree in it tries, and the marks of the store remember. A store
//! that was made for the one is never used for the other, since trees are marked otherwise. Where nothing can be a root, or
//! nothing could be tried, only that is remembered, and with which rights: the next who comes tries again.

use crate::solve::Build;
use crate::{Engine, EngineError};
use cooper_layerfs::apply::{Devices, OverlayXattr};
use cooper_plan::op::{Op, Plan};
use cooper_sandbox::{ELSEWHERE, Rooting as Possible, SandboxError, Tier, check_kernel, rooting};
use cooper_store::TreeMarks;

/// What the roots of steps are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rooting {
    /// Overlay stacks layers.
    Stacked,
    /// One directory, mounted for each step.
    Bound,
    /// One directory, entered by `chroot`.
    Chroot,
    /// Stacked as far as anybody knows: it could not be tried.
    NotTried,
    /// Nothing can be one: why.
    None(String),
}

impl Engine {
    /// Says which marks trees have, before one is made: it depends on who makes them, and on what the store's file system
    /// takes.
    pub(crate) fn use_marks(&self) -> Result<(), EngineError> {
        let (stacked, whole, untried) = match self.tier {
            Tier::Root => (TreeMarks::Trusted, TreeMarks::UnstackedRoot, TreeMarks::UntriedRoot),
            Tier::Rootless => (TreeMarks::User, TreeMarks::UnstackedUser, TreeMarks::UntriedUser),
            Tier::OneId => (TreeMarks::Recorded, TreeMarks::UnstackedRecorded, TreeMarks::UntriedRecorded),
            Tier::Container => {
                self.rooting.get_or_init(|| Rooting::Chroot);
                return Ok(self.store.use_marks(TreeMarks::Unstacked)?);
            }
        };
        let rooting = match (self.rooting.get(), self.store.marks()?) {
            (Some(known), _) => known.clone(),
            (None, Some(marks)) if marks == whole => Rooting::Bound,
            (None, Some(marks)) if marks.is_tried() => Rooting::Stacked,
            (None, None | Some(_)) => match rooting(self.store.ingest()?.path()) {
                Possible::Stacked => Rooting::Stacked,
                Possible::Whole(_) => Rooting::Bound,
                Possible::Unfit(why) => Rooting::None(why),
                Possible::NotTried => Rooting::NotTried,
            },
        };
        match self.rooting.get_or_init(|| rooting) {
            Rooting::Bound | Rooting::Chroot => Ok(self.store.use_marks(whole)?),
            Rooting::Stacked => Ok(self.store.use_marks(stacked)?),
            Rooting::None(_) | Rooting::NotTried => Ok(self.store.use_marks(untried)?),
        }
    }

    /// Why steps cost more here than elsewhere, for people. Finds it out when nobody has.
    ///
    /// # Errors
    /// The store, and when it was made for other rights.
    pub fn slow_roots(&self) -> Result<Option<String>, EngineError> {
        self.use_marks()?;
        let told = "the store has no overlay: the root of each stage that runs something is a copy; for less work ";
        Ok((self.rooting.get() == Some(&Rooting::Bound)).then(|| format!("{told}{ELSEWHERE}")))
    }

    /// Are the roots of steps layers that overlay stacks, as far as anybody knows?
    pub(crate) fn is_stacked(&self) -> bool {
        matches!(self.rooting(), Rooting::Stacked | Rooting::NotTried)
    }

    /// What the roots of steps are; known since trees may be made.
    pub(crate) fn rooting(&self) -> &Rooting {
        self.rooting.get().unwrap_or(&Rooting::Stacked)
    }

    /// By what trees say deletions here.
    pub(crate) fn tree_marks(&self) -> OverlayXattr {
        match (self.rooting(), self.tier) {
            (Rooting::Bound | Rooting::Chroot, _) | (_, Tier::Container) => OverlayXattr::Unstacked,
            (_, Tier::Root) => OverlayXattr::Trusted,
            (_, Tier::Rootless | Tier::OneId) => OverlayXattr::User,
        }
    }

    /// Do trees have devices here?
    pub(crate) fn devices(&self) -> Devices {
        match self.tier {
            Tier::Root => Devices::Create,
            // A device of an image would open in a chroot, if the container may use it.
            Tier::Rootless | Tier::OneId | Tier::Container => Devices::SkipUnprivileged,
        }
    }
}

impl Build<'_> {
    /// Refuses to run anything where the kernel is too old for it, or nothing can be the root of a step, before anything runs.
    pub fn check_rooting(&self, plan: &Plan) -> Result<(), EngineError> {
        let Some(step) = plan.stages.iter().flat_map(|s| &s.steps).find(|s| matches!(s.op, Op::Exec(_))) else {
            return Ok(());
        };
        check_kernel().map_err(|error| EngineError::from(error).at(step.span, &step.text))?;
        let Rooting::None(why) = self.engine.rooting() else { return Ok(()) };
        let cause = format!("the store is on {why}");
        let refused = SandboxError::Unavailable { feature: "a root for RUN", cause, hint: ELSEWHERE.to_owned() };
        Err(EngineError::from(refused).at(step.span, &step.text))
    }
}
