//! The tree as a Dockerfile again: the same tree, when it is read.
//!
//! Takes a tree; gives text. Continuations are joined, comments inside them and behind the last
//! instruction are gone, keywords are in upper case, flags are quoted where they need it. Must
//! never give text that reads as another tree.

use crate::ast::{Ast, Node};
use crate::lines::continued;
use crate::lint::Options;
use std::fmt::Write;

/// The whole file.
pub fn print(ast: &Ast) -> String {
    let mut out = String::new();
    let d = &ast.directives;
    // Writing to a string cannot fail.
    if let Some(syntax) = &d.syntax {
        let _ = writeln!(out, "# syntax={syntax}");
    }
    if d.escape != '\\' {
        let _ = writeln!(out, "# escape={}", d.escape);
    }
    if d.check != Options::default() {
        let _ = writeln!(out, "# check={}", d.check);
    }
    for (at, node) in ast.nodes.iter().enumerate() {
        // An empty line ends the directives, so that nothing behind it is read as one.
        let plain = node.comments.is_empty() && node.keyword.starts_with(|c: char| c.is_ascii_alphabetic());
        if at == 0 && !plain {
            out.push('\n');
        }
        instruction(&mut out, node, d.escape);
    }
    out
}

fn instruction(out: &mut String, node: &Node, escape: char) {
    for comment in &node.comments {
        let _ = writeln!(out, "# {}", comment.text);
    }
    let mut line = node.keyword.clone();
    for flag in &node.flags {
        let _ = write!(line, " --{}", quoted(&flag.name));
        if let Some(value) = &flag.value {
            let _ = write!(line, "={}", quoted(value));
        }
    }
    if node.args.starts_with("--") {
        line.push_str(" --");
    }
    if !node.args.is_empty() {
        let _ = write!(line, " {}", node.args);
    }
    // A blank that ends a line without ending a continuation keeps an escape at its end what it is.
    if continued(&line, escape).is_some() {
        line.push('\u{c}');
    }
    out.push_str(&line);
    out.push('\n');
    for body in &node.heredocs {
        let _ = writeln!(out, "{}{}", body.raw, body.mark.name);
    }
}

/// A part of a flag, with quotes where it would not be read as it is.
fn quoted(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | '`');
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
