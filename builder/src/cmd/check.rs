//! `cooper check`, and `cooper build` with `--check` or `--call`: answers about a Dockerfile. No step is run and no
//! registry is asked; bases that the store has are known. Nothing is written, but for a context that has to be unpacked
//! or fetched first.

use super::Place;
use super::build::{self, build_args};
use crate::answer::{Checked, json, text};
use crate::failure::{Excerpt, Exit, Failure};
use crate::flags::build::{BuildFlags, InputFlags};
use crate::flags::call::{Call, CheckFlags, Format, Method};
use crate::open::{self, Session};
use crate::source::{self, Source};
use crate::stdout;
use cooper_dockerfile::diagnostic::{Diagnostic, Severity, merge};
use cooper_dockerfile::draft::Draft;
use cooper_dockerfile::instruction::Dockerfile;
use cooper_dockerfile::lint::{self, Experimental, Finding, OptionsError};
use cooper_engine::EngineError;
use cooper_engine::context::kinds;
use cooper_image::{ImageConfig, Platform};
use cooper_plan::build::{BaseKey, Bases, Wanted};
use cooper_plan::lint::{Stages, Subject};
use cooper_plan::request::PlanRequest;
use cooper_plan::{build as planning, call, epoch};

/// A Dockerfile and what is asked of it.
struct Asked {
    source: Source,
    request: PlanRequest,
}

/// `cooper check`.
pub fn run(place: &Place, flags: CheckFlags) -> Result<Exit, Failure> {
    let CheckFlags { context, file, target, build_args, platform, format, diff } = flags;
    let platform = platform.into_iter().collect();
    let input = InputFlags { file, target, build_args, contexts: Vec::new(), platform };
    let asked = Asked::new(place, BuildFlags { context, input, ..BuildFlags::default() });
    let asked = asked.map_err(|failure| unread(failure, format))?;
    let findings = asked.check(place, Experimental::OwnToo)?;
    if diff {
        return asked.diff(&findings);
    }
    asked.show(&findings, format)
}

/// `cooper build --call`.
pub fn call(place: &Place, flags: BuildFlags, call: Call) -> Result<Exit, Failure> {
    if flags.input.platform.len() > 1 {
        return Err(Failure::usage(
            "--call and --check look at one platform",
            "give --platform once, with one platform",
        ));
    }
    if call.method == Method::Describe {
        return answered(call.format, text::requests, json::requests);
    }
    let format = if call.method == Method::Check { call.format } else { Format::Text };
    let asked = Asked::new(place, flags).map_err(|failure| unread(failure, format))?;
    let dockerfile = &asked.source.text;
    match call.method {
        Method::Outline => {
            let refused = |found| asked.failure(EngineError::Dockerfile(found));
            let (file, request) = asked.dated(asked.parsed()?).map_err(refused)?;
            let bases = asked.bases(place, &file, &request);
            let outline = call::outline(dockerfile, &file, &request, &bases).map_err(refused)?;
            answered(call.format, || text::outline(&outline), || json::with_source(&outline, dockerfile))
        }
        Method::Targets => {
            let targets = call::targets(dockerfile, &asked.parsed()?);
            answered(call.format, || text::targets(&targets), || json::with_source(&targets, dockerfile))
        }
        Method::Check | Method::Build | Method::Describe => {
            let findings = asked.check(place, Experimental::Named)?;
            let exit = asked.show(&findings, call.format)?;
            Ok(if call.ignore_status { Exit::Done } else { exit })
        }
    }
}

/// A file that is no text is told of as one with other errors: to programs, too.
fn unread(failure: Failure, format: Format) -> Failure {
    let Failure::Build { error, dockerfile } = &failure else { return failure };
    let errors = error.diagnostics();
    if format == Format::Json && !errors.is_empty() {
        let Excerpt { name, text } = dockerfile;
        let checked = Checked { name, text, findings: &[], error: errors.first(), errors };
        if let Err(failure) = stdout::json(&json::checked(&checked)) {
            return failure;
        }
    }
    failure
}

