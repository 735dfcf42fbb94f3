//! Scopes of variables: the global one (FROM lines), and what surrounds each instruction of a stage.
//!
//! Takes: ARGs, build arguments, platforms, base configurations. Gives: look-ups and the environment of RUN.
//! Must never: let a global ARG be seen in a stage that does not declare it again.

mod map;

use crate::expand::{Budget, Word, clip};
use crate::fault;
use crate::request::PlanRequest;
use crate::stage;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::draft::{Effect, Unread};
use cooper_dockerfile::instruction::{ArgDecl, Dockerfile, Span};
use cooper_image::{ContainerPath, ImageConfig, Platform};
use map::SharedMap;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Where programs are looked for when the base does not say.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Proxy variables, usable in RUN without an ARG; each also in lower case.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
/// Build arguments for attestation scanners: never part of an environment.
const NOT_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];
/// The build argument for the host name of RUN.
pub(crate) const HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";
/// Longest host name in bytes, as in Linux.
const HOSTNAME_BYTES: usize = 64;
/// Build arguments that BuildKit knows without an ARG.
const BUILT_IN: [&str; 10] = [
    "BUILDKIT_BUILD_NAME",
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    HOSTNAME,
    "BUILDKIT_SBOM_SCAN_CONTEXT",
    "BUILDKIT_SBOM_SCAN_STAGE",
    "BUILDKIT_SYNTAX",
];
/// Platform arguments of the global scope, beside TARGETSTAGE.
const PLATFORM_SUFFIXES: [&str; 5] = ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"];

/// Is it the name of a proxy variable, in upper or lower case?
fn proxy(name: &str) -> Option<&'static str> {
    PROXIES.into_iter().find(|p| name.eq_ignore_ascii_case(p))
}

/// Is a `--build-arg` of this name of use although no ARG declares it?
pub(crate) fn predefined(name: &str) -> bool {
    let platform = |prefix: &str| name.strip_prefix(prefix).is_some_and(|s| PLATFORM_SUFFIXES.contains(&s));
    proxy(name).is_some()
        || platform("TARGET")
        || platform("BUILD")
        || name == "TARGETSTAGE"
        || name == "SOURCE_DATE_EPOCH"
        || BUILT_IN.contains(&name)
}

/// Refuses a host name that no sandbox could have.
pub(crate) fn check_hostname(request: &PlanRequest) -> Result<(), Diagnostic> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match request.build_args.get(HOSTNAME) {
        Some(name) if name.len() > HOSTNAME_BYTES || !name.chars().all(allowed) => {
            let message = format!("{HOSTNAME} is {:?}, which is no host name", clip(name));
            let hint = "use at most 64 letters, digits, - and .";
            Err(fault::value(Span::default(), message, hint))
        }
        _ => Ok(()),
    }
}

/// The scope of FROM lines.
#[derive(Debug)]
pub(crate) struct Globals {
    values: BTreeMap<String, String>,
    declared: BTreeSet<String>,
    /// Those whose value is only guessed, since what sets it is faulty.
    doubtful: BTreeSet<String>,
    doubt: Cell<bool>,
}

impl Globals {
    /// Platform arguments, then the ARGs before the first FROM in file order.
    pub(crate) fn new(file: &Dockerfile, request: &PlanRequest, budget: &Budget) -> Result<Self, Vec<Diagnostic>> {
        let (globals, faults) = Self::guess((file, &[]), request, budget);
        if faults.is_empty() { Ok(globals) } else { Err(faults) }
    }
    /// The same with what is wrong, and as far as values are known; `unread` is what the file lacks.
    pub(crate) fn guess(
        (file, unread): (&Dockerfile, &[Unread]),
        request: &PlanRequest,
        budget: &Budget,
    ) -> (Self, Vec<Diagnostic>) {
        let values = platform_args(file, request);
        let declared = values.keys().cloned().collect();
        let mut globals = Self { values, declared, doubtful: BTreeSet::new(), doubt: Cell::new(false) };
        let mut unread = unread.iter().filter(|u| u.stage.is_none()).peekable();
        let mut faults = Vec::new();
        for (at, arg) in file.global_args.iter().enumerate() {
            while let Some(unread) = unread.next_if(|u| u.behind <= at) {
                globals.lack(&unread.effect);
            }
            let name = &arg.value.name;
            globals.declared.insert(name.clone());
            let value = match (request.build_args.get(name), &arg.value.default) {
                (Some(given), _) => Ok(Some(given.clone())),
                (None, None) => Ok(None),
                (None, Some(text)) => {
                    let word = Word { text, escape: file.escape, span: arg.span };
                    budget.expand(word, &|name| globals.get(name)).map(Some)
                }
            };
            let sure = !globals.take_doubt();
            if sure && value.is_ok() {
                globals.doubtful.remove(name)
            } else {
                globals.doubtful.insert(name.clone())
            };
            match value {
                Ok(Some(v)) => drop(globals.values.insert(name.clone(), v)),
                Ok(None) => {}
                Err(fault) => faults.extend(sure.then_some(fault)),
            }
        }
        unread.for_each(|unread| globals.lack(&unread.effect));
        (globals, faults)
    }
    /// Takes note of what an instruction may have declared that could not be read.
    fn lack(&mut self, effect: &Effect) {
        let Effect::Variables(names) = effect else { return };
        for name in names {
            self.declared.insert(name.clone());
            self.doubtful.insert(name.clone());
        }
    }
    /// A value, if the variable has one.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        if self.doubtful.contains(name) {
            self.doubt.set(true);
        }
        self.values.get(name).cloned()
    }
    /// Was a value asked for that is only guessed, since this was last asked? What is wrong with it then may be right.
    pub(crate) fn take_doubt(&self) -> bool {
        self.doubt.take()
    }
    /// Was it declared, with or without a value?
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.declared.contains(name)
    }
    /// Every name that can be used in a FROM.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().map(String::as_str)
    }
}

