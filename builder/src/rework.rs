//! What commands have in common that make an image of another one without building it.

use crate::cmd::Place;
use crate::failure::{Exit, Failure};
use crate::flags::rework::Ways;
use crate::places::{self, Places};
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_engine::event::Sink;
use cooper_engine::toolkit::{Draft, Origin, Place as ImagePlace, Referrers, Shipment, Shipped, Top, pick, ship};
use cooper_image::Descriptor;
use serde::Serialize;
use std::sync::Arc;

/// What a change is made with. The view comes first: from then on all that is said goes by it.
pub struct Opened {
    ui: Ui,
    places: Places,
}

impl Opened {
    /// With the places of a change, and others that it reads.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn of(place: &Place, ways: &Ways, others: &[&ImagePlace]) -> Result<Self, Failure> {
        let all: Vec<&ImagePlace> = [&ways.source, &ways.target].into_iter().chain(others.iter().copied()).collect();
        Ok(Self { ui: view(place, ways)?, places: Places::open(place, &all)? })
    }

    /// With the store, wherever the image is.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn with_store(place: &Place, ways: &Ways) -> Result<Self, Failure> {
        Ok(Self { ui: view(place, ways)?, places: Places::with_store(place)? })
    }
}

fn view(place: &Place, ways: &Ways) -> Result<Ui, Failure> {
    Ui::open(ways.view.progress(), place.env.term(), Detail::Brief)
}

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
    ways: &Ways,
    Opened { ui, places }: &Opened,
    work: impl FnOnce(&Given<'_>, &mut Shipment) -> Result<Draft, Failure>,
) -> Result<Exit, Failure> {
    let names = places::names(&ways.target, &ways.tags)?;
    if places::is_stdout(&ways.target) && ways.json {
        return Err(Failure::usage("the archive and the JSON both go to standard output", "leave --json away"));
    }
    let made = (|| {
        let origin = places.origin(&ways.source)?;
        let platform = places::chosen(&ways.target, ways.platform.as_ref(), &*origin)?;
        let top = pick(&*origin, platform.as_ref())?;
        let sink = ui.sink();
        let given = Given { places, origin, top, sink: &*sink };
        let mut shipment = Shipment::default();
        let draft = work(&given, &mut shipment)?;
        draft.must_change()?;
        draft.tell(given.sink);
        let draft: Arc<dyn Origin> = Arc::new(draft);
        let descriptor = draft.top()?;
        shipment.add(&draft, Top { descriptor: descriptor.clone(), names }, Referrers::Stay)?;
        let shipped = ship(&shipment, &*places.target(&ways.target)?, given.sink)?;
        Ok::<_, Failure>((given.top.digest.to_string(), descriptor, shipped))
    })();
    ui.end(made.as_ref().err().map(|e| report::line(e)));
    let (from, descriptor, shipped) = made?;
    if ways.json {
        let (source, target) = (ways.source.to_string(), ways.target.to_string());
        stdout::json(&Made { source, from, target, descriptor, shipped })?;
    } else if !places::is_stdout(&ways.target) {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}
