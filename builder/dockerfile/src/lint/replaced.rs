//! MaintainerDeprecated, LegacyKeyValueFormat: forms that others have replaced.

use super::table::{LEGACY_KEY_VALUE_FORMAT, MAINTAINER_DEPRECATED};
use super::{Edit, File, Finding, Findings};
use crate::ast::Node;
use crate::split::is_blank;
use crate::words;

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (stage, node) in file.nodes() {
        match node.keyword.as_str() {
            "MAINTAINER" => {
                let detail = "Maintainer instruction is deprecated in favor of using label";
                out.push(Finding::new(&MAINTAINER_DEPRECATED, node.span, detail).mended_by(label(file, node)));
            }
            keyword @ ("ENV" | "LABEL") if is_legacy(node, file.ast.directives.escape) => {
                let detail =
                    format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format");
                let finding = Finding::new(&LEGACY_KEY_VALUE_FORMAT, node.span, detail).in_stage(stage);
                out.push(finding.mended_by(pair(file, node)));
            }
            _ => {}
        }
    }
}

/// Two words of which the first has no `=`.
fn is_legacy(node: &Node, escape: char) -> bool {
    let words = words::split(&node.args, escape);
    words.len() > 1 && words.first().is_some_and(|w| w.equals.is_none())
}

/// Everything from the keyword to the end of a line that holds the whole instruction.
fn whole(file: File<'_>, node: &Node) -> Option<std::ops::Range<usize>> {
    let words = file.source.words_of(node.span);
    Some(words.first()?.at..words.last()?.at + words.last()?.text.len())
}

/// The same author as a label, when the text means the same in both places.
fn label(file: File<'_>, node: &Node) -> Option<Edit> {
    let range = whole(file, node)?;
    let plain = !node.args.contains(['"', '\'', '\\', '`', '$']);
    plain.then(|| Edit { range, text: format!("LABEL org.opencontainers.image.authors=\"{}\"", node.args) })
}

/// The same pair in the new form, when the value means the same in both.
fn pair(file: File<'_>, node: &Node) -> Option<Edit> {
    let range = whole(file, node)?;
    let keyword = file.source.words_of(node.span).first()?.text;
    let (name, value) = node.args.split_once(is_blank)?;
    let value = value.trim_start_matches(is_blank);
    if value.contains(['"', '\'', '\\', '`']) {
        return None;
    }
    let bare = !value.contains(char::is_whitespace);
    let text = if bare { format!("{keyword} {name}={value}") } else { format!("{keyword} {name}=\"{value}\"") };
    Some(Edit { range, text })
}
