//! USER, WORKDIR, EXPOSE, VOLUME, STOPSIGNAL and MAINTAINER.
//!
//! Takes words as written; gives edits of the configuration, and the making of a working directory.

use super::{Done, Lowering, ports};
use crate::expand::Word;
use crate::op::{Op, Workdir};
use crate::signal;
use crate::{fault, history};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::Span;
use cooper_image::edit::ConfigEdit;

impl Lowering<'_> {
    /// Stored as it is after expansion; names are looked up in the root when a step runs.
    pub(super) fn user(&mut self, user: &str, escape: char, span: Span) -> Result<Done, Diagnostic> {
        let user = self.expand(user, escape, span)?;
        self.around.user.clone_from(&user);
        let history = format!("USER {user}");
        Ok(Done::edit(ConfigEdit::User(user), history))
    }

    /// The root is always there, so that `WORKDIR /` makes no layer.
    pub(super) fn workdir(&mut self, path: &str, escape: char, span: Span) -> Result<Done, Diagnostic> {
        let path = self.around.cwd.resolve(self.expand(path, escape, span)?.as_bytes());
        self.around.cwd = path.clone();
        let history = format!("WORKDIR {path}");
        if path.rel().is_root() {
            return Ok(Done::edit(ConfigEdit::WorkingDir(path.to_string()), history));
        }
        Ok(Done { op: Op::Workdir(Workdir { path, user: self.around.user.clone() }), history })
    }

    /// A variable may hold several ports.
    pub(super) fn expose(&self, words: &[String], escape: char, span: Span) -> Result<Done, Diagnostic> {
        let mut exposed = ports::Ports::default();
        for text in words {
            let word = Word { text, escape, span };
            for spec in self.scopes.budget.expand_many(word, &|name| self.around.get(name))? {
                let wrong = |e: ports::PortError| fault::value(span, e.to_string(), ports::HINT).about(text);
                let new = exposed.add(&spec).map_err(wrong)?;
                self.scopes.budget.spend(new * ports::BYTES, span)?;
            }
        }
        let exposed = exposed.into_names();
        let history = history::list("EXPOSE", &exposed);
        Ok(Done::edit(ConfigEdit::Expose(exposed), history))
    }

    pub(super) fn volume(&self, paths: &[String], escape: char, span: Span) -> Result<Done, Diagnostic> {
        let written = paths;
        let paths = self.expand_all(written, escape, span)?;
        if let Some(empty) = paths.iter().position(String::is_empty).or(paths.is_empty().then_some(0)) {
            let fault = fault::value(span, "VOLUME has an empty path", "does its variable have a value here?");
            return Err(fault.about(written.get(empty).map_or("", String::as_str)));
        }
        let history = history::list("VOLUME", &paths);
        Ok(Done::edit(ConfigEdit::Volume(paths), history))
    }

    pub(super) fn stop_signal(&self, text: &str, escape: char, span: Span) -> Result<Done, Diagnostic> {
        let name = self.expand(text, escape, span)?;
        if !signal::is_signal(&name) {
            let message = format!("STOPSIGNAL {name} is not a signal");
            return Err(fault::value(span, message, "give a name as SIGTERM, or a number from 1 to 64").about(text));
        }
        let history = format!("STOPSIGNAL {name}");
        Ok(Done::edit(ConfigEdit::StopSignal(name), history))
    }

    pub(super) fn maintainer(&self, name: &str) -> Done {
        Done::edit(ConfigEdit::Author(name.to_owned()), format!("MAINTAINER {name}"))
    }
}
