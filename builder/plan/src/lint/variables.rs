//! UndefinedVar: words that use a variable that is not there.

use super::walk::{At, State, declare};
use cooper_dockerfile::instruction::{ArgDecl, Copy, Dockerfile, Instruction};
use cooper_dockerfile::lint::table::UNDEFINED_VAR;
use cooper_dockerfile::lint::{Finding, Findings};
use cooper_dockerfile::{suggest, words};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Every name that the file declares anywhere.
pub(super) struct Declared(BTreeSet<String>);

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
        Self(names)
    }
}

pub(super) fn find(at: At<'_>, state: &State, declared: &Declared, out: &mut Findings) {
    if let Instruction::Arg(args) = at.instruction {
        return find_in_defaults(at, args, state, declared, out);
    }
    let escape = at.scopes.file.escape;
    let of_words = expanded(at).into_iter().map(|word| words::names(word, escape));
    for names in of_words.chain(bodies(at).map(words::names_of_body)) {
        names.iter().for_each(|name| judge(name, at, state, declared, out));
    }
}

/// Each default sees the arguments before it. One that a build argument replaces is not looked at.
fn find_in_defaults(at: At<'_>, args: &[ArgDecl], state: &State, declared: &Declared, out: &mut Findings) {
    let mut state = Cow::Borrowed(state);
    for (n, arg) in args.iter().enumerate() {
        let used = arg.default.as_ref().filter(|_| !at.scopes.request.build_args.contains_key(&arg.name));
        let names = used.map(|text| words::names(text, at.scopes.file.escape)).unwrap_or_default();
        names.iter().for_each(|name| judge(name, at, &state, declared, out));
        if n + 1 < args.len() {
            declare(state.to_mut(), arg, at.span, at.scopes);
        }
    }
}

fn judge(name: &str, at: At<'_>, state: &State, declared: &Declared, out: &mut Findings) {
    if state.around.knows(name) || out.is_full(&UNDEFINED_VAR) {
        return;
    }
    let near = at.scopes.budget.near(name, state.around.names());
    // A base that is not known may have set it, as golang sets GOPATH, unless the file itself has that name or it can
    // hardly be anything but a slip.
    let meant = declared.0.contains(name) || near.is_some_and(|near| suggest::one_slip(name, near));
    if !state.complete && !meant {
        return;
    }
    let near = near.map(|n| format!(" (did you mean ${n}?)")).unwrap_or_default();
    let detail = format!("Usage of undefined variable '${name}'{near}");
    let finding = Finding::new(&UNDEFINED_VAR, at.span, detail).in_stage(Some(at.stage));
    out.push(finding.about(format!("${name}")));
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
        _ => Vec::new(),
    }
}

fn copied(copy: &Copy) -> Vec<&str> {
    let flags = [&copy.chown, &copy.chmod, &copy.checksum].into_iter().flatten();
    flags.chain(&copy.sources).chain([&copy.dest]).map(String::as_str).collect()
}

/// Bodies of heredocs that are expanded.
fn bodies<'a>(at: At<'a>) -> impl Iterator<Item = &'a str> {
    let heredocs = match at.instruction {
        Instruction::Copy(copy) => copy.heredocs.as_slice(),
        _ => &[],
    };
    heredocs.iter().filter(|h| h.expand).map(|h| h.body.as_str())
}
