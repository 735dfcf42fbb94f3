//! ONBUILD: an instruction kept as text for the images that build on this one.

use super::Cx;
use super::flags;
use crate::diagnostic::{Diagnostic, Severity, quoted};
use crate::split;

/// ONBUILD. The trigger is read as it will be when it fires, so that its faults are told now.
pub(super) fn onbuild(cx: &mut Cx<'_>) -> Option<String> {
    flags::read(cx, &[])?;
    let args = cx.required("ONBUILD RUN make")?;
    permitted(cx, &split::split(&args).keyword.to_ascii_uppercase())?;
    let trigger = cx.node.with_bodies(&args);
    match crate::parse_trigger(&trigger, cx.escape) {
        Ok(_) => Some(trigger),
        Err(found) => {
            for finding in found.into_iter().filter(|f| f.severity == Severity::Error) {
                cx.sink.push(Diagnostic { span: cx.node.span, ..finding });
            }
            None
        }
    }
}

/// May this instruction be a trigger?
pub(super) fn permitted(cx: &mut Cx<'_>, keyword: &str) -> Option<()> {
    match keyword {
        "ONBUILD" => cx.fail("OnBuildChained", "ONBUILD cannot trigger another ONBUILD"),
        "FROM" | "MAINTAINER" => cx.fail("OnBuildForbidden", format!("ONBUILD cannot trigger {}", quoted(keyword))),
        _ => Some(()),
    }
}
