//! FROM and the order of things: what may stand before it, what belongs to which stage.

use super::flags::{self, Kind};
use super::simple::list;
use super::{Cx, instruction, located, pairs};
use crate::ast::{Ast, Node};
use crate::diagnostic::{Diagnostic, Sink, quoted};
use crate::instruction::{ArgDecl, Dockerfile, Located, Span, Stage};
use crate::limits;

/// The whole file. Nothing is given when there is no stage; other faults are in the findings.
pub(crate) fn file(ast: &Ast, sink: &mut Sink) -> Option<Dockerfile> {
    let mut file = Dockerfile { escape: ast.directives.escape, global_args: Vec::new(), stages: Vec::new() };
    let (mut froms, mut early) = (0usize, false);
    for node in &ast.nodes {
        let mut cx = Cx { node, escape: file.escape, sink: &mut *sink };
        match (node.keyword.as_str(), froms) {
            ("FROM", _) => {
                froms += 1;
                if froms > limits::STAGES {
                    let message = format!("there are more than {} stages", limits::STAGES);
                    cx.fail_hint::<()>("TooManyStages", message, "split the file into several");
                    return None;
                }
                if let Some(stage) = from(&mut cx) {
                    file.stages.push(stage);
                }
            }
            ("ARG", 0) => file.global_args.extend(global(node, pairs::arg(&mut cx).unwrap_or_default())),
            (_, at) => {
                if at == 0 && !early {
                    early = true;
                    let message = format!("{} stands before the first FROM", quoted(&node.keyword));
                    let hint = "begin with FROM; only ARG may stand before it";
                    cx.fail_hint::<()>("InstructionBeforeFrom", message, hint);
                }
                let lowered = instruction(&mut cx);
                // After a malformed FROM there is an error, so the stage these go to does not matter.
                if let (Some(value), Some(stage)) = (lowered, file.stages.last_mut()) {
                    stage.instructions.push(located(node, value));
                }
            }
        }
    }
    no_stage(ast, froms, sink)?;
    (!file.stages.is_empty()).then_some(file)
}

/// Declarations before the first FROM. Each of several has a text of its own: the whole line for each of its names would
/// be very much for many names.
fn global(node: &Node, declared: Vec<ArgDecl>) -> impl Iterator<Item = Located<ArgDecl>> {
    let sole = declared.len() == 1;
    declared.into_iter().map(move |value| {
        let text = match &value.default {
            _ if sole => node.text.clone(),
            Some(default) => format!("ARG {}={default}", value.name),
            None => format!("ARG {}", value.name),
        };
        Located { value, span: node.span, text }
    })
}

fn no_stage(ast: &Ast, froms: usize, sink: &mut Sink) -> Option<()> {
    if froms > 0 {
        return Some(());
    }
    // A file that was not read at all has been told of already.
    if ast.nodes.is_empty() {
        if !sink.has_errors() {
            let span = Span { start: 1, end: 1 };
            sink.push(
                Diagnostic::error("EmptyFile", span, "the file has no instructions").with_hint("begin with FROM"),
            );
        }
        return None;
    }
    let span = ast.nodes.first().map(|n| n.span).unwrap_or_default();
    sink.push(Diagnostic::error("NoStage", span, "the file has no FROM").with_hint("begin with FROM"));
    None
}

/// FROM.
fn from(cx: &mut Cx<'_>) -> Option<Stage> {
    let flags = flags::read(cx, &[("platform", Kind::Text)]);
    let args = cx.required("FROM alpine:3 AS build")?;
    let words: Vec<&str> = list(args).collect();
    let (base, name) = match words.as_slice() {
        [base] => (*base, None),
        [base, by, name] if by.eq_ignore_ascii_case("as") => (*base, Some(stage_name(cx, name)?)),
        _ => {
            let message = format!("FROM takes an image, or an image, AS and a name, not {}", quoted(args));
            return cx.fail_on(args, "InvalidFrom", message, "for example FROM alpine:3 AS build");
        }
    };
    cx.word(base)?;
    let flags = flags?;
    let platform = flags.text("platform");
    if let Some(platform) = &platform {
        cx.word_at(platform, flags.range("platform"))?;
    }
    let (span, text) = (cx.node.span, cx.node.text.clone());
    Some(Stage { name, base: base.to_owned(), platform, span, text, instructions: Vec::new() })
}

/// `[a-z][a-z0-9-_.]*` in lower case.
fn stage_name(cx: &mut Cx<'_>, written: &str) -> Option<String> {
    let name = written.to_lowercase();
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    if valid {
        return Some(name);
    }
    let message = format!("{} cannot be the name of a stage", quoted(written));
    let hint = "a name begins with a letter and goes on with letters, digits, - _ and .";
    cx.fail_on(written, "InvalidStageName", message, hint)
}
