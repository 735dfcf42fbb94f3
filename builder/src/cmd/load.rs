//! `cooper load`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::archive::LoadFlags;
use crate::places::Places;
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_engine::toolkit::{Listing, Name, Place as ImagePlace, Reach, Referrers, Shipment, Top, check_name, ship};
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
    let ui = Ui::open(flags.view.progress, place.env.term(), Detail::Brief)?;
    let places = Places::with_store(place)?;
    let Listing { origin, images } = Reach::archive(&flags.input)?;
    let one = images.len() == 1;
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
        if names.is_empty() {
            let message = format!("{} does not say what {} is called", origin.place(), descriptor.digest);
            return Err(Failure::usage(message, "give it a name with --name"));
        }
        // Of several images none can be given another name here.
        if flags.name.is_none() && one {
            let hint = "give it a tag with --name, without the part from the @ on";
            names.iter().try_for_each(|name| check_name(name, &descriptor, hint))?;
        }
        let digest = descriptor.digest.clone();
        loaded.extend(names.iter().cloned().map(|reference| Loaded { reference, digest: digest.clone() }));
        let names = names.into_iter().map(Name::Full).collect();
        shipment.add(&origin, Top { descriptor, names }, Referrers::Stay)?;
    }
    let Some(first) = loaded.first() else {
        return Err(Failure::usage(format!("{} holds no image", origin.place()), "give another archive"));
    };
    let target = places.target(&ImagePlace::Store(first.reference.clone()))?;
    let shipped = ship(&shipment, &*target, &*ui.sink());
    ui.end(shipped.as_ref().err().map(|e| report::line(e)));
    shipped?;
    if flags.json {
        stdout::json(&loaded)?;
    } else {
        stdout::names(&loaded.iter().map(|l| l.reference.familiar()).collect::<Vec<_>>())?;
    }
    Ok(Exit::Done)
}
