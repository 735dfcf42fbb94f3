//! The commands, one file for each, and the way from an argument list to an exit code.

mod append;
mod build;
mod catalog;
mod check;
mod copy;
mod debug;
mod diff;
mod digest;
mod doctor;
mod du;
mod exists;
mod explain;
mod export;
mod flatten;
mod fsck;
mod history;
mod images;
mod index;
mod inspect;
mod load;
mod login;
mod logout;
mod ls_tags;
mod mirrored;
mod mutate;
mod prune;
mod pull;
mod push;
mod rebase;
mod referrers;
mod registry;
mod reread;
mod rm;
mod save;
mod shell;
mod sync;
mod tag;
mod unshare;
mod validate;

use crate::env::{self, Environment, User};
use crate::failure::{Exit, Failure};
use crate::flags::serve::RegistryCommand;
use crate::flags::{Cli, Command, Global};
use crate::report::{self, Colours};
use crate::{settings, ui};
use clap::Parser as _;
use cooper_image::Reference;
use cooper_registry::registries_conf::RegistriesConf;
use rustix::process::{Resource, Rlimit};
use std::cell::OnceCell;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// What every command gets to know of the place it runs in.
pub struct Place {
    /// The variables.
    pub env: Environment,
    /// Flags that every command takes.
    pub global: Global,
    /// Who started the process, before it entered a user namespace.
    user: User,
    /// registries.conf, once it was read.
    registries: OnceCell<RegistriesConf>,
}

impl Place {
    /// Where the store is.
    ///
    /// # Errors
    /// When nothing says it.
    pub fn root(&self) -> Result<PathBuf, Failure> {
        self.env.store_root(self.global.root.as_deref(), self.user)
    }

    /// registries.conf, which is read when it is first wanted.
    ///
    /// # Errors
    /// When a file is malformed.
    pub fn registries(&self) -> Result<&RegistriesConf, Failure> {
        if let Some(known) = self.registries.get() {
            return Ok(known);
        }
        let read = settings::registries(self)?;
        Ok(self.registries.get_or_init(|| read))
    }

    /// What a name of the command line stands for. One that has a host needs no file.
    ///
    /// # Errors
    /// As [`Place::registries`].
    pub fn followed(&self, name: Reference) -> Result<Reference, Failure> {
        if name.short().is_none() {
            return Ok(name);
        }
        let name = self.registries()?.aliases.follow(name);
        if let Some(alias) = name.alias() {
            self.note_alias(alias, &name);
        }
        Ok(name)
    }

    /// With `-v`, says which alias was followed.
    fn note_alias(&self, alias: &str, name: &Reference) {
        self.note(|| format!("alias {alias} is {}/{}", name.host(), name.repository()));
    }

    /// Nowhere, with nothing set.
    #[cfg(test)]
    pub fn bare() -> Self {
        let global = Global {
            root: None,
            registries_conf: None,
            insecure_registries: Vec::new(),
            registry_authorities: Vec::new(),
            token_servers: Vec::new(),
            verbose: false,
        };
        Self { env: Environment::default(), global, user: User::Root, registries: OnceCell::new() }
    }

    /// With `-v`, says one thing about what is used.
    pub fn note(&self, text: impl FnOnce() -> String) {
        if self.global.verbose {
            ui::say(&ui::escape::line(&text()));
        }
    }
}

/// Runs the command that the arguments name. No thread exists yet.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let Cli { mut global, mut command } = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // Help goes to standard output, errors to standard error; a reader that is gone misses it.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    raise_file_limit();
    let work = command.in_json().map(ui::raw::Work::begin);
    global.verbose &= work.is_none();
    let place = Place { env: Environment::read(), global, user: env::user(), registries: OnceCell::new() };
    let colours = if place.env.colours() && std::io::stderr().is_terminal() { Colours::Yes } else { Colours::No };
    let done = follow(&place, &mut command).and_then(|()| run(&place, command));
    if let Some(work) = work {
        let told = done.as_ref().err().map(|f| (report::line(f), report::render(f, Colours::No)));
        work.end(told.as_ref().map(|(error, report)| (error.as_str(), report.as_str())));
        return ExitCode::from(done.map_or_else(|failure| failure.exit() as u8, |exit| exit as u8));
    }
    match done {
        Ok(exit) => ExitCode::from(exit as u8),
        // It has said itself what there was to say.
        Err(Failure::Program(code)) => ExitCode::from(code),
        Err(failure) => {
            ui::say(report::render(&failure, colours).trim_end());
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// Puts what they stand for in the place of all short names.
fn follow(place: &Place, command: &mut Command) -> Result<(), Failure> {
    for name in command.names() {
        *name = place.followed(name.clone())?;
    }
    Ok(())
}

fn run(place: &Place, command: Command) -> Result<Exit, Failure> {
    match &command {
        Command::Registry(RegistryCommand::Serve(_)) => ui::log::open(),
        _ => ui::log::warn(),
    }
    match command {
        Command::Build(flags) => match flags.ask.asked() {
            Some(call) => check::call(place, *flags, call),
            None => build::run(place, *flags),
        },
        Command::Check(flags) => check::run(place, *flags),
        Command::Explain(flags) => explain::run(place, &flags),
        Command::Push(flags) => push::run(place, &flags),
        Command::Pull(flags) => pull::run(place, &flags),
        Command::Copy(flags) => copy::run(place, &flags),
        Command::Index(command) => index::run(place, &command),
        Command::Mutate(flags) => mutate::run(place, &flags),
        Command::Append(flags) => append::run(place, &flags),
        Command::Flatten(flags) => flatten::run(place, &flags),
        Command::Rebase(flags) => rebase::run(place, &flags),
        Command::Export(flags) => export::run(place, &flags),
        Command::Save(flags) => save::run(place, &flags),
        Command::Load(flags) => load::run(place, &flags),
        Command::Sync(flags) => sync::run(place, &flags),
        Command::Diff(flags) => diff::run(place, &flags),
        Command::Validate(flags) => validate::run(place, &flags),
        Command::Referrers(flags) => referrers::run(place, &flags),
        Command::Login(flags) => login::run(place, &flags),
        Command::Logout(flags) => logout::run(place, &flags),
        Command::Tag(flags) => tag::run(place, &flags),
        Command::History(flags) => history::run(place, &flags),
        Command::Images(flags) => images::run(place, &flags),
        Command::Inspect(flags) => inspect::run(place, &flags),
        Command::LsTags(flags) => ls_tags::run(place, &flags),
        Command::Catalog(flags) => catalog::run(place, &flags),
        Command::Digest(flags) => digest::run(place, &flags),
        Command::Exists(flags) => exists::run(place, &flags),
        Command::Rm(flags) => rm::run(place, &flags),
        Command::Du(flags) => du::run(place, &flags),
        Command::Prune(flags) => prune::run(place, &flags),
        Command::Registry(RegistryCommand::Serve(flags)) => registry::serve(place, &flags),
        Command::Unshare(flags) => unshare::run(&flags),
        Command::Plan(flags) => debug::plan(place, *flags),
        Command::Debug(command) => debug::run(place, *command),
        Command::Doctor(flags) => doctor::run(place, &flags),
    }
}

/// An image with many layers keeps a directory of each open, and steps run side by side. That the
/// limit stays as it is is no failure.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
