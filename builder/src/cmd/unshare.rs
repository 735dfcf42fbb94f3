//! `cooper unshare`: any program as root of the user namespace in which builds run.

use crate::failure::{Exit, Failure};
use crate::flags::UnshareFlags;
use cooper_engine::EngineError;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Replaces this process by the program. No thread exists yet.
pub fn run(flags: &UnshareFlags) -> Result<Exit, Failure> {
    cooper_sandbox::enter_user_namespace().map_err(EngineError::from)?;
    let [program, arguments @ ..] = flags.argv.as_slice() else { return Ok(Exit::Usage) };
    let error = Command::new(program).args(arguments).exec();
    Err(Failure::file(format!("starting {}", program.display()), Exit::Usage, error))
}
