//! What the Dockerfile language has and this builder does not do yet, each with a clear word.
//!
//! Takes one instruction as written; gives diagnostics. Must never let a flag pass that nothing honours.

use crate::fault::{self, unsupported};
use crate::op::{Network, Security};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Copy, Instruction, Located, Run, Span};
use cooper_dockerfile::mount;
use cooper_dockerfile::remote::{self, Remote};

/// Everything in the instruction that cannot be done, before any variable is expanded.
pub(crate) fn check(instruction: &Located<Instruction>, escape: char) -> Vec<Diagnostic> {
    match &instruction.value {
        Instruction::Run(run) => check_run(run, escape, instruction.span),
        _ => Vec::new(),
    }
}

fn check_run(run: &Run, escape: char, span: Span) -> Vec<Diagnostic> {
    let of_mounts = run.mounts.iter().flat_map(|flag| mount::check(flag, escape));
    let mut found: Vec<_> = of_mounts.map(|f| fault::error(fault::VALUE, span, f.message, f.hint)).collect();
    found.extend(security(run, span).err());
    found.extend(network(run, span).err());
    if let Some(device) = run.devices.first() {
        let feature = format!("RUN --device={device}");
        found.push(unsupported(
            span,
            &feature,
            "steps have no devices of the machine; use the device outside of the build",
        ));
    }
    found
}

/// `RUN --security`.
pub(crate) fn security(run: &Run, span: Span) -> Result<Security, Diagnostic> {
    match run.security.as_deref() {
        None | Some("sandbox") => Ok(Security::Sandbox),
        Some("insecure") => Ok(Security::Insecure),
        Some(other) => {
            let message = format!("RUN --security={other} is not a security mode");
            Err(fault::value(span, message, "use --security=sandbox or insecure, or drop the flag"))
        }
    }
}

/// `RUN --network`.
pub(crate) fn network(run: &Run, span: Span) -> Result<Network, Diagnostic> {
    match run.network.as_deref() {
        None | Some("default") => Ok(Network::Default),
        Some("none") => Ok(Network::None),
        Some("host") => Ok(Network::Host),
        Some(other) => {
            let message = format!("RUN --network={other} is not a network");
            Err(fault::value(span, message, "use --network=default, none or host"))
        }
    }
}

/// COPY or ADD, for messages.
pub(crate) fn name(copy: &Copy) -> &'static str {
    if copy.add { "ADD" } else { "COPY" }
}

/// What a source names when it is not a path. ADD takes it; COPY does not.
pub(crate) fn remote(copy: &Copy, source: &str, span: Span) -> Result<Option<Remote>, Diagnostic> {
    let Some(found) = remote::parse(source) else { return Ok(None) };
    if copy.add {
        return found.map(Some).map_err(|e| fault::value(span, format!("ADD: {e}"), &e.hint));
    }
    let kind = if matches!(found, Ok(Remote::Git(_))) { "a git repository" } else { "a URL" };
    let message = format!("COPY does not take {kind}");
    Err(fault::value(span, message, "COPY takes files of the context, of a stage or of an image; ADD takes others too"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_are_no_paths() {
        for (source, refused) in [
            ("http://h/f", true),
            ("HTTPS://h/f", true),
            ("git@host:team/repo.git", true),
            ("ssh://git@host/repo", true),
            ("git://host/repo", true),
            ("git@file", false),
            ("httpd/conf", false),
            ("dir/http://x", false),
        ] {
            let found = |add| remote(&Copy { add, ..Copy::default() }, source, Span::default());
            assert_eq!(found(false).is_err(), refused, "{source}");
            assert_eq!(found(true).unwrap().is_some(), refused, "{source}");
        }
    }
}
