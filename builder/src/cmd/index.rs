//! `cooper index`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::index::{AddFlags, AnnotateFlags, CreateFlags, IndexCommand};
use crate::flags::view::ViewFlags;
use crate::places::{self, Places};
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_engine::event::Sink;
use cooper_engine::toolkit::{
    EntryChange, IndexDraft, Origin, Place as ImagePlace, SamePlatform, rewrite, rewrite_in_layout, ship,
};
use cooper_image::Descriptor;
use cooper_image::annotations::{Annotation, Target};
use serde::Serialize;
use std::sync::Arc;

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
    let ui = view(place, flags.view)?;
    let places = open(place, flags.sources.iter().chain(&flags.targets))?;
    let sources = sources(&places, &flags.sources)?;
    let change = |draft: &mut IndexDraft| {
        take(draft, &sources, flags.same.platform())?;
        Ok(draft.annotate(&annotations)?)
    };
    match flags.targets.split_first().filter(|_| flags.append) {
        Some((earlier, further)) if !flags.dry_run => {
            let answer = Answer { ui: &ui, targets: &flags.targets, json: flags.json };
            changed(&places, (earlier, further), &answer, |draft, _| change(draft))
        }
        appended => {
            let mut draft = match appended {
                Some((earlier, _)) => begun(&places, earlier)?.0,
                None => IndexDraft::default(),
            };
            change(&mut draft)?;
            if flags.dry_run {
                stdout::bytes(&draft.finish()?.0)?;
                return Ok(Exit::Done);
            }
            let answer = Answer { ui: &ui, targets: &flags.targets, json: flags.json };
            shown(&answer, |sink| deliver(&places, &draft, &flags.targets, sink))
        }
    }
}

fn add(place: &Place, flags: &AddFlags) -> Result<Exit, Failure> {
    let ui = view(place, flags.view)?;
    let places = open(place, flags.sources.iter().chain([&flags.index]))?;
    let sources = sources(&places, &flags.sources)?;
    let answer = Answer { ui: &ui, targets: std::slice::from_ref(&flags.index), json: flags.json };
    changed(&places, (&flags.index, &[]), &answer, |draft, top| {
        if !top.media_type.is_index() {
            let message = format!("{} is one image and no index", flags.index);
            let hint = format!("cooper index create -t {0} {0} OTHER makes an index of both", flags.index);
            return Err(Failure::usage(message, hint));
        }
        take(draft, &sources, flags.same.platform())
    })
}

fn annotate(place: &Place, flags: &AnnotateFlags) -> Result<Exit, Failure> {
    let platform = [&flags.os, &flags.arch, &flags.variant, &flags.os_version];
    if flags.annotations.is_empty() && platform.iter().all(|part| part.is_none()) {
        let hint = "give --annotation KEY=VALUE, or of an entry --os, --arch, --variant or --os-version";
        return Err(Failure::usage("nothing is to be changed", hint));
    }
    let ui = view(place, flags.view)?;
    let places = open(place, [&flags.index].into_iter())?;
    let mut entry = flags.entry.clone();
    let answer = Answer { ui: &ui, targets: std::slice::from_ref(&flags.index), json: flags.json };
    changed(&places, (&flags.index, &[]), &answer, |draft, top| {
        if !top.media_type.is_index() {
            let message = format!("{} is one image and no index", flags.index);
            return Err(Failure::usage(message, "cooper mutate --annotation sets those of an image"));
        }
        let Some(which) = &mut entry else {
            let of_index = |(key, value): &(String, String)| Annotation {
                target: Target::Index,
                platform: None,
                key: key.clone(),
                value: value.clone(),
            };
            return Ok(draft.annotate(&flags.annotations.iter().map(of_index).collect::<Vec<_>>())?);
        };
        let change = EntryChange {
            os: flags.os.clone(),
            architecture: flags.arch.clone(),
            variant: flags.variant.clone(),
            os_version: flags.os_version.clone(),
            annotations: flags.annotations.clone(),
        };
        // Once it is changed, it may be for another platform.
        *which = draft.change(which, &change)?;
        Ok(())
    })
}

