//! What a target takes: build arguments, secrets, agents, caches.
//!
//! Takes a file, what was read from it, and the target; gives a value for JSON. As in BuildKit, an argument is the
//! target's when a stage that it needs declares it, when a FROM of these stages uses a global one, or when the default
//! of such a global one does. It is told where its value comes from: an ARG that only repeats a global one is not told
//! itself.

use super::Location;
use super::mount::{self, Mount};
use super::targets::described;
use crate::expand::{Budget, Word};
use crate::lint::{At, State, Stock, declare, take_stock};
use crate::needs::{Bases, named_plainly};
use crate::request::PlanRequest;
use crate::scope::{Globals, Scopes};
use crate::stage;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{ArgDecl, Dockerfile, Instruction, Run, Stage};
use cooper_dockerfile::lint::{self, Source as Text};
use cooper_dockerfile::words;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// `--call=outline`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// The target's name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the comment above it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Build arguments, by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Parameter>,
    /// Secrets, by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Source>,
    /// Agents, by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh: Vec<Source>,
    /// Cache mounts, by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<Cache>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What the comment above it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The value that it has in this build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Its ARG.
    pub location: Location,
}

/// A secret or an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its id.
    pub name: String,
    /// Does the build fail without it?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Its RUN.
    pub location: Location,
}

/// A cache mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its RUN.
    pub location: Location,
}

/// Outlines the target of a request; `text` is what the file was read from, `bases` are those that are known.
///
/// # Errors
/// When the target is not there, or a global ARG cannot be expanded.
pub fn outline(
    text: &str,
    file: &Dockerfile,
    request: &PlanRequest,
    bases: &Bases,
) -> Result<Outline, Vec<Diagnostic>> {
    let budget = Budget::default();
    let globals = Globals::new(file, request, &budget)?;
    let target = stage::target(file, request.target.as_deref()).map_err(|d| vec![d])?;
    let scopes = Scopes { file, request, globals: &globals, budget: &budget };
    let source = Text::new(text);
    let mut stages: Vec<Takes> = file.stages.iter().map(|stage| Takes::of(stage, file.escape)).collect();
    let stock = take_stock(text, scopes, bases, &mut |at, state| {
        if let Some(takes) = stages.get_mut(at.stage) {
            takes.instruction(&source, at, state);
        }
    });
    let stage = file.stages.get(target);
    let name = stage.and_then(|s| s.name.clone());
    let line = stage.map_or(0, |s| s.span.start);
    let mut gathered = Gathered::default();
    gathered.stages(&mut stages, &stock, &Global::all(&source, scopes), target);
    let Gathered { mut args, mut secrets, mut ssh, mut cache, .. } = gathered;
    args.sort_by_key(|a| a.location.first_line());
    secrets.sort_by_key(|s| s.location.first_line());
    ssh.sort_by_key(|s| s.location.first_line());
    cache.sort_by_key(|c| c.location.first_line());
    let description = name.as_deref().and_then(|name| described(&source, line, name));
    Ok(Outline { description, name, args, secrets, ssh, cache })
}

/// What one stage takes.
#[derive(Debug, Default)]
struct Takes {
    /// Its own ARGs, the last of each name.
    own: BTreeMap<String, Parameter>,
    /// Names of global ARGs that it uses: in its FROM, and in ARGs that only repeat them.
    globals: BTreeSet<String>,
    mounts: Vec<(Mount, Location)>,
}

impl Takes {
    /// What the FROM takes.
    fn of(stage: &Stage, escape: char) -> Self {
        let words = std::iter::once(&stage.base).chain(&stage.platform);
        Self { globals: words.flat_map(|word| words::names(word, escape)).collect(), ..Self::default() }
    }

    fn instruction(&mut self, source: &Text<'_>, at: At<'_>, state: &State) {
        match at.instruction {
            Instruction::Arg(args) => {
                // One instruction may declare many names, and the comments above it be very long.
                let described = lint::descriptions(source, at.span.start);
                let mut state = Cow::Borrowed(state);
                for (n, arg) in args.iter().enumerate() {
                    let description = described.get(arg.name.as_str()).map(|text| (*text).to_owned());
                    self.arg(arg, description, at, &state);
                    // The defaults behind it see it.
                    if n + 1 < args.len() {
                        declare(state.to_mut(), arg, at.span, at.scopes);
                    }
                }
            }
            Instruction::Run(run) => self.run(run, at, state),
            _ => {}
        }
    }

