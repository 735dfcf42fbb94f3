//! `cooper referrers`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::copy::ReferrersFlags;
use crate::places::Places;
use crate::stdout;
use crate::ui::{amount, escape, table};
use cooper_engine::toolkit::pick;
use cooper_image::Descriptor;

/// Lists what refers to an image.
pub fn run(place: &Place, flags: &ReferrersFlags) -> Result<Exit, Failure> {
    let places = Places::open(place, &[&flags.image])?;
    let origin = places.origin(&flags.image)?;
    let top = pick(&*origin, flags.platform.as_ref())?;
    let mut found = origin.referrers(&top.digest)?;
    let wanted = flags.artifact_type.as_deref();
    found.retain(|d| wanted.is_none_or(|wanted| d.artifact_type.as_deref() == Some(wanted)));
    if flags.json {
        stdout::json(&found)?;
    } else {
        stdout::line(&text(&found))?;
    }
    Ok(Exit::Done)
}

fn text(found: &[Descriptor]) -> String {
    let rows = found.iter().map(|d| {
        let kind = escape::line(d.artifact_type.as_deref().unwrap_or("-"));
        [d.digest.to_string(), kind, amount::bytes(d.size)]
    });
    let head = std::iter::once(["DIGEST", "TYPE", "SIZE"].map(str::to_owned));
    table::columns(&head.chain(rows).collect::<Vec<_>>())
}
