//! `cooper debug shell`, and the shell that `cooper build --on-failure shell` opens.

use super::Place;
use crate::agents;
use crate::env;
use crate::failure::{Exit, Failure};
use crate::flags::failing::{OnFailureFlag, ShellFlags};
use crate::flags::pair::Pair;
use crate::open::Session;
use crate::report;
use crate::secrets;
use crate::signals::{Manner, Signals};
use crate::ui::say;
use cooper_engine::run_request::RunRequest;
use cooper_engine::shell::ShellRequest;
use cooper_engine::{Engine, EngineError};
use cooper_sandbox::Outcome;
use std::sync::atomic::Ordering;

/// The code of a program that was killed, as a shell tells it: 128 and SIGKILL.
const KILLED: u8 = 137;
/// What a shell adds to the number of a signal that ended a program.
const SIGNALLED: i32 = 128;
/// The variable that says which terminal it is.
const TERM: &str = "TERM";

/// Runs a program where a step failed; ends with its code.
pub fn run(place: &Place, flags: ShellFlags) -> Result<Exit, Failure> {
    let request = ShellRequest {
        argv: flags.argv,
        env: variables(place, flags.env)?,
        secrets: secrets::read(&flags.secrets)?,
        agents: agents::find(place, &flags.ssh)?,
    };
    let root = place.root()?;
    // The last moment with a single thread.
    let tier = cooper_sandbox::enter_user_namespace().map_err(EngineError::from)?;
    let session = Session::open(place, &root, tier)?;
    let signals = Signals::listen(session.runtime.handle(), Manner::Ask)?;
    let ended = session.engine.enter(&flags.id, &request, &signals.cancel());
    if let Some(exit) = signals.received() {
        return Err(Failure::Interrupted(exit));
    }
    match ended? {
        Outcome::Exited(0) => Ok(Exit::Done),
        Outcome::DoneWithoutMemory => {
            say("warning: it ended with 0, but a process of it was killed: out of memory");
            Ok(Exit::Done)
        }
        Outcome::OutOfMemory => {
            say("it was killed: out of memory");
            Err(Failure::Program(KILLED))
        }
        Outcome::Exited(code) => Err(Failure::Program(u8::try_from(code).unwrap_or(u8::MAX))),
        Outcome::Signaled(signal) => Err(Failure::Program(u8::try_from(SIGNALLED + signal).unwrap_or(u8::MAX))),
    }
}

/// Is there a terminal for what is asked for?
pub fn check(wanted: OnFailureFlag) -> Result<(), Failure> {
    if wanted == OnFailureFlag::Shell && !cooper_sandbox::has_terminal() {
        return Err(Failure::usage(
            "--on-failure shell needs a terminal as standard input and output",
            "give --on-failure keep, and look around afterwards with cooper debug shell",
        ));
    }
    Ok(())
}

/// Opens a shell where a build failed, when that is asked for. What goes wrong is told: the build has failed anyway.
pub fn after_failure(
    place: &Place,
    engine: &Engine,
    given: &RunRequest,
    (error, wanted): (&EngineError, OnFailureFlag),
    signals: &Signals,
) {
    let Some(id) = error.kept().filter(|_| wanted == OnFailureFlag::Shell) else { return };
    let request = ShellRequest {
        env: terminal(place),
        secrets: given.secrets.clone(),
        agents: given.agents.clone(),
        ..ShellRequest::default()
    };
    say(&report::line(error));
    say("this is a shell where it failed: what it writes is thrown away, and the build ends with it");
    // The failure has stopped all other steps by it; from here on it is for signals again.
    signals.cancel().store(false, Ordering::SeqCst);
    if let Err(problem) = engine.enter(id, &request, &signals.cancel()) {
        say(&format!("WARNING: there is no shell: {}", report::line(&problem)));
    }
}

fn terminal(place: &Place) -> Vec<(String, String)> {
    let name = if cooper_sandbox::has_terminal() { place.env.term() } else { None };
    name.map(|name| (TERM.to_owned(), name.to_owned())).into_iter().collect()
}

fn variables(place: &Place, given: Vec<Pair>) -> Result<Vec<(String, String)>, Failure> {
    let mut all = terminal(place);
    for Pair { name, value } in given {
        let value = match value {
            Some(value) => Some(value),
            None => env::build_arg(&name)?,
        };
        all.extend(value.map(|value| (name, value)));
    }
    Ok(all)
}
