//! `cooper build`.

use super::Place;
use crate::agents;
use crate::answer::text;
use crate::env;
use crate::failure::{Excerpt, Exit, Failure};
use crate::flags::build::{BuildFlags, StepFlags};
use crate::flags::failing::{FailingFlags, OnFailureFlag};
use crate::flags::limits::LimitFlags;
use crate::flags::output::OutputFlag;
use crate::flags::pair::Pair;
use crate::flags::steps::{Entitlement, NetworkFlag};
use crate::metadata::{self, Listener};
use crate::open::{self, Session};
use crate::outputs;
use crate::report;
use crate::secrets;
use crate::signals::{Manner, Signals};
use crate::source::{self, Found, Source};
use crate::stdout;
use crate::ui::summary::{self, Counts};
use crate::ui::{Detail, Progress, Ui, escape, say};
use cooper_dockerfile::lint::Finding;
use cooper_engine::context::{Behalf, Files};
use cooper_engine::event::{Event, Sink};
use cooper_engine::journal::Recorder;
use cooper_engine::output::Output;
use cooper_engine::output_file::{is_stream, write_whole};
use cooper_engine::request::{BuildRequest, BuildResult, Freshness};
use cooper_engine::run_request::{Allowed, Network, OnFailure, RunRequest};
use cooper_engine::{Engine, EngineError};
use cooper_image::Reference;
use cooper_plan::epoch;
use cooper_sandbox::Tier;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Builds.
pub fn run(place: &Place, flags: BuildFlags) -> Result<Exit, Failure> {
    let start = Instant::now();
    let (started, ui) = (env::now(), Ui::open(flags.run.view(), place.env.term(), flags.run.detail())?);
    check_stdout(&flags)?;
    check_detail(&flags)?;
    super::shell::check(flags.failing.on_failure)?;
    let (view, iidfile, metadata) =
        (flags.run.view(), flags.result.iidfile.clone(), flags.result.metadata_file.clone());
    let on_failure = flags.failing.on_failure;
    let (root, cap) = (place.root()?, flags.cap.gc_max_size);
    // A wrong size is told before anything is built, where it would be used.
    if cap.is_none() {
        place.env.gc_max_size()?;
    }
    for file in [&iidfile, &metadata].into_iter().flatten() {
        make_way(file, &flags.result.outputs)?;
    }
    let prepared = Prepared::new(place, flags)?;
    let lacking = cooper_sandbox::lacking_ids();
    // The last moment with a single thread.
    let tier = cooper_sandbox::enter_user_namespace().map_err(EngineError::from)?;
    place.note(|| format!("steps run as {}", open::tier_name(tier)));
    let limited = cooper_sandbox::check_resources(&prepared.request.run.resources);
    limited.map_err(EngineError::from)?;
    if prepared.request.run.network == Network::Isolated {
        cooper_sandbox::check_network(cooper_sandbox::Network::Isolated).map_err(EngineError::from)?;
    }
    if let (Some(lesser), Ui::Live(_) | Ui::Plain(_)) = (open::lesser_tier(tier), &ui) {
        say(&match lacking.filter(|_| tier == Tier::OneId) {
            Some(e) => format!(
                "{lesser}: owners are recorded, and nothing keeps users of a step apart; {e}; for more: {}",
                e.hint().unwrap_or_default()
            ),
            None => format!("steps run as {lesser}, less isolated than elsewhere: cooper doctor tells more"),
        });
    }
    let session = Session::open(place, &root, tier)?;
    if let (Some(slow), Ui::Live(_) | Ui::Plain(_)) = (session.engine.slow_roots()?, &ui) {
        say(&slow);
    }
    let signals = Signals::listen(session.runtime.handle(), Manner::Ask)?;
    let request = prepared.open(place, &session.engine, &signals.cancel())?;
    let recorder = Arc::new(Recorder::new(ui.sink()));
    let checks = Arc::new(Checks {
        next: Arc::clone(&recorder) as Arc<dyn Sink>,
        found: Mutex::default(),
        followed: Mutex::default(),
    });
    let listener = Arc::new(Listener::new(Arc::clone(&checks) as Arc<dyn Sink>));
    let built = session.engine.build(&request, Arc::clone(&listener) as Arc<dyn Sink>, signals.cancel());
    let entry = recorder.entry(&request, started, start.elapsed(), built.as_ref());
    let remembered = session.engine.remember(&entry);
    let result = match built {
        Ok(result) => result,
        Err(error) => {
            ui.close(None);
            tell_forgotten(&remembered);
            checks.tell(place, &ui);
            if let Some(exit) = signals.received() {
                return Err(Failure::Interrupted(exit));
            }
            super::shell::after_failure(place, &session.engine, &request.run, (&error, on_failure), &signals);
            let dockerfile = Excerpt { name: request.dockerfile_name, text: request.dockerfile };
            return Err(Failure::Build { error: Box::new(error), dockerfile });
        }
    };
    ui.close(Some(&last_line(&request, &result, start)));
    tell_forgotten(&remembered);
    checks.tell(place, &ui);
    if let Some(file) = &iidfile {
        write_text(file, &result.image_id.to_string())?;
    }
    if let Some(file) = &metadata {
        let text = metadata::text(&result, &listener.warnings());
        let failed = |e: serde_json::Error| Failure::file("writing the metadata as JSON", Exit::Storage, e);
        write_text(file, &text.map_err(failed)?)?;
    }
    if view == Progress::Quiet {
        stdout::line(&result.image_id.to_string())?;
    }
    if let Err(failure) = super::prune::after_build(place, session.engine.store(), cap) {
        // The image is made; that the store could not be tidied takes nothing from it.
        say(&format!("WARNING: {}", escape::line(&failure.to_string())));
    }
    Ok(Exit::Done)
}