    fn arg(&mut self, arg: &ArgDecl, description: Option<String>, at: At<'_>, state: &State) {
        let (request, globals, escape) = (at.scopes.request, at.scopes.globals, at.scopes.file.escape);
        let given = request.build_args.get(&arg.name);
        if arg.default.is_none() && given.is_none() && globals.get(&arg.name).is_some() {
            self.globals.insert(arg.name.clone());
            return;
        }
        // A default may use what a base sets that is not known: that piece of it is shown as a variable.
        let default = || {
            let text = arg.default.as_deref()?;
            let plain = named_plainly(text);
            let open = |name: &str| !state.complete && plain.contains(name) && !state.around.knows(name);
            let lookup = |name: &str| match open(name) {
                true => Some(format!("${{{name}}}")),
                false => state.around.get(name),
            };
            let word = Word { text, escape, span: at.span };
            at.scopes.budget.expand(word, &lookup).ok().or_else(|| Some(text.to_owned()))
        };
        let value = given.cloned().or_else(default).unwrap_or_default();
        let parameter = Parameter { name: arg.name.clone(), description, value, location: at.span.into() };
        self.own.insert(arg.name.clone(), parameter);
    }

    fn run(&mut self, run: &Run, at: At<'_>, state: &State) {
        let lookup = |name: &str| state.around.get(name);
        let mounts = run.mounts.iter().filter_map(|text| mount::read(text, at.scopes.file.escape, &lookup));
        self.mounts.extend(mounts.map(|mount| (mount, at.span.into())));
    }
}

/// A global ARG.
struct Global {
    shown: Parameter,
    /// The names in its default.
    uses: Vec<String>,
}

impl Global {
    /// All of them by name.
    fn all(source: &Text<'_>, scopes: Scopes<'_>) -> HashMap<String, Self> {
        let mut all: HashMap<String, Self> = HashMap::new();
        let mut said = (0, HashMap::new());
        for arg in &scopes.file.global_args {
            let ArgDecl { name, default } = &arg.value;
            if said.0 != arg.span.start {
                said = (arg.span.start, lint::descriptions(source, arg.span.start));
            }
            // What a build argument replaces uses nothing.
            let default = default.as_deref().filter(|_| !scopes.request.build_args.contains_key(name));
            let mut uses = default.map(|text| words::names(text, scopes.file.escape)).unwrap_or_default();
            // A default can only use what stands above it, its own name being that of an earlier ARG.
            uses.retain(|used| all.contains_key(used));
            if uses.contains(name)
                && let Some(earlier) = all.remove(name)
            {
                uses.extend(earlier.uses);
            }
            let shown = Parameter {
                name: name.clone(),
                description: said.1.get(name.as_str()).map(|text| (*text).to_owned()),
                value: scopes.globals.get(name).unwrap_or_default(),
                location: arg.span.into(),
            };
            all.insert(name.clone(), Self { shown, uses });
        }
        all
    }
}

/// What a target and the stages that it needs take, each name once: the target's own comes first, then that of the
/// stage that it begins with.
#[derive(Debug, Default)]
struct Gathered {
    names: BTreeSet<(&'static str, String)>,
    args: Vec<Parameter>,
    secrets: Vec<Source>,
    ssh: Vec<Source>,
    cache: Vec<Cache>,
}

impl Gathered {
    fn stages(&mut self, stages: &mut [Takes], stock: &Stock, globals: &HashMap<String, Global>, target: usize) {
        let (mut seen, mut done) = (BTreeSet::new(), BTreeSet::new());
        // The next one to be looked at is the last.
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if !seen.insert(index) || stock.replaced.contains(&index) {
                continue;
            }
            let takes = stages.get_mut(index).map(std::mem::take).unwrap_or_default();
            takes.own.into_values().for_each(|arg| self.arg(arg));
            takes.mounts.into_iter().for_each(|(mount, location)| self.mount(mount, location));
            let mut used: Vec<String> = takes.globals.into_iter().collect();
            while let Some(name) = used.pop() {
                let Some(global) = globals.get(&name).filter(|_| done.insert(name)) else { continue };
                self.arg(global.shown.clone());
                used.extend(global.uses.iter().cloned());
            }
            open.extend(stock.uses.get(index).into_iter().flatten().rev());
        }
    }

    fn is_new(&mut self, kind: &'static str, name: &str) -> bool {
        self.names.insert((kind, name.to_owned()))
    }

    fn arg(&mut self, arg: Parameter) {
        if self.is_new("arg", &arg.name) {
            self.args.push(arg);
        }
    }

    fn mount(&mut self, mount: Mount, location: Location) {
        match mount {
            Mount::Secret { id, required } if self.is_new("secret", &id) => {
                self.secrets.push(Source { name: id, required, location });
            }
            Mount::Ssh { id, required } if self.is_new("ssh", &id) => {
                self.ssh.push(Source { name: id, required, location });
            }
            Mount::Cache { id } if self.is_new("cache", &id) => self.cache.push(Cache { id, location }),
            _ => {}
        }
    }
}
