//! Pulling a blob: every byte is hashed and counted on its way to the sink, a stream that breaks is
//! taken up where it broke, and the later parts of a large blob are asked for beside the first
//! (`windows`) where the server takes ranges. Must never give the sink a byte twice, one byte more than the
//! descriptor says, or, where it has the whole, the last ones, or success, for bytes whose digest differs.

use super::windows::{self, Missed, Windows};
use crate::api::{ContentRange, Route, announced_length};
use crate::http::Break;
use crate::retry::{Budget, Failed};
use crate::session::{Call, Session, broke};
use crate::{Asked, RegistryError};
use cooper_image::{Descriptor, Digest, DigestError, Hasher};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

/// Bytes that must have come since the last break for the tries to be counted anew.
const PROGRESS: u64 = 1024 * 1024;

/// Takes the bytes of a blob in order.
pub(crate) type Sink<'a> = &'a mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send);

/// The beginning of a blob, which came earlier.
#[derive(Clone)]
pub struct Begun {
    /// The hash of its bytes, in the algorithm of the blob's digest.
    pub hasher: Hasher,
    /// How many they are.
    pub length: u64,
}

/// A blob on its way, possibly from several endpoints one after the other.
pub(crate) struct Arriving<'a> {
    descriptor: &'a Descriptor,
    sink: Sink<'a>,
    /// None of an end whose beginning nobody here has: it is not compared.
    hasher: Option<Hasher>,
    /// Bytes that the sink had before.
    begun: u64,
    delivered: u64,
    /// A registry whose ranges are wrong is asked for the whole blob.
    ranges: Ranges,
    /// A registry that will not have several questions at once is asked one.
    windows: Windowing,
}

/// Are parts asked for beside each other?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Windowing {
    Allowed,
    Off,
}

/// May parts be asked for?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranges {
    Usable,
    Broken,
}

/// How one stream ended.
enum End {
    Complete,
    /// It broke off, or the registry's answer has to be asked for in another way.
    Again(RegistryError),
}

impl<'a> Arriving<'a> {
    /// A blob of which the sink has the bytes of `begun` already.
    pub(crate) fn new(descriptor: &'a Descriptor, begun: Option<Begun>, sink: Sink<'a>) -> Self {
        let Begun { hasher, length } =
            begun.unwrap_or_else(|| Begun { hasher: Hasher::with(descriptor.digest.algorithm()), length: 0 });
        Self::after(length, Some(hasher), descriptor, sink)
    }

    /// The end of a blob, from this byte on, for a sink that knows by other means whether the whole is right.
    pub(crate) fn end(descriptor: &'a Descriptor, from: u64, sink: Sink<'a>) -> Self {
        Self::after(from, None, descriptor, sink)
    }

