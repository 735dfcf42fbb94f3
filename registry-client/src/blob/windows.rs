//! Parts of a large blob, asked for beside each other: one connection over a long way carries less than the way could.
//!
//! Takes: where to begin. Gives: the bytes from there to the end, in order, window by window. A few windows are on
//! their way or wait at any time, which bounds memory. Must never: give bytes of another place than was asked for.

use crate::RegistryError;
use crate::api::{ContentRange, Route};
use crate::retry::is_retryable;
use crate::session::{Session, broke};
use cooper_image::Descriptor;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesOrdered;
use reqwest::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use std::pin::{Pin, pin};

/// Bytes of a window.
pub(crate) const WINDOW: u64 = 4 << 20;
/// Windows that are on their way or wait, beside the part that is being taken.
const AT_ONCE: usize = 3;
/// Below this many bytes, one connection is as good.
const WORTH: u64 = 4 * WINDOW;

/// Is enough left after `first` for windows, and does the server say that it takes ranges?
pub(crate) fn are_worth_it(response: &Response, first: u64, size: u64) -> bool {
    let takes = response.status() == StatusCode::PARTIAL_CONTENT
        || response.headers().get(ACCEPT_RANGES).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"bytes"));
    takes && size.saturating_sub(first) >= WORTH
}

type Window<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Missed>> + Send + 'a>>;

/// Why a window did not come, which says how the rest is to be asked for.
pub(crate) enum Missed {
    /// The connection broke: as before, from what has come in order.
    Broke(RegistryError),
    /// The registry has too many questions, or is not well: by a range, and nothing beside it.
    Busy(RegistryError),
    /// It was refused, or something else came: without ranges.
    Wrong(RegistryError),
}

impl From<RegistryError> for Missed {
    fn from(e: RegistryError) -> Self {
        match e {
            e @ RegistryError::Network { .. } => Self::Broke(e),
            e => Self::Wrong(e),
        }
    }
}

/// The windows of one blob.
pub(crate) struct Windows<'a> {
    session: &'a Session<'a>,
    blob: &'a Descriptor,
    /// Where the next window begins that was not asked for yet.
    next: u64,
    under_way: FuturesOrdered<Window<'a>>,
    /// What came while something else was waited for.
    ready: Option<Result<Vec<u8>, Missed>>,
    /// Memory of windows that were taken. There is only as much of it as may be under way.
    spare: Vec<Vec<u8>>,
}

impl<'a> Windows<'a> {
    /// Asks for the first ones.
    pub(crate) fn open(session: &'a Session<'a>, blob: &'a Descriptor, begin: u64) -> Self {
        let mut this =
            Self { session, blob, next: begin, under_way: FuturesOrdered::new(), ready: None, spare: Vec::new() };
        this.fill();
        this
    }

    fn fill(&mut self) {
        while self.under_way.len() + usize::from(self.ready.is_some()) < AT_ONCE && self.next < self.blob.size {
            let first = self.next;
            self.next = (first + WINDOW).min(self.blob.size);
            let memory = self.spare.pop().unwrap_or_default();
            self.under_way.push_back(Box::pin(window(self.session, self.blob, first, self.next - 1, memory)));
        }
    }

    /// Waits for something else, and lets the windows come meanwhile.
    pub(crate) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let other = pin!(other);
        if self.ready.is_some() {
            return other.await;
        }
        match select(other, self.under_way.next()).await {
            Either::Left((done, _)) => done,
            Either::Right((window, other)) => {
                self.ready = window;
                other.await
            }
        }
    }

    /// The next window, in order; `None` behind the last one. In place of one that is given back, another is asked for.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<u8>, Missed>> {
        match self.ready.take() {
            Some(ready) => Some(ready),
            None => self.under_way.next().await,
        }
    }

    /// Takes the memory of a window back that was taken.
    pub(crate) fn give_back(&mut self, memory: Vec<u8>) {
        self.spare.push(memory);
        self.fill();
    }
}

/// Exactly the bytes from `first` to `last`, both included.
async fn window(
    s: &Session<'_>,
    blob: &Descriptor,
    first: u64,
    last: u64,
    mut bytes: Vec<u8>,
) -> Result<Vec<u8>, Missed> {
    let mut call = s.call(Method::GET, &Route::Blob(&blob.digest));
    call.headers.extend(HeaderValue::from_str(&format!("bytes={first}-{last}")).ok().map(|v| (RANGE, v)));
    // No second try here: what came in order is counted where the rest is asked for again.
    let mut budget = s.single();
    let mut response = s.send(&call, &mut budget).await?;
    let value = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok());
    let range = value.and_then(ContentRange::parse);
    let fits = range.is_some_and(|r| (r.first, r.last) == (first, last) && r.whole.is_none_or(|w| w == blob.size));
    if response.status() != StatusCode::PARTIAL_CONTENT || !fits {
        let busy = is_retryable(response.status());
        let refused = s.refuse(&call, response).await;
        return Err(if busy { Missed::Busy(refused) } else { Missed::Wrong(refused) });
    }
    let length = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
    // Memory is bounded by what is reserved here, which growing would exceed.
    bytes.clear();
    bytes.reserve_exact(length);
    while let Some(piece) = s.shared.transport.chunk(&mut response).await.map_err(|b| broke(b, &s.asked(&call)))? {
        bytes.extend_from_slice(piece.get(..piece.len().min(length - bytes.len())).unwrap_or_default());
        if bytes.len() == length {
            return Ok(bytes);
        }
    }
    let cause = format!("asked for {length} bytes from {first}, and {} came", bytes.len());
    Err(Missed::Wrong(RegistryError::Protocol { asked: Box::new(s.asked(&call)), cause }))
}
