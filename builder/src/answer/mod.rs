//! Answers to what is asked of a Dockerfile without building it: for people as buildx shows them, for programs with
//! BuildKit's field names.
//!
//! Takes values of the rooms below; gives text. What comes from a Dockerfile is escaped on its way to a terminal.

pub mod excerpt;
pub mod json;
pub mod text;

use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::lint::Finding;

/// What the checks of one file came to.
pub struct Checked<'a> {
    /// The Dockerfile's name.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// What was found, by line.
    pub findings: &'a [Finding],
    /// Why the file cannot be built, if it cannot: the one that BuildKit would tell.
    pub error: Option<&'a Diagnostic>,
    /// All that stops a build, by place.
    pub errors: &'a [Diagnostic],
}

/// Other things that can be asked.
pub const REQUESTS: [(&str, &str); 4] = [
    ("outline", "List all parameters current build target supports"),
    ("targets", "List all targets current build supports"),
    ("lint", "Lint a Dockerfile"),
    ("subrequests.describe", "List available subrequest types"),
];
