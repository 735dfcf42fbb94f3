//! Instructions to steps: every variable expanded, every name looked up.
//!
//! Takes: the graph and the bases' configurations. Gives: the plan. One instruction is one step; all words of an
//! instruction see the variables as they were before it. Must never: look at anything but its arguments.

mod command;
mod copy;
mod fetch;
pub(crate) mod mount;
mod ports;
mod run;
mod settings;
mod variables;

use crate::context::ContextName;
use crate::expand::Word;
use crate::graph::{Graph, Item, Node, Origin};
use crate::needs::{Bases, base_key};
use crate::op::{Base, Copy, Op, Plan, Reuse, Stage, StageId, Step};
use crate::scope::{DEFAULT_PATH, Scopes, Surroundings};
use crate::{fault, stage};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::draft::{Effect, Unread};
use cooper_dockerfile::instruction::{Instruction, Span};
use cooper_image::edit::ConfigEdit;
use cooper_image::{ContainerPath, Platform};
use std::collections::BTreeMap;

/// What a stage leaves to those that begin with it.
struct End {
    around: Surroundings,
    platform: Platform,
    /// Is something wrong with the FROM that it goes back to?
    lost: bool,
}

/// Makes the plan of a complete graph.
pub(crate) fn lower(scopes: Scopes<'_>, graph: &Graph, bases: &Bases) -> Result<Plan, Vec<Diagnostic>> {
    let ids: BTreeMap<usize, StageId> = graph.in_order().enumerate().map(|(i, (n, _))| (n, StageId(i))).collect();
    let mut walk =
        Walk { scopes, bases, unread: &[], ids: &ids, ends: BTreeMap::new(), faults: Vec::new(), left: None };
    let mut stages = Vec::new();
    for (number, node) in graph.in_order() {
        stages.extend(walk.stage(number, node));
        if scopes.budget.is_exhausted() {
            break;
        }
    }
    // A plan loses no step without a word.
    if walk.faults.is_empty() {
        walk.faults.extend(walk.left);
    }
    if !walk.faults.is_empty() {
        return Err(walk.faults);
    }
    let target = StageId(stages.len().saturating_sub(1));
    Ok(Plan { stages, target })
}

/// What is wrong with the instructions of stages of which some, or some bases or instructions, are not known: only what
/// does not depend on them.
pub(crate) fn faults(
    scopes: Scopes<'_>,
    nodes: &BTreeMap<usize, Node>,
    bases: &Bases,
    unread: &[Unread],
) -> Vec<Diagnostic> {
    let ids = BTreeMap::new();
    let mut walk = Walk { scopes, bases, unread, ids: &ids, ends: BTreeMap::new(), faults: Vec::new(), left: None };
    for (number, node) in nodes {
        walk.stage(*number, node);
        if scopes.budget.is_exhausted() {
            break;
        }
    }
    walk.faults
}

/// One walk over the stages.
struct Walk<'a> {
    scopes: Scopes<'a>,
    bases: &'a Bases,
    /// What the file lacks, by stage.
    unread: &'a [Unread],
    ids: &'a BTreeMap<usize, StageId>,
    ends: BTreeMap<usize, End>,
    faults: Vec<Diagnostic>,
    /// A fault that may be none once everything is known, and was left out.
    left: Option<Diagnostic>,
}

impl<'a> Walk<'a> {
    fn stage(&mut self, number: usize, node: &Node) -> Option<Stage> {
        let scopes = self.scopes;
        let source = scopes.file.stages.get(number)?;
        let platform = platform(scopes, node, &self.ends, source.span).unwrap_or_else(|fault| {
            self.faults.push(fault);
            scopes.request.platform.clone()
        });
        let around = match surroundings(scopes, node, &self.ends, self.bases, source.span) {
            Ok(around) => around,
            Err(fault) => {
                self.faults.push(fault);
                return None;
            }
        };
        let mut lowering = Lowering { scopes, ids: self.ids, around, cmd_set: false, steps: Vec::new() };
        lowering.inherit(node, &platform, source.span);
        let mut unread = self.unread_of(number).iter().peekable();
        for (at, item) in node.items.iter().enumerate() {
            while let Some(unread) = unread.next_if(|u| u.behind + node.triggers <= at) {
                lowering.around.lack(&unread.effect);
            }
            let found = lowering.item(item);
            let doubt = lowering.take_doubt();
            let Err(fault) = found else { continue };
            // ARG and ENV take note of their own.
            if matches!(item.instruction.value, Instruction::Workdir(_)) {
                lowering.around.lack(&Effect::Directory);
            }
            // What is only guessed may have been wrong.
            if doubt {
                self.left.get_or_insert(fault);
            } else {
                self.faults.push(fault)
            }
            if scopes.budget.is_exhausted() {
                return None;
            }
        }
        unread.for_each(|unread| lowering.around.lack(&unread.effect));
        let Lowering { around, steps, .. } = lowering;
        let below = matches!(node.base, Origin::Stage(n) if self.ends.get(&n).is_some_and(|end| end.lost));
        self.ends.insert(number, End { around, platform: platform.clone(), lost: node.lost || below });
        Some(Stage {
            label: scopes.label(number),
            base: match &node.base {
                Origin::Files(_) => Base::Scratch,
                origin => base(origin, self.ids),
            },
            platform,
            span: source.span,
            text: source.text.clone(),
            reuse: reuse(scopes, number),
            steps,
        })
    }

