//! Many images from registries to one place, and of them only those that are not there.

use super::layout_target::LayoutTarget;
use super::place::Place;
use super::reach::Reach;
use super::registry::RegistryTarget;
use super::shipment::{Name, Referrers, Shipment, Shipped, Target, Top, ship};
use crate::context::LayoutName;
use crate::event::Sink;
use crate::{EngineError, ErrorClass};
use cooper_image::{Digest, Reference};
use serde::Serialize;
use std::path::PathBuf;

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

/// The images that a name means: itself with a tag or a digest, else all tags of the repository.
///
/// # Errors
/// What the registry says.
pub fn meant(reach: &Reach, name: &Reference) -> Result<Vec<Reference>, EngineError> {
    if name.tag().is_some() || name.digest().is_some() {
        return Ok(vec![name.clone()]);
    }
    let tags = reach.wait(reach.client().tags(name))?;
    Ok(tags.iter().map(|tag| name.with_tag(tag)).collect())
}

/// Copies one image unless the target has it.
///
/// # Errors
/// What either place says.
pub fn sync(
    reach: &Reach,
    source: &Reference,
    mirror: &Mirror,
    mode: Mode,
    sink: &dyn Sink,
) -> Result<Synced, EngineError> {
    let place = place(source, mirror)?;
    let target = place.to_string();
    let wanted = reach.wait(reach.client().describe(source))?;
    let done = |state, shipped| Synced {
        source: source.clone(),
        target: target.clone(),
        digest: wanted.digest.clone(),
        state,
        shipped,
    };
    if held(reach, &place)?.as_ref() == Some(&wanted.digest) {
        return Ok(done(State::Same, None));
    }
    if mode == Mode::Tell {
        return Ok(done(State::Missing, None));
    }
    // From here on it is this very image, whatever the tag leads to meanwhile.
    let origin = reach.origin(&Place::Registry(source.with_digest(wanted.digest.clone())))?;
    let (target, name): (Box<dyn Target>, Name) = match &place {
        Place::Registry(at) => (Box::new(RegistryTarget::new(reach.clone(), at)), Name::Full(at.clone())),
        Place::Layout(layout) => (Box::new(LayoutTarget::new(&layout.path)?), Name::Full(source.clone())),
        Place::Store(_) | Place::Archive { .. } => return Err(EngineError::NoImage(source.clone())),
    };
    let mut shipment = Shipment::default();
    let names = if source.digest().is_some() { Vec::new() } else { vec![name] };
    shipment.add(&origin, Top { descriptor: origin.top()?, names }, Referrers::Stay)?;
    let shipped = ship(&shipment, &*target, sink)?;
    Ok(done(State::Copied, Some(shipped)))
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

/// What a place leads to; nothing, when it does not.
fn held(reach: &Reach, place: &Place) -> Result<Option<Digest>, EngineError> {
    let found = match place {
        Place::Registry(name) => reach.wait(reach.client().describe(name)).map(|d| d.digest),
        Place::Layout(layout) if !layout.path.join("index.json").exists() => return Ok(None),
        other => reach.origin(other)?.top().map(|d| d.digest),
    };
    match found {
        Ok(digest) => Ok(Some(digest)),
        Err(EngineError::Registry(e)) if e.is_absence() => Ok(None),
        Err(e) if matches!(place, Place::Layout(_)) && e.class() != ErrorClass::Storage => Ok(None),
        Err(e) => Err(e),
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
