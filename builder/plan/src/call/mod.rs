//! What a Dockerfile offers to who builds it: its targets, and what each of them takes.
//!
//! Takes a Dockerfile's text; gives values whose JSON has BuildKit's field names (`frontend/subrequests`). Must never
//! ask for a base: what is offered stands in the file alone.

mod mount;
mod outline;
mod targets;

pub use outline::{Cache, Outline, Parameter, Source, outline};
pub use targets::{Target, Targets, targets};

use cooper_dockerfile::instruction::Span;
use serde::Serialize;

/// A place in the one source that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Location {
    /// Its lines; none for what is about no line.
    pub ranges: Vec<Range>,
}

/// Lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first one.
    pub start: Position,
    /// The last one.
    pub end: Position,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    /// From 1.
    pub line: u32,
}

impl Location {
    /// Where it begins; 0 for nowhere.
    fn first_line(&self) -> u32 {
        self.ranges.first().map_or(0, |range| range.start.line)
    }
}

impl From<Span> for Location {
    fn from(span: Span) -> Self {
        Self { ranges: vec![Range { start: Position { line: span.start }, end: Position { line: span.end } }] }
    }
}
