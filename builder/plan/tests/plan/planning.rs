//! From a Dockerfile's text to a plan, with base images that a test describes.

use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::Dockerfile;
use cooper_image::{Aliases, ImageConfig, Platform};
use cooper_plan::build::{BaseImage, BaseKey, Bases, Planned, plan};
use cooper_plan::context::Contexts;
use cooper_plan::op::{Base, Copy, Exec, Op, Plan, Stage};
use cooper_plan::request::PlanRequest;
use std::collections::BTreeMap;

/// A request without arguments, for linux/amd64.
pub fn request() -> PlanRequest {
    PlanRequest {
        target: None,
        build_args: BTreeMap::new(),
        platform: Platform::linux("amd64"),
        build_platform: Platform::linux("amd64"),
        no_cache_filter: Vec::new(),
        contexts: Contexts::default(),
        aliases: Aliases::default(),
    }
}

/// A request with `--build-arg`s.
pub fn with_args(args: &[(&str, &str)]) -> PlanRequest {
    let args = args.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    PlanRequest { build_args: args, ..request() }
}

/// A request with `--target`.
pub fn with_target(target: &str) -> PlanRequest {
    PlanRequest { target: Some(target.to_owned()), ..request() }
}

/// Parses what has to be a Dockerfile.
pub fn parse(text: &str) -> Dockerfile {
    let parsed = cooper_dockerfile::parse(text);
    parsed.dockerfile.unwrap_or_else(|| panic!("{text}\n{:?}", parsed.diagnostics))
}

/// Plans to the end; every base is `base`. Also gives the rounds of bases that were asked for.
pub fn rounds(
    text: &str,
    request: &PlanRequest,
    base: &dyn Fn(&BaseKey) -> ImageConfig,
) -> Result<(Plan, Vec<Vec<String>>), Vec<Diagnostic>> {
    let file = parse(text);
    let (mut bases, mut rounds) = (Bases::new(), Vec::new());
    loop {
        match plan(&file, request, &bases)? {
            Planned::Ready(plan) => return Ok((plan, rounds)),
            Planned::Needs(needs) => {
                let keys: Vec<BaseKey> = needs.into_iter().map(|need| need.key).collect();
                assert!(keys.iter().all(|k| !bases.contains_key(k)), "asked twice for {keys:?}");
                rounds.push(keys.iter().map(image_name).collect());
                bases.extend(keys.into_iter().map(|k| (k.clone(), base(&k))));
            }
        }
    }
}

/// The image of a key, as people type it.
pub fn image_name(key: &BaseKey) -> String {
    match &key.image {
        BaseImage::Named(reference) => reference.familiar(),
        BaseImage::Layout(name) => format!("layout {name}"),
    }
}

/// Plans with bases that hold nothing but a PATH.
pub fn planned(text: &str, request: &PlanRequest) -> Result<Plan, Vec<Diagnostic>> {
    rounds(text, request, &|_| with_path()).map(|(plan, _)| plan)
}

/// Plans what has to be right, without arguments.
pub fn good(text: &str) -> Plan {
    planned(text, &request()).unwrap_or_else(|e| panic!("{text}\n{e:#?}"))
}

/// Plans upon one base configuration.
pub fn upon(text: &str, base: &ImageConfig) -> Plan {
    rounds(text, &request(), &|_| base.clone()).unwrap_or_else(|e| panic!("{text}\n{e:#?}")).0
}

/// A base whose only word is its PATH.
pub fn with_path() -> ImageConfig {
    let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
    config.config.env.push("PATH=/bin".to_owned());
    config
}

/// The target's stage.
pub fn target(plan: &Plan) -> &Stage {
    &plan.stages[plan.target.0]
}

/// The configuration of the target after all its edits, upon `base` for images.
pub fn config(plan: &Plan, base: &ImageConfig) -> ImageConfig {
    config_of(plan, target(plan), base)
}

fn config_of(plan: &Plan, stage: &Stage, base: &ImageConfig) -> ImageConfig {
    let mut config = match &stage.base {
        Base::Scratch => ImageConfig::scratch(&stage.platform),
        Base::Image(_) | Base::Layout(_) => base.clone(),
        Base::Files(_) => panic!("files are copied into an empty root"),
        Base::Stage(id) => config_of(plan, &plan.stages[id.0], base),
    };
    for step in &stage.steps {
        match &step.op {
            Op::Edit(edits) => edits.iter().for_each(|e| e.apply(&mut config)),
            Op::Workdir(w) => config.config.working_dir = Some(w.path.to_string()),
            Op::Exec(_) | Op::Copy(_) | Op::Fetch(_) => {}
        }
    }
    config
}

/// Every RUN of the target's stage.
pub fn runs(plan: &Plan) -> Vec<&Exec> {
    target(plan).steps.iter().filter_map(|s| if let Op::Exec(e) = &s.op { Some(e) } else { None }).collect()
}

/// Every COPY and ADD of the target's stage.
pub fn copies(plan: &Plan) -> Vec<&Copy> {
    target(plan).steps.iter().filter_map(|s| if let Op::Copy(c) = &s.op { Some(c) } else { None }).collect()
}

/// History lines of the target's stage.
pub fn history(plan: &Plan) -> Vec<&str> {
    target(plan).steps.iter().map(|s| s.history.as_str()).filter(|h| !h.is_empty()).collect()
}

/// Value of a variable in the environment of the target's last RUN.
pub fn seen(plan: &Plan, name: &str) -> Option<String> {
    let exec = *runs(plan).last().expect("the stage has a RUN");
    exec.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
}
