//! Sending a large blob in parts, one `PATCH` each (distribution-spec, "Pushing a blob in chunks"): after a break the
//! registry is asked what it has, and the rest is sent, also by a later process.
//!
//! Takes a blob and where it is kept. Gives: it is in the repository, or that the registry takes no parts. Must never:
//! send the digest of a blob whose bytes the registry did not take.

use super::body::Upload;
use super::push::{Started, give_up, is_there, is_worth_another, put, start};
use crate::http::{Payload, location};
use crate::kept::KeptUpload;
use crate::retry::{Budget, Failed};
use crate::session::{Call, Session};
use crate::{Fault, RegistryError};
use cooper_image::Descriptor;
use reqwest::header::{CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use std::io::ErrorKind;

/// The smallest part that a registry takes, the last one apart (distribution-spec, "Pushing a blob in chunks").
pub(crate) const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// Largest part that a registry may ask for, in bytes: more would be no part.
const LARGEST_MIN: u64 = 1 << 30;

/// Uploads that a registry may forget before it gets the blob whole: it seems to keep none between two parts.
const MOST_FORGOTTEN: u32 = 2;

/// How often parts are made smaller, and how many times, where a line lets none of them through: some end a connection
/// after so many bytes, and Docker's registry keeps nothing of an upload in one of whose parts the line broke.
const MOST_SHRUNK: u32 = 2;
const SHRINKING: u64 = 8;
/// Parts of so many bytes are small enough.
const SMALL: u64 = 64 << 10;

/// How the sending of parts ended well.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The blob is there.
    Done,
    /// The registry takes no parts.
    NoParts,
}

/// What a registry says of an upload.
enum Said {
    Stands(Stand),
    /// Another request has it: mostly one of our own, on a connection of which the registry does not know yet that it
    /// broke.
    Busy(RegistryError),
    Nothing,
}

/// Where an upload stands.
struct Stand {
    url: Url,
    /// Bytes that the registry has.
    offset: u64,
    /// What is there can be of other bytes, whatever its name says: an earlier process sent it, or this one went on in
    /// the middle of what is compared from its beginning alone.
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Here,
    Earlier,
}

/// One blob that is sent in parts.
pub(crate) struct Parts<'a> {
    s: &'a Session<'a>,
    blob: &'a Descriptor,
    source: Upload,
    kept: Option<Box<dyn KeptUpload>>,
    /// Most bytes that any upload of it had: what is sent again is no progress.
    furthest: u64,
    /// Uploads that the registry forgot after it had taken a part.
    forgotten: u32,
    /// Bytes of a part at first, and how often parts were made smaller.
    largest: u64,
    shrunk: u32,
    /// The smallest part that the registry takes, in bytes.
    least: u64,
}

impl<'a> Parts<'a> {
    /// A blob that is worth parts, which an earlier process may have begun to send; `None` for a smaller one.
    pub(crate) fn of(s: &'a Session<'a>, blob: &'a Descriptor, source: &Upload) -> Option<Self> {
        let part = s.shared.options.part.max(1);
        if blob.size <= part || source.part(0, blob.size).is_none() {
            return None;
        }
        let (kept, source) = (take(s, blob), source.clone());
        Some(Self { s, blob, source, kept, furthest: 0, forgotten: 0, largest: part, shrunk: 0, least: 0 })
    }

    /// A blob that the line did not let through whole, though it is no larger than a part; `None` for one in which even
    /// that is too small for parts.
    pub(crate) fn smaller(s: &'a Session<'a>, blob: &'a Descriptor, source: &Upload) -> Option<Self> {
        if blob.size > s.shared.options.part || blob.size <= SMALL || source.part(0, blob.size).is_none() {
            return None;
        }
        let (kept, source) = (take(s, blob), source.clone());
        Some(Self { s, blob, source, kept, furthest: 0, forgotten: 0, largest: blob.size, shrunk: 1, least: 0 })
    }

