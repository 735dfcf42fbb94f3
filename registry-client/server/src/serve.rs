//! The server around the service: connections, their time-outs, and an orderly end.

use crate::{Registry, ServerOptions, service};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A client that has not sent the head of its request by then is hung up on; an idle connection too.
const HEAD: Duration = Duration::from_secs(30);
/// Most connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// How long requests under way may take after the server was asked to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(10);
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
    let registry = Registry::new(options);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = GracefulShutdown::new();
    let mut expiry = tokio::time::interval(EXPIRY);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            _ = &mut shutdown => break,
            _ = expiry.tick() => registry.sessions.expire(),
            (stream, place) = accept(&listener, &places) => {
                let connection = connection(stream, registry.clone(), HEAD);
                let watched = connections.watch(connection);
                tokio::spawn(async move {
                    if let Err(error) = watched.await {
                        tracing::debug!(%error, "a connection ended badly");
                    }
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(LAST_REQUESTS, connections.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way and are cut off");
    }
    Ok(())
}

/// The next connection, and its place among those that are served at once.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<tokio::sync::OwnedSemaphorePermit>) {
    loop {
        // The semaphore is never closed, so that a place always comes.
        let place = Arc::clone(places).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

type Connection = hyper_util::server::conn::auto::Connection<
    'static,
    TokioIo<TcpStream>,
    TowerToHyperService<axum::Router>,
    TokioExecutor,
>;

fn connection(stream: TcpStream, registry: Registry, head: Duration) -> Connection {
    // Answers are small or large, never many small ones in a row: waiting to fill packets only costs time.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
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
        let registry = Registry::new(ServerOptions { store });
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
            tokio::spawn(connection(stream, registry.clone(), Duration::from_millis(100)));
            client.write_all(start).await.unwrap();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "still open after {}", start.escape_ascii());
        }
    }
}
