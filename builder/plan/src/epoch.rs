//! SOURCE_DATE_EPOCH: what images are dated with, as a build argument or as an ARG before the first FROM says.
//!
//! Takes a Dockerfile and a request; gives the form that was asked for, and puts the seconds that it comes to in place
//! of it. Must never read a clock or ask where a context comes from: the caller resolves forms that name a source.

use crate::expand::{Budget, clip};
use crate::fault;
use crate::request::PlanRequest;
use crate::scope::{Globals, Scopes};
use crate::stage;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Dockerfile, Instruction, Span};

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
    /// Any other word: the name of a stage whose only source is remote, or of a named context.
    Source {
        /// The word.
        name: String,
        /// Where it stands; the default for a build argument.
        span: Span,
    },
}

/// Finds the time that is asked for and puts it in place, so that ARGs of stages get the seconds. `context` is the time
/// of the build context, if it has one.
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
        Epoch::Source { name, span } => return Err(unresolved(file, request, &name, span)),
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

/// The error for a word that names no source which a time can be taken from.
pub fn unresolved(file: &Dockerfile, request: &PlanRequest, name: &str, span: Span) -> Vec<Diagnostic> {
    let Some(number) = stage::named_before(file, name, file.stages.len()) else {
        let message = format!("{NAME} is {:?}, which is no Unix time and no stage", clip(name));
        return vec![fault::value(span, message, HINT)];
    };
    let budget = Budget::default();
    let globals = match Globals::new(file, request, &budget) {
        Ok(globals) => globals,
        Err(faults) => return faults,
    };
    let scopes = Scopes { file, request, globals: &globals, budget: &budget };
    let label = scopes.label(number);
    match unfit(file, number) {
        Some((span, why)) => {
            let hint = "such a stage is FROM scratch, ARGs, and one ADD of a URL or of a git repository";
            vec![fault::value(span, format!("{NAME} cannot be taken from the stage {label}: {why}"), hint)]
        }
        None => vec![fault::unsupported(span, &format!("{NAME} from the stage {label}"), HINT)],
    }
}

/// Why a stage cannot be the source of a time, as BuildKit sees it.
fn unfit(file: &Dockerfile, number: usize) -> Option<(Span, String)> {
    let source = file.stages.get(number)?;
    if source.base != "scratch" {
        return Some((source.span, "it does not begin with scratch".to_owned()));
    }
    let mut adds = 0;
    for i in &source.instructions {
        match &i.value {
            Instruction::Arg(_) => {}
            Instruction::Copy(copy) if copy.add && copy.sources.len() == 1 && copy.heredocs.is_empty() => adds += 1,
            _ => return Some((i.span, "it does more than to add one source".to_owned())),
        }
    }
    (adds != 1).then(|| (source.span, format!("it adds {adds} sources, not one")))
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
