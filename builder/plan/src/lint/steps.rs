//! EmptySource, JSONArgsRecommended, WorkdirRelativePath.

use super::walk::{At, State};
use cooper_dockerfile::instruction::{Command, Copy, Instruction};
use cooper_dockerfile::lint::own::EMPTY_SOURCE;
use cooper_dockerfile::lint::table::{JSON_ARGS_RECOMMENDED, WORKDIR_RELATIVE_PATH};
use cooper_dockerfile::lint::{Finding, Findings, go_quoted};
use cooper_dockerfile::words;

pub(super) fn find(at: At<'_>, state: &State, out: &mut Findings) {
    match at.instruction {
        Instruction::Cmd(Command::Shell(text)) => json(at, state, "CMD", text, out),
        Instruction::Entrypoint(Command::Shell(text)) => json(at, state, "ENTRYPOINT", text, out),
        Instruction::Workdir(path) => workdir(at, state, path, out),
        Instruction::Copy(copy) => sources(at, state, copy, out),
        _ => {}
    }
}

/// A SHELL in the file or the base says that a shell is wanted.
fn json(at: At<'_>, state: &State, name: &str, text: &str, out: &mut Findings) {
    if state.around.shell.is_none() {
        let detail =
            format!("JSON arguments recommended for {name} to prevent unintended behavior related to OS signals");
        out.push(Finding::new(&JSON_ARGS_RECOMMENDED, at.span, detail).in_stage(Some(at.stage)).about(text));
    }
}

/// Only the first WORKDIR is judged: when it is absolute, so are all that follow.
fn workdir(at: At<'_>, state: &State, path: &str, out: &mut Findings) {
    if state.workdir_set {
        return;
    }
    let Some(expanded) = known(at, state, path).filter(|path| !path.starts_with('/')) else { return };
    let quoted = go_quoted(&expanded);
    let detail = format!("Relative workdir {quoted} can have unexpected results if the base image changes");
    out.push(Finding::new(&WORKDIR_RELATIVE_PATH, at.span, detail).in_stage(Some(at.stage)).about(path));
}

/// As in BuildKit, an empty source is the root of where it is looked for. Of a variable that is not there at all,
/// UndefinedVar speaks.
fn sources(at: At<'_>, state: &State, copy: &Copy, out: &mut Findings) {
    let defined = |word: &str| words::names(word, at.scopes.file.escape).iter().all(|name| state.around.knows(name));
    let is_empty = |source: &&String| known(at, state, source).is_some_and(|s| s.is_empty()) && defined(source);
    for source in copy.sources.iter().filter(is_empty) {
        let name = if copy.add { "ADD" } else { "COPY" };
        let detail = format!("The source {} of {name} is empty, so that everything is copied", go_quoted(source));
        out.push(Finding::new(&EMPTY_SOURCE, at.span, detail).in_stage(Some(at.stage)).about(source));
    }
}

/// What a word comes to, unless a variable may have a value that a base which is not known gives it.
fn known(at: At<'_>, state: &State, word: &str) -> Option<String> {
    let missing = std::cell::Cell::new(false);
    let lookup = |name: &str| {
        let value = state.around.get(name);
        missing.set(missing.get() || value.is_none());
        value
    };
    let expanded = words::expand(word, at.scopes.file.escape, &lookup).ok()?;
    (state.complete || !missing.get()).then_some(expanded)
}
