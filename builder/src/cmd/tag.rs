//! `cooper tag`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::TagFlags;
use crate::open::{self, Session};
use crate::stdout;
use cooper_engine::images::ImageDetail;
use cooper_engine::{Engine, EngineError};
use cooper_image::Reference;
use serde_json::json;

/// Gives the image its further names.
pub fn run(place: &Place, flags: &TagFlags) -> Result<Exit, Failure> {
    if let Some(name) = flags.targets.iter().find(|t| t.digest().is_some()) {
        return Err(Failure::usage(
            format!("{name} names one image for ever, so nothing else can get that name"),
            "give a tag, without the part from the @ on",
        ));
    }
    // What is found through this stays until the names are given, whoever takes the old one away meanwhile.
    let session = Session::open(place, &place.root()?, open::unchanged_tier())?;
    let found = whole(&session.engine, &flags.source)?;
    let mut tagged = Vec::new();
    for target in &flags.targets {
        session.engine.store().set_ref(target, &found.descriptor).map_err(EngineError::from)?;
        tagged.push(json!({"reference": target.clone().or_latest(), "digest": found.descriptor.digest}));
    }
    if flags.json {
        stdout::json(&tagged)?;
    }
    Ok(Exit::Done)
}

/// What the name leads to, when everything that it needs is there.
fn whole(engine: &Engine, source: &Reference) -> Result<ImageDetail, EngineError> {
    let found = engine.inspect(source, None)?;
    for platform in &found.platforms {
        let image = engine.inspect(source, Some(platform))?;
        // The name may lead elsewhere since.
        if image.descriptor != found.descriptor {
            return Err(EngineError::NoImage(source.clone()));
        }
        let claimed = image.manifest.map(|m| m.layers).unwrap_or_default();
        for (n, diff) in image.config.rootfs.diff_ids.iter().enumerate() {
            let forms = engine.store().layer(diff)?;
            let blob = claimed.get(n).map(|blob| engine.store().blob_size(&blob.digest)).transpose()?.flatten();
            if forms.tree.is_none() && forms.tar.is_none() && forms.blobs.is_empty() && blob.is_none() {
                return Err(EngineError::LostLayer(diff.0.clone()));
            }
        }
    }
    Ok(found)
}