fn platform_args(file: &Dockerfile, request: &PlanRequest) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (prefix, p) in [("TARGET", &request.platform), ("BUILD", &request.build_platform)] {
        let of = [
            p.to_string(),
            p.os.clone(),
            p.os_version.clone().unwrap_or_default(),
            p.architecture.clone(),
            p.variant.clone().unwrap_or_default(),
        ];
        values.extend(PLATFORM_SUFFIXES.iter().zip(of).map(|(s, v)| (format!("{prefix}{s}"), v)));
    }
    // As BuildKit: what was asked for, else the name of the last stage, else "default".
    let last = || file.stages.last().and_then(|s| s.name.clone());
    let target = request.target.clone().or_else(last).unwrap_or_else(|| "default".to_owned());
    values.insert("TARGETSTAGE".to_owned(), target);
    for (name, value) in &mut values {
        if let Some(given) = request.build_args.get(name) {
            value.clone_from(given);
        }
    }
    values
}

/// An ARG: when it was first declared, counted from 0, and its value at the last declaration.
type Declared = (usize, Option<Rc<str>>);

/// What an entry of an environment takes beside its bytes, for the budget.
const ENTRY_BYTES: usize = 64;

/// What the instructions of a stage leave behind for those that follow, and for stages FROM this one. A copy is cheap
/// ([`SharedMap`]).
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// ENV and ARG in one map, each applied in file order: the last one wins.
    env: SharedMap<Rc<str>>,
    /// Declared ARGs.
    args: SharedMap<Declared>,
    /// Bytes of both maps written out.
    bytes: usize,
    /// SHELL, if the base or an instruction set one.
    pub shell: Option<Vec<String>>,
    /// The working directory.
    pub cwd: ContainerPath,
    /// USER, empty when it was never set.
    pub user: String,
    /// Variables whose value is only guessed, since what sets it is faulty.
    doubtful: SharedMap<bool>,
    /// May there be variables that nobody knows of, and is the working directory only guessed?
    open: Open,
    doubt: Cell<bool>,
}

/// What may be otherwise than it is written down, since the base is not known or an instruction is faulty.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    variables: bool,
    cwd: bool,
}

