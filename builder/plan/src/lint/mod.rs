//! Build checks as a whole: rules that need the file alone, and those that need variables, stages, the ignore file or
//! the configurations of bases.
//!
//! Takes a Dockerfile's text, the request and what is known of its bases; gives what the file, its comments and the
//! request want told. Must never ask a registry or look at a file, and never fail on a Dockerfile with errors: the
//! rules that can be asked are asked.

mod from;
mod ignored;
mod reach;
mod steps;
mod unused;
mod variables;
mod walk;

use walk::Begin;
pub(crate) use walk::{At, State, declare};

use crate::expand::Budget;
use crate::needs::Bases;
use crate::request::PlanRequest;
use crate::scope::{Globals, Scopes};
use cooper_dockerfile::ast::{Ast, Node};
use cooper_dockerfile::diagnostic::Severity;
use cooper_dockerfile::instruction::Dockerfile;
use cooper_dockerfile::lint::{self, Experimental, Finding, Findings, Options, OptionsError, Source};
use std::collections::{BTreeSet, HashMap};

/// The build argument that takes the place of the file's own `# check=`.
const OVERRIDE: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What is checked, and what is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The Dockerfile.
    pub text: &'a str,
    /// What is asked of it.
    pub request: &'a PlanRequest,
    /// The ignore file that applies.
    pub ignore: Option<&'a [u8]>,
    /// Configurations of base images, as far as they are known.
    pub bases: &'a Bases,
    /// What is done with rules that are not told by default.
    pub experimental: Experimental,
    /// Which stages are looked at.
    pub stages: Stages,
}

/// Which stages are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stages {
    /// Those that the target needs, as in a build.
    Needed,
    /// All of them, unless a target is named.
    All,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The findings, by line.
    pub findings: Vec<Finding>,
    /// How bad they are: what is wanted with `error=true`.
    pub severity: Severity,
}

impl Report {
    /// The findings that the file wants to be errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        let wanted = self.severity == Severity::Error;
        self.findings.iter().filter(move |f| wanted && f.rule.set.counts())
    }
}

/// The file as all rules here see it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub source: &'a Source<'a>,
    pub file: &'a Dockerfile,
    /// The instructions of each stage, its FROM first.
    pub nodes: &'a [Vec<&'a Node>],
    pub subject: &'a Subject<'a>,
}

/// Checks a file.
///
/// # Errors
/// When BUILDKIT_DOCKERFILE_CHECK is malformed. A malformed directive is an error of the Dockerfile, and counts as none
/// here.
pub fn check(subject: &Subject<'_>) -> Result<Report, OptionsError> {
    let ast = cooper_dockerfile::tree(subject.text);
    let options = match subject.request.build_args.get(OVERRIDE) {
        Some(text) => Options::parse(text)?,
        None => ast.directives.check.clone(),
    };
    let source = Source::new(subject.text);
    let mut findings = Findings::default();
    lint::find(&source, &ast, &mut findings);
    let parsed = cooper_dockerfile::parse(subject.text);
    let mut heard = Heard::default();
    if let Some(file) = &parsed.dockerfile {
        doubts(&parsed.diagnostics, &mut findings);
        let nodes = nodes_by_stage(&ast);
        heard = plan_rules(View { source: &source, file, nodes: &nodes, subject }, &mut findings);
    }
    // Many findings may be about one instruction, and the comments above it be very long.
    let mut skipped: HashMap<u32, Vec<String>> = HashMap::new();
    let tells = |f: &Finding| {
        let line = first_line(&ast, f);
        options.tells(f.rule, subject.experimental)
            && !lint::skips(skipped.entry(line).or_insert_with(|| lint::skipped(&source, line)), f.rule.id)
            && f.stage.is_none_or(|stage| heard.tells(stage))
    };
    let mut findings = findings.sorted();
    findings.retain(tells);
    let severity = if options.fail { Severity::Error } else { Severity::Warning };
    Ok(Report { findings, severity })
}

/// The first line of the instruction that a finding is about: comments stand above that.
fn first_line(ast: &Ast, finding: &Finding) -> u32 {
    let behind = ast.nodes.partition_point(|n| n.span.start <= finding.span.start);
    behind.checked_sub(1).and_then(|at| ast.nodes.get(at)).map_or(finding.span.start, |n| n.span.start)
}

