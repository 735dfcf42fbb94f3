//! `cooper digest`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::DigestFlags;
use crate::open::Remote;
use crate::places::Places;
use crate::stdout;
use cooper_engine::images::Asked;
use cooper_engine::toolkit::{Place as ImagePlace, pick};
use cooper_image::Descriptor;
use serde::Serialize;

/// An image as JSON.
#[derive(Debug, Serialize)]
pub struct Described {
    /// Its name or place.
    pub reference: Asked,
    /// What it is.
    #[serde(flatten)]
    pub descriptor: Descriptor,
}

/// Prints the digest of an image at its registry, or at another place.
pub fn run(place: &Place, flags: &DigestFlags) -> Result<Exit, Failure> {
    let at = &flags.image;
    let (reference, descriptor) = match (at, &flags.platform) {
        (ImagePlace::Registry(name), None) => {
            let remote = Remote::open(place)?;
            (Asked::Name(name.clone()), remote.wait(remote.client.describe(name))?)
        }
        _ => {
            let places = Places::open(place, &[at])?;
            let origin = places.origin(at)?;
            let asked = match at {
                ImagePlace::Registry(name) | ImagePlace::Store(name) => Asked::Name(name.clone()),
                _ => Asked::Place(at.to_string()),
            };
            (asked, pick(&*origin, flags.platform.as_ref())?)
        }
    };
    if flags.json {
        stdout::json(&Described { reference, descriptor })?;
    } else {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}
