//! A blob on its way from the upstream: fetched once, and read by all who want it while it comes.
//!
//! The last byte is given out only when all were compared with the digest and are safely in the store. Whoever reads
//! knows by it, and by nothing less, that the blob is whole.

use super::Upstream;
use crate::metrics::Metrics;
use crate::{ApiError, StoreError};
use axum::body::{Body, Bytes};
use cooper_image::Descriptor;
use cooper_store::{BlobWriter, RepoName, Store};
use std::fs::File;
use std::io::{Error, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use tokio::sync::watch;

/// What is read from the disk at once, in bytes.
const PIECE: u64 = 256 * 1024;

/// So much has to have come before an answer begins, or all of it, in bytes: who gets nothing is told so while it can be.
const BEGINNING: u64 = 64 * 1024;

/// How far it is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    written: u64,
    /// Whole and in the store, or failed.
    ended: Option<bool>,
}

/// A blob on its way.
pub struct Flight {
    size: u64,
    file: Arc<File>,
    progress: watch::Receiver<Progress>,
}

/// What is to be fetched, and where to.
pub struct Order {
    pub upstream: Arc<dyn Upstream>,
    pub store: Store,
    pub metrics: Arc<Metrics>,
    pub name: RepoName,
    pub blob: Descriptor,
}

impl Flight {
    /// Begins to fetch, and goes on whoever gives up waiting. `landed` is called before anybody hears how it ended.
    pub fn begin(order: Order, landed: impl FnOnce() + Send + 'static) -> Result<Self, ApiError> {
        let writer = order.store.blob_writer()?;
        let (file, size) = (Arc::new(writer.reader()?), order.blob.size);
        let (tell, progress) = watch::channel(Progress::default());
        tokio::spawn(async move {
            let whole = fetch(&order, writer, &tell).await;
            order.metrics.mirrored("blob", if whole { "fetched" } else { "failed" });
            // First: whoever hears that it failed and asks again must not get this one again.
            landed();
            tell.send_modify(|p| p.ended = Some(whole));
        });
        Ok(Self { size, file, progress })
    }

    /// Waits for the beginning. False when it will not come.
    pub async fn comes(&self) -> bool {
        let mut progress = self.progress.clone();
        // The sender speaks before it goes.
        let state = progress.wait_for(|p| p.ended.is_some() || p.written > BEGINNING).await;
        state.is_ok_and(|p| p.ended != Some(false))
    }

    /// The bytes from `first` up to before `end`, as they come.
    pub fn body(self: &Arc<Self>, first: u64, end: u64) -> Body {
        let (flight, progress) = (Arc::clone(self), self.progress.clone());
        let stream =
            futures_util::stream::unfold((flight, progress, first), move |(flight, mut progress, at)| async move {
                if at >= end {
                    return None;
                }
                let piece = flight.piece(&mut progress, at, end).await;
                let next = piece.as_ref().map_or(end, |piece| at + piece.len() as u64);
                Some((piece, (flight, progress, next)))
            });
        Body::from_stream(stream)
    }

    async fn piece(&self, progress: &mut watch::Receiver<Progress>, at: u64, end: u64) -> Result<Bytes, Error> {
        let broken = || Error::other("the upstream broke off");
        let free = |p: &Progress| match p.ended {
            Some(true) => self.size,
            _ => p.written.min(self.size.saturating_sub(1)),
        };
        let state = *progress.wait_for(|p| p.ended.is_some() || free(p) > at).await.map_err(|_| broken())?;
        if state.ended == Some(false) {
            return Err(broken());
        }
        let length = free(&state).min(end).saturating_sub(at).min(PIECE);
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || {
            // At most PIECE, which every usize holds.
            let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
            file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
        });
        read.await.map_err(Error::other)?
    }
}

async fn fetch(order: &Order, mut writer: BlobWriter, tell: &watch::Sender<Progress>) -> bool {
    let Order { upstream, store, name, blob, .. } = order;
    let mut sink = |piece: &[u8]| {
        // Waiting for the disk must not keep other transfers.
        tokio::task::block_in_place(|| writer.write_all(piece).and_then(|()| writer.flush()))?;
        tell.send_modify(|p| p.written += piece.len() as u64);
        Ok(())
    };
    if let Err(error) = upstream.blob(name.as_str(), blob, &mut sink).await {
        tracing::warn!(%error, blob = %blob.digest, "a blob could not be fetched from the upstream");
        return false;
    }
    let (store, name, blob) = (store.clone(), name.clone(), blob.clone());
    let kept = tokio::task::spawn_blocking(move || {
        let _held = writer.commit_held(Some((&blob.digest, blob.size)))?;
        store.repository(&name).link_blob(&blob.digest)
    });
    let failed =
        |error: &(dyn std::error::Error + 'static)| tracing::error!(error, "a mirrored blob could not be kept");
    match kept.await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            let error: StoreError = error;
            failed(&error);
            false
        }
        Err(error) => {
            failed(&error);
            false
        }
    }
}
