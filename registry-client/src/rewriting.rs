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
const LONGEST: Duration = Duration::from_secs(1);
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

    /// Replaces what was read, unless another one did so before; says whether it was replaced. Whether it is there still,
    /// only reading again tells, and this returns when that can be done.
    ///
    /// # Errors
    /// As [`Client::push_manifest`]; [`RegistryError::Protocol`] when others have written it too often in between.
    pub async fn write(&mut self, bytes: &[u8], media_type: &MediaType) -> Result<bool, RegistryError> {
        let endpoint = self.endpoint()?;
        let session = Session::open(&self.client.shared, &endpoint, Access::Push).await?;
        if self.tries == TRIES {
            let asked = Box::new(session.asked(&get(&session, &self.name.selector())));
            return Err(RegistryError::Protocol { asked, cause: in_the_way(&self.name.to_string()) });
        }
        let patience = &self.client.shared.patience;
        let done = self.client.put(&session, &self.name, bytes, media_type, self.condition.take()).await;
        let wrote = is_written(done)?;
        patience.sleep(until_read(wrote, patience.now().saturating_sub(self.begun), self.tries)).await;
        self.tries += 1;
        Ok(wrote)
    }

    fn endpoint(&self) -> Result<Endpoint, RegistryError> {
        let options = &self.client.shared.options;
        for_push(&options.registries, &options.insecure, &self.name)
    }
}

/// Was something written, or had another one replaced what was read?
pub(crate) fn is_written<T>(done: Result<T, RegistryError>) -> Result<bool, RegistryError> {
    match done {
        Ok(_) => Ok(true),
        Err(RegistryError::Status { status: 412, .. }) => Ok(false),
        Err(e) => Err(e),
    }
}

/// How long is waited after the try number `n`, which `took` so long from its reading, until the tag is read again.
pub(crate) fn until_read(wrote: bool, took: Duration, n: u32) -> Duration {
    // The next one is read at once at first, and then not by all at the same time: two that want different things of one
    // entry would replace each other in step.
    let apart = jitter(took.saturating_mul(n));
    // Longer than it took here: others may be slower.
    let others = if wrote { took.saturating_mul(SLOWER) } else { Duration::ZERO };
    others.saturating_add(apart).min(LONGEST)
}

/// Why it is given up to change what this is.
pub(crate) fn in_the_way(what: &str) -> String {
    format!("others write {what} at the same time, again and again; try again when they are done")
}

/// That it is what this answer describes still. A weak tag is never the same (RFC 9110, section 13.1.1).
pub(crate) fn if_match(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    strong.map(|tag| (IF_MATCH, tag.clone()))
}
