//! Rules about FROM lines: UndefinedArgInFrom, InvalidDefaultArgInFrom, RedundantTargetPlatform,
//! FromPlatformFlagConstDisallowed, InvalidBaseImagePlatform, BaseNotPinned.

use super::View;
use crate::context::{ContextKind, Contexts};
use crate::expand::Budget;
use crate::needs::{BaseImage, BaseKey};
use crate::request::PlanRequest;
use crate::scope::{Globals, Scopes};
use crate::stage;
use cooper_dockerfile::ast::Node;
use cooper_dockerfile::instruction::Stage;
use cooper_dockerfile::lint::table::{
    FROM_PLATFORM_FLAG_CONST_DISALLOWED, INVALID_BASE_IMAGE_PLATFORM, INVALID_DEFAULT_ARG_IN_FROM,
    REDUNDANT_TARGET_PLATFORM, UNDEFINED_ARG_IN_FROM,
};
use cooper_dockerfile::lint::{Edit, Finding, Findings, own::BASE_NOT_PINNED};
use cooper_dockerfile::words;
use cooper_image::{ImageConfig, Platform, Reference};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a stage begins with, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    Scratch,
    Stage(usize),
    Image(Reference),
    /// A name that is none, which planning tells, or an image that a named context brings.
    Unknown,
}

/// The platform that a stage's base is wanted for; `None` when that cannot be told.
pub(super) fn platform(view: View<'_>, source: &Stage, globals: &Globals) -> Option<Platform> {
    match source.platform.as_deref() {
        None => Some(view.subject.request.platform.clone()),
        Some(text) => expand(text, view, globals).text.parse().ok(),
    }
}

/// The named context that a name means to a stage.
fn context<'a>(view: View<'a>, source: &Stage, globals: &Globals, name: &str) -> Option<&'a ContextKind> {
    let request = view.subject.request;
    if request.contexts == Contexts::default() {
        return None;
    }
    let platform = platform(view, source, globals).unwrap_or_else(|| request.platform.clone());
    request.contexts.find(name, &platform).map(|(_, kind)| kind)
}

/// The stages that named contexts take the place of: nothing of them is done.
pub(super) fn replaced(view: View<'_>, globals: &Globals) -> BTreeSet<usize> {
    let is = |source: &Stage| source.name.as_deref().is_some_and(|n| context(view, source, globals, n).is_some());
    view.file.stages.iter().enumerate().filter(|(_, source)| is(source)).map(|(index, _)| index).collect()
}

/// What each stage begins with.
pub(super) fn bases(view: View<'_>, globals: &Globals) -> Vec<Base> {
    let aliases = &view.subject.request.aliases;
    let base = |(index, source): (usize, &Stage)| {
        let name = expand(&source.base, view, globals).text;
        let context = |name: &str| context(view, source, globals, name);
        // A context in the place of the stage or of its base: what it brings is not the file's business.
        match source.name.as_deref().and_then(context).or_else(|| context(&name)) {
            Some(ContextKind::Scratch | ContextKind::Files) => return Base::Scratch,
            Some(ContextKind::Image(_) | ContextKind::Layout) => return Base::Unknown,
            None => {}
        }
        match stage::begun_with(view.file, &name, index) {
            Some(stage) => Base::Stage(stage),
            None if name == "scratch" => Base::Scratch,
            None => name.parse().map_or(Base::Unknown, |r| Base::Image(aliases.follow(r).or_latest())),
        }
    };
    view.file.stages.iter().enumerate().map(base).collect()
}

/// A word of a FROM line, and which variables of it are there.
struct Expanded {
    text: String,
    matched: Vec<String>,
    unmatched: Vec<String>,
}

fn expand(text: &str, view: View<'_>, globals: &Globals) -> Expanded {
    let seen = RefCell::new((Vec::new(), Vec::new(), HashSet::new()));
    let lookup = |name: &str| {
        let value = globals.get(name);
        let (matched, unmatched, all) = &mut *seen.borrow_mut();
        if all.insert(name.to_owned()) {
            let list: &mut Vec<String> = if value.is_some() { matched } else { unmatched };
            list.push(name.to_owned());
        }
        value
    };
    let text = words::expand(text, view.file.escape, &lookup).unwrap_or_default();
    let (matched, unmatched, _) = seen.into_inner();
    Expanded { text, matched, unmatched }
}

