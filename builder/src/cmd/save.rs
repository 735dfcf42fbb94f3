//! `cooper save`.

use super::Place;
use super::digest::Described;
use crate::failure::{Exit, Failure};
use crate::flags::archive::{Format, SaveFlags};
use crate::places::{self, Places};
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_engine::event::Event;
use cooper_engine::images::Asked;
use cooper_engine::toolkit::{
    Kind, Name, Place as ImagePlace, Referrers, Shipment, Shipped, Top, may_have, pick, ship,
};
use serde::Serialize;
use std::path::Path;

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Saved {
    target: String,
    images: Vec<Described>,
    #[serde(flatten)]
    shipped: Shipped,
}

/// Writes images of the store into one archive.
pub fn run(place: &Place, flags: &SaveFlags) -> Result<Exit, Failure> {
    if flags.json && flags.output == Path::new("-") {
        return Err(Failure::usage("the archive and the JSON both go to standard output", "give -o FILE"));
    }
    if flags.output == Path::new("-") {
        stdout::not_a_terminal("the archive", "give -o FILE, or a pipe")?;
    }
    let kind = match flags.format {
        Format::Docker => Kind::Docker,
        Format::Oci => Kind::Oci,
    };
    let target = ImagePlace::Archive { kind, path: flags.output.clone(), name: None };
    let ui = Ui::open(flags.view.progress(), place.env.term(), Detail::Brief)?;
    let places = Places::with_store(place)?;
    let done = (|| {
        let (mut shipment, mut images, sink) = (Shipment::default(), Vec::new(), ui.sink());
        for name in &flags.names {
            let name = name.clone().or_latest();
            let origin = places.origin(&ImagePlace::Store(name.clone()))?;
            let platform = places::chosen(&target, flags.platform.as_ref(), &*origin)?;
            let descriptor = pick(&*origin, platform.as_ref())?;
            images.push(Described { reference: Asked::Name(name.clone()), descriptor: descriptor.clone() });
            // Of an index whose digest is the name, the store may have one platform's image alone.
            let has_name = may_have(&descriptor, &name);
            if !has_name {
                let text = format!("{} has no name in the archive: its digest is that of an index", name.familiar());
                sink.event(Event::Warning { text });
            }
            let names = has_name.then_some(Name::Full(name)).into_iter().collect();
            shipment.add(&origin, Top { descriptor, names }, Referrers::Stay)?;
        }
        let shipped = ship(&shipment, &*places.target(&target)?, &*sink)?;
        Ok::<_, Failure>(Saved { target: target.to_string(), images, shipped })
    })();
    ui.end(done.as_ref().err().map(|e| report::line(e)));
    let saved = done?;
    if flags.json {
        stdout::json(&saved)?;
    }
    Ok(Exit::Done)
}
