//! SOURCE_DATE_EPOCH: what images are dated with, as a build argument or as an ARG before the first FROM says.
//!
//! Takes a Dockerfile and a request; gives the form that was asked for, and puts the seconds that it comes to in place
//! of it. Must never read a clock or ask where a context comes from: the caller resolves forms that name a source.

use crate::build::{self, Bases, Planned};
use crate::context::ContextName;
use crate::expand::{Budget, clip};
use crate::op::{AddSource, Op};
use crate::request::PlanRequest;
use crate::scope::Globals;
use crate::{fault, stage};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Dockerfile, Instruction, Span, Stage};
use cooper_dockerfile::{suggest, words};

/// The argument.
pub const NAME: &str = "SOURCE_DATE_EPOCH";
/// The last second that the dates of an image can write: the end of the year 9999.
const LAST: i64 = 253_402_300_799;
/// What to write.
const HINT: &str = "give whole seconds since 1970, as $(git log -1 --format=%ct) does";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Epoch {
    /// Nothing.
    Unset,
    /// A time in Unix seconds.
    At(i64),
    /// `context`: the time of the build context. A local directory has none.
    Context,
    /// Any other word: the name of a named context, or of a stage whose only source is remote; [`source`] looks it up.
    Source {
        /// The word.
        name: String,
        /// Where it stands; the default for a build argument.
        span: Span,
    },
}

/// Finds the time that is asked for and puts it in place, so that ARGs of stages get the seconds. `context` is the time
/// of the build context, if it has one. For who fetches nothing: a source that would have to be asked has no time here.
///
/// # Errors
/// When what is asked for is no time, or one that cannot be told.
pub fn resolve(
    file: &mut Dockerfile,
    request: &mut PlanRequest,
    context: Option<i64>,
) -> Result<Option<i64>, Vec<Diagnostic>> {
    let at = match wanted(file, request)? {
        Epoch::At(seconds) => Some(seconds),
        Epoch::Unset => None,
        Epoch::Context => context,
        Epoch::Source { name, span } => source(file, request, &name, span).map(|_| None)?,
    };
    settle(file, request, at);
    Ok(at)
}

/// What the build argument, else an ARG before the first FROM, asks for. An empty value asks for nothing.
///
/// # Errors
/// When such an ARG cannot be expanded, or when the number is no time that an image can have.
pub fn wanted(file: &Dockerfile, request: &PlanRequest) -> Result<Epoch, Vec<Diagnostic>> {
    let (value, span) = match request.build_args.get(NAME) {
        Some(given) => (given.clone(), Span::default()),
        None => {
            let Some(arg) = file.global_args.iter().rfind(|a| a.value.name == NAME) else { return Ok(Epoch::Unset) };
            let globals = Globals::new(file, request, &Budget::default())?;
            (globals.get(NAME).unwrap_or_default(), arg.span)
        }
    };
    let number = value.strip_prefix(['-', '+']).unwrap_or(&value);
    match value.as_str() {
        "" => Ok(Epoch::Unset),
        "context" => Ok(Epoch::Context),
        _ if number.bytes().all(|b| b.is_ascii_digit() || b == b'.') => match value.parse::<i64>() {
            Ok(at) if (0..=LAST).contains(&at) && !value.starts_with('+') => Ok(Epoch::At(at)),
            _ => {
                let message = format!("{NAME} is {:?}, which is no Unix time", clip(&value));
                Err(vec![fault::value(span, message, HINT)])
            }
        },
        _ => Ok(Epoch::Source { name: value, span }),
    }
}

/// What a word names that is no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dated {
    /// A named context. Only one that is fetched has a time.
    Named(ContextName),
    /// What a stage adds.
    Added(AddSource),
}

