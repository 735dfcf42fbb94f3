//! Deleting at a registry: a tag, or a manifest with all its tags and its entry in the list of what refers to its
//! subject. Must never take another answer for success than one that says it.

use crate::RegistryError;
use crate::api::Route;
use crate::client::Client;
use crate::endpoint::for_push;
use crate::raw::raw;
use crate::referrers::{self, Referrer};
use crate::session::{Access, Session};
use cooper_image::Reference;
use reqwest::Method;

impl Client {
    /// Deletes what a name names: with a digest the manifest, which all its tags lose, else the tag alone. A manifest
    /// that refers to another one is taken out of the referrers tag where the registry keeps no list of its own.
    ///
    /// # Errors
    /// What the registry said; many do not delete, or not by tag, which [`RegistryError::hint`] tells. Once it is
    /// deleted, only the list can fail.
    pub async fn delete(&self, name: &Reference) -> Result<(), RegistryError> {
        let endpoint = for_push(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        let session = Session::open(&self.shared, &endpoint, Access::Delete).await?;
        let referrer = referrer(&session, name).await?;
        let call = session.call(Method::DELETE, &Route::Manifest(&name.selector()));
        let response = session.send(&call, &mut session.budget()).await?;
        match response.status().as_u16() {
            200 | 202 | 204 => {}
            _ => return Err(session.refuse(&call, response).await),
        }
        // Not before: what the registry does not delete has to stay in the list.
        match referrer {
            Some(referrer) => referrers::forget(&session, name, &referrer).await,
            None => Ok(()),
        }
    }
}

/// What a manifest that is about to be deleted refers to; a tag goes without it. One that cannot be had, that we may not
/// read, or that is not what its digest says, must be possible to delete all the same: the delete decides.
async fn referrer(s: &Session<'_>, name: &Reference) -> Result<Option<Referrer>, RegistryError> {
    if name.digest().is_none() {
        return Ok(None);
    }
    match raw(s, name, None).await {
        Ok(raw) => Ok(Referrer::read(raw.bytes.get(), raw.bytes.digest(), &raw.media_type)),
        Err(
            RegistryError::Auth { .. }
            | RegistryError::Status { .. }
            | RegistryError::Digest { .. }
            | RegistryError::TooLarge { .. },
        ) => Ok(None),
        Err(e) => Err(e),
    }
}
