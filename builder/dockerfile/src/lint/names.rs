//! DuplicateStageName, ReservedStageName.

use super::table::{DUPLICATE_STAGE_NAME, RESERVED_STAGE_NAME};
use super::{File, Finding, Findings, go_quoted, tokens};
use std::collections::HashSet;

/// Names that mean something of their own.
const RESERVED: [&str; 2] = ["context", "scratch"];

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    let mut seen = HashSet::new();
    for (_, node) in file.nodes().filter(|(_, n)| n.keyword == "FROM") {
        let Some(written) = tokens(&node.args, 0).get(2).map(|t| t.text) else { continue };
        let name = written.to_lowercase();
        if RESERVED.contains(&name.as_str()) {
            let detail = format!("Stage name should not use the same name as reserved stage {}", go_quoted(&name));
            out.push(Finding::new(&RESERVED_STAGE_NAME, node.span, detail).about(written));
        }
        let quoted = go_quoted(&name);
        if !seen.insert(name) {
            let detail = format!("Duplicate stage name {quoted}, stage names should be unique");
            out.push(Finding::new(&DUPLICATE_STAGE_NAME, node.span, detail).about(written));
        }
    }
}
