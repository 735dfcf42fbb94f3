//! What a plan needs to know: the stages that take part, and the base images whose configurations decide it.
//!
//! Takes: the Dockerfile and the configurations known so far. Gives: the stages that take part, the
//! keys of bases still unknown, and what is wrong.
//! A base may bring ONBUILD triggers that copy from other stages, which have bases of their own: the caller asks
//! again until nothing is missing. Must never: ask for an image that no stage of the target begins with.

use crate::build::Need;
use crate::context::{ContextKind, ContextName};
use crate::expand::{Word, clip};
use crate::fault;
use crate::graph::{Item, Node, Origin};
use crate::scope::Scopes;
use crate::{stage, support};
use cooper_dockerfile::diagnostic::{Diagnostic, Severity};
use cooper_dockerfile::instruction::{Instruction, Located, Span, Stage};
use cooper_dockerfile::mount;
use cooper_image::{ImageConfig, Platform, Reference};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Names the configuration of a base image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseKey {
    /// The image.
    pub image: BaseImage,
    /// The platform that it is wanted for.
    pub platform: Platform,
}

/// Where the image of a base is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseImage {
    /// Where its name says. The reference always has a tag or a digest.
    Named(Reference),
    /// In a named context's OCI layout.
    Layout(ContextName),
}

/// Configurations of base images that are known already.
pub type Bases = BTreeMap<BaseKey, ImageConfig>;

/// What was found on the way from the target to everything that it needs.
pub(crate) struct Survey {
    /// The stages, by number in the file. What is wrong with one is in the faults, and it begins with nothing then.
    pub nodes: BTreeMap<usize, Node>,
    /// Base images that are not known yet.
    pub needs: Vec<Need>,
    /// What is wrong.
    pub faults: Vec<Diagnostic>,
}

/// Walks from the targets to everything that they need. Of the other stages only the FROM is looked at, as in BuildKit.
/// `lost` are stages whose FROM could not be read.
pub(crate) fn survey(scopes: Scopes<'_>, targets: Vec<usize>, bases: &Bases, lost: &BTreeSet<usize>) -> Survey {
    let mut walk = Walk { scopes, bases, lost, needs: BTreeMap::new(), faults: Vec::new() };
    let (mut nodes, mut seen, mut open) = (BTreeMap::new(), BTreeSet::new(), targets);
    while let Some(index) = open.pop() {
        if !seen.insert(index) {
            continue;
        }
        let Some(source) = scopes.file.stages.get(index) else { continue };
        let node = walk.node(index, source);
        open.extend(node.uses());
        nodes.insert(index, node);
        if scopes.budget.is_exhausted() {
            break;
        }
    }
    for (index, source) in scopes.file.stages.iter().enumerate().filter(|(index, _)| !seen.contains(index)) {
        walk.begin(index, source);
        if scopes.budget.is_exhausted() {
            break;
        }
    }
    let needs = walk.needs.into_iter().map(|(key, stage)| Need { key, stage }).collect();
    Survey { nodes, needs, faults: walk.faults }
}

/// The key of a stage's base image, if it begins with one.
pub(crate) fn base_key(node: &Node, asked: &Platform) -> Option<BaseKey> {
    let image = match &node.base {
        Origin::Image(reference) => BaseImage::Named(reference.clone()),
        Origin::Layout(name) => BaseImage::Layout(name.clone()),
        Origin::Scratch | Origin::Stage(_) | Origin::Files(_) => return None,
    };
    Some(BaseKey { image, platform: node.platform.clone().unwrap_or_else(|| asked.clone()) })
}

/// A word of a FROM line, and the error that it is when it is of no use.
struct Expanded {
    text: String,
    undefined: Option<Diagnostic>,
}

/// What `--from` names, and each mount's `from`.
type Named = (Option<Origin>, Vec<Option<Origin>>);

struct Walk<'a> {
    scopes: Scopes<'a>,
    bases: &'a Bases,
    /// Stages whose FROM could not be read.
    lost: &'a BTreeSet<usize>,
    /// The first stage that begins with each.
    needs: BTreeMap<BaseKey, usize>,
    faults: Vec<Diagnostic>,
}

