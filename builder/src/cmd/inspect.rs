//! `cooper inspect`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::InspectFlags;
use crate::open::{Remote, Session};
use crate::{described, remote, stdout};
use cooper_engine::EngineError;
use cooper_engine::images::ImageDetail;
use cooper_image::{Descriptor, limits};

/// Prints everything about an image, or one of its documents.
pub fn run(place: &Place, flags: &InspectFlags) -> Result<Exit, Failure> {
    if flags.remote {
        return of_registry(place, flags);
    }
    let session = Session::look(place, &place.root()?)?;
    let engine = &session.engine;
    let detail = engine.inspect(&flags.name, flags.platform.as_ref())?;
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
            format!("{} has no manifest yet: its layers were never compressed", detail.reference.familiar()),
            "push it or write it to an archive first; --config shows its configuration",
        )
    })?;
    let bytes = engine.store().read_blob(&wanted, limit).map_err(EngineError::from)?;
    stdout::bytes(bytes.get())?;
    Ok(Exit::Done)
}

fn of_registry(place: &Place, flags: &InspectFlags) -> Result<Exit, Failure> {
    let remote = Remote::open(place)?;
    let name = flags.name.clone().or_latest();
    if flags.raw {
        stdout::bytes(remote.wait(remote.client.top(&name))?.bytes.get())?;
        return Ok(Exit::Done);
    }
    let image = remote::image(&remote, &name, flags.platform.as_ref())?;
    if flags.manifest {
        stdout::bytes(image.manifest.manifest.get())?;
    } else if flags.config {
        stdout::bytes(&image.config(&remote, &name)?)?;
    } else {
        return shown(flags, &image.detail(&remote, &name)?);
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
