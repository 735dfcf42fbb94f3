//! `cooper append`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::rework::AppendFlags;
use crate::rework::{self, Opened};
use cooper_engine::toolkit::{Draft, NewLayer};

/// Puts layers on an image.
pub fn run(place: &Place, flags: &AppendFlags) -> Result<Exit, Failure> {
    if flags.layers.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(Failure::usage("standard input holds one layer", "give the others as files"));
    }
    let opened = Opened::of(place, &flags.ways, &[])?;
    let layers: Vec<NewLayer> = flags.layers.iter().map(|path| NewLayer::read(path)).collect::<Result<_, _>>()?;
    rework::run(&flags.ways, &opened, |given, _| {
        Ok(Draft::of(&given.origin, &given.top, &mut |image| {
            layers.iter().for_each(|layer| image.push(layer.clone(), "cooper append"));
            Ok(())
        })?)
    })
}
