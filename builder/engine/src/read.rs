//! Reads a request's Dockerfile and finds out what its image is dated with.
//!
//! Takes a request; gives the typed file, what is asked of it, and the request with its date settled.

use crate::context::{self, Named};
use crate::event::{Event, Sink};
use crate::request::BuildRequest;
use crate::{Engine, EngineError, checks};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::Dockerfile;
use cooper_image::Platform;
use cooper_plan::build::Bases;
use cooper_plan::epoch;
use cooper_plan::op::Plan;
use cooper_plan::request::PlanRequest;
use std::sync::Arc;

/// What a build would do, as far as that is known without doing it.
#[derive(Debug)]
pub struct Outlook {
    /// The stages and steps.
    pub plan: Plan,
    /// Unix time that no file may be later than, when one was asked for.
    pub clamp: Option<i64>,
}

/// A request whose Dockerfile was read.
pub(crate) struct Read {
    /// The file; ARGs before the first FROM hold the settled date.
    pub dockerfile: Dockerfile,
    /// What is asked of the file.
    pub asked: PlanRequest,
    /// The request, dated as SOURCE_DATE_EPOCH says.
    pub request: BuildRequest,
}

impl Engine {
    /// Plans a build and does nothing else; base images are asked for as a build asks for them.
    ///
    /// # Errors
    /// Errors of the Dockerfile; registry and storage.
    pub fn outlook(&self, request: &BuildRequest, sink: Arc<dyn Sink>) -> Result<Outlook, EngineError> {
        let [platform] = request.platforms.as_slice() else {
            return Err(EngineError::Request {
                message: "a plan is for one platform".to_owned(),
                hint: "give one --platform".to_owned(),
            });
        };
        let read = read(request, platform, &*sink)?;
        let plan = self.plan(&read, &Named::new(&read.request), &*sink)?;
        Ok(Outlook { plan, clamp: read.request.clamp.then_some(read.request.created) })
    }
}

/// Reads the Dockerfile and settles the date.
pub(crate) fn read(request: &BuildRequest, platform: &Platform, sink: &dyn Sink) -> Result<Read, EngineError> {
    let parsed = cooper_dockerfile::parse(&request.dockerfile);
    let mut asked = PlanRequest {
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        platform: platform.clone(),
        build_platform: Platform::host(),
        no_cache_filter: request.no_cache_filter.clone(),
        contexts: context::kinds(&request.contexts),
    };
    let Some(mut dockerfile) = parsed.dockerfile else {
        checks::tell(request, &asked, &Bases::new(), sink);
        return Err(EngineError::Dockerfile(parsed.diagnostics));
    };
    for text in cooper_plan::notice::notices(&dockerfile, &asked) {
        sink.event(Event::Warning { text });
    }
    let refused = |mut faults: Vec<Diagnostic>| {
        cooper_dockerfile::place::fill(&mut faults, &request.dockerfile);
        EngineError::Dockerfile(faults)
    };
    let at = epoch::resolve(&mut dockerfile, &mut asked, request.context.time()).map_err(refused)?;
    let mut request = request.clone();
    if let Some(seconds) = at {
        (request.created, request.clamp) = (seconds, true);
    }
    Ok(Read { dockerfile, asked, request })
}
