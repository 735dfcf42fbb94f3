//! `cooper load`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::archive::LoadFlags;
use crate::places::Places;
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_engine::event::Event;
use cooper_engine::toolkit::{
    Listing, Name, Place as ImagePlace, Reach, Referrers, Shipment, Top, check_name, may_have, ship,
};
use cooper_image::{Digest, Reference};
use serde::Serialize;

/// One image that was loaded, as JSON.
#[derive(Debug, Serialize)]
struct Loaded {
    reference: Reference,
    digest: Digest,
}

/// Takes the images of an archive into the store.
pub fn run(place: &Place, flags: &LoadFlags) -> Result<Exit, Failure> {
    let ui = Ui::open(flags.view.progress(), place.env.term(), Detail::Brief)?;
    let places = Places::with_store(place)?;
    let Listing { origin, images } = Reach::archive(&flags.input)?;
    let (count, sink) = (images.len(), ui.sink());
    let one = count == 1;
    let mut shipment = Shipment::default();
    let mut loaded = Vec::new();
    for (descriptor, mut names) in images {
        if let Some(name) = &flags.name {
            if !one {
                let message = format!("{} holds several images, and one name is given", origin.place());
                return Err(Failure::usage(message, "leave --name away: each gets the name that it has there"));
            }
            names = vec![name.clone().or_latest()];
        }
        if names.is_empty() && one {
            let message = format!("{} does not say what {} is called", origin.place(), descriptor.digest);
            return Err(Failure::usage(message, "give it a name with --name"));
        }
        if one {
            let hint = "give it a tag with --name, without the part from the @ on";
            names.iter().try_for_each(|name| check_name(name, &descriptor, hint))?;
        }
        // Of several images none can be given another name here, and none keeps the others from being loaded.
        names.retain(|name| may_have(&descriptor, name));
        if names.is_empty() {
            let text = format!("{}: left out {}, which has no name there", origin.place(), descriptor.digest);
            sink.event(Event::Warning { text });
            continue;
        }
        let digest = descriptor.digest.clone();
        let taken = |name: &Reference| loaded.iter().any(|l: &Loaded| l.reference == *name && l.digest != digest);
        if let Some(name) = names.iter().find(|name| taken(name)) {
            let message = format!("{} calls several images {}", origin.place(), name.familiar());
            return Err(Failure::usage(message, "save them anew, with a name for each"));
        }
        loaded.extend(names.iter().cloned().map(|reference| Loaded { reference, digest: digest.clone() }));
        let names = names.into_iter().map(Name::Full).collect();
        shipment.add(&origin, Top { descriptor, names }, Referrers::Stay)?;
    }
    let Some(first) = loaded.first() else {
        let (message, hint) = match count {
            0 => (format!("{} holds no image", origin.place()), "give another archive"),
            _ => (format!("{} holds several images, and none has a name", origin.place()), "save each with a name"),
        };
        return Err(Failure::usage(message, hint));
    };
    let target = places.target(&ImagePlace::Store(first.reference.clone()))?;
    let shipped = ship(&shipment, &*target, &*sink);
    ui.end(shipped.as_ref().err().map(|e| report::line(e)));
    shipped?;
    if flags.json {
        stdout::json(&loaded)?;
    } else {
        stdout::names(&loaded.iter().map(|l| l.reference.familiar()).collect::<Vec<_>>())?;
    }
    Ok(Exit::Done)
}
