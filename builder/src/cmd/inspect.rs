//! `cooper inspect`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::{InspectFlags, Subject};
use crate::open::Session;
use crate::places::Places;
use crate::{described, stdout};
use cooper_engine::EngineError;
use cooper_engine::images::{Asked, ImageDetail};
use cooper_engine::toolkit::{Chosen, Place as ImagePlace, Unnamed};
use cooper_image::{Descriptor, Reference, limits};

/// Prints everything about an image, or one of its documents.
pub fn run(place: &Place, flags: &InspectFlags) -> Result<Exit, Failure> {
    match (&flags.image, flags.remote) {
        (Subject::Name(name) | Subject::Place(ImagePlace::Store(name)), false) => of_store(place, flags, name),
        (Subject::Name(name), true) => of_place(place, flags, &ImagePlace::Registry(name.clone())),
        (Subject::Place(at @ ImagePlace::Registry(_)), _) | (Subject::Place(at), false) => of_place(place, flags, at),
        (Subject::Place(at), true) => Err(Failure::usage(
            format!("{at} is no registry, and --remote asks one"),
            "leave --remote away, or give the name alone",
        )),
    }
}

fn of_store(place: &Place, flags: &InspectFlags, name: &Reference) -> Result<Exit, Failure> {
    let session = Session::look(place, &place.root()?)?;
    let engine = &session.engine;
    let detail = engine.inspect(name, flags.platform.as_ref())?;
    let is_document = |d: &Descriptor| d.media_type.is_manifest() || d.media_type.is_index();
    let (wanted, limit) = if flags.raw {
        (Some(detail.descriptor.clone()).filter(is_document), limits::MANIFEST_BYTES)
    } else if flags.manifest {
        (Some(detail.chosen.clone()).filter(is_document), limits::MANIFEST_BYTES)
    } else if flags.config {
        let of_manifest = detail.manifest.as_ref().map(|m| &m.config);
        (Some(of_manifest.unwrap_or(&detail.chosen).clone()), limits::CONFIG_BYTES)
    } else {
        return shown(flags, &detail);
    };
    // A name of an image that was never compressed leads to its configuration.
    let wanted = wanted.ok_or_else(|| {
        Failure::usage(
            format!("{} has no manifest yet: its layers were never compressed", detail.reference),
            "push it or write it to an archive first; --config shows its configuration",
        )
    })?;
    let bytes = engine.store().read_blob(&wanted, limit).map_err(EngineError::from)?;
    stdout::bytes(bytes.get())?;
    Ok(Exit::Done)
}

fn of_place(place: &Place, flags: &InspectFlags, at: &ImagePlace) -> Result<Exit, Failure> {
    let places = Places::open(place, &[at])?;
    let origin = places.origin(at)?;
    if flags.raw {
        stdout::bytes(&origin.document(&origin.top()?)?)?;
        return Ok(Exit::Done);
    }
    let (asked, unnamed) = match at {
        ImagePlace::Registry(name) => (Asked::Name(name.clone()), Unnamed::Nothing),
        _ => (Asked::Place(at.to_string()), Unnamed::First),
    };
    let image = Chosen::of(&*origin, flags.platform.as_ref(), unnamed)?;
    if flags.manifest {
        stdout::bytes(&origin.document(&image.descriptor)?)?;
    } else if flags.config {
        stdout::bytes(&image.config(&*origin)?)?;
    } else {
        return shown(flags, &image.detail(&*origin, asked)?);
    }
    Ok(Exit::Done)
}

fn shown(flags: &InspectFlags, detail: &ImageDetail) -> Result<Exit, Failure> {
    if flags.json {
        stdout::json(detail)?;
    } else {
        stdout::line(&described::text(detail))?;
    }
    Ok(Exit::Done)
}
