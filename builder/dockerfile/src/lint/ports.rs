//! ExposeProtoCasing, ExposeInvalidFormat: how ports are written.

use super::table::{EXPOSE_INVALID_FORMAT, EXPOSE_PROTO_CASING};
use super::{Edit, File, Finding, Findings, Token, tokens};
use crate::ast::Node;

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (stage, node) in file.nodes().filter(|(_, n)| n.keyword == "EXPOSE") {
        let places = file.source.words_of(node.span);
        for (at, word) in tokens(&node.args, 0).iter().enumerate() {
            let place = places.get(at + 1).copied().filter(|t| t.text == word.text);
            proto(stage, node, word.text, place, out);
            format(stage, node, word.text, place, out);
        }
    }
}

/// The port, and the protocol behind the slash.
fn parts(word: &str) -> (&str, Option<&str>) {
    match word.rsplit_once('/') {
        Some((port, proto)) => (port, Some(proto)),
        None => (word, None),
    }
}

fn mend(place: Option<Token<'_>>, text: String) -> Option<Edit> {
    place.map(|t| t.replaced(text))
}

fn proto(stage: Option<usize>, node: &Node, word: &str, place: Option<Token<'_>>, out: &mut Findings) {
    let (port, Some(proto)) = parts(word) else { return };
    let lower = proto.to_lowercase();
    // What a variable holds is not known here.
    if proto == lower || proto.contains(['$', '}']) {
        return;
    }
    let detail = format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
    let finding = Finding::new(&EXPOSE_PROTO_CASING, node.span, detail).in_stage(stage).about(word);
    out.push(finding.mended_by(mend(place, format!("{port}/{lower}"))));
}

fn format(stage: Option<usize>, node: &Node, word: &str, place: Option<Token<'_>>, out: &mut Findings) {
    let (port, proto) = parts(word);
    let Some((host, container)) = port.rsplit_once(':').filter(|_| !word.contains('$')) else { return };
    if host.trim_matches(':').is_empty() {
        return;
    }
    let detail = format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'");
    // In lower case, so that the other rule has nothing to mend in the same word.
    let kept = proto.map_or_else(|| container.to_owned(), |p| format!("{container}/{}", p.to_lowercase()));
    let finding = Finding::new(&EXPOSE_INVALID_FORMAT, node.span, detail).in_stage(stage).about(word);
    out.push(finding.mended_by(mend(place, kept)));
}
