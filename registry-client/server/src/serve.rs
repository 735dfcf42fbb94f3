//! The server around the service: connections, their time-outs, and an orderly end.

use crate::patient::Patient;
use crate::{Registry, ServerOptions, Tls, service};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often uploads that nobody continues are looked for.
const EXPIRY: Duration = Duration::from_secs(5 * 60);
/// Pause after a connection could not be accepted, as when there are no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a registry cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The listener is of no use.
    #[error("the registry cannot listen")]
    Listener(#[source] std::io::Error),
}

impl ServerError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listener(_) => Some("choose another address".to_owned()),
        }
    }
}

/// Serves until `shutdown` is ready, then lets requests under way end for a short time.
///
/// # Errors
/// [`ServerError::Listener`] when the listener has no address. Failures of single connections are
/// told to the log alone.
pub async fn serve(listener: TcpListener, options: ServerOptions, shutdown: impl Future) -> Result<(), ServerError> {
    let address = listener.local_addr().map_err(ServerError::Listener)?;
    tracing::info!(%address, root = %options.store.root().display(), "the registry serves");
    let (tls, limits) = (options.tls.clone(), options.limits);
    let registry = Registry::new(options);
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    let mut expiry = tokio::time::interval(EXPIRY);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            _ = &mut shutdown => break,
            _ = expiry.tick() => {
                let shared = Arc::clone(&registry.shared);
                // Nobody waits for it.
                drop(tokio::task::spawn_blocking(move || shared.sessions.sweep(&shared.store)));
            }
            (stream, peer, place) = accept(&listener, &places) => {
                let (registry, watcher, tls) = (registry.from(peer), connections.watcher(), tls.clone());
                tokio::spawn(async move {
                    let counted = registry.shared.metrics.connected();
                    if let Err(error) = converse(stream, registry, tls, watcher).await {
                        tracing::debug!(%error, "a connection ended badly");
                    }
                    drop((counted, place));
                });
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(limits.last_requests, connections.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way and are cut off");
    }
    registry.shared.metrics.close_log();
    Ok(())
}

/// One connection, from its first byte to its last.
async fn converse(
    stream: TcpStream,
    registry: Registry,
    tls: Option<Tls>,
    watcher: Watcher,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    // Answers are small or large, never many small ones in a row: waiting to fill packets only costs time.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let limits = registry.shared.limits;
    let stream = Patient::new(stream, limits.silence);
    match tls {
        None => watcher.watch(connection(stream, registry)).await,
        Some(Tls(acceptor)) => {
            let stream = tokio::time::timeout(limits.head, acceptor.accept(stream)).await??;
            watcher.watch(connection(stream, registry)).await
        }
    }
}

/// The next connection, and its place among those that are served at once.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    loop {
        // The semaphore is never closed, so that a place always comes.
        let place = Arc::clone(places).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

type Connection<S> =
    hyper_util::server::conn::auto::Connection<'static, TokioIo<S>, TowerToHyperService<axum::Router>, TokioExecutor>;

fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, registry: Registry) -> Connection<S> {
    let head = registry.shared.limits.head;
    // Guessing the version would wait, without any time-out, for the first bytes of those who never send any.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service(registry))).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn who_sends_no_whole_head_is_hung_up_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = cooper_store::Store::open(dir.path()).unwrap();
        let mut options = ServerOptions::new(store);
        options.limits.head = Duration::from_millis(100);
        let registry = Registry::new(options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let starts: [&[u8]; 5] = [
            b"",
            b"GET /v2/ HTTP/1.1\r\nHost: x\r\n",
            b"PRI * HT",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        ];
        for start in starts {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(stream, registry.clone()));
            client.write_all(start).await.unwrap();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "still open after {}", start.escape_ascii());
        }
    }
}
