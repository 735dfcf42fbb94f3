//! The names of images on a command line, so that all of them are read with the same aliases.
//!
//! Names in archives are none of them: what `oci-archive://FILE:NAME` names was called so by somebody else.

use super::Command;
use super::build::BuildFlags;
use super::context::ContextFlag;
use super::debug::DebugCommand;
use super::index::IndexCommand;
use super::rework::Ways;
use super::serve::RegistryCommand;
use cooper_engine::context::ContextSource;
use cooper_engine::toolkit::Place;
use cooper_image::Reference;

impl Command {
    /// Every name that is read already. `cooper sync` reads its own later, since the last one is no image's.
    pub fn names(&mut self) -> Vec<&mut Reference> {
        match self {
            Self::Build(flags) => of_build(flags),
            Self::Plan(flags) => of_contexts(&mut flags.look.input.contexts),
            Self::Debug(command) => match &mut **command {
                DebugCommand::Plan(flags) => of_contexts(&mut flags.look.input.contexts),
                DebugCommand::Keys(flags) => of_contexts(&mut flags.input.contexts),
                DebugCommand::Ast(_)
                | DebugCommand::Instructions(_)
                | DebugCommand::Shell(_)
                | DebugCommand::Fsck(_) => Vec::new(),
            },
            Self::Push(flags) => flags.names.iter_mut().collect(),
            Self::Pull(flags) => vec![&mut flags.name],
            Self::History(flags) => vec![&mut flags.name],
            Self::Inspect(flags) => flags.image.name_mut().into_iter().collect(),
            Self::LsTags(flags) => vec![&mut flags.repository],
            Self::Digest(flags) => of_places([&mut flags.image]),
            Self::Exists(flags) => vec![&mut flags.name],
            Self::Rm(flags) => flags.names.iter_mut().collect(),
            Self::Save(flags) => flags.names.iter_mut().collect(),
            Self::Load(flags) => flags.name.iter_mut().collect(),
            Self::Tag(flags) => std::iter::once(&mut flags.source).chain(&mut flags.targets).collect(),
            Self::Copy(flags) => of_places([&mut flags.source, &mut flags.target]),
            Self::Diff(flags) => of_places([&mut flags.old, &mut flags.new]),
            Self::Validate(flags) => of_places([&mut flags.image]),
            Self::Referrers(flags) => of_places([&mut flags.image]),
            Self::Export(flags) => of_places([&mut flags.image]),
            Self::Mutate(flags) => of_places(both(&mut flags.ways)),
            Self::Append(flags) => of_places(both(&mut flags.ways)),
            Self::Flatten(flags) => of_places(both(&mut flags.ways)),
            Self::Rebase(flags) => {
                of_places(both(&mut flags.ways).into_iter().chain(&mut flags.old_base).chain(&mut flags.new_base))
            }
            Self::Index(IndexCommand::Create(flags)) => of_places(flags.sources.iter_mut().chain(&mut flags.targets)),
            Self::Index(IndexCommand::Add(flags)) => of_places(flags.sources.iter_mut().chain([&mut flags.index])),
            Self::Index(IndexCommand::Annotate(flags)) => of_places([&mut flags.index]),
            Self::Check(_)
            | Self::Explain(_)
            | Self::Sync(_)
            | Self::Login(_)
            | Self::Logout(_)
            | Self::Images(_)
            | Self::Catalog(_)
            | Self::Du(_)
            | Self::Prune(_)
            | Self::Registry(RegistryCommand::Serve(_))
            | Self::Unshare(_)
            | Self::Doctor(_) => Vec::new(),
        }
    }
}

fn of_build(flags: &mut BuildFlags) -> Vec<&mut Reference> {
    let outputs = flags.result.outputs.iter_mut().filter_map(|output| output.0.as_mut());
    let named = outputs.flat_map(|output| output.names_mut());
    flags.result.tags.iter_mut().chain(named).chain(of_contexts(&mut flags.input.contexts)).collect()
}

fn of_contexts(contexts: &mut [ContextFlag]) -> Vec<&mut Reference> {
    let named = contexts.iter_mut().filter_map(|context| match &mut context.source {
        ContextSource::Image(name) => Some(name),
        _ => None,
    });
    named.collect()
}

fn of_places<'a>(places: impl IntoIterator<Item = &'a mut Place>) -> Vec<&'a mut Reference> {
    places.into_iter().filter_map(Place::name_mut).collect()
}

fn both(ways: &mut Ways) -> [&mut Place; 2] {
    [&mut ways.source, &mut ways.target]
}

#[cfg(test)]
mod tests {
    use crate::flags::Cli;
    use clap::Parser as _;

    #[test]
    fn every_name_is_found() {
        for line in [
            "build -t NAME:1 -t NAME -o type=image,name=NAME -o type=docker,dest=f,name=NAME:1 --build-context a=docker-image://NAME .",
            "plan --build-context a=docker-image://NAME --build-context b=dir .",
            "debug plan --build-context a=docker-image://NAME",
            "debug keys --build-context a=docker-image://NAME",
            "push NAME",
            "pull NAME:1",
            "history NAME",
            "inspect NAME",
            "ls-tags NAME",
            "digest NAME",
            "exists NAME",
            "rm NAME NAME:1",
            "save NAME NAME:1",
            "load",
            "load --name NAME",
            "tag NAME NAME:1 NAME:2",
            "copy NAME store://NAME",
            "copy docker-image://NAME oci-archive://f:name",
            "diff NAME docker-archive://f:name",
            "validate NAME",
            "referrers NAME",
            "export NAME",
            "mutate NAME NAME:1",
            "append NAME NAME:1 --layer f",
            "flatten NAME oci-layout://d:name",
            "rebase NAME NAME:1 --old-base NAME:2 --new-base NAME:3",
            "index create NAME NAME:1 -t NAME:2 -t oci-layout://d:name",
            "index add NAME NAME:1",
            "index annotate NAME linux/arm64",
            "catalog r.example",
            "check",
        ] {
            let words = line.replace("NAME", "team/app");
            let words = std::iter::once("cooper").chain(words.split_whitespace());
            let mut command = Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}")).command;
            let names = command.names();
            assert_eq!(names.len(), line.matches("NAME").count(), "{line}");
            assert!(names.iter().all(|name| name.short() == Some("team/app")), "{line}");
        }
    }
}
