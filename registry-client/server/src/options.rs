//! What a registry is made of and how much it bears, as plain data that the front door fills.

use crate::access_log::AccessLog;
use crate::gate::AccessControl;
use crate::mirror::MirrorOptions;
use crate::tls::Tls;
use cooper_image::limits::LAYER_BYTES;
use cooper_store::Store;
use std::time::Duration;

/// What a registry is made of.
#[derive(Debug)]
pub struct ServerOptions {
    /// Where blobs, manifests and tags are kept.
    pub store: Store,
    /// Nothing may be pushed or deleted, whoever asks.
    pub read_only: bool,
    /// Manifests are taken of which something is missing.
    pub sparse: bool,
    /// Who may do what; everybody everything when it is absent.
    pub access: Option<AccessControl>,
    /// Certificate and key; plain HTTP when they are absent.
    pub tls: Option<Tls>,
    /// Where a line for each request goes.
    pub access_log: Option<AccessLog>,
    /// How much is borne.
    pub limits: Limits,
    /// What is fetched from elsewhere when somebody asks for it; then nothing is taken from clients.
    pub mirror: Option<MirrorOptions>,
}

impl ServerOptions {
    /// A registry that is open to everybody, over plain HTTP.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            read_only: false,
            sparse: false,
            access: None,
            tls: None,
            access_log: None,
            limits: Limits::default(),
            mirror: None,
        }
    }
}

/// How much a registry bears of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Most uploads under way at once. Each has a file open.
    pub uploads: usize,
    /// Largest blob, in bytes.
    pub blob_bytes: u64,
    /// Largest manifest, in bytes; more than 4 MiB are not read back by others.
    pub manifest_bytes: u64,
    /// Until the head of a request, or the handshake of TLS, has come; an idle connection ends then too.
    pub head: Duration,
    /// A body of which nothing comes, or an answer of which nothing goes, for so long is given up.
    pub silence: Duration,
    /// Slowest body that is waited for, in bytes for each second, once it took longer than [`Limits::silence`].
    pub slowest: u64,
    /// How long requests under way may take after the server was asked to stop.
    pub last_requests: Duration,
    /// An upload that nobody continues for so long is dropped.
    pub idle_upload: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            uploads: 256,
            blob_bytes: LAYER_BYTES,
            manifest_bytes: 4 * 1024 * 1024,
            head: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            slowest: 1024,
            last_requests: Duration::from_secs(10),
            idle_upload: Duration::from_secs(60 * 60),
        }
    }
}
