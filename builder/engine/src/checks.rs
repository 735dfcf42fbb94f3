//! Build checks during a build, and what the store knows of bases without one.
//!
//! Takes the request and the bases found so far; tells the findings as an event, or fails with them where the file
//! wants that. Must never ask a registry.

use crate::event::{Event, Sink};
use crate::request::BuildRequest;
use crate::{Engine, EngineError};
use cooper_dockerfile::diagnostic::Severity;
use cooper_dockerfile::lint::{Experimental, OptionsError};
use cooper_image::ImageConfig;
use cooper_plan::build::{BaseImage, BaseKey, Bases};
use cooper_plan::lint::{self, Report, Stages, Subject};
use cooper_plan::request::PlanRequest;

/// Checks what a build needs. Findings of a file that wants `error=true` are the error.
pub(crate) fn check(
    request: &BuildRequest,
    asked: &PlanRequest,
    bases: &Bases,
    sink: &dyn Sink,
) -> Result<(), EngineError> {
    let report = report(request, asked, bases)?;
    let mut errors: Vec<_> = report.errors().map(|f| f.diagnostic(Severity::Error)).collect();
    if !errors.is_empty() {
        cooper_dockerfile::place::fill(&mut errors, &request.dockerfile);
        return Err(EngineError::Dockerfile(errors));
    }
    sink.event(Event::Checked { findings: report.findings });
    Ok(())
}

/// Tells the findings of a file that fails for another reason.
pub(crate) fn tell(request: &BuildRequest, asked: &PlanRequest, bases: &Bases, sink: &dyn Sink) {
    if let Ok(report) = report(request, asked, bases) {
        sink.event(Event::Checked { findings: report.findings });
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
    /// The configuration of a base, when the store has it for that platform.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn known_base(&self, key: &BaseKey) -> Result<Option<ImageConfig>, EngineError> {
        let BaseKey { image: BaseImage::Named(reference), platform } = key else { return Ok(None) };
        Ok(self.local(&reference.clone().or_latest(), platform)?.map(|image| image.config))
    }
}
