//! Many images from registries to one place, and of them only those that are not there.

use super::layout::bare;
use super::layout_target::LayoutTarget;
use super::place::Place;
use super::reach::Reach;
use super::registry::{Has, RegistryTarget};
use super::shipment::{Name, Referrers, Shipment, Shipped, Top, ship};
use super::stocked::Stocked;
use super::together::{Gate, Together};
use crate::EngineError;
use crate::context::LayoutName;
use crate::context::layout::Layout;
use crate::event::Sink;
use crate::layers::lock;
use crate::transfer::some_at_once;
use cooper_image::{Descriptor, Digest, Reference};
use cooper_store::archive::{NAME_ANNOTATION, TAG_ANNOTATION};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Most images that are under way at once. Most of the time of a small one is spent waiting for answers.
const IMAGES: usize = 4;

/// Where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mirror {
    /// `HOST[/PATH]`: each repository below it, under its own path.
    Registry(String),
    /// A layout, in which each image has its full name.
    Layout(PathBuf),
}

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Synced {
    /// The image.
    pub source: Reference,
    /// Its place at the target.
    pub target: String,
    /// What the name leads to.
    pub digest: Digest,
    /// What was done.
    pub state: State,
    /// How much was sent.
    #[serde(flatten)]
    pub shipped: Option<Shipped>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The target has the very same.
    Same,
    /// It was copied.
    Copied,
    /// It would have been.
    Missing,
}

/// Is anything written?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mode {
    Do,
    Tell,
}

/// The images that names mean, in their order, and in the place of a repository that does not say its tags why.
///
/// # Errors
/// [`EngineError::Interrupted`].
pub fn all_meant(reach: &Reach, names: &[Reference]) -> Result<Vec<Result<Reference, EngineError>>, EngineError> {
    let all = some_at_once(IMAGES, names, |name| Ok(meant(reach, name)))?;
    Ok(all
        .into_iter()
        .flat_map(|images| images.map_or_else(|e| vec![Err(e)], |all| all.into_iter().map(Ok).collect()))
        .collect())
}

/// The images that a name means: itself with a tag or a digest, else all tags of the repository.
fn meant(reach: &Reach, name: &Reference) -> Result<Vec<Reference>, EngineError> {
    if name.tag().is_some() || name.digest().is_some() {
        return Ok(vec![name.clone()]);
    }
    let tags = reach.wait(reach.client().tags(name))?;
    Ok(tags.iter().map(|tag| name.with_tag(tag)).collect())
}

/// Images on their way to one place.
pub struct Syncing<'a> {
    reach: &'a Reach,
    mirror: &'a Mirror,
    mode: Mode,
    layout: Option<Growing>,
    /// What repositories of the registry have of what was copied.
    has: Has,
    gate: Gate,
}

/// A layout that gets many images. It is read once: what others write there meanwhile is not taken for theirs, and stays.
struct Growing {
    target: LayoutTarget,
    known: Mutex<Known>,
    stocked: Stocked,
}

#[derive(Default)]
struct Known {
    /// What names lead to.
    has: BTreeMap<String, Descriptor>,
    /// What it lists, by whatever name: the garbage of a layout is what it does not.
    lists: BTreeMap<Digest, Descriptor>,
}

impl Growing {
    fn of(dir: &Path) -> Result<Self, EngineError> {
        let target = LayoutTarget::growing(dir)?;
        let Known { mut has, mut lists } = Known::default();
        if dir.join("index.json").exists() {
            let name = LayoutName { path: dir.to_owned(), tag: None, digest: None };
            for entry in Layout::open_at(&name)?.index()?.manifests {
                lists.insert(entry.digest.clone(), bare(&entry));
                for name in [TAG_ANNOTATION, NAME_ANNOTATION].iter().filter_map(|key| entry.annotations.get(*key)) {
                    has.entry(name.clone()).or_insert_with(|| bare(&entry));
                }
            }
        }
        Ok(Self { target, known: Mutex::new(Known { has, lists }), stocked: Stocked::of(dir) })
    }

