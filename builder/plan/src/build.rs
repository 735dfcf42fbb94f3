//! From a Dockerfile to a plan, in as many rounds as its bases ask for.
//!
//! Takes: the Dockerfile, the request and the base configurations known so far. Gives: the bases still missing, or
//! the plan, or every error that was found. Must never: give half a plan.

use crate::expand::Budget;
use crate::graph::{Graph, Node};
use crate::needs::{self, Survey};
use crate::op::Plan;
use crate::request::PlanRequest;
use crate::scope::{Globals, Scopes};
use crate::{fault, lower, scope, stage};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::draft::{Draft, Effect, Unread};
use cooper_dockerfile::instruction::{Dockerfile, Span};
use cooper_image::ImageConfig;
use std::collections::{BTreeMap, BTreeSet};

pub use crate::needs::{BaseImage, BaseKey, Bases};

/// What one round of planning comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// Nothing is missing.
    Ready(Plan),
    /// Ask again with the configurations of these; sorted by key, each once.
    Needs(Vec<Need>),
}

/// A base image whose configuration is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Which one.
    pub key: BaseKey,
    /// The first stage that begins with it, by number in the file: the place of what is wrong with it.
    pub stage: usize,
}

/// Plans the target's stages, or says which base images have to be known first.
///
/// Give the same `bases` with the wanted ones added until it is [`Planned::Ready`]; each round names only bases that
/// are not in `bases`, and the images of `COPY --from` are never among them.
///
/// # Errors
/// Everything that is wrong with the stages that the target needs, as far as it can be seen with the bases that are
/// known; of stages that it does not need, what is wrong with their FROM.
pub fn plan(file: &Dockerfile, request: &PlanRequest, bases: &Bases) -> Result<Planned, Vec<Diagnostic>> {
    let budget = Budget::default();
    let (globals, faults) = Globals::guess((file, &[]), request, &budget);
    let scopes = Scopes { file, request, globals: &globals, budget: &budget };
    let mut look = Look { scopes, bases, unread: &[], faults, needs: Vec::new() };
    let target = stage::target(file, request.target.as_deref()).map_err(|d| look.faults.push(d)).ok();
    let nodes = look.survey(target.into_iter().collect());
    if let Some(target) = target.filter(|_| look.faults.is_empty() && look.needs.is_empty()) {
        let cycle =
            || fault::error(fault::STAGE, Span::default(), "the stages form a cycle", "a stage uses earlier ones");
        let graph = Graph::new(nodes, target).ok_or_else(|| vec![cycle()])?;
        return lower::lower(scopes, &graph, bases).map(Planned::Ready).map_err(in_order);
    }
    // What is wrong on its own is told now, before anything is fetched.
    look.lower(&nodes);
    if look.faults.is_empty() { Ok(Planned::Needs(look.needs)) } else { Err(in_order(look.faults)) }
}

/// Which stages errors are looked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those that the target needs, as in a build.
    Needed,
    /// All of them, unless a target is named.
    All,
}

/// Everything that is wrong with a file that may be unread in parts. `known` gives configurations of bases as far as
/// they can be had for nothing; `bases` are those that are at hand, and gets the others. Nothing that depends on what is
/// not known is told.
pub fn faults(
    draft: &Draft,
    (request, wanted): (&PlanRequest, Wanted),
    bases: &mut Bases,
    known: &mut dyn FnMut(&BaseKey) -> Option<ImageConfig>,
) -> Vec<Diagnostic> {
    loop {
        let (faults, needs) = found(draft, (request, wanted), bases);
        let more: Vec<_> = needs.into_iter().filter_map(|need| known(&need.key).map(|c| (need.key, c))).collect();
        if more.is_empty() {
            return in_order(faults);
        }
        bases.extend(more);
    }
}

/// One round of [`faults`].
fn found(draft: &Draft, (request, wanted): (&PlanRequest, Wanted), bases: &Bases) -> (Vec<Diagnostic>, Vec<Need>) {
    let (file, unread) = (&draft.file, draft.unread.as_slice());
    let budget = Budget::default();
    let (globals, faults) = Globals::guess((file, unread), request, &budget);
    let scopes = Scopes { file, request, globals: &globals, budget: &budget };
    let mut look = Look { scopes, bases, unread, faults, needs: Vec::new() };
    let all = || (0..file.stages.len()).collect();
    let targets = match stage::target(file, request.target.as_deref()) {
        Ok(target) if request.target.is_some() || wanted == Wanted::Needed => vec![target],
        Ok(_) => all(),
        Err(fault) => {
            // It may be one that could not be read.
            look.faults.extend((!draft.cut).then_some(fault));
            if wanted == Wanted::All { all() } else { Vec::new() }
        }
    };
    let nodes = look.survey(targets);
    look.lower(&nodes);
    (look.faults, look.needs)
}

/// What is looked at, and what was found.
struct Look<'a> {
    scopes: Scopes<'a>,
    bases: &'a Bases,
    unread: &'a [Unread],
    faults: Vec<Diagnostic>,
    needs: Vec<Need>,
}

impl Look<'_> {
    /// The stages that the targets need.
    fn survey(&mut self, targets: Vec<usize>) -> BTreeMap<usize, Node> {
        let file = self.scopes.file;
        if let Some(extra) = file.stages.get(stage::STAGES) {
            let message = format!("the Dockerfile has {} stages, more than {}", file.stages.len(), stage::STAGES);
            self.faults =
                vec![fault::error(fault::TOO_LARGE, extra.span, message, "split it into several Dockerfiles")];
            return BTreeMap::new();
        }
        self.faults.extend(scope::check_hostname(self.scopes.request).err());
        let lost = self.unread.iter().filter(|u| u.effect == Effect::Base).filter_map(|u| u.stage).collect();
        let Survey { nodes, needs, faults } = needs::survey(self.scopes, targets, self.bases, &lost);
        self.faults.extend(faults);
        self.needs = needs;
        nodes
    }

    /// What is wrong with the instructions of these.
    fn lower(&mut self, nodes: &BTreeMap<usize, Node>) {
        self.faults.extend(lower::faults(self.scopes, nodes, self.bases, self.unread));
    }
}

/// By line, each once: some rules are looked at twice.
fn in_order(mut faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
    faults.sort_by_key(|d| d.span);
    let mut seen = BTreeSet::new();
    faults.retain(|d| seen.insert((d.span, d.message.clone())));
    faults
}
