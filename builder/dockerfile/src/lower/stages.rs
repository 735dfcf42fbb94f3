//! FROM and the order of things: what may stand before it, what belongs to which stage.

use super::flags::{self, Kind};
use super::simple::list;
use super::{Cx, instruction, located, pairs};
use crate::ast::{Ast, Node};
use crate::diagnostic::{Diagnostic, Sink, quoted};
use crate::draft::{self, Draft, Effect, Unread};
use crate::instruction::{ArgDecl, Dockerfile, Located, Span, Stage};
use crate::limits;

/// Codes of errors behind which there may be stages that are not seen.
const CUTTING: [&str; 2] = ["UnterminatedHeredoc", "TooManyInstructions"];

/// The whole file, faulty instructions left out. Nothing is given when there is no stage; all faults are in the
/// findings.
pub(crate) fn file(ast: &Ast, sink: &mut Sink) -> Option<Draft> {
    let file = Dockerfile { escape: ast.directives.escape, global_args: Vec::new(), stages: Vec::new() };
    let mut draft = Draft::whole(file);
    draft.cut = sink.has(&CUTTING);
    let mut early = false;
    for node in &ast.nodes {
        let file = &mut draft.file;
        let mut cx = Cx { node, escape: file.escape, sink: &mut *sink };
        match (node.keyword.as_str(), file.stages.len()) {
            ("FROM", froms) => {
                if froms == limits::STAGES {
                    let message = format!("there are more than {} stages", limits::STAGES);
                    cx.fail_hint::<()>("TooManyStages", message, "split the file into several");
                    return None;
                }
                match from(&mut cx) {
                    Some(stage) => file.stages.push(stage),
                    None => {
                        let stage = unread(node);
                        draft.cut |= stage.name.is_none();
                        draft.unread.push(Unread { stage: Some(froms), behind: 0, effect: Effect::Base });
                        file.stages.push(stage);
                    }
                }
            }
            ("ARG", 0) => match pairs::arg(&mut cx) {
                Some(declared) => file.global_args.extend(global(node, declared)),
                None => draft.leave_out(node),
            },
            (_, at) => {
                if at == 0 && !early {
                    early = true;
                    let message = format!("{} stands before the first FROM", quoted(&node.keyword));
                    let hint = "begin with FROM; only ARG may stand before it";
                    cx.fail_hint::<()>("InstructionBeforeFrom", message, hint);
                }
                match (instruction(&mut cx), file.stages.last_mut()) {
                    (Some(value), Some(stage)) => stage.instructions.push(located(node, value)),
                    _ => draft.leave_out(node),
                }
            }
        }
    }
    no_stage(ast, draft.file.stages.len(), sink)?;
    Some(draft)
}

impl Draft {
    fn leave_out(&mut self, node: &Node) {
        let known = super::KEYWORDS.contains(&node.keyword.as_str());
        let Some(effect) = draft::effect(node, known, self.file.escape) else { return };
        let behind = self.file.stages.last().map_or(self.file.global_args.len(), |s| s.instructions.len());
        self.unread.push(Unread { stage: self.file.stages.len().checked_sub(1), behind, effect });
    }
}

/// The stage of a FROM that cannot be read, by its name if it has one.
fn unread(node: &Node) -> Stage {
    let words: Vec<&str> = list(&node.args).collect();
    let by = words.iter().rposition(|word| word.eq_ignore_ascii_case("as"));
    let name = by.and_then(|by| valid_name(words.get(by + 1)?));
    let (base, span, text) = ("scratch".to_owned(), node.span, node.text.clone());
    Stage { name, base, platform: None, span, text, instructions: Vec::new() }
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
fn valid_name(written: &str) -> Option<String> {
    let name = written.to_lowercase();
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    valid.then_some(name)
}

fn stage_name(cx: &mut Cx<'_>, written: &str) -> Option<String> {
    if let Some(name) = valid_name(written) {
        return Some(name);
    }
    let message = format!("{} cannot be the name of a stage", quoted(written));
    let hint = "a name begins with a letter and goes on with letters, digits, - _ and .";
    cx.fail_on(written, "InvalidStageName", message, hint)
}
