//! UndefinedVar: words that use a variable that is not there.

use super::walk::{At, State};
use crate::suggest;
use cooper_dockerfile::instruction::{Copy, Dockerfile, Instruction};
use cooper_dockerfile::lint::table::UNDEFINED_VAR;
use cooper_dockerfile::lint::{Finding, Findings};
use cooper_dockerfile::{limits, words};
use std::cell::Cell;
use std::collections::BTreeSet;

/// Names that are compared with a mistyped one.
const COMPARED: usize = 256;

/// Every name that the file declares anywhere.
pub(super) struct Declared {
    names: BTreeSet<String>,
    /// How often a near name may still be looked for: a hostile file has very many words.
    searches: Cell<usize>,
}

impl Declared {
    pub(super) fn by(file: &Dockerfile) -> Self {
        let mut names: BTreeSet<String> = file.global_args.iter().map(|a| a.value.name.clone()).collect();
        for located in file.stages.iter().flat_map(|s| &s.instructions) {
            match &located.value {
                Instruction::Arg(args) => names.extend(args.iter().map(|a| a.name.clone())),
                Instruction::Env(pairs) => names.extend(pairs.iter().map(|(name, _)| name.clone())),
                _ => {}
            }
        }
        Self { names, searches: Cell::new(limits::DIAGNOSTICS) }
    }

    fn near<'s>(&self, name: &str, state: &'s State) -> Option<&'s str> {
        self.searches.set(self.searches.get().checked_sub(1)?);
        suggest::nearest(name, state.around.names().take(COMPARED))
    }
}

pub(super) fn find(at: At<'_>, state: &State, declared: &Declared, out: &mut Findings) {
    let escape = at.scopes.file.escape;
    for word in expanded(at) {
        for name in words::names(word, escape) {
            if state.around.knows(&name) || out.is_full(&UNDEFINED_VAR) {
                continue;
            }
            let near = declared.near(&name, state);
            // A base that is not known may have set it, unless the file itself shows that it is meant to.
            if !state.complete && near.is_none() && !declared.names.contains(&name) {
                continue;
            }
            let near = near.map(|n| format!(" (did you mean ${n}?)")).unwrap_or_default();
            let detail = format!("Usage of undefined variable '${name}'{near}");
            let finding = Finding::new(&UNDEFINED_VAR, at.span, detail).in_stage(Some(at.stage));
            out.push(finding.about(format!("${name}")));
        }
    }
}

/// The words in which a variable is looked for. EXPOSE and heredocs with quoted words are none, as in BuildKit.
fn expanded<'a>(at: At<'a>) -> Vec<&'a str> {
    match at.instruction {
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect()
        }
        Instruction::Copy(copy) => copied(copy),
        Instruction::Volume(paths) => paths.iter().map(String::as_str).collect(),
        Instruction::User(word) | Instruction::Workdir(word) | Instruction::StopSignal(word) => vec![word],
        Instruction::Arg(args) => {
            // A default that a build argument replaces is not looked at.
            let given = |name: &str| at.scopes.request.build_args.contains_key(name);
            args.iter().filter(|a| !given(&a.name)).filter_map(|a| a.default.as_deref()).collect()
        }
        _ => Vec::new(),
    }
}

fn copied(copy: &Copy) -> Vec<&str> {
    let flags = [&copy.chown, &copy.chmod, &copy.checksum].into_iter().flatten();
    let bodies = copy.heredocs.iter().filter(|h| h.expand).map(|h| h.body.as_str());
    flags.chain(&copy.sources).chain([&copy.dest]).map(String::as_str).chain(bodies).collect()
}
