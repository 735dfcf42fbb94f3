//! What is left of a request's body when its answer is ready.
//!
//! Closing a connection on which something is unread resets it, and what was just answered gets lost on the way. So the
//! rest is read, whoever let go of the body, unless it is long, or the client waits to hear whether it shall send
//! anything at all (RFC 9110, section 10.1.1).

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use futures_util::StreamExt as _;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// Most bytes that are read for nothing, for how long, and how long it is waited for more of them.
const MOST: usize = 16 * 1024 * 1024;
const TIME: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(200);

/// A body that comes back when it is let go before its end.
struct Lent {
    inner: Option<Body>,
    begun: bool,
    ended: bool,
    back: Option<oneshot::Sender<(Body, bool)>>,
}

/// Where it comes back to, with whether somebody has begun to read it.
pub struct Unread {
    back: oneshot::Receiver<(Body, bool)>,
    waits: bool,
}

impl Unread {
    /// Lends the body of a request with these headers.
    pub fn of(headers: &HeaderMap, body: Body) -> (Self, Body) {
        let (send, back) = oneshot::channel();
        let lent = Lent { inner: Some(body), begun: false, ended: false, back: Some(send) };
        (Self { back, waits: headers.contains_key(EXPECT) }, Body::new(lent))
    }

    /// Reads what is left, for a short time.
    pub async fn drain(mut self) {
        // Nothing comes back of a body that was read to its end.
        let Ok((body, begun)) = self.back.try_recv() else { return };
        // Whoever reads tells the client to send.
        if self.waits && !begun {
            return;
        }
        let all = async {
            let (mut left, mut stream) = (MOST, body.into_data_stream());
            // Where nothing comes, nothing is lost either.
            while let Ok(Some(Ok(piece))) = tokio::time::timeout(QUIET, stream.next()).await {
                match left.checked_sub(piece.len()) {
                    Some(less) => left = less,
                    None => break,
                }
            }
        };
        // Who sends slowly sees the connection end.
        let _ = tokio::time::timeout(TIME, all).await;
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.begun = true;
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = Pin::new(inner).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None | Some(Err(_))));
        frame
    }
    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }
    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let unread = self.inner.take().filter(|body| !self.ended && !body.is_end_stream());
        if let (Some(body), Some(back)) = (unread, self.back.take()) {
            // When nobody waits any more, the connection ends as well.
            let _ = back.send((body, self.begun));
        }
    }
}
