//! What a target takes: build arguments, secrets, agents, caches.
//!
//! Takes a file, what was read from it, and the target; gives a value for JSON. An argument is one of the target when a
//! stage that it needs declares it, or when one of their FROMs or defaults uses a global one.

use super::Location;
use super::mount::{self, Mount};
use super::targets::described;
use crate::expand::Budget;
use crate::lint::{needed_stages, nodes_by_stage};
use crate::request::PlanRequest;
use crate::scope::Globals;
use crate::stage;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{ArgDecl, Dockerfile, Instruction, Span};
use cooper_dockerfile::lint::{self, Source as Text};
use cooper_dockerfile::words;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

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

/// Outlines the target of a request; `text` is what the file was read from.
///
/// # Errors
/// When the target is not there, or a global ARG cannot be expanded.
pub fn outline(text: &str, file: &Dockerfile, request: &PlanRequest) -> Result<Outline, Vec<Diagnostic>> {
    let budget = Budget::default();
    let globals = Globals::new(file, request, &budget)?;
    let target = stage::target(file, request.target.as_deref()).map_err(|d| vec![d])?;
    let source = Text::new(text);
    let needed = needed_stages(text, file, request, target);
    let stage = file.stages.get(target);
    let name = stage.and_then(|s| s.name.clone());
    let line = stage.map_or(0, |s| s.span.start);
    let mut found = Outline {
        description: name.as_deref().and_then(|name| described(&source, line, name)),
        name,
        args: Vec::new(),
        secrets: Vec::new(),
        ssh: Vec::new(),
        cache: Vec::new(),
    };
    args(&mut found, &source, file, request, &globals, &needed);
    mounts(&mut found, text, &needed);
    Ok(found)
}

fn args(
    found: &mut Outline,
    source: &Text<'_>,
    file: &Dockerfile,
    request: &PlanRequest,
    globals: &Globals,
    needed: &BTreeSet<usize>,
) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    // One instruction may declare many names, and the comments above it be very long.
    let mut said = (0, HashMap::new());
    let mut add = |arg: &ArgDecl, span: Span, value: String| {
        if seen.insert(arg.name.clone()) {
            if said.0 != span.start {
                said = (span.start, lint::descriptions(source, span.start));
            }
            let description = said.1.get(arg.name.as_str()).map(|text| (*text).to_owned());
            found.args.push(Parameter { name: arg.name.clone(), description, value, location: span.into() });
        }
    };
    let used = used_globals(file, needed);
    for arg in file.global_args.iter().filter(|a| used.contains(&a.value.name)) {
        add(&arg.value, arg.span, globals.get(&arg.value.name).unwrap_or_default());
    }
    for located in needed.iter().filter_map(|n| file.stages.get(*n)).flat_map(|s| &s.instructions) {
        let Instruction::Arg(args) = &located.value else { continue };
        for arg in args {
            let given = || request.build_args.get(&arg.name).cloned();
            // A default may use what a base sets, which is not known: then it is shown as written.
            let default = || {
                let text = arg.default.as_deref()?;
                let plain = words::names(text, file.escape).is_empty();
                let expand = || words::expand(text, file.escape, &|name| globals.get(name)).ok();
                if plain { expand() } else { Some(text.to_owned()) }
            };
            let value = given().or_else(default).or_else(|| globals.get(&arg.name)).unwrap_or_default();
            add(arg, located.span, value);
        }
    }
    found.args.sort_by_key(|a| a.location.ranges.first().map(|r| r.start.line));
}

/// Global ARGs that decide something of these stages: in their FROMs, in other globals, declared again in them.
fn used_globals(file: &Dockerfile, needed: &BTreeSet<usize>) -> BTreeSet<String> {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for stage in needed.iter().filter_map(|n| file.stages.get(*n)) {
        used.extend(words::names(&stage.base, file.escape));
        used.extend(stage.platform.iter().flat_map(|p| words::names(p, file.escape)));
        for located in &stage.instructions {
            if let Instruction::Arg(args) = &located.value {
                used.extend(args.iter().filter(|a| a.default.is_none()).map(|a| a.name.clone()));
            }
        }
    }
    for arg in file
        .global_args
        .iter()
        .rev()
        .filter_map(|a| used.contains(&a.value.name).then_some(&a.value))
        .collect::<Vec<_>>()
    {
        used.extend(arg.default.iter().flat_map(|d| words::names(d, file.escape)));
    }
    used
}

fn mounts(found: &mut Outline, text: &str, needed: &BTreeSet<usize>) {
    let ast = cooper_dockerfile::tree(text);
    let stages = nodes_by_stage(&ast);
    let mut seen = BTreeSet::new();
    for node in needed.iter().filter_map(|n| stages.get(*n)).flatten().filter(|n| n.keyword == "RUN") {
        let values = node.flags.iter().filter(|f| f.name == "mount").filter_map(|f| f.value.as_deref());
        for mount in values.filter_map(mount::read) {
            let location = Location::from(node.span);
            match mount {
                Mount::Secret { id, required } if seen.insert(("secret", id.clone())) => {
                    found.secrets.push(Source { name: id, required, location });
                }
                Mount::Ssh { id, required } if seen.insert(("ssh", id.clone())) => {
                    found.ssh.push(Source { name: id, required, location });
                }
                Mount::Cache { id } if seen.insert(("cache", id.clone())) => found.cache.push(Cache { id, location }),
                _ => {}
            }
        }
    }
}
