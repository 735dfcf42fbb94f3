//! CMD, ENTRYPOINT, SHELL and HEALTHCHECK: commands that are only stored.
//!
//! Takes shell or exec forms; gives edits. Their text is never expanded.

use super::{Done, Lowering};
use crate::fault;
use crate::history;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Command, Health, Span};
use cooper_image::config::Healthcheck;
use cooper_image::edit::ConfigEdit;

impl Lowering<'_> {
    pub(super) fn cmd(&mut self, command: &Command) -> Done {
        self.cmd_set = true;
        let argv = self.argv(command);
        let history = history::quoted("CMD", &argv);
        Done::edit(ConfigEdit::Cmd(argv), history)
    }

    /// A CMD of the base was meant for the base's entry point; one of this stage is kept.
    pub(super) fn entrypoint(&self, command: &Command) -> Done {
        let argv = self.argv(command);
        let history = history::quoted("ENTRYPOINT", &argv);
        Done::edit(ConfigEdit::Entrypoint { argv, clear_cmd: !self.cmd_set }, history)
    }

    pub(super) fn shell(&mut self, argv: &[String], span: Span) -> Result<Done, Diagnostic> {
        if argv.first().is_none_or(String::is_empty) {
            return Err(fault::value(span, "SHELL has no program", "write SHELL [\"/bin/sh\", \"-c\"]"));
        }
        self.around.shell = Some(argv.to_vec());
        Ok(Done::edit(ConfigEdit::Shell(argv.to_vec()), history::list("SHELL", argv)))
    }

    /// Zero means "as the base", which is written by leaving the field away.
    pub(super) fn healthcheck(&self, health: &Health) -> Done {
        let given = |v: Option<u64>| v.filter(|n| *n != 0);
        let test = match &health.command {
            None => vec!["NONE".to_owned()],
            Some(Command::Shell(text)) => vec!["CMD-SHELL".to_owned(), text.clone()],
            Some(Command::Exec(argv)) => std::iter::once("CMD".to_owned()).chain(argv.iter().cloned()).collect(),
        };
        let check = Healthcheck {
            test,
            interval: given(health.interval),
            timeout: given(health.timeout),
            start_period: given(health.start_period),
            start_interval: given(health.start_interval),
            retries: given(health.retries),
        };
        let history = history::healthcheck(&check);
        Done::edit(ConfigEdit::Healthcheck(check), history)
    }

    fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Shell(text) => self.around.shell_form(text),
            Command::Exec(argv) => argv.clone(),
        }
    }
}
