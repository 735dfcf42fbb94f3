//! `cooper rebase`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::rework::RebaseFlags;
use crate::rework::{self, Given, Opened};
use cooper_engine::toolkit::rebase::{BASE_DIGEST, BASE_NAME, rebase};
use cooper_engine::toolkit::{Draft, ImageDraft, Origin, Place as ImagePlace, first, pick};
use cooper_image::Reference;
use std::sync::Arc;

/// Puts an image on another base.
pub fn run(place: &Place, flags: &RebaseFlags) -> Result<Exit, Failure> {
    let given: Vec<&ImagePlace> = flags.old_base.iter().chain(&flags.new_base).collect();
    let opened = Opened::of(place, &flags.ways, &given)?;
    rework::run(&flags.ways, &opened, |given, shipment| {
        let (old, new) = bases(flags, given)?;
        let (old, from) = (given.places.origin(&old)?, given.places.origin(&new)?);
        let name = match &new {
            ImagePlace::Registry(name) => name.to_string(),
            other => other.to_string(),
        };
        let mut wanted = Vec::new();
        let draft = Draft::of(&given.origin, &given.top, &mut |image: &mut ImageDraft| {
            let platform = image.config.platform();
            wanted.push(pick(&*from, Some(&platform))?);
            rebase(image, &*old, &*from, &name)
        })?;
        wanted.iter().try_for_each(|d| shipment.blobs_of(&from, d))?;
        Ok(draft)
    })
}

/// The bases that are given, else those that the image names.
fn bases(flags: &RebaseFlags, given: &Given<'_>) -> Result<(ImagePlace, ImagePlace), Failure> {
    if let (Some(old), Some(new)) = (&flags.old_base, &flags.new_base) {
        return Ok((old.clone(), new.clone()));
    }
    let noted = noted(&given.origin, given)?;
    let unknown = |which: &str| {
        let message = format!("the image does not say what its base is ({which})");
        Failure::usage(message, "give --old-base and --new-base")
    };
    let name = noted.0.ok_or_else(|| unknown(BASE_NAME));
    let old = match (&flags.old_base, noted.1) {
        (Some(old), _) => old.clone(),
        (None, None) => return Err(unknown(BASE_DIGEST)),
        (None, Some(digest)) => {
            let digest = digest.parse().map_err(|_| unknown(BASE_DIGEST))?;
            ImagePlace::Registry(name.as_ref().map_err(|_| unknown(BASE_NAME))?.with_digest(digest))
        }
    };
    let new = match &flags.new_base {
        Some(new) => new.clone(),
        None => ImagePlace::Registry(name?.or_latest()),
    };
    Ok((old, new))
}

/// Name and digest of the base, as the first image of an index has them.
fn noted(origin: &Arc<dyn Origin>, given: &Given<'_>) -> Result<(Option<Reference>, Option<String>), Failure> {
    let Some(first) = first(&**origin, &given.top)? else { return Ok((None, None)) };
    let annotations = ImageDraft::read(&**origin, &first)?.annotations;
    let name = annotations.get(BASE_NAME).and_then(|name| name.parse().ok());
    Ok((name, annotations.get(BASE_DIGEST).cloned()))
}
