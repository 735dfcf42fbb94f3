//! Walks the plan: every stage on a thread of its own, waiting only for the stages that it uses.

use crate::ahead::Ahead;
use crate::context::{Behalf, ContextName, Named, Opened};
use crate::doing::Doing;
use crate::event::{Event, PlannedStep, Sink, StepNo};
use crate::layers::{Layer, lock};
use crate::read::Read;
use crate::request::{BuildRequest, Freshness};
use crate::resolve::{Resolved, Trees};
use crate::step::StageRoot;
use crate::{Engine, EngineError, ErrorClass, checks};
use cooper_dockerfile::draft::Draft;
use cooper_dockerfile::instruction::Dockerfile;
use cooper_image::{ImageConfig, Platform};
use cooper_plan::build::{BaseImage, BaseKey, Need, Planned};
use cooper_plan::op::{Base, Op, Plan, Stage, StageId, Step};
use cooper_sandbox::Standby;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// What a stage has come to.
#[derive(Debug, Clone)]
pub struct StageState {
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// Its configuration, history included.
    pub config: ImageConfig,
    /// Unix time of its newest layer; what edits of the configuration are dated with.
    pub created: i64,
    /// The image that all of it began with, and its digest.
    pub base: Option<String>,
    /// The first step of its layers that was not taken from the cache.
    pub anew: Option<String>,
}

/// What a stage has come to, once it is known; a failure is told by the stage's own thread.
type Settled = Option<Result<Arc<StageState>, ()>>;

/// Everything that the steps of one build share.
pub struct Build<'a> {
    pub engine: &'a Engine,
    pub request: &'a BuildRequest,
    pub dockerfile: &'a Dockerfile,
    pub main: Arc<Opened>,
    pub named: &'a Named<'a>,
    pub sink: &'a dyn Sink,
    pub cancel: &'a AtomicBool,
    pub permits: Arc<Permits>,
    pub run: Arc<AtomicUsize>,
    pub cached: Arc<AtomicUsize>,
    /// Steps that are being done, here or for another platform.
    pub doing: Arc<Doing>,
    /// Where layers of the image are compressed before they are asked for.
    pub ahead: Option<Arc<Ahead>>,
    /// The stages whose layers are the image's.
    lasting: BTreeSet<usize>,
    /// The stage that becomes the image.
    target: StageId,
    results: Mutex<Vec<Settled>>,
    finished: Condvar,
}

impl Engine {
    /// Asks for bases until the plan stands, and checks what it was made from.
    pub(crate) fn plan(
        &self,
        read: &Read,
        named: &Named<'_>,
        trees: Trees,
        sink: &dyn Sink,
    ) -> Result<Plan, EngineError> {
        let Read { dockerfile, asked, request } = read;
        let mut bases = BTreeMap::new();
        loop {
            let planned = match cooper_plan::build::plan(dockerfile, asked, &bases) {
                Ok(planned) => planned,
                Err(faults) => {
                    let draft = Draft::whole(dockerfile.clone());
                    return Err(self.refuse((request, asked), (Some(&draft), bases), faults, sink));
                }
            };
            match planned {
                Planned::Ready(plan) => {
                    checks::check(request, asked, &bases, sink)?;
                    return Ok(plan);
                }
                Planned::Needs(needs) => {
                    for Need { key, stage } in needs {
                        let found = self.base_image(&key, named, request.freshness, trees, sink);
                        let found = found.map_err(|e| match dockerfile.stages.get(stage) {
                            Some(s) => e.unlike(dockerfile, &key.image, s.span).at(s.span, &s.text),
                            None => e,
                        })?;
                        bases.insert(key, found.config);
                    }
                }
            }
        }
    }

    /// Refuses RUN for a processor that this machine cannot be, before anything runs.
    pub(crate) fn check_foreign<'p>(&self, plans: impl Iterator<Item = &'p Plan>) -> Result<(), EngineError> {
        let mut known: Vec<&Platform> = Vec::new();
        for stage in plans.flat_map(|plan| &plan.stages) {
            let run = stage.steps.iter().find(|s| matches!(s.op, Op::Exec(_)));
            let Some(run) = run.filter(|_| !known.contains(&&stage.platform)) else { continue };
            let ingest = self.store.ingest()?;
            let checked = cooper_sandbox::check_foreign(&stage.platform, ingest.path());
            checked.map_err(|e| EngineError::from(e).at(run.span, &run.text))?;
            known.push(&stage.platform);
        }
        Ok(())
    }

    /// Does every stage of every plan, gives the targets' states in the order of the plans.
    pub(crate) fn solve(&self, work: &[(Plan, Build<'_>)]) -> Result<Vec<Arc<StageState>>, EngineError> {
        let mut steps = Vec::new();
        let mut starts = Vec::new();
        for (plan, build) in work {
            for (id, stage) in plan.stages.iter().enumerate() {
                starts.push((build, StageId(id), stage, steps.len() + 1));
                steps.extend(build.labels(stage).map(|label| PlannedStep { stage: stage.label.clone(), label }));
            }
        }
        if let Some((_, build)) = work.first() {
            build.sink.event(Event::Planned { steps, stages: starts.len() });
        }
        let outcome: Vec<Result<(), EngineError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = starts
                .into_iter()
                .map(|(build, id, stage, start)| scope.spawn(move || build.settle_stage(id, stage, start)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap_or(Err(EngineError::Interrupted))).collect()
        });
        // The root cause, not the stages that only waited for it.
        let mut errors: Vec<EngineError> = outcome.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(rank);
        match errors.into_iter().next() {
            Some(e) if e.class() == ErrorClass::Interrupted => Err(EngineError::Interrupted),
            Some(e) => Err(e),
            None => work.iter().map(|(plan, build)| build.stage(plan.target)).collect(),
        }
    }
}

