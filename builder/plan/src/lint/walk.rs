//! What surrounds each instruction, for the rules that ask for it: variables, SHELL, WORKDIR.
//!
//! Takes the stages in file order; gives each instruction with its [`State`] to the rules. A base image that is not
//! known leaves a stage incomplete: it may have set any variable.

use super::from::Base;
use super::{View, steps, variables};
use crate::expand::Word;
use crate::needs::{BaseImage, BaseKey};
use crate::scope::{DEFAULT_PATH, Scopes, Surroundings, arg_value};
use cooper_dockerfile::instruction::{Instruction, Located, Span};
use cooper_dockerfile::lint::Findings;
use cooper_image::Platform;

/// What an instruction finds.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub around: Surroundings,
    /// Is every variable known that the base sets?
    pub complete: bool,
    /// Did the file set an absolute or any other WORKDIR yet?
    pub workdir_set: bool,
}

/// An instruction that rules look at.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub stage: usize,
    pub span: Span,
    pub instruction: &'a Instruction,
    pub scopes: Scopes<'a>,
}

pub(super) fn find(view: View<'_>, scopes: Scopes<'_>, bases: &[Base], out: &mut Findings) {
    let declared = variables::Declared::by(view.file);
    let mut ends: Vec<State> = Vec::with_capacity(bases.len());
    for (index, source) in view.file.stages.iter().enumerate() {
        let base = bases.get(index).unwrap_or(&Base::Unknown);
        let mut state = begin(view, scopes, base, &ends, index);
        if scopes.budget.spend(state.around.copied(), source.span).is_err() {
            return;
        }
        for located in &source.instructions {
            let at = At { stage: index, span: located.span, instruction: &located.value, scopes };
            steps::find(at, &state, out);
            variables::find(at, &state, &declared, out);
            apply(&mut state, located, scopes);
        }
        ends.push(state);
    }
}

/// What the base leaves, its triggers done.
fn begin(view: View<'_>, scopes: Scopes<'_>, base: &Base, ends: &[State], index: usize) -> State {
    let mut triggers: Vec<String> = Vec::new();
    let mut state = match base {
        Base::Scratch => State { complete: true, ..State::default() },
        Base::Stage(n) => {
            let of = view.file.stages.get(*n).map_or(&[][..], |s| &s.instructions);
            triggers.extend(of.iter().filter_map(|i| match &i.value {
                Instruction::OnBuild(text) => Some(text.clone()),
                _ => None,
            }));
            ends.get(*n).cloned().unwrap_or_default()
        }
        Base::Image(reference) => {
            let platform = asked(view, scopes, index);
            let key = platform.map(|platform| BaseKey { image: BaseImage::Named(reference.clone()), platform });
            match key.and_then(|key| view.subject.bases.get(&key)) {
                Some(config) => {
                    triggers.extend(config.config.on_build.iter().cloned());
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
    for trigger in triggers {
        for located in cooper_dockerfile::parse_trigger(&trigger, scopes.file.escape).unwrap_or_default() {
            apply(&mut state, &located, scopes);
        }
    }
    state
}

/// The platform that the stage's base is wanted for.
fn asked(view: View<'_>, scopes: Scopes<'_>, index: usize) -> Option<Platform> {
    match view.file.stages.get(index).and_then(|s| s.platform.as_deref()) {
        None => Some(scopes.request.platform.clone()),
        Some(text) => {
            let lookup = |name: &str| scopes.globals.get(name);
            cooper_dockerfile::words::expand(text, scopes.file.escape, &lookup).ok()?.parse().ok()
        }
    }
}

/// Does what the instruction does to those that follow. A word that cannot be expanded sets an empty value: planning
/// tells.
fn apply(state: &mut State, located: &Located<Instruction>, scopes: Scopes<'_>) {
    let (escape, span) = (scopes.file.escape, located.span);
    match &located.value {
        Instruction::Arg(args) => {
            for arg in args {
                let value = arg_value(arg, (escape, span), &state.around, &scopes).unwrap_or_default();
                state.around.declare(&arg.name, value.as_deref());
            }
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
