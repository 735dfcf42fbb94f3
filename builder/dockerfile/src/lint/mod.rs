//! Build checks: what is allowed in a Dockerfile and better done otherwise.
//!
//! Takes a Dockerfile's text and tree; gives findings, each of a rule of the table ([`table`], [`own`]). The rules
//! here need the file alone; those that need a plan, an ignore file or a base are in `cooper_plan::lint`. Must never
//! fail: a file with errors has findings too, and hostile text only bounds them ([`Findings`]).

mod apt;
mod broad_copy;
mod casing;
mod comments;
mod continuation;
mod description;
mod fix;
mod names;
mod once;
mod options;
pub mod own;
mod ports;
mod replaced;
mod run;
mod secret_names;
mod secret_values;
mod shell;
mod source;
pub mod table;

pub use comments::{description, descriptions, skipped, skips};
pub use fix::{Edit, apply, diff};
pub use options::{Experimental, Options, OptionsError};
pub use secret_names::is_secret;
pub use secret_values::kind as kind_of_secret;
pub use source::{Source, Token, tokens};

use crate::ast::{Ast, Node};
use crate::diagnostic::{Diagnostic, Severity};
use crate::instruction::Span;
use crate::limits;
use std::collections::HashMap;

/// One rule: an entry of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, which `# check=skip=` takes; also the name of its page.
    pub id: &'static str,
    /// When it is heard.
    pub set: Set,
    /// How bad its findings are; `error=true` makes all of them errors.
    pub severity: Severity,
    /// What is to be kept, in one sentence. For a rule that BuildKit has, BuildKit's sentence.
    pub description: &'static str,
    /// What goes wrong otherwise.
    pub why: &'static str,
    /// What to do about a finding.
    pub fix: &'static str,
}

impl Rule {
    /// The page that explains it, as a path in the repository.
    pub fn page(&self) -> String {
        format!("docs/checks/{}.md", self.id)
    }
}

/// Which rules are heard when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// BuildKit's: heard unless skipped.
    Default,
    /// What a build does otherwise than the file may expect: heard unless skipped, and never an error.
    Notice,
    /// Cooper's own advice, which a sound file may do without: heard like [`Set::Own`], and never an error.
    Advice,
    /// BuildKit's experimental ones: heard when `experimental=` names them, whatever is skipped.
    Experimental,
    /// Cooper's own: heard in `cooper check`, elsewhere when `experimental=` names them.
    Own,
}

impl Set {
    /// Do findings count: for the exit code, and as errors where the file wants that?
    pub fn counts(self) -> bool {
        !matches!(self, Self::Notice | Self::Advice)
    }
}

/// Every rule, BuildKit's first.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    table::RULES.iter().chain(own::RULES.iter()).copied()
}

/// The rule of that name.
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().find(|r| r.id == id)
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule is not kept.
    pub rule: &'static Rule,
    /// The lines it is about.
    pub span: Span,
    /// The stage, from 0, whose steps it is about: not heard when the target does without that stage.
    pub stage: Option<usize>,
    /// What was found, in one sentence.
    pub detail: String,
    /// The piece of the lines that it is about, as it is written.
    pub subject: Option<String>,
    /// What mends it; empty when that takes a person.
    pub edits: Vec<Edit>,
}

impl Finding {
    /// A finding about some lines.
    pub fn new(rule: &'static Rule, span: Span, detail: impl Into<String>) -> Self {
        Self { rule, span, stage: None, detail: detail.into(), subject: None, edits: Vec::new() }
    }

    /// The same, about the steps of a stage.
    #[must_use]
    pub fn in_stage(mut self, stage: Option<usize>) -> Self {
        self.stage = stage;
        self
    }

    /// The same, about a piece of the lines.
    #[must_use]
    pub fn about(mut self, piece: impl Into<String>) -> Self {
        self.subject = Some(piece.into());
        self
    }

    /// The same with what mends it.
    #[must_use]
    pub fn mended_by(mut self, edits: impl IntoIterator<Item = Edit>) -> Self {
        self.edits.extend(edits);
        self
    }

    /// As a finding of the kind that errors are.
    pub fn diagnostic(&self, severity: Severity) -> Diagnostic {
        let made = match severity {
            Severity::Warning => Diagnostic::warning(self.rule.id, self.span, &self.detail),
            Severity::Error => Diagnostic::error(self.rule.id, self.span, &self.detail),
        };
        let made = made.with_hint(self.rule.fix);
        match &self.subject {
            Some(piece) => made.about(piece),
            None => made,
        }
    }
}

/// Where findings are gathered: at most [`limits::DIAGNOSTICS`] of each rule.
#[derive(Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
    counts: HashMap<&'static str, usize>,
}

impl Findings {
    /// Takes one finding, unless there are enough of its rule.
    pub fn push(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.rule.id).or_default();
        if *count < limits::DIAGNOSTICS {
            *count += 1;
            self.found.push(finding);
        }
    }

    /// Are there enough of a rule? Then there is no need to make another.
    pub fn is_full(&self, rule: &Rule) -> bool {
        self.counts.get(rule.id).is_some_and(|n| *n >= limits::DIAGNOSTICS)
    }

    /// Everything, by line; on one line by rule.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.found.sort_by(|a, b| (a.span, a.rule.id).cmp(&(b.span, b.rule.id)));
        self.found
    }
}

/// A file as the rules see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File<'a> {
    pub source: &'a Source<'a>,
    pub ast: &'a Ast,
}

impl<'a> File<'a> {
    /// The instructions, each with its stage from 0; before the first FROM there is none.
    fn nodes(&self) -> impl Iterator<Item = (Option<usize>, &'a Node)> {
        let mut stage = None;
        self.ast.nodes.iter().map(move |node| {
            if node.keyword == "FROM" {
                stage = Some(stage.map_or(0, |n: usize| n + 1));
            }
            (stage, node)
        })
    }
}

/// Looks at a file with every rule that needs nothing else; what a file's comments skip is left in.
pub fn find(source: &Source<'_>, ast: &Ast, out: &mut Findings) {
    let file = File { source, ast };
    casing::find(file, out);
    names::find(file, out);
    continuation::find(file, out);
    replaced::find(file, out);
    once::find(file, out);
    ports::find(file, out);
    description::find(file, out);
    secret_names::find(file, out);
    secret_values::find(file, out);
    apt::find(file, out);
    broad_copy::find(file, out);
}

/// Foreign text as Go's `%q` shows it, as far as names in messages need it.
pub fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