/// Is the step one of the Dockerfile's own? What only carries a base over leaves no line of history and is nothing
/// to tell people of.
fn is_told(step: &Step) -> bool {
    !(matches!(step.op, Op::Edit(_)) && step.history.is_empty())
}

/// Which of several failures is told: the cause comes before the steps that it stopped, and these before those that
/// never began.
fn rank(error: &EngineError) -> u8 {
    match error {
        EngineError::Dependency => 2,
        e if e.class() == ErrorClass::Interrupted => 1,
        _ => 0,
    }
}

impl<'a> Build<'a> {
    pub fn new(
        engine: &'a Engine,
        Read { dockerfile, request, .. }: &'a Read,
        named: &'a Named<'a>,
        plan: &Plan,
        sink: &'a dyn Sink,
        cancel: &'a AtomicBool,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            engine,
            request,
            dockerfile,
            main: Arc::new(Opened::new(request.context.clone(), &engine.store)?),
            named,
            sink,
            cancel,
            permits: Arc::new(Permits::new(request.jobs.max(1))),
            run: Arc::default(),
            cached: Arc::default(),
            doing: Arc::default(),
            ahead: None,
            lasting: crate::ahead::lasting(plan),
            target: plan.target,
            results: Mutex::new(vec![None; plan.stages.len()]),
            finished: Condvar::new(),
        })
    }

    /// The same build for another platform: its own stages, shared everything else.
    pub fn beside(self, first: Option<&Self>) -> Self {
        match first {
            None => self,
            Some(first) => Self {
                main: Arc::clone(&first.main),
                permits: Arc::clone(&first.permits),
                run: Arc::clone(&first.run),
                cached: Arc::clone(&first.cached),
                doing: Arc::clone(&first.doing),
                ..self
            },
        }
    }

    /// Waits for another stage.
    pub fn stage(&self, id: StageId) -> Result<Arc<StageState>, EngineError> {
        let mut results = lock(&self.results);
        loop {
            match results.get(id.0) {
                Some(Some(Ok(state))) => return Ok(Arc::clone(state)),
                Some(None) => results = self.finished.wait(results).unwrap_or_else(std::sync::PoisonError::into_inner),
                _ => return Err(EngineError::Dependency),
            }
        }
    }

    fn settle_stage(&self, id: StageId, stage: &Stage, start: usize) -> Result<(), EngineError> {
        // Publishes a failure even when this thread panics: nobody waits for ever.
        struct Publish<'b, 'a>(&'b Build<'a>, StageId, Result<Arc<StageState>, ()>);
        impl Drop for Publish<'_, '_> {
            fn drop(&mut self) {
                if let Some(slot) = lock(&self.0.results).get_mut(self.1.0) {
                    *slot = Some(self.2.clone());
                }
                self.0.finished.notify_all();
            }
        }
        let mut publish = Publish(self, id, Err(()));
        let state = self.do_stage(id, stage, start)?;
        publish.2 = Ok(Arc::new(state));
        Ok(())
    }

    fn do_stage(&self, id: StageId, stage: &Stage, start: usize) -> Result<StageState, EngineError> {
        let mut labels = self.labels(stage);
        let (mut told, root, standby) = (0, StageRoot::default(), Standby::default());
        self.sink.event(Event::Noted { step: StepNo(start), label: labels.next().unwrap_or_default() });
        let mut state = self.begin(stage).map_err(|e| e.at(stage.span, &stage.text))?;
        for (i, step) in stage.steps.iter().enumerate() {
            if self.cancel.load(Ordering::SeqCst) {
                return Err(EngineError::Interrupted);
            }
            if !is_told(step) {
                self.settle_quietly(&mut state, step);
                continue;
            }
            told += 1;
            let (no, label) = (StepNo(start + told), labels.next().unwrap_or_default());
            let ahead = self.ahead.as_deref().filter(|_| self.lasting.contains(&id.0));
            let last = id == self.target && crate::step::ends_files(&stage.steps, i);
            let place = crate::step::Place { stage, index: i, no, label, ahead, last, root: &root, standby: &standby };
            let done = match &step.op {
                Op::Edit(edits) => self.edit(&mut state, &place, edits, &step.history),
                Op::Exec(exec) => self.exec(&mut state, &place, exec, step),
                Op::Copy(copy) => self.copy(&mut state, &place, copy, step),
                Op::Fetch(fetch) => self.fetch(&mut state, &place, fetch, step),
                Op::Workdir(dir) => self.workdir(&mut state, &place, dir, step),
            };
            done.map_err(|e| {
                // A step that never began has nothing to tell: another one failed.
                if !matches!(e, EngineError::Dependency) {
                    let label = place.label.clone();
                    self.sink.event(Event::Failed { step: place.no, label, message: e.to_string() });
                }
                self.abandon(&e);
                e.at(step.span, &step.text)
            })?;
        }
        Ok(state)
    }

    /// The stage's beginning and its steps, as people know them.
    fn labels<'s>(&self, stage: &'s Stage) -> impl Iterator<Item = String> + use<'s> {
        let texts =
            move || std::iter::once(&stage.text).chain(stage.steps.iter().filter(|s| is_told(s)).map(|s| &s.text));
        let whose = match self.request.platforms.as_slice() {
            [_, _, ..] => format!("{} {}", stage.platform, stage.label),
            _ => stage.label.clone(),
        };
        let total = texts().count();
        (1..).zip(texts()).map(move |(n, text)| format!("[{whose} {n}/{total}] {text}"))
    }

    /// A step that failed stops the others too, those that run and those that wait.
    fn abandon(&self, error: &EngineError) {
        if !matches!(error, EngineError::Dependency) {
            self.permits.close();
            self.cancel.store(true, Ordering::SeqCst);
        }
    }

    fn begin(&self, stage: &Stage) -> Result<StageState, EngineError> {
        match &stage.base {
            Base::Scratch => Ok(StageState {
                layers: Vec::new(),
                config: ImageConfig::scratch(&stage.platform),
                created: self.request.created,
                base: None,
                anew: None,
            }),
            Base::Image(_) | Base::Layout(_) => {
                // The plan has fetched it already: asking again would only cost a round trip.
                let fresh = Freshness { pull: false, ..self.request.freshness };
                let base = self.image(&stage.base, stage, fresh)?;
                let created = self.request.created;
                let name = crate::why::base_name(&stage.base, &base);
                Ok(StageState { layers: base.layers, config: base.config, created, base: name, anew: None })
            }
            Base::Stage(id) => Ok((*self.stage(*id)?).clone()),
            // The plan copies them into an empty root.
            Base::Files(_) => Err(EngineError::Dependency),
        }
    }

    /// An image that a stage begins with or uses.
    pub fn image(&self, base: &Base, stage: &Stage, fresh: Freshness) -> Result<Resolved, EngineError> {
        let image = match base {
            Base::Image(reference) => BaseImage::Named(reference.clone()),
            Base::Layout(name) => BaseImage::Layout(name.clone()),
            Base::Scratch | Base::Stage(_) | Base::Files(_) => return Err(EngineError::Dependency),
        };
        let key = BaseKey { image, platform: stage.platform.clone() };
        let found = self.engine.base_image(&key, self.named, fresh, Trees::AsTheyCome, self.sink);
        found.map_err(|e| e.unlike(self.dockerfile, &key.image, stage.span))
    }

    /// The files of a named context.
    pub fn files_of(&self, name: &ContextName) -> Result<Arc<Opened>, EngineError> {
        self.named.files(name, self.engine, Behalf { request: self.request, cancel: self.cancel })
    }

    /// The context that is copied from, when it is one.
    pub fn context(&self, from: Option<&Base>) -> Result<Option<Arc<Opened>>, EngineError> {
        match from {
            None => Ok(Some(Arc::clone(&self.main))),
            Some(Base::Files(name)) => self.files_of(name).map(Some),
            Some(_) => Ok(None),
        }
    }
}

