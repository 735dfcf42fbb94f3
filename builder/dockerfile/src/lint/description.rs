//! InvalidDefinitionDescription: a comment above ARG or FROM that does not begin with the name.

use super::table::INVALID_DEFINITION_DESCRIPTION;
use super::{Edit, File, Finding, Findings, comments, secret_names, tokens};
use crate::ast::Node;

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (_, node) in file.nodes() {
        let names = match node.keyword.as_str() {
            "ARG" => secret_names::keys(file.ast.directives.escape, node),
            "FROM" => stage_name(node).into_iter().collect(),
            _ => continue,
        };
        let Some(comment) = comments::candidate(file.source, node.span.start) else { continue };
        let first = comment.split(' ').next().unwrap_or_default();
        if names.is_empty() || names.iter().any(|n| n == first) {
            continue;
        }
        let example = match names.as_slice() {
            [one] => one.as_str(),
            _ => "<arg_key>",
        };
        let detail = format!("Comment for {} should follow the format: `# {example} <description>`", node.keyword);
        let at = file.source.range(node.span.start).start;
        let mend = Edit { range: at..at, text: "\n".to_owned() };
        out.push(Finding::new(&INVALID_DEFINITION_DESCRIPTION, node.span, detail).mended_by([mend]));
    }
}

fn stage_name(node: &Node) -> Option<String> {
    tokens(&node.args, 0).get(2).map(|t| t.text.to_lowercase())
}
