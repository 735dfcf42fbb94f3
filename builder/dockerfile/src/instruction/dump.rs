//! The typed instructions as text, for golden files and for people.
//!
//! Takes a file that stands; gives one line for each instruction, what is absent left out. Equal
//! files give equal text.

use super::{ArgDecl, Command, Copy, Dockerfile, Health, Heredoc, Instruction, Located, Run, Span, Stage};
use std::fmt::Write;

/// The whole file: global ARGs, then each stage with its instructions beneath it.
pub fn dump(file: &Dockerfile) -> String {
    let mut out = String::new();
    for arg in &file.global_args {
        line(&mut out, arg.span, "", &format!("ARG {}", declaration(&arg.value)));
    }
    for stage in &file.stages {
        line(&mut out, stage.span, "", &from(stage));
        for Located { value, span, .. } in &stage.instructions {
            line(&mut out, *span, "  ", &instruction(value));
        }
    }
    out
}

fn line(out: &mut String, span: Span, indent: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}-{} {indent}{text}", span.start, span.end);
}

fn from(stage: &Stage) -> String {
    let mut out = format!("FROM {:?}", stage.base);
    option(&mut out, "as", stage.name.as_ref());
    option(&mut out, "platform", stage.platform.as_ref());
    out
}

/// ` name=value`, when there is a value.
fn option(out: &mut String, name: &str, value: Option<impl std::fmt::Debug>) {
    if let Some(value) = value {
        let _ = write!(out, " {name}={value:?}");
    }
}

fn declaration(arg: &ArgDecl) -> String {
    match &arg.default {
        Some(default) => format!("{:?}={default:?}", arg.name),
        None => format!("{:?}", arg.name),
    }
}

fn instruction(instruction: &Instruction) -> String {
    match instruction {
        Instruction::Arg(args) => format!("ARG {}", args.iter().map(declaration).collect::<Vec<_>>().join(" ")),
        Instruction::Env(p) => format!("ENV {}", pairs(p)),
        Instruction::Label(p) => format!("LABEL {}", pairs(p)),
        Instruction::Run(r) => run(r),
        Instruction::Copy(c) => copy(c),
        Instruction::Cmd(c) => format!("CMD {}", command(c)),
        Instruction::Entrypoint(c) => format!("ENTRYPOINT {}", command(c)),
        Instruction::Expose(l) => format!("EXPOSE {}", list(l)),
        Instruction::Volume(l) => format!("VOLUME {}", list(l)),
        Instruction::User(t) => format!("USER {t:?}"),
        Instruction::Workdir(t) => format!("WORKDIR {t:?}"),
        Instruction::Shell(l) => format!("SHELL {l:?}"),
        Instruction::StopSignal(t) => format!("STOPSIGNAL {t:?}"),
        Instruction::Healthcheck(h) => health(h),
        Instruction::OnBuild(t) => format!("ONBUILD {t:?}"),
        Instruction::Maintainer(t) => format!("MAINTAINER {t:?}"),
    }
}

fn pairs(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name:?}={value:?}")).collect::<Vec<_>>().join(" ")
}

fn list(words: &[String]) -> String {
    words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(" ")
}

fn command(command: &Command) -> String {
    match command {
        Command::Shell(text) => format!("shell {text:?}"),
        Command::Exec(argv) => format!("exec {argv:?}"),
    }
}

fn heredoc(heredoc: &Heredoc) -> String {
    let quoted = if heredoc.expand { "" } else { " quoted" };
    format!("<<{:?}{quoted} {:?}", heredoc.name, heredoc.body)
}

fn run(run: &Run) -> String {
    let mut out = format!("RUN {}", command(&run.command));
    run.mounts.iter().for_each(|m| option(&mut out, "mount", Some(m)));
    option(&mut out, "network", run.network.as_ref());
    option(&mut out, "security", run.security.as_ref());
    run.devices.iter().for_each(|d| option(&mut out, "device", Some(d)));
    if let Some(script) = &run.script {
        let _ = write!(out, " script {}", heredoc(script));
    }
    out
}

fn copy(copy: &Copy) -> String {
    let mut out = if copy.add { "ADD" } else { "COPY" }.to_owned();
    for source in &copy.sources {
        let _ = write!(out, " {source:?}");
    }
    for source in &copy.heredocs {
        let _ = write!(out, " {}", heredoc(source));
    }
    let _ = write!(out, " to {:?}", copy.dest);
    option(&mut out, "from", copy.from.as_ref());
    option(&mut out, "chown", copy.chown.as_ref());
    option(&mut out, "chmod", copy.chmod.as_ref());
    option(&mut out, "link", copy.link.then_some(true));
    option(&mut out, "parents", copy.parents.then_some(true));
    copy.exclude.iter().for_each(|e| option(&mut out, "exclude", Some(e)));
    option(&mut out, "checksum", copy.checksum.as_ref());
    option(&mut out, "keep-git-dir", copy.keep_git_dir);
    option(&mut out, "unpack", copy.unpack);
    out
}

fn health(health: &Health) -> String {
    let mut out = match &health.command {
        Some(test) => format!("HEALTHCHECK {}", command(test)),
        None => "HEALTHCHECK none".to_owned(),
    };
    option(&mut out, "interval", health.interval);
    option(&mut out, "timeout", health.timeout);
    option(&mut out, "start-period", health.start_period);
    option(&mut out, "start-interval", health.start_interval);
    option(&mut out, "retries", health.retries);
    out
}