    /// Sends what is missing. `place` is an upload that the registry has just begun.
    pub(crate) async fn send(mut self, place: Option<Started>, budget: &mut Budget) -> Result<Ended, RegistryError> {
        let mut stand = match (self.earlier().await, place) {
            // A registry that was asked for a mount begins an upload instead, whether it is wanted or not.
            (Some(earlier), Some(started)) => {
                give_up(self.s, started.url).await;
                Some(earlier)
            }
            (earlier, started) => earlier.or_else(|| started.map(|started| self.begun(started))),
        };
        loop {
            let mut now = match stand.take() {
                Some(stand) => stand,
                None => {
                    let started = start(self.s, budget).await?;
                    self.begun(started)
                }
            };
            let origin = now.origin;
            let failure = match self.rest(&mut now, budget).await {
                Ok(()) => {
                    self.forget();
                    return Ok(Ended::Done);
                }
                // The upload is kept for who comes when the registry wants to be asked again.
                Err(e @ RegistryError::Later { .. }) => return Err(e),
                Err(e) => e,
            };
            // Nothing is wrong with an upload whose source cannot be read, unless that gave other bytes than wanted.
            if let RegistryError::Local { source, .. } = &failure {
                let again = source.kind() == ErrorKind::ConnectionReset;
                if again || source.kind() == ErrorKind::InvalidData {
                    self.forget();
                }
                let Some(wait) = budget.next(Failed::by(&failure), None).filter(|_| again) else { return Err(failure) };
                budget.pause(wait, &failure).await;
                continue;
            }
            // Bytes of a connection that was thought dead can come late, and that connection may still have the upload.
            let passing = is_busy(&failure) || now.offset > 0 && is_elsewhere(&failure);
            if passing && let Some(wait) = budget.next(waited_for(&failure), None) {
                budget.pause(wait, &failure).await;
                if self.is_done(&now, budget).await {
                    return Ok(Ended::Done);
                }
                stand = self.ask_again(now, budget).await;
                if self.forgotten < MOST_FORGOTTEN {
                    continue;
                }
                return Ok(self.without_parts());
            }
            if is_busy(&failure) {
                self.begins_anew(&failure);
                if self.forgotten < MOST_FORGOTTEN {
                    continue;
                }
                return Ok(self.without_parts());
            }
            // What is there is of no use: as if it had never been. Unless the registry only says that it is not well.
            if origin == Origin::Earlier && failure.fault() != Fault::Network && !is_of_the_moment(&failure) {
                self.forget();
                continue;
            }
            // Some take one part and no other.
            if now.offset < self.blob.size && takes_no_parts(&failure) {
                return Ok(self.without_parts());
            }
            if !is_worth_another(&failure) {
                self.forget();
                return Err(failure);
            }
            let Some(wait) = budget.next(Failed::by(&failure), None) else { return Err(failure) };
            budget.pause(wait, &failure).await;
            if self.is_done(&now, budget).await {
                return Ok(Ended::Done);
            }
            let (offset, forgotten) = (now.offset, self.forgotten);
            stand = self.ask_again(now, budget).await;
            // Nothing has come of a part that broke: smaller ones may.
            let in_vain = stand.as_ref().is_none_or(|stand| stand.offset <= offset);
            if in_vain && offset < self.blob.size && is_torn(&failure) && self.shrunk < MOST_SHRUNK {
                (self.shrunk, self.forgotten) = (self.shrunk + 1, forgotten);
            }
            if self.forgotten >= MOST_FORGOTTEN {
                return Ok(self.without_parts());
            }
        }
    }

    /// Was nothing missing but the digest, and did the registry take that before its answer was lost?
    async fn is_done(&mut self, stand: &Stand, budget: &mut Budget) -> bool {
        let done = stand.offset == self.blob.size && is_there(self.s, self.blob, budget).await;
        if done {
            self.forget();
        }
        done
    }

    fn without_parts(&mut self) -> Ended {
        self.forget();
        Ended::NoParts
    }

    /// A new upload.
    fn begun(&mut self, started: Started) -> Stand {
        self.least = started.least_part.filter(|least| *least <= LARGEST_MIN).unwrap_or(0);
        self.keep(&started.url);
        Stand { url: started.url, offset: 0, origin: Origin::Here }
    }

    /// Bytes of a part.
    fn part(&self) -> u64 {
        (self.largest / SHRINKING.pow(self.shrunk)).max(self.largest.min(SMALL)).max(self.least)
    }

