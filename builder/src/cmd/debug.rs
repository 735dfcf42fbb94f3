//! `cooper plan` and `cooper debug`: prints what a build would do. Runs nothing; base images are asked for as by a
//! build, since a plan depends on their configurations.

use super::Place;
use super::build::{self, Prepared};
use crate::failure::{Excerpt, Exit, Failure};
use crate::flags::build::BuildFlags;
use crate::flags::debug::{DebugCommand, LookFlags, PlanFlags, TextFlags};
use crate::open::{self, Session};
use crate::signals::{Manner, Signals};
use crate::source::{self, Source};
use crate::stdout;
use crate::ui::{Detail, Progress, Ui, escape};
use cooper_engine::{EngineError, Outlook};

/// `cooper debug`.
pub fn run(place: &Place, command: DebugCommand) -> Result<Exit, Failure> {
    match command {
        DebugCommand::Ast(flags) => {
            let source = text(place, flags)?;
            print(&cooper_dockerfile::ast::dump(&cooper_dockerfile::tree(&source.text)))?;
            judged(source).map(|_| Exit::Done)
        }
        DebugCommand::Instructions(flags) => {
            print(&cooper_dockerfile::instruction::dump(&judged(text(place, flags)?)?))
        }
        DebugCommand::Fsck(flags) => super::fsck::run(place, &flags),
        DebugCommand::Shell(flags) => super::shell::run(place, flags),
        DebugCommand::Plan(flags) => plan(place, flags),
        DebugCommand::Keys(flags) => {
            let outlook = outlook(place, flags)?;
            print(&cooper_plan::outlook::keys(&outlook.plan, outlook.clamp))
        }
    }
}

/// `cooper plan`.
pub fn plan(place: &Place, flags: PlanFlags) -> Result<Exit, Failure> {
    let Outlook { plan, .. } = outlook(place, flags.look)?;
    print(&if flags.dot { cooper_plan::dot::dot(&plan) } else { cooper_plan::dump::dump(&plan) })
}

/// The Dockerfile.
fn text(place: &Place, TextFlags { context, file }: TextFlags) -> Result<Source, Failure> {
    let found = source::find(&context, file.as_deref())?;
    open::source(place, found, || build::request(place, BuildFlags::default()))
}

/// The typed file.
fn judged(source: Source) -> Result<cooper_dockerfile::instruction::Dockerfile, Failure> {
    let parsed = cooper_dockerfile::parse(&source.text);
    parsed.dockerfile.ok_or_else(|| Failure::Build {
        error: Box::new(EngineError::Dockerfile(parsed.diagnostics)),
        dockerfile: Excerpt { name: source.name, text: source.text },
    })
}

fn outlook(place: &Place, flags: LookFlags) -> Result<Outlook, Failure> {
    let LookFlags { context, input } = flags;
    let flags = BuildFlags { context, input, ..BuildFlags::default() };
    let prepared = Prepared::new(place, flags)?;
    let ui = Ui::open(Progress::Plain, place.env.term(), Detail::Brief)?;
    let session = Session::open(place, &place.root()?, open::unchanged_tier())?;
    let signals = Signals::listen(session.runtime.handle(), Manner::End)?;
    let request = prepared.open(place, &session.engine, &signals.cancel())?;
    let outlook = session.engine.outlook(&request, ui.sink());
    ui.close(None);
    outlook.map_err(|error| {
        let dockerfile = Excerpt { name: request.dockerfile_name, text: request.dockerfile };
        Failure::Build { error: Box::new(error), dockerfile }
    })
}

/// The dumps end with a line feed of their own.
fn print(text: &str) -> Result<Exit, Failure> {
    stdout::line(&escape::lines(text.strip_suffix('\n').unwrap_or(text)))?;
    Ok(Exit::Done)
}
