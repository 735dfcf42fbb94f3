//! Dockerfile text to typed instructions and findings; words and `$VAR`; ignore files; globs.
//!
//! Takes text that somebody else read and gives values. Does no I/O and looks at no clock and no
//! environment. Hostile text ends in findings: nothing here panics on it, and all work on it is
//! bounded by [`limits`].
#![forbid(unsafe_code)]

pub mod ast;
pub mod csv;
pub mod diagnostic;
pub mod directives;
pub mod draft;
pub mod glob;
pub mod heredoc;
pub mod ignore;
pub mod instruction;
pub mod limits;
mod lines;
pub mod lint;
mod lower;
pub mod mount;
mod parse;
pub mod place;
pub mod print;
pub mod remote;
mod split;
pub mod suggest;
pub mod syntax;
pub mod words;

pub use lines::{Comment, Tabs};
pub use split::Flag;

use diagnostic::{Diagnostic, Severity, Sink};
use draft::Draft;
use instruction::{Dockerfile, Instruction, Located};

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The instructions; nothing when any finding is an error.
    pub dockerfile: Option<Dockerfile>,
    /// What can be read of a file with errors, when it has a stage at all; nothing when there is no error.
    pub draft: Option<Draft>,
    /// Everything found, by line: all the errors of the file, not the first alone.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a Dockerfile. Never panics.
pub fn parse(text: &str) -> Parsed {
    let mut sink = Sink::default();
    let ast = parse::file(text, &mut sink);
    let draft = lower::file(&ast, &mut sink);
    let mut diagnostics = sink.finish();
    place::fill_from(&mut diagnostics, text, &ast);
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    match draft {
        Some(draft) if !failed => Parsed { dockerfile: Some(draft.file), draft: None, diagnostics },
        draft => Parsed { dockerfile: None, draft, diagnostics },
    }
}

/// Reads a Dockerfile as far as the dumb tree, for `dump` and for tools; findings are left out.
pub fn tree(text: &str) -> ast::Ast {
    parse::file(text, &mut Sink::default())
}

/// Reads one trigger of ONBUILD as an image's configuration holds it. FROM, MAINTAINER and ONBUILD
/// are errors in it. Lines in the findings count within the trigger.
pub fn parse_trigger(text: &str, escape: char) -> Result<Vec<Located<Instruction>>, Vec<Diagnostic>> {
    let mut sink = Sink::default();
    let ast = parse::fragment(text, escape, &mut sink);
    let found = lower::trigger(&ast, &mut sink);
    if !sink.has_errors() {
        return Ok(found);
    }
    let mut findings = sink.finish();
    place::fill_from(&mut findings, text, &ast);
    Err(findings)
}
