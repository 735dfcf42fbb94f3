//! ONBUILD: an instruction kept as text for the images that build on this one.

use super::Cx;
use super::flags;
use crate::diagnostic::{Diagnostic, Severity, quoted};
use crate::split;
use std::ops::Range;

/// ONBUILD. The trigger is read as it will be when it fires, so that its faults are told now.
pub(super) fn onbuild(cx: &mut Cx<'_>) -> Option<String> {
    flags::read(cx, &[])?;
    let args = cx.required("ONBUILD RUN make")?;
    let keyword = split::split(args).keyword;
    permitted(cx, &keyword.to_ascii_uppercase(), keyword)?;
    let trigger = cx.node.with_bodies(args);
    match crate::parse_trigger(&trigger, cx.escape) {
        Ok(_) => Some(trigger),
        Err(found) => {
            // That a heredoc is not closed was told when the bodies were read.
            let news = |f: &Diagnostic| f.severity == Severity::Error && f.code != "UnterminatedHeredoc";
            for finding in found.into_iter().filter(news) {
                let range = range(cx, &finding);
                cx.fail_at::<()>(range, Diagnostic { span: cx.node.span, ..finding });
            }
            None
        }
    }
}

/// Where in the line of the ONBUILD a piece of its trigger stands. The trigger's first line is the arguments.
fn range(cx: &Cx<'_>, finding: &Diagnostic) -> Range<usize> {
    match finding.columns {
        Some(columns) if (finding.span.start, finding.span.end) == (1, 1) => {
            let at = |column: u32| (column as usize).saturating_sub(1) + cx.node.args_at;
            at(columns.start)..at(columns.end)
        }
        _ => cx.node.whole(),
    }
}

/// May this instruction be a trigger? The word is the keyword as it is written.
pub(super) fn permitted(cx: &mut Cx<'_>, keyword: &str, word: &str) -> Option<()> {
    let (code, message) = match keyword {
        "ONBUILD" => ("OnBuildChained", "ONBUILD cannot trigger another ONBUILD".to_owned()),
        "FROM" | "MAINTAINER" => ("OnBuildForbidden", format!("ONBUILD cannot trigger {}", quoted(keyword))),
        _ => return Some(()),
    };
    cx.fail_on(word, code, message, "remove the instruction, or write it without ONBUILD")
}
