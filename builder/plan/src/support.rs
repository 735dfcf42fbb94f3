//! What the Dockerfile language has and this builder does not do yet, each with a clear word.
//!
//! Takes one instruction as written; gives diagnostics. Must never let a flag pass that nothing honours.

use crate::expand::clip;
use crate::fault::{self, unsupported};
use crate::op::{Network, Security};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Copy, Instruction, Located, Run, Span};
use cooper_dockerfile::mount::{self, MountFault};
use cooper_dockerfile::remote::{self, Remote};
use cooper_dockerfile::suggest;

/// Everything in the instruction that cannot be done, before any variable is expanded.
pub(crate) fn check(instruction: &Located<Instruction>, escape: char) -> Vec<Diagnostic> {
    match &instruction.value {
        Instruction::Run(run) => check_run(run, escape, instruction.span),
        _ => Vec::new(),
    }
}

fn check_run(run: &Run, escape: char, span: Span) -> Vec<Diagnostic> {
    let of_mounts = run.mounts.iter().flat_map(|flag| mount::check(flag, escape));
    let mut found: Vec<_> = of_mounts.map(|f| mounted(f, span)).collect();
    found.extend(security(run, span).err());
    found.extend(network(run, span).err());
    if let Some(device) = run.devices.first() {
        let feature = format!("RUN --device={device}");
        found.push(
            unsupported(span, &feature, "steps have no devices of the machine; use the device outside of the build")
                .about(format!("--device={device}")),
        );
    }
    found
}

/// `RUN --security`.
pub(crate) fn security(run: &Run, span: Span) -> Result<Security, Diagnostic> {
    const MODES: [(&str, Security); 2] = [("sandbox", Security::Sandbox), ("insecure", Security::Insecure)];
    let Some(wanted) = run.security.as_deref() else { return Ok(Security::Sandbox) };
    let message = format!("RUN --security={} is not a security mode", clip(wanted));
    one_of(&MODES, ("--security", wanted), span, message)
}

/// `RUN --network`.
pub(crate) fn network(run: &Run, span: Span) -> Result<Network, Diagnostic> {
    const NETWORKS: [(&str, Network); 3] =
        [("default", Network::Default), ("none", Network::None), ("host", Network::Host)];
    let Some(wanted) = run.network.as_deref() else { return Ok(Network::Default) };
    let message = format!("RUN --network={} is not a network", clip(wanted));
    one_of(&NETWORKS, ("--network", wanted), span, message)
}

/// The value of a flag that has a few names only.
fn one_of<T: Clone>(
    all: &[(&str, T)],
    (flag, wanted): (&str, &str),
    span: Span,
    message: String,
) -> Result<T, Diagnostic> {
    if let Some((_, found)) = all.iter().find(|(name, _)| *name == wanted) {
        return Ok(found.clone());
    }
    let names = || all.iter().map(|(name, _)| *name);
    let hint = match suggest::nearest(wanted, names()) {
        Some(near) => format!("did you mean {flag}={near}?"),
        None => format!("the values of {flag} are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(fault::value(span, message, &hint).about(format!("{flag}={wanted}")))
}

/// What is wrong with a mount, at the option that it is about.
pub(crate) fn mounted(fault: MountFault, span: Span) -> Diagnostic {
    fault::error(fault::VALUE, span, fault.message, fault.hint).about(fault.piece)
}

/// COPY or ADD, for messages.
pub(crate) fn name(copy: &Copy) -> &'static str {
    if copy.add { "ADD" } else { "COPY" }
}

/// Schemes that nothing is fetched with. Any other text in front of a colon may be the name of a directory.
const NOT_FETCHED: [&str; 7] = ["data", "file", "ftp", "ftps", "gs", "s3", "sftp"];

/// What a source names when it is not a path. ADD takes it; COPY does not.
pub(crate) fn remote(copy: &Copy, source: &str, span: Span) -> Result<Option<Remote>, Diagnostic> {
    let Some(found) = remote::parse(source) else {
        let scheme = source.split_once("://").map(|(scheme, _)| scheme);
        let Some(scheme) = scheme.filter(|s| NOT_FETCHED.iter().any(|n| s.eq_ignore_ascii_case(n))) else {
            return Ok(None);
        };
        let message = format!("{} does not take {scheme}: URLs", name(copy));
        let hint = "ADD fetches from http, https and git; give a file of the context by its path in it";
        return Err(fault::value(span, message, hint));
    };
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
    fn schemes_that_are_not_fetched() {
        for add in [true, false] {
            let found = |source| remote(&Copy { add, ..Copy::default() }, source, Span::default());
            for (source, scheme) in [("file:///etc/passwd", "file"), ("FTP://h/f", "FTP"), ("s3://b/k", "s3")] {
                let said = found(source).unwrap_err().message;
                assert!(said.ends_with(&format!("does not take {scheme}: URLs")), "{source}: {said}");
            }
            assert!(["a://b", "file:/x", "dir/ftp://x"].iter().all(|source| found(source) == Ok(None)));
        }
    }

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
