//! Build checks during a build, and what the store knows of bases without one.
//!
//! Takes the request and the bases found so far; tells the findings as an event, or fails with them where the file
//! wants that. Must never ask a registry.

use crate::event::{Event, Sink};
use crate::request::BuildRequest;
use crate::{Engine, EngineError};
use cooper_dockerfile::diagnostic::{Diagnostic, Severity, merge};
use cooper_dockerfile::draft::Draft;
use cooper_dockerfile::lint::{Experimental, Finding, OptionsError};
use cooper_image::ImageConfig;
use cooper_plan::build::{self, BaseImage, BaseKey, Bases, Wanted};
use cooper_plan::lint::{self, Report, Stages, Subject};
use cooper_plan::request::PlanRequest;

/// Checks what a build needs. Findings of a file that wants `error=true` are the error; what counts for nothing is told
/// beside it.
pub(crate) fn check(
    request: &BuildRequest,
    asked: &PlanRequest,
    bases: &Bases,
    sink: &dyn Sink,
) -> Result<(), EngineError> {
    let Report { findings, severity } = report(request, asked, bases)?;
    let (errors, told) = parted(findings, severity);
    sink.event(Event::Checked { findings: told });
    if errors.is_empty() {
        Ok(())
    } else {
        Err(EngineError::Dockerfile(merge(Vec::new(), errors, &request.dockerfile)))
    }
}

/// The findings that are errors, and the others.
fn parted(findings: Vec<Finding>, severity: Severity) -> (Vec<Diagnostic>, Vec<Finding>) {
    let (errors, told): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|f| severity == Severity::Error && f.rule.set.counts());
    (errors.iter().map(|f| f.diagnostic(Severity::Error)).collect(), told)
}

impl Engine {
    /// The error that a file is: all that was found and all else that is wrong with it, as far as the bases that the
    /// store has tell; what the checks find is told, or is part of the error where the file wants that.
    pub(crate) fn refuse(
        &self,
        (request, asked): (&BuildRequest, &PlanRequest),
        (draft, mut bases): (Option<&Draft>, Bases),
        found: Vec<Diagnostic>,
        sink: &dyn Sink,
    ) -> EngineError {
        let mut known = |key: &BaseKey| self.known_base(key).ok().flatten();
        let planned = draft.map(|draft| build::faults(draft, (asked, Wanted::Needed), &mut bases, &mut known));
        let found = merge(found, planned.unwrap_or_default(), &request.dockerfile);
        // That the settings of the checks are malformed is told once the file can be read.
        let Ok(Report { findings, severity }) = report(request, asked, &bases) else {
            return EngineError::Dockerfile(found);
        };
        let (errors, told) = parted(findings, severity);
        sink.event(Event::Checked { findings: told });
        EngineError::Dockerfile(merge(found, errors, &request.dockerfile))
    }
}

fn report(request: &BuildRequest, asked: &PlanRequest, bases: &Bases) -> Result<Report, EngineError> {
    let subject = Subject {
        text: &request.dockerfile,
        request: asked,
        ignore: request.context.ignore(),
        bases,
        experimental: Experimental::Named,
        stages: Stages::Needed,
    };
    lint::check(&subject).map_err(|e| EngineError::Request {
        message: format!("the build argument BUILDKIT_DOCKERFILE_CHECK is malformed: {e}"),
        hint: OptionsError::HINT.to_owned(),
    })
}

impl Engine {
    /// The configuration of a base, when the store has it for that platform, or knows that there is no other: then it is
    /// what a build begins with, whatever it was made for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn known_base(&self, key: &BaseKey) -> Result<Option<ImageConfig>, EngineError> {
        let BaseKey { image: BaseImage::Named(reference), platform } = key else { return Ok(None) };
        let reference = reference.clone().or_latest();
        if let Some(image) = self.local(&reference, platform)? {
            return Ok(Some(image.config));
        }
        let sole = self.store.get_ref(&reference)?.filter(|d| !d.media_type.is_index() && d.platform.is_none());
        // What is damaged is not known.
        Ok(sole.and_then(|sole| self.load(&reference, &sole).ok()).map(|image| image.config))
    }
}
