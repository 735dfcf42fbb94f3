//! `cooper copy`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::copy::CopyFlags;
use crate::places::{self, Places};
use crate::stdout;
use crate::ui::{Detail, Progress, Ui};
use cooper_engine::EngineError;
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
    if flags.json && is_stdout(&flags.target) {
        return Err(Failure::usage("the archive and the JSON both go to standard output", "leave --json away"));
    }
    let names = places::names(&flags.target, &flags.tags)?;
    let places = Places::open(place, &[&flags.source, &flags.target])?;
    let ui = Ui::open(Progress::Auto, place.env.term(), Detail::Brief)?;
    let copied = (|| {
        let origin = places.origin(&flags.source)?;
        let platform = platform(&flags.target, flags, &*origin)?;
        let descriptor = pick(&*origin, platform.as_ref())?;
        let mut shipment = Shipment::default();
        let referrers = if flags.referrers { Referrers::Come } else { Referrers::Stay };
        shipment.add(&origin, Top { descriptor: descriptor.clone(), names }, referrers)?;
        let target = places.target(&flags.target)?;
        let shipped = ship(&shipment, &*target, &*ui.sink())?;
        Ok::<_, Failure>((descriptor, shipped))
    })();
    ui.close(None);
    let (descriptor, shipped) = copied?;
    if flags.json {
        let (source, target) = (flags.source.to_string(), flags.target.to_string());
        stdout::json(&Copied { source, target, descriptor, shipped })?;
    } else if !is_stdout(&flags.target) {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}

fn is_stdout(target: &ImagePlace) -> bool {
    matches!(target, ImagePlace::Archive { path, .. } if path.as_os_str() == "-")
}

/// Of an index, an archive that holds one image gets this machine's.
fn platform(
    target: &ImagePlace,
    flags: &CopyFlags,
    origin: &dyn cooper_engine::toolkit::Origin,
) -> Result<Option<cooper_image::Platform>, EngineError> {
    let meant = places::platform(target, flags.platform.as_ref());
    // An image alone is what it is; only somebody who asks for a platform is told that it is another one's.
    if flags.platform.is_none() && !origin.top()?.media_type.is_index() { Ok(None) } else { Ok(meant) }
}
