//! ARG, ENV and LABEL.
//!
//! Takes names and values as written; gives edits of the configuration and changes what later instructions see.
//! Must never: put an ARG into the image's configuration.

use super::{Done, Lowering};
use crate::fault;
use crate::history;
use crate::op::Op;
use crate::scope::arg_value;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{ArgDecl, Span};
use cooper_image::edit::ConfigEdit;

impl Lowering<'_> {
    /// Unlike ENV, each default sees the ARGs before it on the same line, as in BuildKit.
    pub(super) fn arg(&mut self, args: &[ArgDecl], escape: char, span: Span) -> Result<Done, Diagnostic> {
        let mut shown = Vec::with_capacity(args.len());
        for arg in args {
            let value = arg_value(arg, (escape, span), &self.around, &self.scopes)?;
            check(&arg.name, value.as_deref().unwrap_or_default(), "ARG", span)?;
            self.around.declare(&arg.name, value.as_deref());
            shown.push((arg.name.clone(), value));
        }
        Ok(Done { op: Op::Edit(Vec::new()), history: history::args(&shown) })
    }

    pub(super) fn env(&mut self, pairs: &[(String, String)], escape: char, span: Span) -> Result<Done, Diagnostic> {
        let pairs = self.pairs(pairs, escape, span)?;
        for (name, value) in &pairs {
            check(name, value, "ENV", span)?;
        }
        pairs.iter().for_each(|(name, value)| self.around.set(name, value));
        let history = history::pairs("ENV", &pairs);
        let edits = pairs.into_iter().map(|(name, value)| ConfigEdit::Env { name, value }).collect();
        Ok(Done { op: Op::Edit(edits), history })
    }

    pub(super) fn label(&self, pairs: &[(String, String)], escape: char, span: Span) -> Result<Done, Diagnostic> {
        let pairs = self.pairs(pairs, escape, span)?;
        if pairs.iter().any(|(name, _)| name.is_empty()) {
            return Err(fault::value(span, "LABEL has an empty name", "write LABEL name=value"));
        }
        let history = history::pairs("LABEL", &pairs);
        let edits = pairs.into_iter().map(|(name, value)| ConfigEdit::Label { name, value }).collect();
        Ok(Done { op: Op::Edit(edits), history })
    }

    /// Names are expanded as well as values, all with what was known before the instruction.
    fn pairs(&self, pairs: &[(String, String)], escape: char, span: Span) -> Result<Vec<(String, String)>, Diagnostic> {
        let one = |(n, v): &(String, String)| Ok((self.expand(n, escape, span)?, self.expand(v, escape, span)?));
        pairs.iter().map(one).collect()
    }
}

/// Refuses what no process can have in its environment.
fn check(name: &str, value: &str, instruction: &str, span: Span) -> Result<(), Diagnostic> {
    if name.is_empty() || name.contains(['=', '\0']) {
        let message = format!("{instruction} has the name {name:?}, which no variable can have");
        return Err(fault::value(span, message, "write NAME=value; a name is not empty and has no =").about(name));
    }
    if value.contains('\0') {
        let message = format!("{instruction} {name} has a value with a zero byte");
        return Err(fault::value(span, message, "no process can have such a value in its environment").about(name));
    }
    Ok(())
}
