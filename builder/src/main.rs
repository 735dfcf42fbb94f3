//! The front door: from an argument list to an exit code.
//!
//! Takes the process's arguments, gives an exit code. Must start no thread before the sandbox's
//! internal entry points and the user namespace had their turn.
#![forbid(unsafe_code)]

mod agents;
mod answer;
mod certificates;
mod cmd;
mod credential_file;
mod described;
mod env;
mod failure;
mod flags;
mod metadata;
mod open;
mod outputs;
mod places;
mod report;
mod rework;
mod secrets;
mod settings;
mod signals;
mod source;
mod stdout;
mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let texts: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    if let Some(code) = cooper_sandbox::dispatch_internal(&texts) {
        return code;
    }
    cmd::main(args)
}