    /// What an earlier process began, when the registry knows it still. It is not asked for long: a place that is gone is
    /// no reason to have fewer tries for a new one. Where nobody answers it stays kept, until a new one is begun.
    async fn earlier(&mut self) -> Option<Stand> {
        let place = self.kept.as_ref()?.place()?;
        let url = Url::parse(&place).ok()?;
        let mut budget = self.s.budget();
        let known = loop {
            let said = self.ask_soon(url.clone(), Origin::Earlier).await;
            if let Some(known) = self.heard(said, &mut budget).await {
                break known;
            }
        };
        // What is begun here has all its tries.
        self.forgotten = 0;
        known
    }

    /// What is known by what a registry said; `None` when it is to be asked again, after a wait.
    async fn heard(&mut self, said: Said, budget: &mut Budget) -> Option<Option<Stand>> {
        let busy = match said {
            Said::Stands(stand) => return Some(Some(stand)),
            Said::Nothing => return Some(None),
            Said::Busy(busy) => busy,
        };
        let Some(wait) = budget.next(waited_for(&busy), None) else {
            self.begins_anew(&busy);
            return Some(None);
        };
        budget.pause(wait, &busy).await;
        None
    }

    /// Gives an upload up that another request does not let go.
    fn begins_anew(&mut self, busy: &RegistryError) {
        tracing::warn!("{busy}: the blob is sent anew from its first byte");
        self.forget();
        self.forgotten += 1;
    }

    /// After a break. A registry that is away is waited for; the place of an upload at another host is a hint, which may
    /// be gone while the registry is there.
    async fn ask_again(&mut self, stand: Stand, budget: &mut Budget) -> Option<Stand> {
        let origin = if self.source.is_compared() { Origin::Earlier } else { stand.origin };
        loop {
            let said = match self.s.is_own(&stand.url) {
                true => self.ask(stand.url.clone(), origin, budget).await,
                false => self.ask_soon(stand.url.clone(), origin).await,
            };
            if let Some(known) = self.heard(said, budget).await {
                return known;
            }
        }
    }

    /// As [`Parts::ask`], with tries of its own and no more time than a connection has.
    async fn ask_soon(&mut self, url: Url, origin: Origin) -> Said {
        let mut budget = self.s.brief();
        let limit = self.s.shared.options.timeouts.connect;
        tokio::time::timeout(limit, self.ask(url, origin, &mut budget)).await.unwrap_or(Said::Nothing)
    }

    /// Asks how much the registry has. Nothing is known where it says nothing of use.
    async fn ask(&mut self, url: Url, origin: Origin, budget: &mut Budget) -> Said {
        let call = self.s.call_at(Method::GET, url, "blob upload".to_owned());
        let Ok(answer) = self.s.send(&call, budget).await else { return Said::Nothing };
        let status = answer.status();
        if status == StatusCode::CONFLICT {
            return Said::Busy(self.s.refuse(&call, answer).await);
        }
        let offset = taken(&answer).filter(|taken| status.as_u16() == 204 && *taken <= self.blob.size);
        // Who could not be asked, or is not well, may know it still.
        self.forgotten += u32::from(self.furthest > 0 && offset.is_none() && !status.is_server_error());
        let Some(offset) = offset else { return Said::Nothing };
        let url = location(&answer, &call.url).unwrap_or(call.url);
        self.keep(&url);
        tracing::debug!(digest = %self.blob.digest, offset, "an upload goes on");
        Said::Stands(Stand { url, offset, origin })
    }

    /// Sends what is missing, and the digest.
    async fn rest(&mut self, stand: &mut Stand, budget: &mut Budget) -> Result<(), RegistryError> {
        while stand.offset < self.blob.size {
            let length = self.part().min(self.blob.size - stand.offset);
            let call = self.patch(stand, length);
            let answer = self.s.send(&call, &mut self.s.single()).await?;
            if answer.status().as_u16() != 202 {
                return Err(self.s.refuse(&call, answer).await);
            }
            let sent = stand.offset + length;
            // A registry may have taken less than it was sent; one that has more was sent it by somebody else.
            let has = taken(&answer).unwrap_or(sent);
            stand.url = location(&answer, &call.url).unwrap_or(call.url.clone());
            if has > sent || has <= stand.offset {
                let cause = format!("it was sent bytes {} to {} and says that it has {has}", stand.offset, sent);
                return Err(RegistryError::Protocol { asked: Box::new(self.s.asked(&call)), cause });
            }
            stand.offset = has;
            self.keep(&stand.url);
            if has > self.furthest {
                self.furthest = has;
                budget.progressed();
            }
        }
        put(self.s, self.blob, Payload::Empty, stand.url.clone()).await
    }