impl Surroundings {
    /// Those of a base image.
    pub(crate) fn of_image(config: &ImageConfig) -> Self {
        let c = &config.config;
        let mut around = Self {
            shell: c.shell.clone().filter(|s| !s.is_empty()),
            cwd: ContainerPath::from(c.working_dir.as_deref().unwrap_or("/")),
            user: c.user.clone().unwrap_or_default(),
            ..Self::default()
        };
        for entry in &c.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            around.set(name, value);
        }
        around
    }
    /// Those of a base that is not known.
    pub(crate) fn unknown() -> Self {
        Self { open: Open { variables: true, cwd: true }, ..Self::default() }
    }
    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let value = self.env.get(name).map(|v| v.to_string());
        if value.is_none() && self.open.variables || self.doubtful.get(name) == Some(&true) {
            self.doubt.set(true);
        }
        value
    }
    /// Was something asked for that is only guessed, since this was last asked? What is wrong then may be right.
    pub(crate) fn take_doubt(&self) -> bool {
        self.doubt.take()
    }
    /// Says whether what is wrong may be right.
    pub(crate) fn set_doubt(&self, doubt: bool) {
        self.doubt.set(doubt);
    }
    /// What the working directory decides is asked for.
    pub(crate) fn ask_cwd(&self) -> &ContainerPath {
        if self.open.cwd {
            self.doubt.set(true);
        }
        &self.cwd
    }
    /// Takes note of what an instruction may have done that is faulty.
    pub(crate) fn lack(&mut self, effect: &Effect) {
        match effect {
            Effect::Variables(names) => names.iter().for_each(|name| self.doubt(name)),
            Effect::AnyVariable => self.open.variables = true,
            Effect::Directory => self.open.cwd = true,
            Effect::Base => self.open = Open { variables: true, cwd: true },
        }
    }
    /// The value of a variable is only guessed from here on.
    pub(crate) fn doubt(&mut self, name: &str) {
        if self.doubtful.insert(name, true).is_none() {
            self.bytes += ENTRY_BYTES + name.len();
        }
    }
    /// Is there such a variable, or an ARG of that name without a value?
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.env.get(name).is_some() || self.args.get(name).is_some()
    }
    /// Every variable that has a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.env.iter().map(|(n, _)| n)
    }
    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if self.doubtful.get(name) == Some(&true) {
            self.doubtful.insert(name, false);
        }
        let old = self.env.insert(name, value.into());
        self.count(name, old.as_deref(), Some(value));
    }
    /// Declares an ARG. Without a value it stays undefined, and an ENV of the same name keeps its own.
    pub(crate) fn declare(&mut self, name: &str, value: Option<&str>) {
        if let Some(v) = value
            && !NOT_ENVIRONMENT.contains(&name)
        {
            self.set(name, v);
        }
        let number = self.args.get(name).map_or(self.args.len(), |(number, _)| *number);
        let old = self.args.insert(name, (number, value.map(Rc::from)));
        self.count(name, old.as_ref().map(|(_, v)| v.as_deref().unwrap_or_default()), value);
    }
    /// Counts the bytes of an entry that took the place of an old one, or of none.
    fn count(&mut self, name: &str, old: Option<&str>, new: Option<&str>) {
        let before = old.map_or(0, |v| ENTRY_BYTES + name.len() + v.len());
        self.bytes = (self.bytes + ENTRY_BYTES + name.len() + new.map_or(0, str::len)).saturating_sub(before);
    }
    /// Declared ARGs with the values that RUN sees, as history shows them.
    pub(crate) fn shown_args(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let mut args: Vec<(&str, &Declared)> = self.args.iter().collect();
        args.sort_unstable_by_key(|(_, (number, _))| *number);
        args.into_iter().map(|(n, (_, v))| (n, self.env.get(n).or(v.as_ref()).map_or("", |v| v)))
    }
    /// The whole environment of RUN, sorted by name.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.env.iter().map(|(n, v)| (n.to_owned(), v.to_string())).collect()
    }
    /// Proxy variables from `--build-arg` that the environment does not already have, in both cases, sorted by name.
    pub(crate) fn proxies(&self, request: &PlanRequest) -> Vec<(String, String)> {
        let mut found = BTreeMap::new();
        for (given, value) in &request.build_args {
            if let Some(name) = proxy(given) {
                found.insert(name.to_owned(), value.clone());
                found.insert(name.to_ascii_lowercase(), value.clone());
            }
        }
        // What was given under the very name is stronger than what the other case gave.
        found
            .extend(request.build_args.iter().filter(|(n, _)| proxy(n).is_some()).map(|(n, v)| (n.clone(), v.clone())));
        // An empty one says that there is no proxy.
        found.retain(|name, value| !value.is_empty() && self.env.get(name).is_none());
        found.into_iter().collect()
    }
    /// Text for a shell, as program and arguments.
    pub(crate) fn shell_form(&self, text: &str) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        let mut argv = self.shell.clone().unwrap_or_else(default);
        argv.push(text.to_owned());
        argv
    }
    /// Bytes that it takes where it is written out, as in each RUN, for the budget.
    pub(crate) fn size(&self) -> usize {
        self.bytes + self.copied()
    }
    /// Bytes that a copy of it takes, for the budget.
    pub(crate) fn copied(&self) -> usize {
        let shell: usize = self.shell.iter().flatten().map(String::len).sum();
        ENTRY_BYTES + shell + self.user.len() + self.cwd.rel().as_bytes().len()
    }
}

/// The value of an ARG in a stage: `--build-arg`, else its default, else the global ARG of the same name.
pub(crate) fn arg_value(
    arg: &ArgDecl,
    place: (char, Span),
    around: &Surroundings,
    scopes: &Scopes<'_>,
) -> Result<Option<String>, Diagnostic> {
    if let Some(given) = scopes.request.build_args.get(&arg.name) {
        // The default may be wrong then: nobody looks at it.
        return Ok(Some(given.clone()));
    }
    match &arg.default {
        Some(text) => {
            let word = Word { text, escape: place.0, span: place.1 };
            scopes.budget.expand(word, &|name| around.get(name)).map(Some)
        }
        None => Ok(scopes.globals.get(&arg.name)),
    }
}

/// What every part of one planning shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scopes<'a> {
    pub file: &'a Dockerfile,
    pub request: &'a PlanRequest,
    pub globals: &'a Globals,
    pub budget: &'a Budget,
}

impl Scopes<'_> {
    /// How people know a stage.
    pub(crate) fn label(&self, index: usize) -> String {
        stage::label(self.file, index)
    }
    /// Windows images bring no PATH; everything else gets one.
    pub(crate) fn wants_path(platform: &Platform) -> bool {
        platform.os != "windows"
    }
}