    /// What a name leads to that is written out, or the digest that stands for one; nothing, unless all of it is there.
    fn held(&self, tag: Option<&String>, digest: Option<&Digest>) -> Result<Option<Digest>, EngineError> {
        let found = {
            let known = lock(&self.known);
            tag.map_or_else(|| known.lists.get(digest?).cloned(), |tag| known.has.get(tag).cloned())
        };
        let Some(d) = found else { return Ok(None) };
        Ok(self.stocked.has(&d)?.then_some(d.digest))
    }
}

impl<'a> Syncing<'a> {
    /// To this place.
    ///
    /// # Errors
    /// When a layout is none, or cannot be read.
    pub fn to(reach: &'a Reach, mirror: &'a Mirror, mode: Mode) -> Result<Self, EngineError> {
        let layout = match mirror {
            Mirror::Layout(dir) => Some(Growing::of(dir)?),
            Mirror::Registry(_) => None,
        };
        Ok(Self { reach, mirror, mode, layout, has: Has::default(), gate: Gate::default() })
    }

    /// Copies what the target does not have, some images at once, and gives what became of each in their order. What goes
    /// to the same place goes there in their order too. In a layout they have their names after [`Syncing::finish`] at
    /// the latest.
    ///
    /// # Errors
    /// [`EngineError::Interrupted`]; what fails of one image is in its place.
    pub fn images(
        &self,
        sources: Vec<Result<Reference, EngineError>>,
        sink: &dyn Sink,
    ) -> Result<Vec<Result<Synced, EngineError>>, EngineError> {
        let mut lanes: Vec<Vec<(usize, &Reference)>> = Vec::new();
        let mut by_place: BTreeMap<String, usize> = BTreeMap::new();
        for (at, source) in sources.iter().enumerate().filter_map(|(at, source)| Some((at, source.as_ref().ok()?))) {
            let place =
                place(&named(source), self.mirror).map_or_else(|_| source.to_string(), |place| place.to_string());
            let lane = *by_place.entry(place).or_insert(lanes.len());
            match lanes.get_mut(lane) {
                Some(lane) => lane.push((at, source)),
                None => lanes.push(vec![(at, source)]),
            }
        }
        let go = |lane: &Vec<(usize, &Reference)>| {
            Ok(lane.iter().map(|(at, source)| (*at, self.image(source, sink))).collect::<Vec<_>>())
        };
        let mut done: BTreeMap<usize, _> = some_at_once(IMAGES, &lanes, go)?.into_iter().flatten().collect();
        let each = sources.into_iter().enumerate();
        Ok(each
            .map(|(at, source)| source.and_then(|_| done.remove(&at).unwrap_or(Err(EngineError::Interrupted))))
            .collect())
    }

    /// Copies one image unless the target has it.
    fn image(&self, source: &Reference, sink: &dyn Sink) -> Result<Synced, EngineError> {
        let named = named(source);
        let place = place(&named, self.mirror)?;
        let target = place.to_string();
        let wanted = self.reach.wait(self.reach.client().describe(source))?;
        let done = |state, shipped| Synced {
            source: source.clone(),
            target: target.clone(),
            digest: wanted.digest.clone(),
            state,
            shipped,
        };
        if self.held(&place)?.as_ref() == Some(&wanted.digest) {
            return Ok(done(State::Same, None));
        }
        if self.mode == Mode::Tell {
            return Ok(done(State::Missing, None));
        }
        // From here on it is this very image, whatever the tag leads to meanwhile.
        let origin = self.reach.origin(&Place::Registry(source.with_digest(wanted.digest.clone())))?;
        let mut shipment = Shipment::default();
        let mut add = |name: Name| {
            let names = if named.digest().is_some() { Vec::new() } else { vec![name] };
            shipment.add(&origin, Top { descriptor: origin.top()?, names }, Referrers::Stay)
        };
        let shipped = match (&place, &self.layout) {
            (Place::Registry(at), _) => {
                add(Name::Full(at.clone()))?;
                let target = RegistryTarget::beside(self.reach.clone(), at, &self.has);
                ship(&shipment, &Together::new(&target, &self.gate), sink)?
            }
            (Place::Layout(layout), Some(growing)) => {
                add(Name::Full(named.clone()))?;
                let shipped = ship(&shipment, &Together::new(&growing.target.beside(), &self.gate), sink)?;
                let known = &mut *lock(&growing.known);
                if let Some(top) = shipment.tops().first() {
                    known.lists.insert(wanted.digest.clone(), bare(&top.descriptor));
                    known.has.extend(layout.tag.clone().map(|tag| (tag, bare(&top.descriptor))));
                }
                shipped
            }
            _ => return Err(EngineError::NoImage(source.clone())),
        };
        Ok(done(State::Copied, Some(shipped)))
    }

