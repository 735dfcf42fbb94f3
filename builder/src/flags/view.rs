//! How a command that moves images shows what it does.

use super::Command;
use super::index::IndexCommand;
use super::rework::Ways;
use crate::ui::Progress;
use clap::Args;
use cooper_image::Reference;

/// `--progress`, and `-q`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ViewFlags {
    /// How progress is shown, on standard error
    #[arg(long, value_name = "HOW", value_enum, default_value = "auto")]
    pub progress: Progress,

    /// Say nothing but errors. The same as --progress=quiet
    #[arg(short, long)]
    pub quiet: bool,
}

impl ViewFlags {
    /// The view that both give.
    pub fn progress(self) -> Progress {
        if self.quiet { Progress::Quiet } else { self.progress }
    }
}

impl Command {
    /// What is done, for commands that show it as JSON when they are asked to: all that they say then is JSON.
    pub fn in_json(&self) -> Option<String> {
        let (view, what) = match self {
            Self::Pull(flags) => (flags.view, format!("pull {}", flags.name.clone().or_latest().familiar())),
            Self::Push(flags) => (flags.view, format!("push {}", list(&familiar(&flags.names)))),
            Self::Copy(flags) => (flags.view, format!("copy {} {}", flags.source, flags.target)),
            Self::Sync(flags) => (flags.view, format!("sync {}", flags.names.join(" "))),
            Self::Save(flags) => (flags.view, format!("save {}", flags.output.display())),
            Self::Load(flags) => (flags.view, format!("load {}", flags.input.display())),
            Self::Index(command) => match command {
                IndexCommand::Create(flags) => (flags.view, format!("index create {}", list(&flags.targets))),
                IndexCommand::Add(flags) => (flags.view, format!("index add {}", flags.index)),
                IndexCommand::Annotate(flags) => (flags.view, format!("index annotate {}", flags.index)),
            },
            Self::Mutate(flags) => of_ways("mutate", &flags.ways),
            Self::Append(flags) => of_ways("append", &flags.ways),
            Self::Flatten(flags) => of_ways("flatten", &flags.ways),
            Self::Rebase(flags) => of_ways("rebase", &flags.ways),
            Self::Export(flags) => (flags.view, format!("export {}", flags.image)),
            _ => return None,
        };
        (view.progress() == Progress::RawJson).then_some(what)
    }
}

fn familiar(names: &[Reference]) -> Vec<String> {
    names.iter().map(|name| name.clone().or_latest().familiar()).collect()
}

fn list(all: &[impl ToString]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn of_ways(command: &str, ways: &Ways) -> (ViewFlags, String) {
    (ways.view, format!("{command} {} {}", ways.source, ways.target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        view: ViewFlags,
    }

    #[test]
    fn quiet_is_a_view() {
        for (args, view) in [
            (&["x"][..], Progress::Auto),
            (&["x", "-q"], Progress::Quiet),
            (&["x", "--quiet", "--progress", "plain"], Progress::Quiet),
            (&["x", "--progress", "plain"], Progress::Plain),
        ] {
            let line = <Line as clap::Parser>::try_parse_from(args).unwrap_or_else(|e| panic!("{args:?}: {e}"));
            assert_eq!(line.view.progress(), view, "{args:?}");
        }
    }
}