/// How many steps may run at once.
pub struct Permits {
    free: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Permits {
    fn new(n: usize) -> Self {
        Self { free: Mutex::new(Some(n)), changed: Condvar::new() }
    }
    /// Waits for a place. `None` when the build is being given up.
    pub fn take(&self) -> Option<Permit<'_>> {
        let mut free = lock(&self.free);
        loop {
            match *free {
                None => return None,
                Some(0) => free = self.changed.wait(free).unwrap_or_else(std::sync::PoisonError::into_inner),
                Some(n) => {
                    *free = Some(n - 1);
                    return Some(Permit(self));
                }
            }
        }
    }
    fn close(&self) {
        *lock(&self.free) = None;
        self.changed.notify_all();
    }
}

/// A place among the running steps, given back on drop.
pub struct Permit<'a>(&'a Permits);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(n) = lock(&self.0.free).as_mut() {
            *n += 1;
        }
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_told_before_what_it_stopped() {
        use cooper_dockerfile::instruction::Span;
        let at = |e: EngineError| e.at(Span { start: 1, end: 1 }, "RUN x");
        let failed = EngineError::Step { command: "x".into(), outcome: "exited".into(), last_output: String::new() };
        let stopped = EngineError::Sandbox(cooper_sandbox::SandboxError::Cancelled);
        let ranks = [at(failed), at(stopped), EngineError::Interrupted, EngineError::Dependency].map(|e| rank(&e));
        assert_eq!(ranks, [0, 1, 1, 2]);
    }
}