/// Of the image nothing is lost when its build is not remembered, but `cooper explain` would speak of another one.
fn tell_forgotten(remembered: &Result<u64, EngineError>) {
    if let Err(error) = remembered {
        say(&format!("WARNING: cooper explain will not know this build: {}", report::line(error)));
    }
}

/// Passes events on, and keeps for the end what the checks found and which aliases were followed.
struct Checks {
    next: Arc<dyn Sink>,
    found: Mutex<Vec<Finding>>,
    followed: Mutex<BTreeMap<String, Reference>>,
}

impl Sink for Checks {
    fn event(&self, event: Event) {
        match event {
            Event::Checked { findings } => {
                let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                let known = found.clone();
                found.extend(findings.into_iter().filter(|f| !known.contains(f)));
            }
            Event::Followed { alias, name } => {
                self.followed.lock().unwrap_or_else(PoisonError::into_inner).insert(alias, name);
            }
            other => self.next.event(other),
        }
    }
}

impl Checks {
    /// Says what was found, unless nothing is to be said.
    fn tell(&self, place: &Place, ui: &Ui) {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.iter().for_each(|(alias, name)| place.note_alias(alias, name));
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match ui {
            Ui::Quiet => {}
            Ui::Raw(raw) => raw.event(Event::Checked { findings: found.clone() }),
            Ui::Live(_) | Ui::Plain(_) => text::after_build(&found).iter().for_each(|text| say(text)),
        }
    }
}

/// A build as far as it is known before the store is open.
pub struct Prepared {
    request: BuildRequest,
    found: Found,
}

impl Prepared {
    /// Reads what the user's own files say.
    ///
    /// # Errors
    /// When flags contradict each other, or when the context or the Dockerfile cannot be read.
    pub fn new(place: &Place, flags: BuildFlags) -> Result<Self, Failure> {
        let found = source::find(&flags.context, flags.input.file.as_deref())?;
        Ok(Self { request: request(place, flags)?, found })
    }

    /// Makes the context, if it has to be made; then the request is whole.
    ///
    /// # Errors
    /// When the context cannot be used, or has no Dockerfile.
    pub fn open(self, place: &Place, engine: &Engine, cancel: &AtomicBool) -> Result<BuildRequest, Failure> {
        let source = match self.found {
            Found::Ready(source) => source,
            Found::Later(later) => later.open(engine, Behalf { request: &self.request, cancel })?,
        };
        place.note(|| format!("context {}, Dockerfile {}", source.files.name(), source.name));
        let Source { files: context, name: dockerfile_name, text: dockerfile } = source;
        Ok(BuildRequest { context, dockerfile, dockerfile_name, ..self.request })
    }
}

