//! `cooper push`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::{PushFlags, output_form};
use crate::open::{self, Session};
use crate::signals::{Manner, Signals};
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_engine::EngineError;
use cooper_image::{Digest, Reference};

/// For who gave another one.
const METHODS: &str = "--compression-format gzip, zstd or uncompressed, with --compression-level";

/// Sends images.
pub fn run(place: &Place, flags: &PushFlags) -> Result<Exit, Failure> {
    let (format, level) = (flags.compression_format.as_deref(), flags.compression_level.as_deref());
    let method = match (format, level) {
        (None, None) => None,
        _ => Some(output_form::compression(format, level).map_err(|e| Failure::usage(e.to_string(), METHODS))?),
    };
    let ui = Ui::open(flags.view.progress(), place.env.term(), Detail::Brief)?;
    let root = place.root()?;
    // A layer that was built and never sent is packed from its tree, whose files belong to the ids
    // of the namespace. Where there is none, nothing was built: images that were pulled need none.
    let tier = match cooper_sandbox::probe().tier {
        Ok(_) => cooper_sandbox::enter_user_namespace().map_err(EngineError::from)?,
        Err(_) => open::tier_without_namespace(),
    };
    let session = Session::open(place, &root, tier)?;
    Signals::listen(session.runtime.handle(), Manner::End)?;
    let pushed = session.engine.push(&flags.names, method, &*ui.sink());
    ui.end(pushed.as_ref().err().map(|e| report::line(e)));
    let digests = pushed?;
    if flags.json {
        let told = |(name, digest): (&Reference, &Digest)| serde_json::json!({"reference": name.clone().or_latest(), "digest": digest});
        match flags.names.iter().zip(&digests).map(told).collect::<Vec<_>>().as_slice() {
            [one] => stdout::json(one)?,
            all => stdout::json(&all)?,
        }
    } else {
        stdout::names(&digests.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    }
    Ok(Exit::Done)
}
