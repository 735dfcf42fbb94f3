//! RUN.
//!
//! Takes the command and its flags; gives a process with its whole environment. The text of a command is never
//! expanded: that is the shell's work. Must never: put a proxy from `--build-arg` where a key would see it.

use super::{Done, Lowering};
use crate::graph::Item;
use crate::op::{Exec, Op};
use crate::{fault, history, scope, support};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Command, Run, Span};

/// The variable by which ssh finds its agent.
const AGENT: &str = "SSH_AUTH_SOCK";

impl Lowering<'_> {
    pub(super) fn run(&self, run: &Run, item: &Item) -> Result<Done, Diagnostic> {
        let span = item.instruction.span;
        let script = match &run.script {
            Some(heredoc) => Some((file_name(&heredoc.name, span)?, heredoc.body.clone())),
            None => None,
        };
        let argv = match (&script, &run.command) {
            (Some((name, _)), _) => vec![format!("/dev/pipes/{name}")],
            (None, Command::Shell(text)) => self.around.shell_form(text),
            (None, Command::Exec(argv)) => argv.clone(),
        };
        if argv.first().is_none_or(String::is_empty) {
            return Err(fault::value(
                span,
                "RUN has no program",
                "write RUN command, or RUN [\"program\", \"argument\"]",
            ));
        }
        self.scopes.budget.spend(self.around.size(), span)?;
        let history = history::run(&self.around, &argv);
        let (mounts, agent) = self.mounts(run, item)?;
        let mut env = self.around.environment();
        if let Some(socket) = agent
            && let Err(at) = env.binary_search_by(|(name, _)| name.as_str().cmp(AGENT))
        {
            env.insert(at, (AGENT.to_owned(), socket));
        }
        let exec = Exec {
            argv,
            env,
            unkeyed_env: self.around.proxies(self.scopes.request),
            cwd: self.around.cwd.clone(),
            user: self.around.user.clone(),
            script,
            network: support::network(run, span)?,
            hostname: self.scopes.request.build_args.get(scope::HOSTNAME).cloned().filter(|h| !h.is_empty()),
            security: support::security(run, span)?,
            mounts,
        };
        Ok(Done { op: Op::Exec(exec), history })
    }
}

/// The name of a heredoc as the name of a file.
pub(super) fn file_name(name: &str, span: Span) -> Result<String, Diagnostic> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        let message = format!("the heredoc {name:?} cannot be the name of a file");
        return Err(fault::value(span, message, "use a plain word after <<, as <<EOF").about(name));
    }
    Ok(name.to_owned())
}