fn last_line(request: &BuildRequest, result: &BuildResult, start: Instant) -> String {
    let given = request.tags.first().or(result.names.first());
    let name = given.map(|name| name.clone().or_latest().familiar());
    let counts = Counts { run: result.steps_run, cached: result.steps_cached };
    summary::line(name.as_deref(), &result.image_id.to_string(), start.elapsed(), counts)
}

/// Names that are given twice are one.
fn once(mut names: Vec<Reference>) -> Vec<Reference> {
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone().or_latest()));
    names
}

/// Standard output holds one thing, and no archive goes to a terminal.
fn check_stdout(flags: &BuildFlags) -> Result<(), Failure> {
    let archives =
        flags.result.outputs.iter().filter(|o| o.0.as_ref().and_then(Output::dest) == Some(Path::new("-"))).count();
    let wanted = archives + usize::from(flags.run.view() == Progress::Quiet);
    if archives > 0 && wanted > 1 {
        return Err(Failure::usage(
            "standard output can hold one thing: one archive, or the image id of --quiet",
            "give dest=FILE, or --iidfile FILE in place of --quiet",
        ));
    }
    if archives > 0 && std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "an archive would go to the terminal",
            "give dest=FILE, or redirect standard output",
        ));
    }
    Ok(())
}

/// What is explained has to be shown.
fn check_detail(flags: &BuildFlags) -> Result<(), Failure> {
    if flags.run.detail() == Detail::Full && flags.run.view() == Progress::Quiet {
        return Err(Failure::usage(
            "--explain and --progress=quiet contradict each other",
            "leave one of them out; cooper explain tells the same after the build",
        ));
    }
    Ok(())
}

/// The whole build as data, but for the context and the Dockerfile.
///
/// # Errors
/// When flags contradict each other, or name what is not there.
pub(super) fn request(place: &Place, flags: BuildFlags) -> Result<BuildRequest, Failure> {
    let outputs = outputs::outputs(&flags.result);
    let root = place.root()?;
    let spared: Vec<&Path> = outputs::sources(&flags).into_iter().chain([root.as_path()]).collect();
    outputs::check_deletion(&outputs, Path::new("."), &spared)?;
    let BuildFlags { context: _, input, reuse, result, steps, limits, failing, run, cap: _, ask: _ } = flags;
    let target = input.target();
    let build_args = build_args(place, input.build_args)?;
    Ok(BuildRequest {
        context: Files::nothing(),
        contexts: source::named(input.contexts)?,
        aliases: place.registries()?.aliases.clone(),
        dockerfile: String::new(),
        dockerfile_name: String::new(),
        target,
        shape: outputs::shape(&build_args)?,
        build_args,
        labels: result.labels.into_iter().map(|l| (l.name, l.value.unwrap_or_default())).collect(),
        platforms_asked: !input.platform.is_empty(),
        platforms: outputs::platforms(input.platform),
        tags: once(result.tags),
        freshness: Freshness { no_cache: reuse.no_cache, pull: reuse.pull },
        no_cache_filter: reuse.no_cache_filter,
        outputs,
        jobs: run.jobs(env::processors()),
        created: env::now(),
        clamp: false,
        run: run_request(place, steps, (limits, failing))?,
    })
}

