//! `cooper copy`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::copy::CopyFlags;
use crate::places::{self, Places};
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_engine::toolkit::{Place as ImagePlace, Referrers, Shipment, Shipped, Top, pick, ship};
use cooper_image::Descriptor;
use serde::Serialize;

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Copied {
    source: String,
    target: String,
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(flatten)]
    shipped: Shipped,
}

/// Copies an image, an index or an artifact from one place to another.
pub fn run(place: &Place, flags: &CopyFlags) -> Result<Exit, Failure> {
    if flags.json && places::is_stdout(&flags.target) {
        return Err(Failure::usage("the archive and the JSON both go to standard output", "leave --json away"));
    }
    if flags.referrers && matches!(flags.target, ImagePlace::Store(_)) {
        return Err(Failure::usage(
            "the store keeps images alone, and nothing that refers to them",
            "leave --referrers away, or copy to an OCI layout, an archive or a registry",
        ));
    }
    let names = places::names(&flags.target, &flags.tags)?;
    let ui = Ui::open(flags.view.progress(), place.env.term(), Detail::Brief)?;
    let places = Places::open(place, &[&flags.source, &flags.target])?;
    let copied = (|| {
        let origin = places.origin(&flags.source)?;
        let platform = places::chosen(&flags.target, flags.platform.as_ref(), &*origin)?;
        let descriptor = pick(&*origin, platform.as_ref())?;
        let mut shipment = Shipment::default();
        let referrers = if flags.referrers { Referrers::Come } else { Referrers::Stay };
        shipment.add(&origin, Top { descriptor: descriptor.clone(), names }, referrers)?;
        let target = places.target(&flags.target)?;
        let shipped = ship(&shipment, &*target, &*ui.sink())?;
        Ok::<_, Failure>((descriptor, shipped))
    })();
    ui.end(copied.as_ref().err().map(|e| report::line(e)));
    let (descriptor, shipped) = copied?;
    if flags.json {
        let (source, target) = (flags.source.to_string(), flags.target.to_string());
        stdout::json(&Copied { source, target, descriptor, shipped })?;
    } else if !places::is_stdout(&flags.target) {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}
