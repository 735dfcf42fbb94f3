//! `cooper pull`. Stores blobs only, so that it needs no user namespace.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::PullFlags;
use crate::open::{self, Session};
use crate::signals::{Manner, Signals};
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_image::Platform;

/// Fetches an image.
pub fn run(place: &Place, flags: &PullFlags) -> Result<Exit, Failure> {
    let ui = Ui::open(flags.view.progress(), place.env.term(), Detail::Brief)?;
    let session = Session::open(place, &place.root()?, open::unchanged_tier())?;
    Signals::listen(session.runtime.handle(), Manner::End)?;
    let platform = flags.platform.clone().unwrap_or_else(Platform::host);
    let pulled = session.engine.pull(&flags.name, &platform, ui.sink());
    ui.end(pulled.as_ref().err().map(|e| report::line(e)));
    let descriptor = pulled?;
    if flags.json {
        let (d, reference) = (&descriptor, flags.name.clone().or_latest());
        let (media_type, digest, size) = (&d.media_type, &d.digest, d.size);
        let said = serde_json::json!({"reference": reference, "mediaType": media_type, "digest": digest, "size": size});
        stdout::json(&said)?;
    } else {
        stdout::line(&descriptor.digest.to_string())?;
    }
    Ok(Exit::Done)
}