/// What every RUN is given.
fn run_request(
    place: &Place,
    steps: StepFlags,
    (limits, failing): (LimitFlags, FailingFlags),
) -> Result<RunRequest, Failure> {
    let insecure = steps.allow.contains(&Entitlement::Insecure);
    let resources = limits.resources().map_err(|m| Failure::usage(m, "see cooper build --help"))?;
    // The last one of a kind wins.
    let limits: BTreeMap<_, _> = steps.ulimits.into_iter().map(|l| (format!("{:?}", l.0.resource), l.0)).collect();
    Ok(RunRequest {
        secrets: secrets::read(&steps.secrets)?,
        agents: agents::find(place, &steps.ssh)?,
        network: match steps.network {
            NetworkFlag::Default => Network::Default,
            NetworkFlag::None => Network::None,
            NetworkFlag::Host => Network::Host,
            NetworkFlag::Isolated => Network::Isolated,
        },
        host_network: if steps.allow.contains(&Entitlement::Host) { Allowed::Yes } else { Allowed::No },
        insecure: if insecure { Allowed::Yes } else { Allowed::No },
        hosts: steps.hosts.into_iter().map(|h| (h.0, h.1)).collect(),
        shm_bytes: steps.shm_size.map(|b| b.0),
        limits: limits.into_values().collect(),
        no_new_privs: steps.no_new_privs,
        resources,
        on_failure: match failing.on_failure {
            OnFailureFlag::Discard => OnFailure::Forget,
            OnFailureFlag::Keep | OnFailureFlag::Shell => OnFailure::Keep,
        },
        rescues: failing.rescues.into_iter().map(|r| r.0).collect(),
    })
}

/// The last one of a name wins; a name without a value is taken from the environment, and so is SOURCE_DATE_EPOCH.
pub(super) fn build_args(place: &Place, pairs: Vec<Pair>) -> Result<BTreeMap<String, String>, Failure> {
    let mut args = BTreeMap::new();
    for Pair { name, value } in pairs {
        let value = match value {
            Some(value) => Some(value),
            None => env::build_arg(&name)?,
        };
        if let Some(value) = value {
            args.insert(name, value);
        }
    }
    if let Some(epoch) = place.env.source_date_epoch() {
        args.entry(epoch::NAME.to_owned()).or_insert_with(|| epoch.to_owned());
    }
    Ok(args)
}

/// An id of an earlier build must not be taken for this one's; and that there is no place for it is told before a long
/// build, not after.
fn make_way(file: &Path, outputs: &[OutputFlag]) -> Result<(), Failure> {
    if is_stream(file) {
        return Ok(());
    }
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |exit| move |e| Failure::file(format!("writing {}", file.display()), exit, e);
    match std::fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(cannot(Exit::Usage)(std::io::ErrorKind::NotADirectory.into())),
        // The build may make it.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && outputs.iter().any(|output| output.makes(dir)) => {
            return Ok(());
        }
        Err(e) => return Err(cannot(Exit::Usage)(e)),
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(dir, access).map_err(|e| cannot(Exit::Storage)(e.into()))?;
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::file(format!("removing the old {}", file.display()), Exit::Storage, e))
        }
        _ => Ok(()),
    }
}

/// Nobody reads half of it.
fn write_text(file: &Path, text: &str) -> Result<(), Failure> {
    let named = |e| Failure::file(format!("writing {}", file.display()), Exit::Storage, e);
    write_whole(file, named, |out| out.write_all(text.as_bytes()).map_err(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_whole_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id");
        make_way(&file, &[]).unwrap();
        for content in ["sha256:a", "sha256:b"] {
            write_text(&file, content).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
        }
        make_way(&file, &[]).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(make_way(&dir.path().join("absent/id"), &[]).unwrap_err().exit(), Exit::Usage);
        let made: OutputFlag = format!("type=local,dest={}", dir.path().join("absent").display()).parse().unwrap();
        for (name, is_made) in [("absent/id", true), ("absent/below/id", true), ("absence/id", false)] {
            assert_eq!(make_way(&dir.path().join(name), std::slice::from_ref(&made)).is_ok(), is_made, "{name}");
        }
        std::fs::write(&file, "").unwrap();
        assert_eq!(make_way(&file.join("id"), &[]).unwrap_err().exit(), Exit::Usage);
        assert_eq!(write_text(&dir.path().join("absent/id"), "").unwrap_err().exit(), Exit::Storage);
    }

    #[test]
    fn arguments_of_the_build() {
        let pairs = ["A=1", "A=2", "B=", "COOPER_TEST_THAT_IS_NOT_SET"].map(|p| p.parse().unwrap());
        let args = build_args(&Place::bare(), pairs.to_vec()).unwrap();
        assert_eq!(args, BTreeMap::from([("A", "2"), ("B", "")].map(|(k, v)| (k.to_owned(), v.to_owned()))));
    }
}
