//! Deleting at a registry: a tag, or a manifest with all its tags. Must never take another answer for success than one
//! that says it.

use crate::RegistryError;
use crate::api::Route;
use crate::client::Client;
use crate::endpoint::for_push;
use crate::session::{Access, Session};
use cooper_image::Reference;
use reqwest::Method;

impl Client {
    /// Deletes what a name names: with a digest the manifest, which all its tags lose, else the tag alone.
    ///
    /// # Errors
    /// What the registry said; many do not delete, or not by tag, which [`RegistryError::hint`] tells.
    pub async fn delete(&self, name: &Reference) -> Result<(), RegistryError> {
        let endpoint = for_push(&self.shared.options.registries, &self.shared.options.insecure, name)?;
        let session = Session::open(&self.shared, &endpoint, Access::Delete).await?;
        let call = session.call(Method::DELETE, &Route::Manifest(&name.selector()));
        let response = session.send(&call, &mut session.budget()).await?;
        match response.status().as_u16() {
            200 | 202 | 204 => Ok(()),
            _ => Err(session.refuse(&call, response).await),
        }
    }
}
