//! JSONArgsRecommended, WorkdirRelativePath.

use super::walk::{At, State};
use cooper_dockerfile::instruction::{Command, Instruction};
use cooper_dockerfile::lint::table::{JSON_ARGS_RECOMMENDED, WORKDIR_RELATIVE_PATH};
use cooper_dockerfile::lint::{Finding, Findings, go_quoted};
use cooper_dockerfile::words;

pub(super) fn find(at: At<'_>, state: &State, out: &mut Findings) {
    match at.instruction {
        Instruction::Cmd(Command::Shell(text)) => json(at, state, "CMD", text, out),
        Instruction::Entrypoint(Command::Shell(text)) => json(at, state, "ENTRYPOINT", text, out),
        Instruction::Workdir(path) => workdir(at, state, path, out),
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
    let missing = std::cell::Cell::new(false);
    let lookup = |name: &str| {
        let value = state.around.get(name);
        missing.set(missing.get() || value.is_none());
        value
    };
    let Ok(expanded) = words::expand(path, at.scopes.file.escape, &lookup) else { return };
    // A variable of a base that is not known may hold an absolute path.
    if expanded.starts_with('/') || (missing.get() && !state.complete) {
        return;
    }
    let quoted = go_quoted(&expanded);
    let detail = format!("Relative workdir {quoted} can have unexpected results if the base image changes");
    out.push(Finding::new(&WORKDIR_RELATIVE_PATH, at.span, detail).in_stage(Some(at.stage)).about(path));
}
