//! Changing what a tag leads to while others do the same: nothing that another one wrote in between is lost.
//!
//! Gives what is there, takes what is to be there instead; its caller goes round until there is nothing left to change.
//! A tag is replaced only when it is what was read (`If-Match`). Not every registry looks at that: what was written is
//! read again, after a while in which others could have replaced it by what they made of what they had read before.

use crate::RegistryError;
use crate::client::Client;
use crate::endpoint::{Endpoint, for_push};
use crate::manifest::get;
use crate::raw::{Raw, tagged};
use crate::retry::jitter;
use crate::session::{Access, Session};
use cooper_image::{MediaType, Reference};
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use std::time::Duration;

/// Tries to change something in a tag that others write at the same time: of so many, each lets one of them through.
pub(crate) const TRIES: u32 = 24;
/// Longest wait between two of them.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);
/// How much longer others may need between reading and writing than it took here.
const SLOWER: u32 = 3;

/// A tag that is being changed.
#[derive(Debug)]
pub struct Rewriting<'c> {
    client: &'c Client,
    name: Reference,
    /// How often it was written, or was to be.
    tries: u32,
    /// When it was read last.
    begun: Duration,
    /// What has to hold for what was read to be there still.
    condition: Option<(HeaderName, HeaderValue)>,
}

impl Client {
    /// Begins to change what a tag leads to; nothing is asked yet.
    pub fn rewriting(&self, name: &Reference) -> Rewriting<'_> {
        Rewriting { client: self, name: name.clone(), tries: 0, begun: Duration::ZERO, condition: None }
    }
}

impl Rewriting<'_> {
    /// What the tag leads to now, at the registry itself: a mirror may know what was there before.
    ///
    /// # Errors
    /// As [`Client::raw`]; [`RegistryError::Protocol`] when others have written it too often in between.
    pub async fn read(&mut self) -> Result<Raw, RegistryError> {
        self.begun = self.client.shared.patience.now();
        let endpoint = self.endpoint()?;
        let session = Session::open(&self.client.shared, &endpoint, Access::Push).await?;
        let (found, headers) = tagged(&session, &self.name).await?;
        self.condition = if_match(&headers);
        Ok(found)
    }

    /// Replaces what was read, unless another one did so before. Which of the two it was, only reading again tells, and
    /// this returns when that can be done.
    ///
    /// # Errors
    /// As [`Client::push_manifest`]; [`RegistryError::Protocol`] when others have written it too often in between.
    pub async fn write(&mut self, bytes: &[u8], media_type: &MediaType) -> Result<(), RegistryError> {
        let endpoint = self.endpoint()?;
        let session = Session::open(&self.client.shared, &endpoint, Access::Push).await?;
        if self.tries == TRIES {
            let asked = Box::new(session.asked(&get(&session, &self.name.selector())));
            let cause = format!("others write {} at the same time", self.name);
            return Err(RegistryError::Protocol { asked, cause });
        }
        self.tries += 1;
        let patience = &self.client.shared.patience;
        let took = || patience.now().saturating_sub(self.begun);
        let wait = match self.client.put(&session, &self.name, bytes, media_type, self.condition.take()).await {
            // Longer than it took here: others may be slower. Two that want different things of one entry would replace
            // each other in step, if they always waited as long.
            Ok(_) => took().saturating_mul(SLOWER) + jitter(took().saturating_mul(self.tries - 1)),
            // The next one is read at once at first, and then not by all at the same time.
            Err(RegistryError::Status { status: 412, .. }) => jitter(took().saturating_mul(self.tries - 1)),
            Err(e) => return Err(e),
        };
        patience.sleep(wait.min(LONGEST)).await;
        Ok(())
    }

    fn endpoint(&self) -> Result<Endpoint, RegistryError> {
        let options = &self.client.shared.options;
        for_push(&options.registries, &options.insecure, &self.name)
    }
}

/// That it is what this answer describes still. A weak tag is never the same (RFC 9110, section 13.1.1).
pub(crate) fn if_match(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    strong.map(|tag| (IF_MATCH, tag.clone()))
}
