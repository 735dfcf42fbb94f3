//! From a Dockerfile to a plan, in as many rounds as its bases ask for.
//!
//! Takes: the Dockerfile, the request and the base configurations known so far. Gives: the bases still missing, or
//! the plan, or every error that was found. Must never: give half a plan.

use crate::expand::Budget;
use crate::graph::Graph;
use crate::needs::{self, Survey};
use crate::op::Plan;
use crate::request::PlanRequest;
use crate::scope::{Globals, Scopes};
use crate::{fault, lower, scope, stage};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Dockerfile, Span};
use std::collections::BTreeSet;

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
/// known; stages that it does not need are not looked at.
pub fn plan(file: &Dockerfile, request: &PlanRequest, bases: &Bases) -> Result<Planned, Vec<Diagnostic>> {
    if let Some(extra) = file.stages.get(stage::STAGES) {
        let message = format!("the Dockerfile has {} stages, more than {}", file.stages.len(), stage::STAGES);
        return Err(vec![fault::error(fault::TOO_LARGE, extra.span, message, "split it into several Dockerfiles")]);
    }
    let budget = Budget::default();
    scope::check_hostname(request)?;
    let globals = Globals::new(file, request, &budget)?;
    let target = stage::target(file, request.target.as_deref()).map_err(|d| vec![d])?;
    let scopes = Scopes { file, request, globals: &globals, budget: &budget };
    let Survey { nodes, needs, mut faults } = needs::survey(scopes, target, bases);
    if faults.is_empty() && needs.is_empty() {
        let cycle =
            || fault::error(fault::STAGE, Span::default(), "the stages form a cycle", "a stage uses earlier ones");
        let graph = Graph::new(nodes, target).ok_or_else(|| vec![cycle()])?;
        return lower::lower(scopes, &graph, bases).map(Planned::Ready);
    }
    // What is wrong on its own is told now, before anything is fetched.
    faults.extend(lower::faults(scopes, &nodes, bases));
    if faults.is_empty() { Ok(Planned::Needs(needs)) } else { Err(in_order(faults)) }
}

/// By line, each once: some rules are looked at twice.
fn in_order(mut faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
    faults.sort_by_key(|d| d.span);
    let mut seen = BTreeSet::new();
    faults.retain(|d| seen.insert((d.span, d.message.clone())));
    faults
}