    fn after(delivered: u64, hasher: Option<Hasher>, descriptor: &'a Descriptor, sink: Sink<'a>) -> Self {
        Self {
            descriptor,
            sink,
            hasher,
            begun: delivered,
            delivered,
            ranges: Ranges::Usable,
            windows: Windowing::Allowed,
        }
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// Bytes that the sink has.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Were some of them there before?
    pub(crate) fn came_earlier(&self) -> bool {
        self.begun > 0
    }

    /// Takes what is missing from one endpoint and verifies the whole.
    pub(crate) async fn from(&mut self, s: &Session<'_>) -> Result<(), RegistryError> {
        (self.ranges, self.windows) = (Ranges::Usable, Windowing::Allowed);
        let mut budget = s.budget();
        loop {
            let before = self.delivered;
            let failure = match self.stream(s, &mut budget).await? {
                End::Complete => return self.verify(&s.asked(&self.call(s))),
                End::Again(failure) => failure,
            };
            if self.delivered - before >= PROGRESS {
                budget.progressed();
            }
            // What came of windows behind the break is lost; a line that breaks sooner than one of them is through
            // would lose most of what it carries.
            if self.delivered - before < windows::WINDOW && matches!(failure, RegistryError::Network { .. }) {
                self.windows = Windowing::Off;
            }
            let Some(wait) = budget.next(Failed::by(&failure), None) else { return Err(failure) };
            budget.pause(wait, &failure).await;
        }
    }

    fn call(&self, s: &Session<'_>) -> Call {
        let mut call = s.call(Method::GET, &Route::Blob(&self.descriptor.digest));
        if self.delivered > 0 && self.ranges == Ranges::Usable {
            let range = format!("bytes={}-", self.delivered);
            call.headers.extend(HeaderValue::from_str(&range).ok().map(|v| (RANGE, v)));
        }
        call
    }

    /// One answer, as far as it goes.
    async fn stream(&mut self, s: &Session<'_>, budget: &mut Budget) -> Result<End, RegistryError> {
        if self.delivered == self.descriptor.size && self.delivered > 0 {
            return Ok(End::Complete);
        }
        let call = self.call(s);
        let mut response = s.send(&call, budget).await?;
        let asked = s.asked(&call);
        let mut skip = match self.position(&response, &asked)? {
            Position::Skip(n) => n,
            Position::WrongRange(cause) => {
                self.ranges = Ranges::Broken;
                return Ok(End::Again(RegistryError::Protocol { asked: Box::new(asked), cause }));
            }
            Position::Refused => return Err(s.refuse(&call, response).await),
        };
        if skip == 0
            && self.windows == Windowing::Allowed
            && windows::are_worth_it(&response, self.delivered, self.descriptor.size)
        {
            return self.beside(s, response, &asked).await;
        }
        loop {
            match s.shared.transport.chunk(&mut response).await {
                Ok(Some(piece)) => self.take(&piece, &mut skip, &asked)?,
                Ok(None) if self.delivered == self.descriptor.size => return Ok(End::Complete),
                Ok(None) => return Ok(End::Again(self.wrong_size(self.delivered, &asked))),
                Err(b @ Break::Passing(_)) => return Ok(End::Again(broke(b, &asked))),
                Err(b) => return Err(broke(b, &asked)),
            }
        }
    }

    /// Takes a first part from an answer, and the rest in windows that were asked for meanwhile.
    async fn beside(&mut self, s: &Session<'_>, mut response: Response, asked: &Asked) -> Result<End, RegistryError> {
        let begin = self.delivered + windows::WINDOW;
        let mut rest = Windows::open(s, self.descriptor, begin);
        while self.delivered < begin {
            // The windows are read while the first part is waited for.
            match rest.beside(s.shared.transport.chunk(&mut response)).await {
                Ok(Some(piece)) => {
                    let room = usize::try_from(begin - self.delivered).unwrap_or(usize::MAX).min(piece.len());
                    self.take(piece.get(..room).unwrap_or_default(), &mut 0, asked)?;
                }
                Ok(None) => return Ok(End::Again(self.wrong_size(self.delivered, asked))),
                Err(b @ Break::Passing(_)) => return Ok(End::Again(broke(b, asked))),
                Err(b) => return Err(broke(b, asked)),
            }
        }
        drop(response);
        while let Some(window) = rest.next().await {
            match window {
                Ok(bytes) => {
                    self.take(&bytes, &mut 0, asked)?;
                    rest.give_back(bytes);
                }
                Err(Missed::Broke(failure)) => return Ok(End::Again(failure)),
                Err(Missed::Busy(failure)) => {
                    self.windows = Windowing::Off;
                    return Ok(End::Again(failure));
                }
                Err(Missed::Wrong(failure)) => {
                    // A server whose ranges are wrong is asked for the whole, as if it had none.
                    (self.windows, self.ranges) = (Windowing::Off, Ranges::Broken);
                    return Ok(End::Again(failure));
                }
            }
        }
        Ok(End::Complete)
    }

    /// Where in the blob an answer's first byte is, as bytes to skip.
    fn position(&self, response: &Response, asked: &Asked) -> Result<Position, RegistryError> {
        let size = self.descriptor.size;
        match response.status() {
            StatusCode::OK => match announced_length(response) {
                Some(length) if length != size => Err(self.wrong_size(length, asked)),
                _ => Ok(Position::Skip(self.delivered)),
            },
            StatusCode::PARTIAL_CONTENT if self.delivered > 0 && self.ranges == Ranges::Usable => {
                let value = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok());
                let range = value.and_then(ContentRange::parse);
                let fits = range.is_some_and(|r| {
                    r.first == self.delivered && r.last < size && r.whole.is_none_or(|whole| whole == size)
                });
                let shown = crate::redact::excerpt(value.unwrap_or("nothing").as_bytes());
                Ok(if fits {
                    Position::Skip(0)
                } else {
                    Position::WrongRange(format!("asked for bytes from {}, the answer says {shown}", self.delivered))
                })
            }
            StatusCode::RANGE_NOT_SATISFIABLE if self.ranges == Ranges::Usable && self.delivered > 0 => {
                Ok(Position::WrongRange(format!("the registry has no bytes from {} of {size}", self.delivered)))
            }
            _ => Ok(Position::Refused),
        }
    }

    fn take(&mut self, piece: &[u8], skip: &mut u64, asked: &Asked) -> Result<(), RegistryError> {
        let over = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
        *skip -= over as u64;
        let fresh = piece.get(over..).unwrap_or_default();
        if fresh.is_empty() {
            return Ok(());
        }
        let total = self.delivered + fresh.len() as u64;
        if total > self.descriptor.size {
            return Err(self.wrong_size(total, asked));
        }
        self.hasher.iter_mut().for_each(|hasher| hasher.update(fresh));
        self.delivered = total;
        if total == self.descriptor.size {
            // Whoever hands the bytes on gets the last ones only when all are right.
            self.verify(asked)?;
        }
        (self.sink)(fresh).map_err(|source| RegistryError::Local {
            asked: Box::new(asked.clone()),
            what: "the blob cannot be written",
            source,
        })
    }

    fn wrong_size(&self, actual: u64, asked: &Asked) -> RegistryError {
        let source = DigestError::Size { expected: self.descriptor.size, actual };
        RegistryError::Digest { asked: Box::new(asked.clone()), source }
    }

    fn verify(&self, asked: &Asked) -> Result<(), RegistryError> {
        let Some(hasher) = &self.hasher else { return Ok(()) };
        let actual = hasher.clone().finish();
        if actual == self.descriptor.digest {
            return Ok(());
        }
        let source = DigestError::Mismatch { expected: self.descriptor.digest.clone(), actual };
        Err(RegistryError::Digest { asked: Box::new(asked.clone()), source })
    }

    /// Can another endpoint still help? Not when wrong bytes are in the sink already, or it failed.
    pub(crate) fn is_lost(&self, failure: &RegistryError) -> bool {
        let complete = self.delivered == self.descriptor.size && self.delivered > 0;
        complete || matches!(failure, RegistryError::Local { .. })
    }
}

/// A blob's size, which the registry says without sending it.
pub(crate) async fn size(s: &Session<'_>, digest: &Digest) -> Result<u64, RegistryError> {
    let call = s.call(Method::HEAD, &Route::Blob(digest));
    let response = s.send(&call, &mut s.budget()).await?;
    match announced_length(&response) {
        Some(length) if response.status() == StatusCode::OK => Ok(length),
        _ => Err(s.refuse(&call, response).await),
    }
}

/// What to do with an answer.
enum Position {
    Skip(u64),
    WrongRange(String),
    Refused,
}
