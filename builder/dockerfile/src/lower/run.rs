//! RUN, CMD, ENTRYPOINT and SHELL: shell form, exec form, heredocs.

use super::Cx;
use super::flags::{self, Kind, Known};
use super::json::{self, Form};
use crate::instruction::{Command, Run};

const RUN_FLAGS: [Known; 4] =
    [("mount", Kind::Many), ("network", Kind::Text), ("security", Kind::Text), ("device", Kind::Many)];

/// RUN.
pub(super) fn run(cx: &mut Cx<'_>) -> Option<Run> {
    let flags = flags::read(cx, &RUN_FLAGS);
    let args = cx.required("RUN make install")?;
    let flags = flags?;
    let mut run = Run {
        command: Command::Shell(String::new()),
        script: None,
        mounts: flags.many("mount"),
        network: flags.text("network"),
        security: flags.text("security"),
        devices: flags.many("device"),
    };
    match cx.node.heredocs.as_slice() {
        [] => run.command = text(cx, args)?,
        // A heredoc alone is what is run, so the shell need not know heredocs.
        [sole] if args.get(sole.mark.range.clone()) == Some(args) => {
            let heredoc = sole.heredoc();
            run.command = Command::Shell(heredoc.body.clone());
            run.script = Some(heredoc).filter(|h| h.body.starts_with("#!"));
        }
        _ => run.command = Command::Shell(cx.node.with_bodies(args)),
    }
    if run.command == Command::Exec(Vec::new()) {
        return cx.fail_hint("MissingArgument", "RUN has an empty array", "for example RUN [\"make\", \"install\"]");
    }
    Some(run)
}

/// CMD and ENTRYPOINT.
pub(super) fn command(cx: &mut Cx<'_>) -> Option<Command> {
    flags::read(cx, &[])?;
    let keyword = cx.node.keyword.clone();
    if cx.node.args.is_empty() {
        let message = format!("{keyword} needs an argument");
        return cx.fail_hint("MissingArgument", message, format!("write {keyword} [] to have none"));
    }
    let node = cx.node;
    text(cx, &node.args)
}

/// One text: exec form when it is a JSON array of strings, else shell form.
pub(super) fn text(cx: &mut Cx<'_>, args: &str) -> Option<Command> {
    let form = json::read(cx, args)?;
    if form == Form::Shell && args.starts_with("['") {
        let message = "single quotes are not JSON, so this is the shell form";
        cx.warn_on(args, "ExecFormQuotes", message, "use double quotes for the exec form");
    }
    Some(match form {
        Form::Exec(argv) => Command::Exec(argv),
        Form::Shell => Command::Shell(args.to_owned()),
    })
}

/// SHELL.
pub(super) fn shell(cx: &mut Cx<'_>) -> Option<Vec<String>> {
    const EXAMPLE: &str = "SHELL [\"/bin/bash\", \"-c\"]";
    flags::read(cx, &[])?;
    let args = cx.required(EXAMPLE)?;
    match json::read(cx, args)? {
        Form::Exec(argv) if !argv.is_empty() => Some(argv),
        Form::Exec(_) => cx.fail_hint("MissingArgument", "SHELL has an empty array", format!("for example {EXAMPLE}")),
        Form::Shell => {
            let hint = format!("for example {EXAMPLE}");
            cx.fail_on(args, "JsonRequired", "SHELL takes a JSON array only".to_owned(), &hint)
        }
    }
}