/// Prints an answer.
fn answered(
    format: Format,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> serde_json::Value,
) -> Result<Exit, Failure> {
    match format {
        Format::Text => stdout::line(text().trim_end())?,
        Format::Json => stdout::json(&json())?,
    }
    Ok(Exit::Done)
}

/// What a check came to.
struct Outcome {
    findings: Vec<Finding>,
    /// Why the file cannot be built, all reasons.
    errors: Vec<Diagnostic>,
    /// Are there findings that the file wants to be errors?
    fail: bool,
}

impl Asked {
    fn new(place: &Place, flags: BuildFlags) -> Result<Self, Failure> {
        let input = &flags.input;
        let request = PlanRequest {
            target: input.target(),
            build_args: build_args(place, input.build_args.clone())?,
            platform: input.platform.last().cloned().unwrap_or_else(Platform::host),
            build_platform: Platform::host(),
            no_cache_filter: Vec::new(),
            contexts: kinds(&source::named(input.contexts.clone())?),
            aliases: place.registries()?.aliases.clone(),
        };
        let found = source::find(&flags.context, input.file.as_deref())?;
        let source = open::source(place, found, || build::request(place, flags))?;
        Ok(Self { source, request })
    }

    fn failure(&self, error: EngineError) -> Failure {
        let dockerfile = Excerpt { name: self.source.name.clone(), text: self.source.text.clone() };
        Failure::Build { error: Box::new(error), dockerfile }
    }

    fn parsed(&self) -> Result<Dockerfile, Failure> {
        let parsed = cooper_dockerfile::parse(&self.source.text);
        parsed.dockerfile.ok_or_else(|| self.failure(EngineError::Dockerfile(parsed.diagnostics)))
    }

    /// The file and what is asked of it, as SOURCE_DATE_EPOCH says.
    fn dated(&self, mut file: Dockerfile) -> Result<(Dockerfile, PlanRequest), Vec<Diagnostic>> {
        let mut request = self.request.clone();
        match epoch::resolve(&mut file, &mut request, self.source.files.time()) {
            Ok(_) => Ok((file, request)),
            Err(mut errors) => {
                cooper_dockerfile::place::fill(&mut errors, &self.source.text);
                Err(errors)
            }
        }
    }

    fn check(&self, place: &Place, experimental: Experimental) -> Result<Outcome, Failure> {
        let text = &self.source.text;
        let parsed = cooper_dockerfile::parse(text);
        let (mut bases, mut request) = (Bases::new(), self.request.clone());
        let mut draft = parsed.dockerfile.map(Draft::whole).or(parsed.draft);
        let mut errors: Vec<_> = parsed.diagnostics.into_iter().filter(|d| d.severity == Severity::Error).collect();
        if let Some(draft) = &mut draft {
            let dated = match errors.as_slice() {
                [] => epoch::resolve(&mut draft.file, &mut request, self.source.files.time()).map(drop),
                // What a date is taken from may be what could not be read.
                _ => epoch::wanted(&draft.file, &request).map(drop),
            };
            errors = merge(errors, dated.err().unwrap_or_default(), text);
            let mut store = Store::new(place);
            let wanted = (&request, Wanted::All);
            let faults = planning::faults(draft, wanted, &mut bases, &mut |key| store.base(key));
            errors = merge(errors, faults, text);
        }
        let subject = Subject {
            text,
            request: &request,
            ignore: self.source.files.ignore(),
            bases: &bases,
            experimental,
            // As in BuildKit: without a target, every stage is looked at.
            stages: Stages::All,
        };
        let report = cooper_plan::lint::check(&subject).map_err(|e| {
            Failure::usage(
                format!("the build argument BUILDKIT_DOCKERFILE_CHECK is malformed: {e}"),
                OptionsError::HINT,
            )
        })?;
        let fail = report.errors().next().is_some();
        Ok(Outcome { findings: report.findings, errors, fail })
    }

    /// Plans as far as bases are known: what an outline knows of them.
    fn bases(&self, place: &Place, file: &Dockerfile, request: &PlanRequest) -> Bases {
        let (mut bases, mut store) = (Bases::new(), Store::new(place));
        let draft = Draft::whole(file.clone());
        // What is wrong beyond the outline is told by a build.
        drop(planning::faults(&draft, (request, Wanted::Needed), &mut bases, &mut |key| store.base(key)));
        bases
    }

