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
use std::ops::Range;

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

impl<'a> Cx<'a> {
    /// Tells an error about the whole instruction. Gives nothing, for use as a return value.
    fn fail_hint<T>(&mut self, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.push(Diagnostic::error(code, self.node.span, message).with_hint(hint), self.node.whole())
    }

    /// Tells an error about a piece of the arguments.
    fn fail_on<T>(&mut self, piece: &str, code: &'static str, message: String, hint: &str) -> Option<T> {
        let range = self.node.range_of(piece);
        self.fail_at(range, Diagnostic::error(code, self.node.span, message).with_hint(hint))
    }

    /// Tells a finding about a piece of the line.
    fn fail_at<T>(&mut self, range: Range<usize>, finding: Diagnostic) -> Option<T> {
        self.push(finding, range)
    }

    fn push<T>(&mut self, finding: Diagnostic, range: Range<usize>) -> Option<T> {
        self.sink.push(finding.at(self.node.place(range)));
        None
    }

    /// Tells a warning about the whole instruction.
    fn warn(&mut self, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        let finding = Diagnostic::warning(code, self.node.span, message).with_hint(hint);
        self.push::<()>(finding, self.node.whole());
    }

    /// Tells a warning about a piece of the arguments.
    fn warn_on(&mut self, piece: &str, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        let finding = Diagnostic::warning(code, self.node.span, message).with_hint(hint);
        self.push::<()>(finding, self.node.range_of(piece));
    }

    /// The arguments, when there are any.
    fn required(&mut self, example: &str) -> Option<&'a str> {
        let node = self.node;
        if node.args.is_empty() {
            let message = format!("{} needs an argument", node.keyword);
            return self.fail_hint("MissingArgument", message, format!("for example {example}"));
        }
        Some(&node.args)
    }

    /// Is the word, which is a piece of the arguments, well formed, so that it can be expanded later?
    fn word(&mut self, word: &str) -> Option<()> {
        self.word_at(word, self.node.range_of(word))
    }

    fn word_at(&mut self, word: &str, range: Range<usize>) -> Option<()> {
        let Err(fault) = words::check(word, self.escape) else { return Some(()) };
        let message = format!("{}: {fault}", quoted(word));
        self.push(Diagnostic::error("MalformedWord", self.node.span, message).with_hint(fault.hint()), range)
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
            let whole = cx.node.whole();
            let keyword = whole.start..whole.start + other.len();
            let written = cx.node.joined.get(keyword.clone()).unwrap_or(other);
            let message = format!("{} is not an instruction", quoted(written));
            let hint = match suggest::nearest(other, KEYWORDS) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("if the line belongs to the one before it, end that one with {}", cx.escape),
            };
            cx.fail_at(keyword, Diagnostic::error("UnknownInstruction", cx.node.span, message).with_hint(hint))
        }
    }
}

fn located(node: &Node, value: Instruction) -> Located<Instruction> {
    Located { value, span: node.span, text: node.text.clone() }
}

/// The instructions of a trigger, ONBUILD taken off.
pub(crate) fn trigger(ast: &Ast, sink: &mut Sink) -> Vec<Located<Instruction>> {
    if ast.nodes.is_empty() {
        sink.push(
            Diagnostic::error("MissingArgument", Span { start: 1, end: 1 }, "the trigger is empty")
                .with_hint("write an instruction behind ONBUILD"),
        );
    }
    let mut found = Vec::new();
    for node in &ast.nodes {
        let mut cx = Cx { node, escape: ast.directives.escape, sink };
        if onbuild::permitted(&mut cx, &node.keyword, &node.joined).is_some() {
            found.extend(instruction(&mut cx).map(|value| located(node, value)));
        }
    }
    found
}
