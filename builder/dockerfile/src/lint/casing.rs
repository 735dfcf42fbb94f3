//! StageNameCasing, FromAsCasing, ConsistentInstructionCasing: upper and lower case.

use super::table::{CONSISTENT_INSTRUCTION_CASING, FROM_AS_CASING, STAGE_NAME_CASING};
use super::{File, Finding, Findings, tokens};
use crate::ast::Node;

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (_, node) in file.nodes().filter(|(_, n)| n.keyword == "FROM") {
        stage_name(file, node, out);
        as_keyword(file, node, out);
    }
    instructions(file, out);
}

/// The keyword as it is written.
fn written(node: &Node) -> &str {
    node.text.split_whitespace().next().unwrap_or(&node.keyword)
}

fn is_lower(text: &str) -> bool {
    text == text.to_lowercase()
}

fn is_upper(text: &str) -> bool {
    text == text.to_uppercase()
}

fn stage_name(file: File<'_>, node: &Node, out: &mut Findings) {
    let Some(name) = tokens(&node.args, 0).get(2).map(|t| t.text).filter(|name| !is_lower(name)) else { return };
    let detail = format!("Stage name '{name}' should be lowercase");
    let place = file.source.words_of(node.span).pop().filter(|t| t.text == name);
    let mend = place.map(|t| t.replaced(name.to_lowercase()));
    out.push(Finding::new(&STAGE_NAME_CASING, node.span, detail).about(name).mended_by(mend));
}

fn as_keyword(file: File<'_>, node: &Node, out: &mut Findings) {
    let from = written(node);
    let words = tokens(&node.args, 0);
    let ([_, by, _, ..], true) = (words.as_slice(), is_lower(from) || is_upper(from)) else { return };
    let wanted = if is_lower(from) { by.text.to_lowercase() } else { by.text.to_uppercase() };
    if by.text == wanted {
        return;
    }
    let detail = format!("'{}' and '{from}' keywords' casing do not match", by.text);
    let place = file.source.words_of(node.span).into_iter().rev().nth(1).filter(|t| t.text == by.text);
    let mend = place.map(|t| t.replaced(wanted));
    out.push(Finding::new(&FROM_AS_CASING, node.span, detail).about(by.text).mended_by(mend));
}

/// The case of most instructions decides; ARGs before the first FROM are not asked and not judged, as in BuildKit.
fn instructions(file: File<'_>, out: &mut Findings) {
    let nodes = || file.nodes().filter(|(stage, _)| stage.is_some()).map(|(_, node)| node);
    let lower = nodes().filter(|n| is_lower(written(n))).count();
    let upper = nodes().filter(|n| is_upper(written(n))).count();
    for node in nodes() {
        let name = written(node);
        let (wanted, case) =
            if lower > upper { (name.to_lowercase(), "lowercase") } else { (name.to_uppercase(), "uppercase") };
        if name == wanted {
            continue;
        }
        let detail = format!("Command '{name}' should match the case of the command majority ({case})");
        let place = file.source.tokens(node.span.start).first().copied().filter(|t| t.text == name);
        let mend = place.map(|t| t.replaced(wanted));
        out.push(Finding::new(&CONSISTENT_INSTRUCTION_CASING, node.span, detail).about(name).mended_by(mend));
    }
}
