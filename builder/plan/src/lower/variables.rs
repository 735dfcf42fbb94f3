//! ARG, ENV and LABEL.
//!
//! Takes names and values as written; gives edits of the configuration and changes what later instructions see.
//! Must never: put an ARG into the image's configuration.

use super::{Done, Lowering};
use crate::fault;
use crate::history;
use crate::op::Op;
use crate::scope::{Surroundings, arg_value};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::draft::Effect;
use cooper_dockerfile::instruction::{ArgDecl, Span};
use cooper_image::edit::ConfigEdit;

impl Lowering<'_> {
    /// Unlike ENV, each default sees the ARGs before it on the same line, as in BuildKit.
    pub(super) fn arg(&mut self, args: &[ArgDecl], escape: char, span: Span) -> Result<Done, Diagnostic> {
        let mut shown = Vec::with_capacity(args.len());
        let mut wrong = Wrong::default();
        for arg in args {
            let value = arg_value(arg, (escape, span), &self.around, &self.scopes);
            let value = value.and_then(|value| {
                check(&arg.name, value.as_deref().unwrap_or_default(), "ARG", span)?;
                Ok(value)
            });
            let doubt = self.take_doubt();
            if let Ok(value) = &value {
                self.around.declare(&arg.name, value.as_deref());
            }
            if doubt || value.is_err() {
                self.around.doubt(&arg.name);
            }
            shown.extend(wrong.part(value, doubt).map(|value| (arg.name.clone(), value)));
        }
        wrong.judge(&self.around)?;
        Ok(Done { op: Op::Edit(Vec::new()), history: history::args(&shown) })
    }

    pub(super) fn env(&mut self, pairs: &[(String, String)], escape: char, span: Span) -> Result<Done, Diagnostic> {
        let mut wrong = Wrong::default();
        let (mut set, mut lacking) = (Vec::with_capacity(pairs.len()), Vec::new());
        for (name, value) in pairs {
            let name = self.expand(name, escape, span);
            let doubt = self.take_doubt();
            let Some(name) = wrong.part(name, doubt).filter(|_| !doubt) else {
                lacking.push(Effect::AnyVariable);
                continue;
            };
            let value = self.expand(value, escape, span).and_then(|value| {
                check(&name, &value, "ENV", span)?;
                Ok(value)
            });
            let doubt = self.take_doubt();
            if doubt || value.is_err() {
                lacking.push(Effect::Variables(vec![name.clone()]));
            }
            set.extend(wrong.part(value, doubt).map(|value| (name, value)));
        }
        set.iter().for_each(|(name, value)| self.around.set(name, value));
        lacking.iter().for_each(|effect| self.around.lack(effect));
        wrong.judge(&self.around)?;
        let history = history::pairs("ENV", &set);
        let edits = set.into_iter().map(|(name, value)| ConfigEdit::Env { name, value }).collect();
        Ok(Done { op: Op::Edit(edits), history })
    }

    /// A name may come out empty and is kept so, as in BuildKit.
    pub(super) fn label(&self, pairs: &[(String, String)], escape: char, span: Span) -> Result<Done, Diagnostic> {
        let pairs = self.pairs(pairs, escape, span)?;
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

/// What is wrong with an instruction of several parts: the first that is so for sure, else the first that may be.
#[derive(Default)]
struct Wrong(Option<(bool, Diagnostic)>);

impl Wrong {
    /// Takes the fault of a part; `doubt` says that it may be none.
    fn part<T>(&mut self, found: Result<T, Diagnostic>, doubt: bool) -> Option<T> {
        let fault = match found {
            Ok(part) => return Some(part),
            Err(fault) => fault,
        };
        if self.0.as_ref().is_none_or(|(doubtful, _)| *doubtful && !doubt) {
            self.0 = Some((doubt, fault));
        }
        None
    }

    /// The fault of the instruction.
    fn judge(self, around: &Surroundings) -> Result<(), Diagnostic> {
        let Some((doubt, fault)) = self.0 else { return Ok(()) };
        around.set_doubt(doubt);
        Err(fault)
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