    fn unread_of(&self, number: usize) -> &'a [Unread] {
        let from = self.unread.partition_point(|u| u.stage < Some(number));
        let all = self.unread.get(from..).unwrap_or_default();
        all.get(..all.partition_point(|u| u.stage == Some(number))).unwrap_or_default()
    }
}

fn reuse(scopes: Scopes<'_>, number: usize) -> Reuse {
    let named = scopes.request.no_cache_filter.iter().any(|f| stage::is_named(scopes.file, number, f));
    if named { Reuse::Never } else { Reuse::Allowed }
}

/// What the base leaves to a stage. Paid for before it is copied: a thousand stages may begin with one.
fn surroundings(
    scopes: Scopes<'_>,
    node: &Node,
    ends: &BTreeMap<usize, End>,
    bases: &Bases,
    span: Span,
) -> Result<Surroundings, Diagnostic> {
    let around = match &node.base {
        Origin::Stage(n) => {
            let end = ends.get(n).map(|e| &e.around);
            scopes.budget.spend(end.map_or(0, Surroundings::copied), span)?;
            return Ok(end.cloned().unwrap_or_else(Surroundings::unknown));
        }
        Origin::Image(_) | Origin::Layout(_) => {
            let known = base_key(node, &scopes.request.platform).and_then(|key| bases.get(&key));
            known.map_or_else(Surroundings::unknown, Surroundings::of_image)
        }
        Origin::Scratch if node.lost => Surroundings::unknown(),
        Origin::Scratch | Origin::Files(_) => Surroundings::default(),
    };
    scopes.budget.spend(around.size(), span)?;
    Ok(around)
}

fn base(origin: &Origin, ids: &BTreeMap<usize, StageId>) -> Base {
    match origin {
        Origin::Image(reference) => Base::Image(reference.clone()),
        // The graph holds every stage that it names.
        Origin::Stage(n) => ids.get(n).map_or(Base::Scratch, |id| Base::Stage(*id)),
        Origin::Scratch => Base::Scratch,
        Origin::Layout(name) => Base::Layout(name.clone()),
        Origin::Files(name) => Base::Files(name.clone()),
    }
}

/// A stage FROM a stage has its platform; asking for another one is a mistake that would give a mixed image. Nothing is
/// for every processor, so that a stage FROM scratch is for the one that is built for, whatever it asks, as in BuildKit.
fn platform(scopes: Scopes<'_>, node: &Node, ends: &BTreeMap<usize, End>, span: Span) -> Result<Platform, Diagnostic> {
    let asked = node.platform.clone();
    let n = match &node.base {
        Origin::Stage(n) => n,
        Origin::Scratch => return Ok(scopes.request.platform.clone()),
        _ => return Ok(asked.unwrap_or_else(|| scopes.request.platform.clone())),
    };
    if let (Some(asked), true) = (&asked, ends.get(n).is_some_and(|end| end.lost)) {
        return Ok(asked.clone());
    }
    let of_base = ends.get(n).map_or_else(|| scopes.request.platform.clone(), |e| e.platform.clone());
    match asked {
        Some(asked) if !of_base.satisfies(&asked) => {
            let message = format!("the stage {} is built for {of_base}, not for {asked}", scopes.label(*n));
            let hint = "give --platform at the stage that begins with an image";
            Err(fault::error(fault::PLATFORM, span, message, hint).about("--platform"))
        }
        _ => Ok(of_base),
    }
}