    /// Shows the findings, then what stops a build.
    fn show(&self, outcome: &Outcome, format: Format) -> Result<Exit, Failure> {
        let Outcome { findings, errors, .. } = outcome;
        let violated = outcome.violated();
        let error = errors.first().or(violated.as_ref());
        let wanted = if violated.is_some() { wanted(findings) } else { Vec::new() };
        let stops = merge(errors.clone(), wanted, &self.source.text);
        let checked = Checked { name: &self.source.name, text: &self.source.text, findings, error, errors: &stops };
        let text = || text::checked(&checked);
        match format {
            Format::Text if text().is_empty() => {}
            _ => drop(answered(format, text, || json::checked(&checked))?),
        }
        if !errors.is_empty() {
            return Err(self.failure(EngineError::Dockerfile(errors.clone())));
        }
        outcome.end()
    }

    /// Shows what mends the findings. Findings that take a person are counted on standard error.
    fn diff(&self, outcome: &Outcome) -> Result<Exit, Failure> {
        if !outcome.errors.is_empty() {
            return Err(self.failure(EngineError::Dockerfile(outcome.errors.clone())));
        }
        let edits: Vec<lint::Edit> = outcome.findings.iter().flat_map(|f| f.edits.clone()).collect();
        let source = lint::Source::new(&self.source.text);
        let diff = lint::diff(&self.source.name, &source, &edits);
        if !diff.is_empty() {
            stdout::line(diff.strip_suffix('\n').unwrap_or(&diff))?;
        }
        let left = outcome.findings.iter().filter(|f| f.edits.is_empty()).count();
        if left > 0 {
            crate::ui::say(&format!("{left} more cannot be mended without a person; cooper check shows them"));
        }
        outcome.end()
    }
}

impl Outcome {
    /// The error that the findings are, where the file wants them to be one.
    fn violated(&self) -> Option<Diagnostic> {
        self.fail.then(|| violation(&self.findings))
    }

    /// How a check ends that was shown, of a file that can be built.
    fn end(&self) -> Result<Exit, Failure> {
        match self.violated() {
            Some(error) => {
                Err(Failure::usage(error.message, "mend what is named, or take error=true out of the check settings"))
            }
            None => Ok(status(&self.findings)),
        }
    }
}

/// How a check ends that found these, in a file that can be built.
fn status(findings: &[Finding]) -> Exit {
    if findings.iter().any(|f| f.rule.set.counts()) { Exit::Step } else { Exit::Done }
}

/// The findings that the file wants to be errors, as errors.
fn wanted(findings: &[Finding]) -> Vec<Diagnostic> {
    findings.iter().filter(|f| f.rule.set.counts()).map(|f| f.diagnostic(Severity::Error)).collect()
}

/// BuildKit's words for findings of a file with `error=true`.
fn violation(findings: &[Finding]) -> Diagnostic {
    let counting = || findings.iter().filter(|f| f.rule.set.counts());
    let rules: std::collections::BTreeSet<&str> = counting().map(|f| f.rule.id).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    let span = counting().next().map(|f| f.span).unwrap_or_default();
    Diagnostic::error("LintViolation", span, format!("lint violation found for rules: {}", rules.join(", ")))
}

/// The store, where there is one already; opened when it is first asked. That it cannot be read only means that bases are
/// not known.
struct Store<'a> {
    place: &'a Place,
    session: Option<Option<Session>>,
}

impl<'a> Store<'a> {
    fn new(place: &'a Place) -> Self {
        Self { place, session: None }
    }

    fn base(&mut self, key: &BaseKey) -> Option<ImageConfig> {
        let session = self.session.get_or_insert_with(|| open(self.place)).as_ref()?;
        session.engine.known_base(key).ok().flatten()
    }
}

fn open(place: &Place) -> Option<Session> {
    let root = place.root().ok().filter(|root| root.is_dir())?;
    let opened = Session::open(place, &root, open::unchanged_tier());
    opened.inspect_err(|e| place.note(|| format!("bases are not known: {e}"))).ok()
}