/// Looks up a word: a named context, else a stage that does nothing but to add one URL or repository.
///
/// # Errors
/// When it names neither, or a stage that does more; what is wrong with the stage's instructions.
pub fn source(file: &Dockerfile, request: &PlanRequest, name: &str, span: Span) -> Result<Dated, Vec<Diagnostic>> {
    if let Some((context, _)) = request.contexts.find(name, &request.platform) {
        return Ok(Dated::Named(context.clone()));
    }
    // As in BuildKit the first of that name, where a FROM would mean the last.
    let named = |s: &Stage| s.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name));
    let Some((number, stage)) = file.stages.iter().enumerate().find(|(_, s)| named(s)) else {
        let message = format!("{NAME} is {:?}, which is no Unix time, no named context and no stage", clip(name));
        let stages = file.stages.iter().filter_map(|s| s.name.as_deref());
        let hint = match suggest::nearest(name, stages) {
            Some(near) => format!("did you mean the stage {near}?"),
            None => HINT.to_owned(),
        };
        return Err(vec![fault::value(span, message, &hint)]);
    };
    // The stage is planned without a date, which is what it is asked for.
    let (mut file, mut request) = (file.clone(), request.clone());
    settle(&mut file, &mut request, None);
    request.target = Some(number.to_string());
    let label = stage::label(&file, number);
    let refused = |(span, why): (Span, &str)| {
        let hint = "such a stage is FROM scratch, ARGs, and one ADD of a URL or of a git repository";
        vec![fault::value(span, format!("{NAME} cannot be taken from the stage {label}: {why}"), hint)]
    };
    let globals = Globals::new(&file, &request, &Budget::default())?;
    let base = words::expand(&stage.base, file.escape, &|name| globals.get(name)).unwrap_or_default();
    if base != "scratch" {
        return Err(refused((stage.span, "it does not begin with scratch")));
    }
    let other = stage.instructions.iter().find(|i| match &i.value {
        Instruction::Arg(_) => false,
        Instruction::Copy(copy) => !copy.add,
        _ => true,
    });
    if let Some(other) = other {
        return Err(refused((other.span, "it does more than to add one source")));
    }
    match added(&file, &request)?.as_slice() {
        [one] => Ok(Dated::Added(one.clone())),
        [] => Err(refused((stage.span, "it adds no URL and no repository"))),
        _ => Err(refused((stage.span, "it adds more than one source"))),
    }
}

/// The sources of a stage upon an empty root; those that are files of the context are none where there is no other.
fn added(file: &Dockerfile, request: &PlanRequest) -> Result<Vec<AddSource>, Vec<Diagnostic>> {
    let Planned::Ready(plan) = build::plan(file, request, &Bases::new())? else { return Ok(Vec::new()) };
    let steps = plan.stages.get(plan.target.0).map_or(&[][..], |stage| &stage.steps);
    let mut sources = Vec::new();
    for step in steps {
        match &step.op {
            Op::Fetch(fetch) => {
                let inline = fetch.copy.inline.iter().map(|(name, _)| AddSource::Local(name.clone()));
                sources.extend(fetch.sources.iter().cloned().chain(inline));
            }
            Op::Copy(copy) => sources.extend(copy.sources.iter().cloned().map(AddSource::Local)),
            Op::Edit(_) | Op::Exec(_) | Op::Workdir(_) => {}
        }
    }
    let fetched = sources.iter().any(|s| !matches!(s, AddSource::Local(_)));
    Ok(if fetched { sources } else { Vec::new() })
}

/// Puts the resolved time in place of what was asked for, so that ARGs of stages get the seconds; `None` takes the
/// argument away.
pub fn settle(file: &mut Dockerfile, request: &mut PlanRequest, at: Option<i64>) {
    let given = request.build_args.contains_key(NAME);
    match at {
        Some(seconds) if given => drop(request.build_args.insert(NAME.to_owned(), seconds.to_string())),
        Some(_) => {}
        None => drop(request.build_args.remove(NAME)),
    }
    for arg in file.global_args.iter_mut().filter(|a| a.value.name == NAME) {
        arg.value.default = at.map(|seconds| seconds.to_string());
    }
}