pub(super) fn find(view: View<'_>, scopes: Scopes<'_>, bases: &[Base], out: &mut Findings) {
    let globals = scopes.globals;
    let defaults = defaults(view);
    for ((source, nodes), base) in view.file.stages.iter().zip(view.nodes).zip(bases) {
        undeclared(view, source, scopes, out);
        if let Some(defaults) = &defaults {
            default_base(view, source, defaults, out);
        }
        if let (Some(platform), Some(node)) = (&source.platform, nodes.first()) {
            platform_flag(view, source, platform, globals, node, out);
        }
        if let Base::Image(reference) = base {
            image(view, source, reference, globals, out);
        }
    }
}

/// The global scope without any build argument.
fn defaults(view: View<'_>) -> Option<Globals> {
    let request = PlanRequest { build_args: BTreeMap::new(), ..view.subject.request.clone() };
    Globals::new(view.file, &request, &Budget::default()).ok()
}

fn undeclared(view: View<'_>, source: &Stage, scopes: Scopes<'_>, out: &mut Findings) {
    let globals = scopes.globals;
    for word in std::iter::once(&source.base).chain(&source.platform) {
        for name in expand(word, view, globals).unmatched {
            if globals.is_declared(&name) || out.is_full(&UNDEFINED_ARG_IN_FROM) {
                continue;
            }
            let near = scopes.budget.near(&name, globals.names());
            let near = near.map(|n| format!(" (did you mean {n}?)")).unwrap_or_default();
            let detail = format!("FROM argument '{name}' is not declared{near}");
            out.push(Finding::new(&UNDEFINED_ARG_IN_FROM, source.span, detail).about(name));
        }
    }
}

fn default_base(view: View<'_>, source: &Stage, defaults: &Globals, out: &mut Findings) {
    let name = expand(&source.base, view, defaults).text;
    if source.base.contains('$') && name.parse::<Reference>().is_err() {
        let detail = format!("Default value for ARG {} results in empty or invalid base image name", source.base);
        out.push(Finding::new(&INVALID_DEFAULT_ARG_IN_FROM, source.span, detail).about(source.base.clone()));
    }
}

fn platform_flag(view: View<'_>, source: &Stage, written: &str, globals: &Globals, node: &Node, out: &mut Findings) {
    let found = expand(written, view, globals);
    if found.unmatched.is_empty() && found.matched == ["TARGETPLATFORM"] {
        if globals.get("TARGETPLATFORM").is_some_and(|value| value == found.text) {
            let detail = format!(
                "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
            );
            let finding = Finding::new(&REDUNDANT_TARGET_PLATFORM, source.span, detail).about(written);
            out.push(finding.mended_by(without_flag(view, node)));
        }
        return;
    }
    if !found.matched.is_empty() || !found.unmatched.is_empty() {
        return;
    }
    let Ok(platform) = found.text.parse::<Platform>() else { return };
    let name = source.name.as_deref().unwrap_or_default();
    if name.contains(&platform.os) || name.contains(&platform.architecture) {
        return;
    }
    let quoted = cooper_dockerfile::lint::go_quoted(&found.text);
    let detail = format!("FROM --platform flag should not use constant value {quoted}");
    out.push(Finding::new(&FROM_PLATFORM_FLAG_CONST_DISALLOWED, source.span, detail).about(written));
}

/// The FROM without its platform, when it is on one line.
fn without_flag(view: View<'_>, node: &Node) -> Option<Edit> {
    let words = view.source.words_of(node.span);
    let flag = words.iter().position(|t| t.text.starts_with("--platform="))?;
    let (flag, next) = (words.get(flag)?, words.get(flag + 1)?);
    Some(Edit { range: flag.at..next.at, text: String::new() })
}

fn image(view: View<'_>, source: &Stage, reference: &Reference, globals: &Globals, out: &mut Findings) {
    let Some(expected) = platform(view, source, globals) else { return };
    let name = expand(&source.base, view, globals).text;
    let key = BaseKey { image: BaseImage::Named(reference.clone()), platform: expected };
    if let Some(actual) = view.subject.bases.get(&key).map(ImageConfig::platform)
        && (actual.os != key.platform.os || actual.architecture != key.platform.architecture)
    {
        let expected = key.platform;
        let detail = format!(
            "Base image {name} was pulled with platform \"{actual}\", expected \"{expected}\" for current build"
        );
        out.push(Finding::new(&INVALID_BASE_IMAGE_PLATFORM, source.span, detail).about(source.base.clone()));
    }
    if reference.digest().is_none() {
        let detail = format!("the base {name} is named by tag only");
        out.push(Finding::new(&BASE_NOT_PINNED, source.span, detail).about(source.base.clone()));
    }
}