/// What people see from here on.
fn view(place: &Place, flags: ViewFlags) -> Result<Ui, Failure> {
    Ui::open(flags.progress(), place.env.term(), Detail::Brief)
}

/// An archive cannot be read while it is written.
fn open<'p>(place: &Place, all: impl Iterator<Item = &'p ImagePlace>) -> Result<Places, Failure> {
    Places::open(place, &all.collect::<Vec<_>>())
}

/// What is changed, with all that it says.
fn begun(places: &Places, index: &ImagePlace) -> Result<(IndexDraft, Descriptor), Failure> {
    let origin = places.origin(index)?;
    let top = origin.top()?;
    Ok((IndexDraft::of(&origin, &top)?, top))
}

/// What comes in, opened once: an archive on standard input cannot be read again.
fn sources(places: &Places, sources: &[ImagePlace]) -> Result<Vec<Arc<dyn Origin>>, Failure> {
    sources.iter().map(|source| places.origin(source)).collect()
}

fn take(draft: &mut IndexDraft, sources: &[Arc<dyn Origin>], same: SamePlatform) -> Result<(), Failure> {
    for origin in sources {
        draft.add(origin, &origin.top()?, same)?;
    }
    Ok(())
}

/// Changes an index where it is, and brings what it is then to further places. At a registry or in a layout others may
/// change it at the same time, and what they do stays.
fn changed(
    places: &Places,
    (index, further): (&ImagePlace, &[ImagePlace]),
    answer: &Answer<'_>,
    mut change: impl FnMut(&mut IndexDraft, &Descriptor) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    shown(answer, |sink| {
        let (draft, descriptor) = match index {
            // A digest leads to the same for ever.
            ImagePlace::Registry(name) if name.digest().is_none() => rewrite(places.reach(), name, sink, change)?,
            ImagePlace::Layout(name) if name.digest.is_none() => rewrite_in_layout(name, sink, change)?,
            _ => {
                let (mut draft, top) = begun(places, index)?;
                change(&mut draft, &top)?;
                let made = deliver(places, &draft, std::slice::from_ref(index), sink)?;
                (draft, made.unwrap_or(top))
            }
        };
        deliver(places, &draft, further, sink)?;
        Ok(Some(descriptor))
    })
}

/// Brings an index to places; gives what it is there.
fn deliver(
    places: &Places,
    draft: &IndexDraft,
    targets: &[ImagePlace],
    sink: &dyn Sink,
) -> Result<Option<Descriptor>, Failure> {
    let mut made = None;
    for target in targets {
        let (shipment, descriptor) = draft.shipment(places::names(target, &[])?)?;
        ship(&shipment, &*places.target(target)?, sink)?;
        made = Some(descriptor);
    }
    Ok(made)
}

/// What is told when it is done.
struct Answer<'a> {
    ui: &'a Ui,
    targets: &'a [ImagePlace],
    json: bool,
}

/// Does it in sight of people, and tells what was made.
fn shown(
    Answer { ui, targets, json }: &Answer<'_>,
    work: impl FnOnce(&dyn Sink) -> Result<Option<Descriptor>, Failure>,
) -> Result<Exit, Failure> {
    let is_stdout = targets.iter().any(places::is_stdout);
    if *json && is_stdout {
        return Err(Failure::usage("the archive and the JSON both go to standard output", "leave --json away"));
    }
    let done = work(&*ui.sink());
    ui.end(done.as_ref().err().map(|e| report::line(e)));
    let Some(descriptor) = done? else { return Ok(Exit::Done) };
    if *json {
        stdout::json(&Made { targets: targets.iter().map(ToString::to_string).collect(), descriptor })?;
    } else if !is_stdout {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}
