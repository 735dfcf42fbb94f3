//! The stages of a file: names, bases, descriptions.

use super::Location;
use cooper_dockerfile::instruction::Dockerfile;
use cooper_dockerfile::lint::{self, Source};
use serde::Serialize;

/// `--call=targets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Targets {
    /// Every stage, in file order.
    pub targets: Vec<Target>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Is it built when no target is named?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What the comment above it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it begins with, as written.
    pub base: String,
    /// `--platform`, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its FROM.
    pub location: Location,
}

/// Lists the stages of a file; `text` is what it was read from.
pub fn targets(text: &str, file: &Dockerfile) -> Targets {
    let source = Source::new(text);
    let last = file.stages.len().saturating_sub(1);
    let target = |(index, stage): (usize, &cooper_dockerfile::instruction::Stage)| Target {
        name: stage.name.clone(),
        default: index == last,
        description: stage.name.as_deref().and_then(|name| described(&source, stage.span.start, name)),
        base: stage.base.clone(),
        platform: stage.platform.clone(),
        location: stage.span.into(),
    };
    Targets { targets: file.stages.iter().enumerate().map(target).collect() }
}

/// What the comment above a line says of a name.
pub(super) fn described(source: &Source<'_>, line: u32, name: &str) -> Option<String> {
    lint::description(source, line, name).map(str::to_owned)
}
