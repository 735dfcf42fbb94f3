//! RUN where layers cannot be stacked: one directory that holds the whole root, and the layer found by comparing.
//!
//! The directory lives as long as its stage. A step goes on in what the one before it left; what other steps added
//! meanwhile is laid out on top. Takes layers; gives an upper directory, as an overlay would have left it. Must never: let
//! two stages share a root, or go on in one in which a step failed.

use super::Place;
use super::exec::make;
use super::mounts::Files as Mounted;
use super::placed::part_caches;
use crate::layers::{Layer, diff_ids, io};
use crate::run_request::OnFailure;
use crate::solve::{Build, StageState};
use crate::{Engine, EngineError};
use cooper_image::{ContainerPath, DiffId, RelPath};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::view::{Follow, View};
use cooper_layerfs::whole::{Before, Fresh, Index, Left, Scope, lay_out, write_changes};
use cooper_plan::mount::Mounted as Asked;
use cooper_plan::op::{Exec, Op, Plan};
use cooper_sandbox::{
    Bound, Files, OWN_NAMES, PROVIDED, SandboxError, Tier, Whole, check_secret_file, check_surroundings, mappings_tell,
    not_in_a_chroot, unlimited_tmpfs,
};
use cooper_store::{CacheMount, Ingest};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// The root of a stage's RUN steps, once there is one.
#[derive(Default)]
pub struct StageRoot(RefCell<Option<Laid>>);

/// A directory, and the layers that it is equal to.
struct Laid {
    /// Deletes the directory at the stage's end.
    ingest: Ingest,
    dir: PathBuf,
    layers: Vec<DiffId>,
    state: State,
    /// What the last step made of it.
    left: Left,
}

/// Can a step go on in it?
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Equal,
    /// A step is at work in it, or has failed.
    Changed,
}

impl StageRoot {
    /// The step that ran in it has made this layer upon those. Where times are made older in the layer, or names of one
    /// file have to be parted, the root has them as the step left them: then the layer has to be laid out in it.
    pub fn is_now(&self, below: &[Layer], diff: &DiffId, clamped: bool) {
        if let Some(laid) = self.0.borrow_mut().as_mut() {
            laid.layers = diff_ids(below);
            if !clamped && laid.left == Left::Alike {
                laid.layers.push(diff.clone());
            }
            laid.state = State::Equal;
        }
    }
}

impl StageRoot {
    fn is_left(&self, left: Left) {
        if let Some(laid) = self.0.borrow_mut().as_mut() {
            laid.left = left;
        }
    }

    /// Lets the sandbox move a cache into the root; gives what has to take its place.
    pub(super) fn lend(&self, cache: &mut CacheMount) -> Result<PathBuf, EngineError> {
        let laid = self.0.borrow();
        let laid = laid.as_ref().ok_or(EngineError::Dependency)?;
        Ok(cache.lend(&laid.ingest)?)
    }

    /// Makes a directory for what makes way in the root: in that in flight where lent caches are looked for, since one may
    /// stay in it when the sandbox is killed.
    fn aside(&self) -> Result<PathBuf, EngineError> {
        let laid = self.0.borrow();
        make(&laid.as_ref().ok_or(EngineError::Dependency)?.ingest, "aside")
    }
}

impl Engine {
    /// What of a root is laid out and looked at: not what is mounted over.
    pub(crate) fn scope(&self) -> Scope<'static> {
        Scope { cut_off: &OWN_NAMES, devices: self.devices() }
    }

    /// Does every write change a file's ctime where the store is? Tried once; what cannot be tried is not believed.
    fn ctimes_tell(&self, ingest: &Ingest) -> bool {
        *self.ctimes_tell.get_or_init(|| mappings_tell(ingest.path()).unwrap_or(false))
    }
}

