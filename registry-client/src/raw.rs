//! Manifests of any media type, as the bytes that they are: what is copied need not be understood. Must never give out
//! bytes whose digest was not computed here.

use crate::RegistryError;
use crate::api::content_type;
use crate::client::Client;
use crate::manifest::{accept, get, verify};
use crate::session::{Call, Session};
use cooper_image::{Descriptor, MediaType, Reference, Verified, limits};
use reqwest::header::HeaderMap;
use serde::Deserialize;

/// A manifest's bytes.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The bytes, as the registry has them.
    pub bytes: Verified<Vec<u8>>,
    /// What they are: by their own word, else by that of who named them, else by the registry's.
    pub media_type: MediaType,
}

impl Raw {
    /// Describes the bytes.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.bytes.digest().clone(), self.bytes.get().len() as u64)
    }
}

impl Client {
    /// Fetches the manifest that a name leads to, or the one of its repository that is described, whatever its media
    /// type is. It is compared with digest and size, and not parsed.
    ///
    /// # Errors
    /// As [`Client::top`], but that there is no type which is refused.
    pub async fn raw(&self, name: &Reference, described: Option<&Descriptor>) -> Result<Raw, RegistryError> {
        self.first(name, async |session| raw(session, name, described).await).await
    }
}

/// As [`Client::raw`], in one conversation.
pub(crate) async fn raw(
    s: &Session<'_>,
    name: &Reference,
    described: Option<&Descriptor>,
) -> Result<Raw, RegistryError> {
    let selector = described.map_or_else(|| name.selector(), |d| d.digest.to_string());
    let mut call = get(s, &selector);
    accept(&mut call, described.map(|d| &d.media_type));
    Ok(fetched(s, &call, name, described).await?.0)
}

/// What a name leads to, and what the answer says besides.
pub(crate) async fn tagged(s: &Session<'_>, name: &Reference) -> Result<(Raw, HeaderMap), RegistryError> {
    let mut call = get(s, &name.selector());
    accept(&mut call, None);
    fetched(s, &call, name, None).await
}

async fn fetched(
    s: &Session<'_>,
    call: &Call,
    name: &Reference,
    described: Option<&Descriptor>,
) -> Result<(Raw, HeaderMap), RegistryError> {
    let (response, body) = s.document(call, limits::MANIFEST_BYTES, &mut s.budget()).await?;
    let wanted = described.map(|d| &d.digest).or(name.digest());
    let bytes = verify(s, call, &response, body, wanted, described.map(|d| d.size))?;
    let promised = described.map(|d| d.media_type.clone());
    let media_type = own_type(bytes.get()).or(promised).or_else(|| content_type(response.headers()));
    Ok((Raw { bytes, media_type: media_type.unwrap_or(MediaType::OciManifest) }, response.headers().clone()))
}

/// The media type that a document names as its own.
fn own_type(bytes: &[u8]) -> Option<MediaType> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<MediaType>,
    }
    serde_json::from_slice::<Typed>(bytes).ok()?.media_type
}
