//! UnreachableStage, UnusedArg: what nothing uses.
//!
//! Must never call an ARG unused that a program may find in its environment.

use super::from::Base;
use super::{View, reach};
use crate::context::Contexts;
use crate::scope::predefined;
use cooper_dockerfile::ast::Node;
use cooper_dockerfile::instruction::{ArgDecl, Instruction, Located, Span};
use cooper_dockerfile::lint::own::{UNREACHABLE_STAGE, UNUSED_ARG};
use cooper_dockerfile::lint::{self, Edit, Finding, Findings};
use cooper_dockerfile::words;
use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) fn find(view: View<'_>, bases: &[Base], edges: &[BTreeSet<usize>], out: &mut Findings) {
    // What a request puts in the place of stages says nothing of the file.
    if view.subject.request.contexts == Contexts::default() {
        stages(view, edges, out);
    }
    global_args(view, out);
    stage_args(view, bases, out);
}

/// A stage that has a description is a target of its own.
fn stages(view: View<'_>, edges: &[BTreeSet<usize>], out: &mut Findings) {
    let described = |index: &usize| {
        let Some(stage) = view.file.stages.get(*index) else { return false };
        let name = stage.name.as_deref();
        name.is_some_and(|name| lint::description(view.source, stage.span.start, name).is_some())
    };
    let last = view.file.stages.len().checked_sub(1);
    let needed = reach::needed(edges, last.into_iter().chain((0..view.file.stages.len()).filter(described)));
    for (index, stage) in view.file.stages.iter().enumerate().filter(|(index, _)| !needed.contains(index)) {
        let label = crate::stage::label(view.file, index);
        let detail = format!("the last stage does not need the stage {label}, and no comment describes it");
        out.push(Finding::new(&UNREACHABLE_STAGE, stage.span, detail));
    }
}

fn global_args(view: View<'_>, out: &mut Findings) {
    let escape = view.file.escape;
    let mut used: HashSet<String> = HashSet::new();
    for stage in &view.file.stages {
        used.extend(words::names(&stage.base, escape));
        used.extend(stage.platform.iter().flat_map(|p| words::names(p, escape)));
        let redeclared = stage.instructions.iter().filter_map(|i| match &i.value {
            Instruction::Arg(args) => Some(args),
            _ => None,
        });
        used.extend(redeclared.flatten().map(|a| a.name.clone()));
    }
    let defaults = view.file.global_args.iter().filter_map(|a| a.value.default.as_deref());
    used.extend(defaults.flat_map(|d| words::names(d, escape)));
    for arg in &view.file.global_args {
        if !used.contains(&arg.value.name) && !acts(&arg.value.name) {
            let detail = format!("no FROM and no stage uses ARG {}", arg.value.name);
            out.push(Finding::new(&UNUSED_ARG, arg.span, detail).about(arg.value.name.clone()));
        }
    }
}

/// Does a build argument of this name do something although no text mentions it?
fn acts(name: &str) -> bool {
    predefined(name) || name.starts_with("BUILDKIT_")
}

/// Where each word of a stage stands last, by the number of the instruction.
type Mentions<'a> = HashMap<&'a str, usize>;
/// The word that stands for all: the programs of a RUN get every variable.
const ANY: &str = "";

/// Is there a use of the name behind an instruction?
fn is_behind(mentions: &Mentions<'_>, number: usize, name: &str) -> bool {
    [name, ANY].iter().any(|word| mentions.get(word).is_some_and(|last| *last > number))
}

fn stage_args(view: View<'_>, bases: &[Base], out: &mut Findings) {
    let mentions: Vec<Mentions<'_>> = view.nodes.iter().map(|nodes| mentions(nodes)).collect();
    let family = Family::new(bases, &mentions);
    for (index, stage) in view.file.stages.iter().enumerate() {
        // The FROM is the first node, so that instruction number n is node n + 1.
        for (number, located) in (1..).zip(&stage.instructions) {
            let Instruction::Arg(args) = &located.value else { continue };
            for arg in args.iter().filter(|a| !acts(&a.name)) {
                let here = mentions.get(index).is_some_and(|m| is_behind(m, number, &arg.name));
                let below = family.mentions_below(index, &arg.name) || family.mentions_below(index, ANY);
                if here || out.is_full(&UNUSED_ARG) || below {
                    continue;
                }
                let detail = format!("nothing below ARG {} in its stage uses it", arg.name);
                let finding = Finding::new(&UNUSED_ARG, located.span, detail).in_stage(Some(index));
                out.push(finding.about(arg.name.clone()).mended_by(removal(view, located, args)));
            }
        }
    }
}