/// The files of a context as the root that a stage begins with: a step, so that its layer is known again by what the
/// files are and not by when they were written.
fn whole(name: &ContextName, span: Span) -> Step {
    let copy = Copy {
        from: Some(Base::Files(name.clone())),
        sources: vec![".".to_owned()],
        inline: Vec::new(),
        dest: ContainerPath::default(),
        dest_is_dir: true,
        chown: None,
        chmod: None,
        unpack: false,
        parents: false,
        exclude: Vec::new(),
        link: false,
    };
    let text = format!("COPY --from={name} . /");
    Step { op: Op::Copy(copy), span, history: format!("{text} # buildkit"), text }
}

/// What an instruction comes to.
struct Done {
    op: Op,
    history: String,
}

impl Done {
    fn edit(edit: ConfigEdit, history: String) -> Self {
        Self { op: Op::Edit(vec![edit]), history }
    }
}

/// One stage on its way to steps.
struct Lowering<'a> {
    scopes: Scopes<'a>,
    ids: &'a BTreeMap<usize, StageId>,
    around: Surroundings,
    /// Did this stage set CMD itself?
    cmd_set: bool,
    steps: Vec<Step>,
}

impl Lowering<'_> {
    /// Edits that come with the base and not with an instruction: a PATH where there is none, triggers used up.
    fn inherit(&mut self, node: &Node, platform: &Platform, span: Span) {
        let mut edits = Vec::new();
        let path = self.around.get("PATH");
        // That is nothing which an instruction asks for.
        self.take_doubt();
        if path.is_none() && Scopes::wants_path(platform) {
            self.around.set("PATH", DEFAULT_PATH);
            edits.push(ConfigEdit::Env { name: "PATH".to_owned(), value: DEFAULT_PATH.to_owned() });
        }
        // The empty image is one whose commands start in its root.
        if matches!(node.base, Origin::Scratch | Origin::Files(_)) {
            edits.push(ConfigEdit::WorkingDir("/".to_owned()));
        }
        if node.triggers > 0 {
            edits.push(ConfigEdit::ClearOnBuild);
        }
        if !edits.is_empty() {
            let text = "configuration of the base".to_owned();
            self.steps.push(Step { op: Op::Edit(edits), span, text, history: String::new() });
        }
        if let Origin::Files(name) = &node.base {
            self.steps.push(whole(name, span));
        }
    }

    fn item(&mut self, item: &Item) -> Result<(), Diagnostic> {
        let (span, escape) = (item.instruction.span, item.escape);
        let done = match &item.instruction.value {
            Instruction::Arg(args) => self.arg(args, escape, span),
            Instruction::Env(pairs) => self.env(pairs, escape, span),
            Instruction::Label(pairs) => self.label(pairs, escape, span),
            Instruction::Run(run) => self.run(run, item),
            Instruction::Copy(copy) => self.copy(copy, item),
            Instruction::Cmd(command) => Ok(self.cmd(command)),
            Instruction::Entrypoint(command) => Ok(self.entrypoint(command)),
            Instruction::Shell(argv) => self.shell(argv, span),
            Instruction::Healthcheck(health) => Ok(self.healthcheck(health)),
            Instruction::Expose(ports) => self.expose(ports, escape, span),
            Instruction::Volume(paths) => self.volume(paths, escape, span),
            Instruction::User(user) => self.user(user, escape, span),
            Instruction::Workdir(path) => self.workdir(path, escape, span),
            Instruction::StopSignal(signal) => self.stop_signal(signal, escape, span),
            Instruction::OnBuild(text) => Ok(Done::edit(ConfigEdit::OnBuild(text.clone()), String::new())),
            Instruction::Maintainer(name) => Ok(self.maintainer(name)),
        }?;
        let text = item.instruction.text.clone();
        self.scopes.budget.spend(text.len() + done.history.len(), span)?;
        self.steps.push(Step { op: done.op, span, text, history: done.history });
        Ok(())
    }

    /// Did the last instruction ask for what is only guessed?
    fn take_doubt(&self) -> bool {
        self.around.take_doubt() | self.scopes.globals.take_doubt()
    }

    /// Expands one word with what is known before the instruction.
    fn expand(&self, text: &str, escape: char, span: Span) -> Result<String, Diagnostic> {
        self.scopes.budget.expand(Word { text, escape, span }, &|name| self.around.get(name))
    }

    fn expand_all(&self, texts: &[String], escape: char, span: Span) -> Result<Vec<String>, Diagnostic> {
        texts.iter().map(|t| self.expand(t, escape, span)).collect()
    }
}
