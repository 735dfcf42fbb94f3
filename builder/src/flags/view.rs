//! How a command that moves images shows what it does.

use super::Command;
use crate::ui::Progress;
use clap::Args;
use cooper_image::Reference;

/// `--progress`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ViewFlags {
    /// How progress is shown, on standard error
    #[arg(long, value_name = "HOW", value_enum, default_value = "auto")]
    pub progress: Progress,
}

impl Command {
    /// What is done, for commands that show it as JSON when they are asked to: all that they say then is JSON.
    pub fn in_json(&self) -> Option<String> {
        let (view, what) = match self {
            Self::Pull(flags) => (flags.view, format!("pull {}", flags.name.clone().or_latest().familiar())),
            Self::Push(flags) => (flags.view, format!("push {}", list(&flags.names))),
            Self::Copy(flags) => (flags.view, format!("copy {} {}", flags.source, flags.target)),
            Self::Sync(flags) => (flags.view, format!("sync {}", flags.names.join(" "))),
            Self::Save(flags) => (flags.view, format!("save {}", flags.output.display())),
            Self::Load(flags) => (flags.view, format!("load {}", flags.input.display())),
            _ => return None,
        };
        (view.progress == Progress::RawJson).then_some(what)
    }
}

fn list(names: &[Reference]) -> String {
    names.iter().map(|name| name.clone().or_latest().familiar()).collect::<Vec<_>>().join(" ")
}