    /// Gives the last images of a layout their names.
    ///
    /// # Errors
    /// What the disk says; images whose names are not written are there without them then ([`Syncing::is_named`]).
    pub fn finish(&self) -> Result<(), EngineError> {
        self.layout.as_ref().map_or(Ok(()), |growing| growing.target.write_names())
    }

    /// Has an image that was copied its name at the target?
    pub fn is_named(&self, synced: &Synced) -> bool {
        let nameless =
            |growing: &Growing| growing.target.is_nameless(&synced.digest, &named(&synced.source).to_string());
        !self.layout.as_ref().is_some_and(nameless)
    }

    /// What a place leads to; nothing, when it does not.
    fn held(&self, place: &Place) -> Result<Option<Digest>, EngineError> {
        let found = match (place, &self.layout) {
            (Place::Registry(name), _) => self.reach.wait(self.reach.client().describe(name)).map(|d| d.digest),
            (Place::Layout(layout), Some(growing)) => {
                return growing.held(layout.tag.as_ref(), layout.digest.as_ref());
            }
            (other, _) => self.reach.origin(other)?.top().map(|d| d.digest),
        };
        match found {
            Ok(digest) => Ok(Some(digest)),
            Err(EngineError::Registry(e)) if e.is_absence() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// What it is called at the target: by its tag, also where a digest says which image of that name is meant.
fn named(source: &Reference) -> Reference {
    source.tag().map_or_else(|| source.clone(), |tag| source.with_tag(tag))
}

fn place(source: &Reference, mirror: &Mirror) -> Result<Place, EngineError> {
    match mirror {
        Mirror::Layout(path) => {
            let tag = source.digest().is_none().then(|| source.to_string());
            Ok(Place::Layout(LayoutName { path: path.clone(), tag, digest: source.digest().cloned() }))
        }
        Mirror::Registry(prefix) => {
            let (host, path) = prefix.split_once('/').unwrap_or((prefix, ""));
            let repository = [path, source.repository()].into_iter().filter(|part| !part.is_empty());
            let repository = repository.collect::<Vec<_>>().join("/");
            source.relocated(host, &repository).map(Place::Registry).map_err(|e| EngineError::Request {
                message: e.to_string(),
                hint: "the target is HOST or HOST/PATH; the path of each repository follows it".to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_keep_their_paths() {
        for (source, prefix, at) in [
            ("debian:12", "r.example", "r.example/library/debian:12"),
            ("debian:12", "r.example:5000/mirror/hub", "r.example:5000/mirror/hub/library/debian:12"),
            ("a.example/x/y:1", "localhost:5000", "localhost:5000/x/y:1"),
        ] {
            let source: Reference = source.parse().unwrap();
            let place = place(&source, &Mirror::Registry(prefix.to_owned())).unwrap();
            assert_eq!(place, Place::Registry(at.parse().unwrap()));
        }
        let odd = place(&"debian:12".parse().unwrap(), &Mirror::Registry("Not a Host".to_owned()));
        assert!(matches!(odd, Err(EngineError::Request { .. })));
    }
}