/// What the parser found doubtful and no rule of BuildKit's speaks of.
fn doubts(diagnostics: &[cooper_dockerfile::diagnostic::Diagnostic], out: &mut Findings) {
    for doubt in diagnostics.iter().filter(|d| d.severity == Severity::Warning) {
        if let Some(rule) = lint::rule(doubt.code) {
            out.push(Finding::new(rule, doubt.span, doubt.message.clone()));
        }
    }
}

/// The stages whose steps are told of.
#[derive(Default)]
struct Heard {
    /// Those that the target needs; nothing means all.
    needed: Option<BTreeSet<usize>>,
    /// Those that named contexts take the place of: their steps are not done.
    replaced: BTreeSet<usize>,
}

impl Heard {
    fn tells(&self, stage: usize) -> bool {
        !self.replaced.contains(&stage) && self.needed.as_ref().is_none_or(|needed| needed.contains(&stage))
    }
}

/// The rules that need more than the file.
fn plan_rules(view: View<'_>, out: &mut Findings) -> Heard {
    let (file, request) = (view.file, view.subject.request);
    let budget = Budget::default();
    // Globals that cannot be expanded are an error that planning tells.
    let Ok(globals) = Globals::new(file, request, &budget) else { return Heard::default() };
    let scopes = Scopes { file, request, globals: &globals, budget: &budget };
    let bases = from::bases(view, &globals);
    from::find(view, scopes, &bases, out);
    let declared = variables::Declared::by(file);
    let replaced = from::replaced(view, &globals);
    walk::all(view, scopes, Begin { bases: &bases, replaced: &replaced }, &mut |at, state| {
        if !at.trigger {
            steps::find(at, state, out);
            variables::find(at, state, &declared, out);
        }
    });
    ignored::find(view, scopes, &bases, out);
    let edges = reach::edges(view, &bases, &replaced);
    unused::find(view, &bases, &edges, out);
    let limited = view.subject.stages == Stages::Needed || request.target.is_some();
    let target = crate::stage::target(file, request.target.as_deref()).ok();
    let needed = target.filter(|_| limited).map(|target| reach::needed(&edges, [target]));
    Heard { needed, replaced }
}

/// What the stages of a file use, as far as it can be told without the bases.
pub(crate) struct Stock {
    /// The stages that each stage uses, that of its FROM first.
    pub uses: Vec<Vec<usize>>,
    /// Those that named contexts take the place of.
    pub replaced: BTreeSet<usize>,
}

/// Looks at every instruction of a file, and tells what its stages use. `text` is what the file was read from; `known`
/// are the bases whose configurations are.
pub(crate) fn take_stock(text: &str, scopes: Scopes<'_>, known: &Bases, look: &mut dyn FnMut(At<'_>, &State)) -> Stock {
    let ast = cooper_dockerfile::tree(text);
    let (source, nodes) = (Source::new(text), nodes_by_stage(&ast));
    let (experimental, stages) = (Experimental::Named, Stages::Needed);
    let subject = Subject { text, request: scopes.request, ignore: None, bases: known, experimental, stages };
    let view = View { source: &source, file: scopes.file, nodes: &nodes, subject: &subject };
    let bases = from::bases(view, scopes.globals);
    let replaced = from::replaced(view, scopes.globals);
    walk::all(view, scopes, Begin { bases: &bases, replaced: &replaced }, look);
    let first = |base: &from::Base| if let from::Base::Stage(n) = base { Some(*n) } else { None };
    let uses = reach::edges(view, &bases, &replaced).into_iter().zip(&bases);
    let uses = uses.map(|(edges, base)| first(base).into_iter().chain(edges).collect()).collect();
    Stock { uses, replaced }
}

/// The instructions by stage.
fn nodes_by_stage(ast: &Ast) -> Vec<Vec<&Node>> {
    let mut stages: Vec<Vec<&Node>> = Vec::new();
    for node in &ast.nodes {
        if node.keyword == "FROM" {
            stages.push(vec![node]);
        } else if let Some(stage) = stages.last_mut() {
            stage.push(node);
        }
    }
    stages
}
