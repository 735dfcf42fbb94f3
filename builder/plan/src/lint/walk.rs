//! What surrounds each instruction, for the rules that ask for it: variables, SHELL, WORKDIR.
//!
//! Takes the stages in file order; gives each instruction with its [`State`] to the rules, and to outlines. A base image
//! that is not known leaves a stage incomplete: it may have set any variable.

use super::from::Base;
use super::{View, from};
use crate::expand::Word;
use crate::needs::{BaseImage, BaseKey};
use crate::scope::{DEFAULT_PATH, Scopes, Surroundings, arg_value};
use cooper_dockerfile::instruction::{ArgDecl, Instruction, Located, Span};
use std::collections::BTreeSet;
use std::rc::Rc;

/// What an instruction finds.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub around: Surroundings,
    /// Is every variable known that the base sets?
    pub complete: bool,
    /// Did the file set an absolute or any other WORKDIR yet?
    pub workdir_set: bool,
}

/// An instruction that is looked at.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub stage: usize,
    pub span: Span,
    /// Is it a trigger that the stage's base left? Then the lines are those of the FROM.
    pub trigger: bool,
    pub instruction: &'a Instruction,
    pub scopes: Scopes<'a>,
}

/// What the stages begin with, and those that named contexts take the place of, of which nothing is done.
#[derive(Clone, Copy)]
pub(super) struct Begin<'a> {
    pub bases: &'a [Base],
    pub replaced: &'a BTreeSet<usize>,
}

impl<'a> Begin<'a> {
    /// What is done of a stage.
    fn done(self, view: View<'a>, index: usize) -> &'a [Located<Instruction>] {
        let stage = view.file.stages.get(index).filter(|_| !self.replaced.contains(&index));
        stage.map_or(&[], |stage| &stage.instructions)
    }
}

/// Gives every instruction that is done to `look`, stage by stage.
pub(super) fn all(view: View<'_>, scopes: Scopes<'_>, begin: Begin<'_>, look: &mut dyn FnMut(At<'_>, &State)) {
    let mut ends: Vec<End> = Vec::with_capacity(begin.bases.len());
    for (index, source) in view.file.stages.iter().enumerate() {
        let (mut state, triggers) = before(view, scopes, begin, &ends, index);
        if scopes.budget.spend(state.around.copied(), source.span).is_err() {
            return;
        }
        for located in triggers.iter() {
            look(At { stage: index, span: source.span, trigger: true, instruction: &located.value, scopes }, &state);
            apply(&mut state, located, scopes);
        }
        for located in begin.done(view, index) {
            look(At { stage: index, span: located.span, trigger: false, instruction: &located.value, scopes }, &state);
            apply(&mut state, located, scopes);
        }
        let own = begin.done(view, index).iter().filter_map(|i| match &i.value {
            Instruction::OnBuild(text) => Some(text),
            _ => None,
        });
        ends.push(End { state, triggers: parsed(own, scopes) });
    }
}

/// What a stage leaves to those that begin with it. Its triggers are read once, however many these are.
#[derive(Default)]
struct End {
    state: State,
    triggers: Triggers,
}

type Triggers = Rc<[Located<Instruction>]>;

fn parsed<'t>(texts: impl Iterator<Item = &'t String>, scopes: Scopes<'_>) -> Triggers {
    texts.flat_map(|text| cooper_dockerfile::parse_trigger(text, scopes.file.escape).unwrap_or_default()).collect()
}

/// What the base leaves, and its triggers.
fn before(view: View<'_>, scopes: Scopes<'_>, begin: Begin<'_>, ends: &[End], index: usize) -> (State, Triggers) {
    let mut triggers = Triggers::default();
    let mut state = match begin.bases.get(index).unwrap_or(&Base::Unknown) {
        Base::Scratch => State { complete: true, ..State::default() },
        Base::Stage(n) => {
            let end = ends.get(*n);
            triggers = end.map(|end| Rc::clone(&end.triggers)).unwrap_or_default();
            end.map(|end| end.state.clone()).unwrap_or_default()
        }
        Base::Image(reference) => {
            let source = view.file.stages.get(index);
            let platform = source.and_then(|source| from::platform(view, source, scopes.globals));
            let key = platform.map(|platform| BaseKey { image: BaseImage::Named(reference.clone()), platform });
            match key.and_then(|key| view.subject.bases.get(&key)) {
                Some(config) => {
                    triggers = parsed(config.config.on_build.iter(), scopes);
                    State { around: Surroundings::of_image(config), complete: true, workdir_set: false }
                }
                None => State::default(),
            }
        }
        Base::Unknown => State::default(),
    };
    if state.around.get("PATH").is_none() {
        state.around.set("PATH", DEFAULT_PATH);
    }
    (state, triggers)
}

/// Declares one argument, for those that follow on the same line too.
pub(crate) fn declare(state: &mut State, arg: &ArgDecl, span: Span, scopes: Scopes<'_>) {
    let value = arg_value(arg, (scopes.file.escape, span), &state.around, &scopes).unwrap_or_default();
    state.around.declare(&arg.name, value.as_deref());
}

/// Does what the instruction does to those that follow. A word that cannot be expanded sets an empty value: planning
/// tells.
fn apply(state: &mut State, located: &Located<Instruction>, scopes: Scopes<'_>) {
    let (escape, span) = (scopes.file.escape, located.span);
    match &located.value {
        Instruction::Arg(args) => {
            args.iter().for_each(|arg| declare(state, arg, span, scopes));
        }
        Instruction::Env(pairs) => {
            let expand = |text: &str| {
                let word = Word { text, escape, span };
                scopes.budget.expand(word, &|name| state.around.get(name)).unwrap_or_default()
            };
            // All words see the variables as they were before the instruction.
            let pairs: Vec<(String, String)> = pairs.iter().map(|(n, v)| (expand(n), expand(v))).collect();
            pairs.iter().for_each(|(name, value)| state.around.set(name, value));
        }
        Instruction::Shell(argv) => state.around.shell = Some(argv.clone()),
        Instruction::Workdir(_) => state.workdir_set = true,
        _ => {}
    }
}
