//! `cooper mutate`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::rework::MutateFlags;
use crate::rework::{self, Opened};
use cooper_engine::toolkit::Draft;
use cooper_image::edit::ConfigEdit;

/// Changes the settings of an image; its layers stay.
pub fn run(place: &Place, flags: &MutateFlags) -> Result<Exit, Failure> {
    let edits = edits(flags);
    let opened = Opened::of(place, &flags.ways, &[])?;
    rework::run(&flags.ways, &opened, |given, _| {
        Ok(Draft::of(&given.origin, &given.top, &mut |image| {
            edits.iter().for_each(|edit| edit.apply(&mut image.config));
            image.annotations.extend(flags.annotations.iter().cloned());
            Ok(())
        })?)
    })
}

fn edits(flags: &MutateFlags) -> Vec<ConfigEdit> {
    let mut edits = Vec::new();
    edits.extend(flags.env.iter().cloned().map(|(name, value)| ConfigEdit::Env { name, value }));
    edits.extend(flags.labels.iter().cloned().map(|(name, value)| ConfigEdit::Label { name, value }));
    // The command that came with the image stays with its new entry point, unless a new one is given.
    edits.extend(flags.entrypoint.clone().map(|argv| ConfigEdit::Entrypoint { argv: argv.0, clear_cmd: false }));
    edits.extend(flags.cmd.clone().map(|argv| ConfigEdit::Cmd(argv.0)));
    edits.extend(flags.user.clone().map(ConfigEdit::User));
    edits.extend(flags.workdir.clone().map(ConfigEdit::WorkingDir));
    edits.extend((!flags.ports.is_empty()).then(|| ConfigEdit::Expose(flags.ports.clone())));
    edits.extend(flags.stop_signal.clone().map(ConfigEdit::StopSignal));
    edits
}
