//! `cooper exists`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::toolkit::ExistsFlags;
use crate::open::Remote;
use crate::stdout;

/// Asks a registry whether it has an image.
pub fn run(place: &Place, flags: &ExistsFlags) -> Result<Exit, Failure> {
    let remote = Remote::open(place)?;
    let name = flags.name.clone().or_latest();
    let exists = match remote.wait(remote.client.describe(&name)) {
        Ok(_) => true,
        Err(e) if e.is_absence() => false,
        Err(e) => return Err(e.into()),
    };
    if flags.json {
        stdout::json(&serde_json::json!({"reference": name, "exists": exists}))?;
    }
    Ok(if exists { Exit::Done } else { Exit::Step })
}
