//! `cooper logout`.

use super::Place;
use crate::credential_file::{self, Changed};
use crate::failure::{Exit, Failure};
use crate::flags::login::LogoutFlags;
use crate::ui::{escape, say};
use crate::{open, settings, stdout};
use cooper_engine::EngineError;
use cooper_registry::credentials::DockerConfig;
use cooper_registry::{RegistryError, edit, helper};
use serde_json::json;

/// Forgets a login, where `cooper login` would have kept it.
pub fn run(place: &Place, flags: &LogoutFlags) -> Result<Exit, Failure> {
    let host = flags.host.name();
    let file = place.env.login_file()?;
    let config = settings::credential_file(place, &file)?;
    let runtime = open::runtime()?;
    let keeper = config.as_ref().and_then(|c| c.keeper(host));
    if let Some(name) = keeper {
        runtime.block_on(helper::erase(name, host)).map_err(EngineError::from)?;
    }
    // Without the file there is nothing to take out of it, and none is made.
    let changed = match &config {
        Some(_) => credential_file::change(&file, |text| edit::without_login(text, host))?,
        None => Changed::No,
    };
    let was = !matches!((keeper, changed), (None, Changed::No));
    if !flags.json {
        say(&if was { format!("logged out of {host}") } else { format!("nobody was logged in to {host}") });
    }
    let mut left = Vec::new();
    let mut look = |place: String, config: Option<DockerConfig>| -> Result<(), Failure> {
        let Some(config) = config else { return Ok(()) };
        let is_there = match runtime.block_on(config.credential(host, "")) {
            Err(RegistryError::Login { .. }) => true,
            found => found.map_err(EngineError::from)?.is_some(),
        };
        if is_there {
            left.push(place);
        }
        Ok(())
    };
    look(settings::VARIABLE.to_owned(), settings::given_credentials(place)?)?;
    for other in place.env.credential_files().iter().filter(|other| **other != file) {
        look(other.display().to_string(), settings::credential_file(place, other)?)?;
    }
    if flags.json {
        stdout::json(&json!({"registry": host, "was_logged_in": was, "left_in": left}))?;
        return Ok(Exit::Done);
    }
    for file in &left {
        let advice = if file == settings::VARIABLE {
            "unset it, or take the entry out".to_owned()
        } else {
            format!("podman logout --authfile {file} {host}")
        };
        say(&escape::line(&format!("{file} still has a login for {host}: {advice}")));
    }
    Ok(Exit::Done)
}
