//! Stages by name and number: what `--target`, FROM and `--from` mean.
//!
//! Takes: a Dockerfile and a text. Gives: the number of a stage in the file, counted from 0.
//! Must never: find a stage that comes later than the one that asks; so no cycle can be written.

use crate::expand::clip;
use crate::fault;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Dockerfile, Span};
use cooper_dockerfile::suggest;

/// Most stages in one Dockerfile.
pub(crate) const STAGES: usize = 1000;

/// How people know a stage: its name, else `stage-N`.
pub(crate) fn label(file: &Dockerfile, index: usize) -> String {
    let name = file.stages.get(index).and_then(|s| s.name.clone());
    name.unwrap_or_else(|| format!("stage-{index}"))
}

/// The stage that is asked for; the last when none is.
pub(crate) fn target(file: &Dockerfile, wanted: Option<&str>) -> Result<usize, Diagnostic> {
    let count = file.stages.len();
    let span = file.stages.last().map_or_else(Span::default, |s| s.span);
    let Some(wanted) = wanted else {
        let empty = || fault::error(fault::STAGE, span, "the Dockerfile has no stage", "begin one with FROM");
        return count.checked_sub(1).ok_or_else(empty);
    };
    let by_number = || wanted.parse::<usize>().ok().filter(|n| *n < count);
    named_before(file, wanted, count).or_else(by_number).ok_or_else(|| {
        let names = || file.stages.iter().filter_map(|s| s.name.as_deref());
        let hint = match suggest::nearest(wanted, names()) {
            Some(near) => format!("did you mean {near}?"),
            None => match names().collect::<Vec<_>>().join(", ").as_str() {
                "" => format!("no stage has a name; give a number from 0 to {}", count.saturating_sub(1)),
                all => format!("the stages are {}", clip(all)),
            },
        };
        // No line of the file has to do with it.
        let message = format!("there is no target stage {:?}", clip(wanted));
        fault::error(fault::STAGE, Span::default(), message, hint)
    })
}

/// Does a text name this stage: by its name in any case, or by its number?
pub(crate) fn is_named(file: &Dockerfile, index: usize, text: &str) -> bool {
    let name = file.stages.get(index).and_then(|s| s.name.as_deref());
    name.is_some_and(|n| n.eq_ignore_ascii_case(text)) || text.parse() == Ok(index)
}

/// The last stage of that name, in any case, among the first `before`.
pub(crate) fn named_before(file: &Dockerfile, name: &str, before: usize) -> Option<usize> {
    let same =
        |s: &cooper_dockerfile::instruction::Stage| s.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name));
    file.stages.iter().take(before).rposition(same)
}

/// The stage that a FROM in the stage `before` begins with. Names of stages are in lower case whatever the file says,
/// and as in BuildKit a FROM has to write them so: in any other case it is the name of an image, and malformed.
pub(crate) fn begun_with(file: &Dockerfile, name: &str, before: usize) -> Option<usize> {
    file.stages.iter().take(before).rposition(|s| s.name.as_deref() == Some(name))
}

/// A `from` as it is written, behind `--` or in a mount.
pub(crate) fn as_flag(flag: &str, from: &str) -> String {
    if flag.starts_with("--mount") { format!("from={from}") } else { format!("{flag}={from}") }
}

/// What a `from` (after the flag's name, for messages) names when it is a stage; `Ok(None)` is the name of an image.
pub(crate) fn copied_from(
    file: &Dockerfile,
    (flag, from): (&str, &str),
    asking: usize,
    span: Span,
) -> Result<Option<usize>, Diagnostic> {
    const ABOVE: &str = "a stage can only use stages above it; move the stage up";
    const ITSELF: &str = "the stage that it stands in";
    const OTHER: &str = "a stage can only use stages above it; name another one, or an image";
    const NO_NUMBER: &str = "stages are numbered from 0, in the order of the file; name one above";
    let refused = |what: String, hint: &str| {
        let message = format!("{flag}={} names {what}", clip(from));
        fault::error(fault::STAGE, span, message, hint).about(as_flag(flag, from))
    };
    if from.bytes().all(|b| b.is_ascii_digit()) && !from.is_empty() {
        return match from.parse::<usize>() {
            Ok(n) if n < asking => Ok(Some(n)),
            Ok(n) if n == asking => Err(refused(ITSELF.to_owned(), OTHER)),
            Ok(n) if n < file.stages.len() => Err(refused("a later stage".to_owned(), ABOVE)),
            _ => Err(refused(format!("a stage that is not there (there {})", counted(file.stages.len())), NO_NUMBER)),
        };
    }
    if let Some(found) = named_before(file, from, asking) {
        return Ok(Some(found));
    }
    match named_before(file, from, file.stages.len()) {
        Some(n) if n == asking => Err(refused(ITSELF.to_owned(), OTHER)),
        Some(_) => Err(refused("a later stage".to_owned(), ABOVE)),
        None => Ok(None),
    }
}

fn counted(stages: usize) -> String {
    if stages == 1 { "is one, number 0".to_owned() } else { format!("are {stages}") }
}
