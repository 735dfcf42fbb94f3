//! What commands have in common that make an image of another one without building it.

use crate::cmd::Place;
use crate::failure::{Exit, Failure};
use crate::flags::rework::Ways;
use crate::places::{self, Places};
use crate::stdout;
use crate::ui::{Detail, Progress, Ui};
use cooper_engine::event::Sink;
use cooper_engine::toolkit::{Draft, Origin, Place as ImagePlace, Referrers, Shipment, Shipped, Top, pick, ship};
use cooper_image::Descriptor;
use serde::Serialize;
use std::sync::Arc;

/// The image that is changed.
pub struct Given<'a> {
    /// Through what other places are reached.
    pub places: &'a Places,
    /// Where it is.
    pub origin: Arc<dyn Origin>,
    /// What it is: a manifest or an index.
    pub top: Descriptor,
    /// Told of transfers.
    pub sink: &'a dyn Sink,
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Made {
    source: String,
    from: String,
    target: String,
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(flatten)]
    shipped: Shipped,
}

/// Changes an image and sends it to its target. `work` may say in the shipment where other blobs come from.
pub fn run(
    place: &Place,
    ways: &Ways,
    places: &Places,
    work: impl FnOnce(&Given<'_>, &mut Shipment) -> Result<Draft, Failure>,
) -> Result<Exit, Failure> {
    let names = places::names(&ways.target, &ways.tags)?;
    if places::is_stdout(&ways.target) && ways.json {
        return Err(Failure::usage("the archive and the JSON both go to standard output", "leave --json away"));
    }
    let ui = Ui::open(Progress::Auto, place.env.term(), Detail::Brief)?;
    let made = (|| {
        let origin = places.origin(&ways.source)?;
        let platform = places::chosen(&ways.target, ways.platform.as_ref(), &*origin)?;
        let top = pick(&*origin, platform.as_ref())?;
        let sink = ui.sink();
        let given = Given { places, origin, top, sink: &*sink };
        let mut shipment = Shipment::default();
        let draft: Arc<dyn Origin> = Arc::new(work(&given, &mut shipment)?);
        let descriptor = draft.top()?;
        shipment.add(&draft, Top { descriptor: descriptor.clone(), names }, Referrers::Stay)?;
        let shipped = ship(&shipment, &*places.target(&ways.target)?, given.sink)?;
        Ok::<_, Failure>((given.top.digest.to_string(), descriptor, shipped))
    })();
    ui.close(None);
    let (from, descriptor, shipped) = made?;
    if ways.json {
        let (source, target) = (ways.source.to_string(), ways.target.to_string());
        stdout::json(&Made { source, from, target, descriptor, shipped })?;
    } else if !places::is_stdout(&ways.target) {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}

/// Opens the places of a change.
///
/// # Errors
/// When they cannot be opened.
pub fn open(place: &Place, ways: &Ways, others: &[&ImagePlace]) -> Result<Places, Failure> {
    let all: Vec<&ImagePlace> = [&ways.source, &ways.target].into_iter().chain(others.iter().copied()).collect();
    Places::open(place, &all)
}
