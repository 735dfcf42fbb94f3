//! MultipleInstructionsDisallowed: CMD, ENTRYPOINT and HEALTHCHECK, of which only the last one in a stage counts.

use super::table::MULTIPLE_INSTRUCTIONS_DISALLOWED;
use super::{Edit, File, Finding, Findings};
use crate::ast::Node;
use std::collections::HashMap;

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    let mut last: HashMap<&str, &Node> = HashMap::new();
    for (stage, node) in file.nodes() {
        match node.keyword.as_str() {
            "FROM" => last.clear(),
            keyword @ ("CMD" | "ENTRYPOINT" | "HEALTHCHECK") => {
                let Some(before) = last.insert(keyword, node) else { continue };
                let detail = format!(
                    "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
                );
                let mend = Edit { range: file.source.lines(before.span), text: String::new() };
                let finding = Finding::new(&MULTIPLE_INSTRUCTIONS_DISALLOWED, before.span, detail);
                out.push(finding.in_stage(stage).mended_by([mend]));
            }
            _ => {}
        }
    }
}
