//! Reads a request's Dockerfile and finds out what its image is dated with.
//!
//! Takes a request; gives the typed file, what is asked of it, and the request with its date settled.

use crate::context::{self, Behalf, ContextName, ContextSource, Files, Named};
use crate::event::{Event, Sink};
use crate::output::Output;
use crate::request::BuildRequest;
use crate::resolve::Trees;
use crate::{Engine, EngineError};
use cooper_dockerfile::diagnostic::{Diagnostic, merge};
use cooper_dockerfile::draft::Draft;
use cooper_dockerfile::instruction::{Dockerfile, Instruction};
use cooper_image::Platform;
use cooper_plan::build::Bases;
use cooper_plan::epoch::{self, Dated, Epoch};
use cooper_plan::op::Plan;
use cooper_plan::request::PlanRequest;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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

impl Read {
    /// Are bases unpacked while they come? Not when no instruction works on files and none of them are an output: then
    /// only triggers of a base can need them.
    pub(crate) fn trees(&self) -> Trees {
        let on_files =
            |i: &Instruction| matches!(i, Instruction::Run(_) | Instruction::Copy(_) | Instruction::Workdir(_));
        let mut instructions = self.dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
        let files_go_out = self.request.outputs.iter().any(|output| matches!(output, Output::Files(_)));
        match files_go_out || instructions.any(|i| on_files(&i.value)) {
            true => Trees::AsTheyCome,
            false => Trees::OnDemand,
        }
    }
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
        let behalf = Behalf { request, cancel: &AtomicBool::new(false) };
        let mut dated = BTreeMap::new();
        let read = self.read(behalf, platform, &mut dated, &*sink)?;
        let named = Named::new(&read.request);
        named.hold(dated, &self.store)?;
        let plan = self.plan(&read, &named, Trees::OnDemand, &*sink)?;
        Ok(Outlook { plan, clamp: read.request.clamp.then_some(read.request.created) })
    }

    /// Reads the Dockerfile and settles the date, for which a context or the source of a stage may have to be fetched.
    /// Contexts that were are put to `fetched`, and not fetched again when they are there already.
    pub(crate) fn read(
        &self,
        behalf: Behalf<'_>,
        platform: &Platform,
        fetched: &mut BTreeMap<ContextName, Files>,
        sink: &dyn Sink,
    ) -> Result<Read, EngineError> {
        let request = behalf.request;
        let parsed = cooper_dockerfile::parse(&request.dockerfile);
        let mut asked = PlanRequest {
            target: request.target.clone(),
            build_args: request.build_args.clone(),
            platform: platform.clone(),
            build_platform: Platform::host(),
            no_cache_filter: request.no_cache_filter.clone(),
            contexts: context::kinds(&request.contexts),
            aliases: request.aliases.clone(),
        };
        let Some(mut dockerfile) = parsed.dockerfile else {
            let mut found = parsed.diagnostics;
            let dated = parsed.draft.as_ref().and_then(|draft| epoch::wanted(&draft.file, &asked).err());
            found = merge(found, dated.unwrap_or_default(), &request.dockerfile);
            return Err(self.refuse((request, &asked), (parsed.draft.as_ref(), Bases::new()), found, sink));
        };
        for text in cooper_plan::notice::notices(&dockerfile, &asked) {
            sink.event(Event::Warning { text });
        }
        let refused = |faults: Vec<Diagnostic>| {
            let draft = Draft::whole(dockerfile.clone());
            let found = merge(Vec::new(), faults, &request.dockerfile);
            self.refuse((request, &asked), (Some(&draft), Bases::new()), found, sink)
        };
        let at = match epoch::wanted(&dockerfile, &asked).map_err(refused)? {
            Epoch::At(seconds) => Some(seconds),
            Epoch::Unset => None,
            Epoch::Context => request.context.time(),
            Epoch::Source { name, span } => {
                self.date(epoch::source(&dockerfile, &asked, &name, span).map_err(refused)?, behalf, fetched)?
            }
        };
        epoch::settle(&mut dockerfile, &mut asked, at);
        let mut request = request.clone();
        if let Some(seconds) = at {
            (request.created, request.clamp) = (seconds, true);
        }
        Ok(Read { dockerfile, asked, request })
    }

    /// When a source was last changed. A directory, an image and a layout have no time: it would be another one on every
    /// machine, or is not that of the files.
    fn date(
        &self,
        source: Dated,
        behalf: Behalf<'_>,
        fetched: &mut BTreeMap<ContextName, Files>,
    ) -> Result<Option<i64>, EngineError> {
        match source {
            Dated::Named(name) => {
                if let Some(files) = fetched.get(&name) {
                    return Ok(files.time());
                }
                let Some(ContextSource::Remote(remote)) = behalf.request.contexts.get(&name) else { return Ok(None) };
                let files = self.fetch_context(remote, behalf).map_err(|e| e.of_context(&name))?;
                let time = files.time();
                fetched.insert(name, files);
                Ok(time)
            }
            Dated::Added(source) => self.time_of(&source, behalf),
        }
    }
}