    fn patch(&self, stand: &Stand, length: u64) -> Call {
        let words = format!("blob {} from byte {}", self.blob.digest, stand.offset);
        let mut call = self.s.call_at(Method::PATCH, stand.url.clone(), words);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let range = format!("{}-{}", stand.offset, stand.offset + length - 1);
        call.headers.extend(HeaderValue::from_str(&range).ok().map(|range| (CONTENT_RANGE, range)));
        if self.shrunk > 0 {
            // What a connection lets through is then for one part.
            call.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        call.payload = self.source.part(stand.offset, length).map_or(Payload::Empty, Payload::File);
        call
    }

    fn keep(&mut self, url: &Url) {
        if let Some(kept) = &mut self.kept {
            kept.keep(url.as_str());
        }
    }

    fn forget(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.forget();
        }
    }
}

fn take(s: &Session<'_>, blob: &Descriptor) -> Option<Box<dyn KeptUpload>> {
    s.shared.options.uploads.as_ref()?.take(&s.upload_name(&blob.digest))
}

/// Keeps the place of an upload that is under way otherwise than in parts, if the blob is worth it.
pub(crate) fn keep(s: &Session<'_>, blob: &Descriptor, place: &Url) -> Option<Box<dyn KeptUpload>> {
    if blob.size <= s.shared.options.part {
        return None;
    }
    let mut kept = take(s, blob)?;
    kept.keep(place.as_str());
    Some(kept)
}

/// Where an upload goes on that was not sent in parts, and with which byte, as the registry says.
pub(crate) async fn standing(s: &Session<'_>, place: Url, budget: &mut Budget) -> Option<(Url, u64)> {
    let call = s.call_at(Method::GET, place, "blob upload".to_owned());
    let answer = loop {
        let answer = s.send(&call, budget).await.ok()?;
        if answer.status() != StatusCode::CONFLICT {
            break answer;
        }
        let busy = s.refuse(&call, answer).await;
        let wait = budget.next(waited_for(&busy), None)?;
        budget.pause(wait, &busy).await;
    };
    let has = taken(&answer).filter(|_| answer.status().as_u16() == 204)?;
    Some((location(&answer, &call.url).unwrap_or(call.url), has))
}

/// Does the registry have another number of bytes than the part begins at?
fn is_elsewhere(e: &RegistryError) -> bool {
    matches!(e, RegistryError::Status { status: 416, .. })
}

/// Will the same be taken later?
fn is_of_the_moment(e: &RegistryError) -> bool {
    matches!(e, RegistryError::Status { status: 408 | 429 | 502..=504, .. })
}

/// Does another request write to the upload?
fn is_busy(e: &RegistryError) -> bool {
    matches!(e, RegistryError::Status { status: 409, .. })
}

/// How long is waited before another try. A request whose connection broke may have its upload for as long as a registry
/// bears silence.
fn waited_for(e: &RegistryError) -> Failed {
    if is_busy(e) { Failed::Away } else { Failed::by(e) }
}

/// Did the line break while something was sent? Not when there was no connection.
pub(super) fn is_torn(e: &RegistryError) -> bool {
    matches!(e, RegistryError::Network { cause, .. } if !cause.contains("client error (Connect)"))
}

/// Is it what a registry says that knows no parts, or none of this size? The blob is then sent whole.
fn takes_no_parts(e: &RegistryError) -> bool {
    matches!(e, RegistryError::Status { status: 400 | 405 | 411 | 413 | 415 | 416 | 501, .. })
}

/// How many bytes the registry has, by the `Range: 0-<last>` of its answer. `0-0` is said of one byte, by some of none:
/// nobody sends parts of one byte.
fn taken(answer: &Response) -> Option<u64> {
    let text = answer.headers().get(RANGE)?.to_str().ok()?.trim();
    let last = text.strip_prefix("bytes=").unwrap_or(text).strip_prefix("0-")?;
    match last.parse::<u64>().ok()? {
        0 => Some(0),
        last => last.checked_add(1),
    }
}