impl Build<'_> {
    /// Refuses what no step can have here, before anything runs.
    pub fn check_contained(&self, plan: &Plan) -> Result<(), EngineError> {
        if self.engine.tier != Tier::Container {
            return Ok(());
        }
        if self.request.run.on_failure != OnFailure::Forget {
            return Err(not_in_a_chroot("--on-failure", "a root that is kept is entered by mounts").into());
        }
        for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
            if let Op::Exec(exec) = &step.op {
                let refused = check_surroundings(&self.surroundings(exec)).and_then(|()| self.check_mounts(exec));
                refused.map_err(|e| EngineError::from(e).at(step.span, &step.text))?;
            }
        }
        Ok(())
    }

    /// Refuses mounts that would not be what they promise.
    fn check_mounts(&self, exec: &Exec) -> Result<(), SandboxError> {
        for mount in &exec.mounts {
            match &mount.what {
                // A secret that is a variable alone has no target, and one that was not given is absent.
                Asked::Secret(secret)
                    if mount.target.is_some() && self.request.run.secrets.contains_key(&secret.id) =>
                {
                    check_secret_file(&secret.id)?;
                }
                Asked::Tmpfs { bytes: Some(_) } => return Err(unlimited_tmpfs()),
                Asked::Secret(_) | Asked::Tmpfs { .. } | Asked::Bind(_) | Asked::Cache(_) | Asked::Ssh { .. } => {}
            }
        }
        Ok(())
    }

    /// Runs the process in the stage's root, and writes what it changed into the directory `upper` of the step.
    pub(super) fn run_whole(
        &self,
        state: &StageState,
        place: &Place<'_>,
        (exec, command): (&Exec, &str),
        ingest: &Ingest,
        mounted: &[Option<Mounted>],
    ) -> Result<(), EngineError> {
        let given_up = || self.cancel.load(Ordering::Relaxed);
        let told = |e: LayerfsError| if given_up() { EngineError::Interrupted } else { e.into() };
        let view = self.engine.view(&state.layers)?;
        let dir = self.laid_out(state, place, &view)?;
        let root = self.engine.root(&dir)?;
        let scope = self.engine.scope();
        let index = Index::of(&root, scope).map_err(told)?;
        let (moved, ran) = match self.engine.tier {
            Tier::Container => self.run_in_chroot(place, (exec, command), ingest, (dir, &view, mounted))?,
            // What is mounted moves nothing.
            Tier::Root | Tier::Rootless | Tier::OneId => {
                let bound = Bound { root: dir, mountpoint: make(ingest, "root")? };
                let mut spec = self.spec(exec, Files::Bound(bound));
                let _held = self.mount(exec, mounted, ingest.path(), &mut spec)?;
                (BTreeSet::new(), self.run_process(place, &spec, command))
            }
        };
        // Of a step that failed, what it did is wanted only where it is kept or some of it is to be copied out.
        let run = &self.request.run;
        if ran.is_err() && run.rescues.is_empty() && run.on_failure == OnFailure::Forget {
            return ran;
        }
        let ctimes_tell = self.engine.ctimes_tell(ingest);
        let before = Before { index: &index, view: &view, moved: &moved, scope, ctimes_tell };
        let upper = self.engine.root(&ingest.path().join("upper"))?;
        match write_changes(&root, &before, &upper, self.engine.tree_marks(), &given_up) {
            Ok(left) => place.root.is_left(left),
            // How the step ended is what its author has to know.
            Err(error) if ran.is_err() => self.warn(format!("what the step left is there in part: {error}")),
            Err(error) => return Err(told(error)),
        }
        ran
    }

    /// Where nothing can be mounted: gives what was moved for the step, and how that ended.
    fn run_in_chroot(
        &self,
        place: &Place<'_>,
        (exec, command): (&Exec, &str),
        ingest: &Ingest,
        (root, view, mounted): (PathBuf, &View, &[Option<Mounted>]),
    ) -> Result<(BTreeSet<RelPath>, Result<(), EngineError>), EngineError> {
        let aside = place.root.aside()?;
        let mut spec = self.spec(exec, Files::Whole(Whole { root, aside: aside.clone() }));
        let mut held = self.mount(exec, mounted, ingest.path(), &mut spec)?;
        self.lend(&mut held, place.root, ingest, &mut spec)?;
        let moved = moved(view, spec.mounts.iter().map(|m| m.target.as_str()).chain(PROVIDED))?;
        let ran = self.run_process(place, &spec, command);
        if ran.is_ok() {
            // Nothing in it is wanted any more: it goes with the step.
            let to = ingest.path().join("aside");
            std::fs::rename(&aside, &to).map_err(|e| io(format!("moving {}", aside.display()), e))?;
        }
        let parted = part_caches(&mut held);
        Ok((moved, ran.and(parted)))
    }

    /// The stage's root, equal to the layers.
    fn laid_out(&self, state: &StageState, place: &Place<'_>, view: &View) -> Result<PathBuf, EngineError> {
        let given_up = || self.cancel.load(Ordering::Relaxed);
        let layers = diff_ids(&state.layers);
        let mut slot = place.root.0.borrow_mut();
        let usable = slot.take().filter(|laid| laid.state == State::Equal && layers.starts_with(&laid.layers));
        let (fresh, mut laid) = match usable {
            Some(laid) => (Fresh::Top(layers.len() - laid.layers.len()), laid),
            None => {
                let ingest = self.engine.store.ingest()?;
                let dir = make(&ingest, "whole")?;
                (Fresh::All, Laid { ingest, dir, layers: Vec::new(), state: State::Changed, left: Left::Alike })
            }
        };
        if fresh != Fresh::Top(0) {
            let laid_out = lay_out(view, fresh, &self.engine.root(&laid.dir)?, self.engine.scope(), &given_up);
            laid_out.map_err(|e| if given_up() { EngineError::Interrupted } else { e.into() })?;
        }
        laid.state = State::Changed;
        Ok(slot.insert(laid).dir.clone())
    }
}

/// The paths that make way for others and come back, with those above them, as a process inside would find them.
fn moved<'p>(view: &View, paths: impl Iterator<Item = &'p str>) -> Result<BTreeSet<RelPath>, EngineError> {
    let mut moved = BTreeSet::new();
    for path in paths {
        let mut at = Some(view.resolve(ContainerPath::from(path).rel(), Follow::Final)?.path);
        while let Some(path) = at {
            at = path.parent();
            moved.insert(path);
        }
    }
    Ok(moved)
}