/// Which stages begin with which, and what is mentioned in them. The stages are numbered such that those which begin
/// with one, directly or not, are the numbers that follow its own; so no walk is needed for each name.
struct Family<'a> {
    /// Of each stage its number, and the number behind the last of those that begin with it.
    places: Vec<(usize, usize)>,
    /// The numbers of the stages that mention a word, sorted.
    mentions: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Family<'a> {
    fn new(bases: &[Base], mentions: &[Mentions<'a>]) -> Self {
        // A stage begins with an earlier one: backwards, each comes after all that begin with it.
        let parent = |index: usize| match bases.get(index) {
            Some(Base::Stage(n)) if *n < index => Some(*n),
            _ => None,
        };
        let mut sizes = vec![1; bases.len()];
        for index in (0..bases.len()).rev() {
            let size = sizes.get(index).copied().unwrap_or_default();
            if let Some(of_parent) = parent(index).and_then(|n| sizes.get_mut(n)) {
                *of_parent += size;
            }
        }
        // Forwards, each takes the next free numbers of its parent.
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(bases.len());
        let (mut free, mut next) = (Vec::with_capacity(bases.len()), 0);
        for (index, size) in sizes.into_iter().enumerate() {
            let from = parent(index).and_then(|n| free.get_mut(n)).unwrap_or(&mut next);
            let number = *from;
            *from += size;
            places.push((number, number + size));
            free.push(number + 1);
        }
        let mut found: HashMap<&str, Vec<usize>> = HashMap::new();
        for ((number, _), words) in places.iter().zip(mentions) {
            words.keys().for_each(|word| found.entry(word).or_default().push(*number));
        }
        found.values_mut().for_each(|numbers| numbers.sort_unstable());
        Self { places, mentions: found }
    }

    /// Does a stage that begins with this one mention the name?
    fn mentions_below(&self, stage: usize, name: &str) -> bool {
        let (Some((number, end)), Some(mentioned)) = (self.places.get(stage), self.mentions.get(name)) else {
            return false;
        };
        let next = mentioned.partition_point(|n| n <= number);
        mentioned.get(next).is_some_and(|n| n < end)
    }
}

/// Every word of a stage's instructions: a command may use a variable in any way.
fn mentions<'a>(nodes: &[&'a Node]) -> Mentions<'a> {
    let mut last = HashMap::new();
    for (number, node) in nodes.iter().enumerate() {
        let flags = node.flags.iter().filter_map(|f| f.value.as_deref());
        let runs = match node.keyword.as_str() {
            "RUN" => Some(number),
            // It may run in a stage that begins with this one, behind everything here.
            "ONBUILD" => Some(usize::MAX),
            _ => None,
        };
        if let Some(number) = runs {
            let any = last.entry(ANY).or_insert(number);
            *any = number.max(*any);
        }
        let bodies = node.heredocs.iter().map(|b| b.raw.as_str());
        // In `ARG a=$b` the name is declared and not used.
        let args = node.args.split_once('=').filter(|_| node.keyword == "ARG");
        let args = match (node.keyword.as_str(), args) {
            ("ARG", Some((_, default))) => default,
            ("ARG", None) => "",
            _ => node.args.as_str(),
        };
        for text in flags.chain(bodies).chain([args]) {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty());
            last.extend(words.map(|w| (w, number)));
        }
    }
    last
}

/// The ARG's lines, when it declares nothing else and no comment describes it.
fn removal(view: View<'_>, located: &Located<Instruction>, args: &[ArgDecl]) -> Option<Edit> {
    let [arg] = args else { return None };
    let Span { start, .. } = located.span;
    let described = lint::description(view.source, start, &arg.name).is_some();
    (!described).then(|| Edit { range: view.source.lines(located.span), text: String::new() })
}
