//! Tree to typed instructions.
//!
//! Takes the dumb tree; gives the typed file and findings. Every instruction is judged alone, so
//! that one fault does not hide the next. Expands nothing and removes no quotes.

mod copy;
mod flags;
mod health;
mod json;
mod onbuild;
mod pairs;
mod run;
mod simple;
mod stages;

use crate::ast::{Ast, Node};
use crate::diagnostic::{Diagnostic, Sink, quoted};
use crate::instruction::{Instruction, Located, Span};
use crate::suggest;
use crate::words;

pub(crate) use stages::file;

/// Every keyword.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One instruction being lowered, and where its findings go.
struct Cx<'a> {
    node: &'a Node,
    escape: char,
    sink: &'a mut Sink,
}

impl Cx<'_> {
    /// Tells an error about the whole instruction. Gives nothing, for use as a return value.
    fn fail<T>(&mut self, code: &'static str, message: impl Into<String>) -> Option<T> {
        self.sink.push(Diagnostic::error(code, self.node.span, message));
        None
    }

    /// The same with a hint.
    fn fail_hint<T>(&mut self, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.sink.push(Diagnostic::error(code, self.node.span, message).with_hint(hint));
        None
    }

    /// Tells an error about the line on which a byte of the arguments stands.
    fn fail_at<T>(&mut self, offset: usize, code: &'static str, message: String, hint: &str) -> Option<T> {
        self.sink.push(Diagnostic::error(code, self.node.line_at(offset), message).with_hint(hint));
        None
    }

    fn warn(&mut self, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.sink.push(Diagnostic::warning(code, self.node.span, message).with_hint(hint));
    }

    /// The arguments, when there are any.
    fn required(&mut self, example: &str) -> Option<String> {
        if self.node.args.is_empty() {
            let message = format!("{} needs an argument", self.node.keyword);
            return self.fail_hint("MissingArgument", message, format!("for example {example}"));
        }
        Some(self.node.args.clone())
    }

    /// Is the word well formed, so that it can be expanded later?
    fn word(&mut self, word: &str) -> Option<()> {
        self.word_in(word, self.node.span)
    }

    fn word_in(&mut self, word: &str, span: Span) -> Option<()> {
        let Err(fault) = words::check(word, self.escape) else { return Some(()) };
        let mut finding = Diagnostic::error("MalformedWord", span, format!("{}: {fault}", quoted(word)));
        finding.hint = fault.hint();
        self.sink.push(finding);
        None
    }
}

/// One instruction other than FROM.
fn instruction(cx: &mut Cx<'_>) -> Option<Instruction> {
    match cx.node.keyword.as_str() {
        "ADD" | "COPY" => copy::copy(cx).map(Instruction::Copy),
        "ARG" => pairs::arg(cx).map(Instruction::Arg),
        "CMD" => run::command(cx).map(Instruction::Cmd),
        "ENTRYPOINT" => run::command(cx).map(Instruction::Entrypoint),
        "ENV" => pairs::pairs(cx).map(Instruction::Env),
        "EXPOSE" => simple::expose(cx).map(Instruction::Expose),
        "HEALTHCHECK" => health::health(cx).map(Instruction::Healthcheck),
        "LABEL" => pairs::pairs(cx).map(Instruction::Label),
        "MAINTAINER" => simple::maintainer(cx).map(Instruction::Maintainer),
        "ONBUILD" => onbuild::onbuild(cx).map(Instruction::OnBuild),
        "RUN" => run::run(cx).map(Instruction::Run),
        "SHELL" => run::shell(cx).map(Instruction::Shell),
        "STOPSIGNAL" => simple::word(cx, "STOPSIGNAL SIGQUIT").map(Instruction::StopSignal),
        "USER" => simple::word(cx, "USER 1000:1000").map(Instruction::User),
        "VOLUME" => simple::volume(cx).map(Instruction::Volume),
        "WORKDIR" => simple::word(cx, "WORKDIR /app").map(Instruction::Workdir),
        other => {
            let message = format!("{} is not an instruction", quoted(other));
            let hint = match suggest::nearest(other, KEYWORDS) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("if the line belongs to the one before it, end that one with {}", cx.escape),
            };
            cx.fail_hint("UnknownInstruction", message, hint)
        }
    }
}

fn located(node: &Node, value: Instruction) -> Located<Instruction> {
    Located { value, span: node.span, text: node.text.clone() }
}

/// The instructions of a trigger, ONBUILD taken off.
pub(crate) fn trigger(ast: &Ast, sink: &mut Sink) -> Vec<Located<Instruction>> {
    if ast.nodes.is_empty() {
        sink.push(Diagnostic::error("MissingArgument", Span { start: 1, end: 1 }, "the trigger is empty"));
    }
    let mut found = Vec::new();
    for node in &ast.nodes {
        let mut cx = Cx { node, escape: ast.directives.escape, sink };
        if onbuild::permitted(&mut cx, &node.keyword).is_some() {
            found.extend(instruction(&mut cx).map(|value| located(node, value)));
        }
    }
    found
}
