//! `cooper digest`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::DigestFlags;
use crate::open::Remote;
use crate::{remote, stdout};
use cooper_image::{Descriptor, Reference};
use serde::Serialize;

/// An image as JSON.
#[derive(Debug, Serialize)]
pub struct Described {
    /// Its name.
    pub reference: Reference,
    /// What it is.
    #[serde(flatten)]
    pub descriptor: Descriptor,
}

/// Prints the digest of an image at its registry.
pub fn run(place: &Place, flags: &DigestFlags) -> Result<Exit, Failure> {
    let remote = Remote::open(place)?;
    let reference = flags.name.clone().or_latest();
    let descriptor = match &flags.platform {
        Some(platform) => remote::image(&remote, &reference, Some(platform))?.manifest.descriptor,
        None => remote.wait(remote.client.describe(&reference))?,
    };
    if flags.json {
        stdout::json(&Described { reference, descriptor })?;
    } else {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}