impl Walk<'_> {
    /// What a stage begins with; whether a named context stands in its place.
    fn begin(&mut self, index: usize, source: &Stage) -> (Node, bool) {
        let lost = |platform| Node { base: Origin::Scratch, platform, lost: true, triggers: 0, items: Vec::new() };
        let named = |base, platform| Node { base, lost: false, ..lost(platform) };
        let mut platform = Ok(None);
        if let Some(written) = &source.platform {
            platform = self.platform(written, source.span).map(Some);
        }
        let platform = match self.sure(platform) {
            Ok(platform) => platform,
            Err(fault) => {
                self.faults.extend(fault);
                let base = self.base(index, source, None);
                let base = self.sure(base);
                self.faults.extend(base.err().flatten());
                return (lost(None), false);
            }
        };
        // A context in the stage's place: nothing of the stage is done, its FROM is not even looked up.
        if let Some(base) = source.name.as_deref().and_then(|name| self.context(name, platform.as_ref())) {
            return (named(base, platform), true);
        }
        if self.lost.contains(&index) {
            return (lost(platform), false);
        }
        let base = self.base(index, source, platform.as_ref());
        match self.sure(base) {
            Ok(base) => (named(base, platform), false),
            Err(fault) => {
                self.faults.extend(fault);
                (lost(platform), false)
            }
        }
    }

    /// No fault where it comes of a variable whose value is only guessed; what was found is of no use then, either.
    fn sure<T>(&self, found: Result<T, Diagnostic>) -> Result<T, Option<Diagnostic>> {
        match (found, self.scopes.globals.take_doubt()) {
            (Ok(found), false) => Ok(found),
            (Err(fault), false) => Err(Some(fault)),
            (_, true) => Err(None),
        }
    }

    fn node(&mut self, index: usize, source: &Stage) -> Node {
        let (mut node, replaced) = self.begin(index, source);
        if replaced {
            // What begins with the stage begins with the context's configuration.
            if let Some(key) = base_key(&node, &self.scopes.request.platform).filter(|k| !self.bases.contains_key(k)) {
                self.need(key, index);
            }
            return node;
        }
        let triggers = self.triggers(&node, index, source);
        node.triggers = triggers.len();
        let own = source.instructions.iter().map(|i| (i.clone(), self.scopes.file.escape));
        for (instruction, escape) in triggers.into_iter().chain(own) {
            self.faults.extend(support::check(&instruction, escape));
            let (from, mounts) = self.origins(&instruction, index, node.platform.as_ref());
            node.items.push(Item { instruction, escape, from, mounts });
        }
        node
    }

    fn need(&mut self, key: BaseKey, stage: usize) {
        let first = self.needs.entry(key).or_insert(stage);
        *first = stage.min(*first);
    }

    /// The named context that stands in the place of a stage or an image of that name.
    fn context(&self, name: &str, platform: Option<&Platform>) -> Option<Origin> {
        let request = self.scopes.request;
        let (name, kind) = request.contexts.find(name, platform.unwrap_or(&request.platform))?;
        Some(match kind {
            ContextKind::Scratch => Origin::Scratch,
            ContextKind::Image(reference) => Origin::Image(reference.clone().or_latest()),
            ContextKind::Layout => Origin::Layout(name.clone()),
            ContextKind::Files => Origin::Files(name.clone()),
        })
    }

    /// The base of a FROM: a named context, an earlier stage of that name, `scratch`, else an image.
    fn base(&self, index: usize, source: &Stage, platform: Option<&Platform>) -> Result<Origin, Diagnostic> {
        let Expanded { text: name, undefined } = self.expand_from(&source.base, source.span)?;
        if let Some(context) = self.context(&name, platform) {
            return Ok(context);
        }
        if let Some(stage) = stage::begun_with(self.scopes.file, &name, index) {
            return Ok(Origin::Stage(stage));
        }
        if name == "scratch" {
            return Ok(Origin::Scratch);
        }
        let reference: Result<Reference, _> = name.parse();
        reference.map(|r| self.image(r)).map_err(|e| {
            if let Some(undefined) = undefined {
                return undefined;
            }
            let names = self.scopes.file.stages.iter().take(index).filter_map(|s| s.name.as_deref());
            let hint = match self.scopes.budget.near(&name, names) {
                Some(near) => format!("did you mean the stage {near}?"),
                None if name != source.base => format!("{} became {name:?}; is a variable empty?", source.base),
                None => "a base is scratch, an earlier stage, or [host/]name[:tag][@digest]".to_owned(),
            };
            fault::error(fault::BASE, source.span, e.to_string(), hint).about(&source.base)
        })
    }

    /// An image of that name; in a trigger too, whose instructions are the stage's own.
    fn image(&self, name: Reference) -> Origin {
        Origin::Image(self.scopes.request.aliases.follow(name).or_latest())
    }

    fn platform(&self, text: &str, span: Span) -> Result<Platform, Diagnostic> {
        let Expanded { text: value, undefined } = self.expand_from(text, span)?;
        let hint = "give os/architecture[/variant], or $TARGETPLATFORM or $BUILDPLATFORM";
        value.parse().map_err(|e: cooper_image::platform::PlatformError| {
            undefined.unwrap_or_else(|| fault::error(fault::PLATFORM, span, e.to_string(), hint).about(text))
        })
    }

    /// Expands a word of a FROM line. An unknown variable is empty, as everywhere; but when nothing comes of the word,
    /// the variable is what has to be spoken of.
    fn expand_from(&self, text: &str, span: Span) -> Result<Expanded, Diagnostic> {
        let missing = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            let value = self.scopes.globals.get(name);
            if value.is_none() {
                missing.borrow_mut().insert(name.to_owned());
            }
            value
        };
        let word = Word { text, escape: self.scopes.file.escape, span };
        let value = self.scopes.budget.expand(word, &lookup)?;
        let missing = missing.into_inner();
        let plain = if missing.is_empty() { HashSet::new() } else { named_plainly(text) };
        let unknown = |name: &&String| !self.scopes.globals.is_declared(name) && plain.contains(name.as_str());
        let undefined = missing.iter().find(unknown).map(|name| {
            let hint = match self.scopes.budget.near(name, self.scopes.globals.names()) {
                Some(near) => format!("did you mean {near}? FROM sees only ARGs that stand before the first FROM"),
                None => format!("write ARG {name}=… before the first FROM; an ARG of a stage is not seen here"),
            };
            let message = format!("FROM uses the undefined variable {name}");
            fault::error(fault::EXPANSION, span, message, hint).about(name)
        });
        if value.trim().is_empty() {
            let hint = match missing.first() {
                Some(name) => format!("give {name} a default, or --build-arg {name}=…"),
                None => "name an image, an earlier stage, or scratch".to_owned(),
            };
            let empty =
                || fault::error(fault::BASE, span, format!("{:?} is empty in this FROM", clip(text)), hint).about(text);
            return Err(undefined.unwrap_or_else(empty));
        }
        Ok(Expanded { text: value, undefined })
    }

    /// The triggers that the base left, each as an instruction of this stage.
    fn triggers(&mut self, node: &Node, index: usize, source: &Stage) -> Vec<(Located<Instruction>, char)> {
        let texts: Vec<(String, Span, char)> = match &node.base {
            Origin::Scratch => return Vec::new(),
            Origin::Stage(n) => {
                let escape = self.scopes.file.escape;
                let of = self.scopes.file.stages.get(*n).map_or(&[][..], |s| &s.instructions);
                let trigger = |i: &Located<Instruction>| match &i.value {
                    Instruction::OnBuild(text) => Some((text.clone(), i.span, escape)),
                    _ => None,
                };
                of.iter().filter_map(trigger).collect()
            }
            Origin::Files(_) => return Vec::new(),
            Origin::Image(_) | Origin::Layout(_) => {
                let Some(key) = base_key(node, &self.scopes.request.platform) else { return Vec::new() };
                let Some(config) = self.bases.get(&key) else {
                    self.need(key, index);
                    return Vec::new();
                };
                // An image does not say with which escape character it was written.
                config.config.on_build.iter().map(|t| (t.clone(), source.span, '\\')).collect()
            }
        };
        texts.into_iter().flat_map(|(text, span, escape)| self.trigger(&text, span, escape)).collect()
    }

    fn trigger(&mut self, text: &str, span: Span, escape: char) -> Vec<(Located<Instruction>, char)> {
        if let Err(fault) = self.scopes.budget.spend(text.len(), span) {
            self.faults.push(fault);
            return Vec::new();
        }
        let parsed = match cooper_dockerfile::parse_trigger(text, escape) {
            Ok(parsed) => parsed,
            Err(found) => {
                let placed = |d: Diagnostic| Diagnostic {
                    span,
                    columns: None,
                    message: format!("in the trigger {:?}: {}", clip(text), d.message),
                    hint: d
                        .hint
                        .or_else(|| Some("the base image was made with this trigger; use another base".to_owned())),
                    ..d
                };
                self.faults.extend(found.into_iter().filter(|d| d.severity == Severity::Error).map(placed));
                return Vec::new();
            }
        };
        let placed = |i: Located<Instruction>| Located { span, text: format!("ONBUILD {}", i.text), value: i.value };
        parsed.into_iter().map(|i| (placed(i), escape)).collect()
    }

    /// What `COPY --from` and the mounts of a RUN name; nothing where that is wrong.
    fn origins(&mut self, instruction: &Located<Instruction>, index: usize, platform: Option<&Platform>) -> Named {
        let span = instruction.span;
        let mut faults = Vec::new();
        let mut origin = |from: &str, flag: &str| match self.named_context(from, platform) {
            Some(context) => Some(context),
            None => self.origin(from, flag, index, span).map_err(|fault| faults.push(fault)).ok(),
        };
        let named = match &instruction.value {
            Instruction::Copy(copy) => (copy.from.as_deref().and_then(|from| origin(from, "--from")), Vec::new()),
            Instruction::Run(run) => {
                let named = run.mounts.iter().map(|flag| {
                    let fields = mount::split(flag).unwrap_or_default();
                    // A variable in it is told as such.
                    let from = mount::from(&fields).filter(|from| !from.contains('$'));
                    from.and_then(|from| origin(from, "--mount from"))
                });
                (None, named.collect())
            }
            _ => (None, Vec::new()),
        };
        self.faults.append(&mut faults);
        named
    }

    /// The context that a `from` names; a number is always that of a stage.
    fn named_context(&self, from: &str, platform: Option<&Platform>) -> Option<Origin> {
        let numbered = from.bytes().all(|b| b.is_ascii_digit());
        self.context(from, platform).filter(|_| !numbered)
    }

    /// What a `from` names that is no context; it is never expanded.
    fn origin(&self, from: &str, flag: &str, index: usize, span: Span) -> Result<Origin, Diagnostic> {
        if let Some(stage) = stage::copied_from(self.scopes.file, (flag, from), index, span)? {
            return Ok(Origin::Stage(stage));
        }
        if from == "scratch" {
            return Ok(Origin::Scratch);
        }
        let reference: Result<Reference, _> = from.parse();
        reference.map(|r| self.image(r)).map_err(|e| {
            let names = self.scopes.file.stages.iter().take(index).filter_map(|s| s.name.as_deref());
            let hint = match self.scopes.budget.near(from, names) {
                Some(near) => format!("did you mean the stage {near}?"),
                None => format!("{flag} takes an earlier stage, its number, or an image"),
            };
            fault::error(fault::STAGE, span, e.to_string(), hint).about(stage::as_flag(flag, from))
        })
    }
}

/// The variables that the text uses without saying what to do when they are not set.
pub(crate) fn named_plainly(text: &str) -> HashSet<&str> {
    let uses = text.split('$').skip(1).filter_map(|rest| {
        let (braced, rest) = rest.strip_prefix('{').map_or((false, rest), |inner| (true, inner));
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, behind) = rest.split_at_checked(end)?;
        (!braced || behind.starts_with('}')).then_some(name)
    });
    uses.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::named_plainly;

    #[test]
    fn a_default_is_not_a_plain_use() {
        for (text, plain) in [
            ("$A", &["A"][..]),
            ("${A}", &["A"]),
            ("a:$A-b", &["A"]),
            ("$AB", &["AB"]),
            ("${A:-x}", &[]),
            ("${A:-x}$A", &["A"]),
            ("${B:-$A}", &["A"]),
            ("${AB}", &["AB"]),
            ("A$", &[]),
            ("A", &[]),
        ] {
            assert_eq!(named_plainly(text), plain.iter().copied().collect(), "{text}");
        }
    }
}
