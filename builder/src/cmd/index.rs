//! `cooper index`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::index::{AddFlags, AnnotateFlags, CreateFlags, IndexCommand};
use crate::places::{self, Places};
use crate::stdout;
use crate::ui::{Detail, Progress, Ui};
use cooper_engine::toolkit::{EntryChange, IndexDraft, Place as ImagePlace, SamePlatform, ship};
use cooper_image::Descriptor;
use cooper_image::annotations::{Annotation, Target};
use serde::Serialize;

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Made {
    targets: Vec<String>,
    #[serde(flatten)]
    descriptor: Descriptor,
}

/// Makes or changes an index.
pub fn run(place: &Place, command: &IndexCommand) -> Result<Exit, Failure> {
    match command {
        IndexCommand::Create(flags) => create(place, flags),
        IndexCommand::Add(flags) => add(place, flags),
        IndexCommand::Annotate(flags) => annotate(place, flags),
    }
}

fn create(place: &Place, flags: &CreateFlags) -> Result<Exit, Failure> {
    let annotations: Vec<Annotation> = flags.annotations.iter().flat_map(|flag| flag.0.clone()).collect();
    let places = open(place, flags.sources.iter().chain(&flags.targets))?;
    let mut draft = match flags.targets.first().filter(|_| flags.append) {
        Some(earlier) => begun(&places, earlier)?,
        None => IndexDraft::default(),
    };
    flags.sources.iter().try_for_each(|source| take(&places, &mut draft, source, flags.same.platform()))?;
    draft.annotate(&annotations)?;
    if flags.dry_run {
        stdout::bytes(&draft.finish()?.0)?;
        return Ok(Exit::Done);
    }
    deliver(place, &places, &draft, &flags.targets, flags.json)
}

fn add(place: &Place, flags: &AddFlags) -> Result<Exit, Failure> {
    let places = open(place, flags.sources.iter().chain([&flags.index]))?;
    let mut draft = begun(&places, &flags.index)?;
    flags.sources.iter().try_for_each(|source| take(&places, &mut draft, source, flags.same.platform()))?;
    deliver(place, &places, &draft, std::slice::from_ref(&flags.index), flags.json)
}

fn annotate(place: &Place, flags: &AnnotateFlags) -> Result<Exit, Failure> {
    let platform = [&flags.os, &flags.arch, &flags.variant, &flags.os_version];
    if flags.annotations.is_empty() && platform.iter().all(|part| part.is_none()) {
        let hint = "give --annotation KEY=VALUE, or of an entry --os, --arch, --variant or --os-version";
        return Err(Failure::usage("nothing is to be changed", hint));
    }
    let places = open(place, [&flags.index].into_iter())?;
    let origin = places.origin(&flags.index)?;
    let top = origin.top()?;
    if !top.media_type.is_index() {
        let message = format!("{} is one image and no index", flags.index);
        return Err(Failure::usage(message, "cooper mutate --annotation sets those of an image"));
    }
    let mut draft = IndexDraft::of(&origin, &top)?;
    match &flags.entry {
        Some(entry) => draft.change(
            entry,
            &EntryChange {
                os: flags.os.clone(),
                architecture: flags.arch.clone(),
                variant: flags.variant.clone(),
                os_version: flags.os_version.clone(),
                annotations: flags.annotations.clone(),
            },
        )?,
        None => {
            let of_index = |(key, value): &(String, String)| Annotation {
                target: Target::Index,
                platform: None,
                key: key.clone(),
                value: value.clone(),
            };
            draft.annotate(&flags.annotations.iter().map(of_index).collect::<Vec<_>>())?;
        }
    }
    deliver(place, &places, &draft, std::slice::from_ref(&flags.index), flags.json)
}

/// An archive cannot be read while it is written.
fn open<'p>(place: &Place, all: impl Iterator<Item = &'p ImagePlace>) -> Result<Places, Failure> {
    Places::open(place, &all.collect::<Vec<_>>())
}

/// What is changed, with all that it says.
fn begun(places: &Places, index: &ImagePlace) -> Result<IndexDraft, Failure> {
    let origin = places.origin(index)?;
    let top = origin.top()?;
    Ok(IndexDraft::of(&origin, &top)?)
}

fn take(places: &Places, draft: &mut IndexDraft, source: &ImagePlace, same: SamePlatform) -> Result<(), Failure> {
    let origin = places.origin(source)?;
    let top = origin.top()?;
    Ok(draft.add(&origin, &top, same)?)
}

fn deliver(
    place: &Place,
    places: &Places,
    draft: &IndexDraft,
    targets: &[ImagePlace],
    json: bool,
) -> Result<Exit, Failure> {
    let is_stdout = targets.iter().any(places::is_stdout);
    if json && is_stdout {
        return Err(Failure::usage("the archive and the JSON both go to standard output", "leave --json away"));
    }
    let ui = Ui::open(Progress::Auto, place.env.term(), Detail::Brief)?;
    let done = (|| {
        let mut made = None;
        for target in targets {
            let (shipment, descriptor) = draft.shipment(places::names(target, &[])?)?;
            ship(&shipment, &*places.target(target)?, &*ui.sink())?;
            made = Some(descriptor);
        }
        Ok::<_, Failure>(made)
    })();
    ui.close(None);
    let Some(descriptor) = done? else { return Ok(Exit::Done) };
    if json {
        stdout::json(&Made { targets: targets.iter().map(ToString::to_string).collect(), descriptor })?;
    } else if !is_stdout {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}
