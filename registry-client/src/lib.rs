//! OCI distribution client: endpoints, authentication, pull, push.
//!
//! Takes: an image name, plain options that the front door filled, bytes to send.
//! Gives: verified manifests, verified blob streams, and pushed content.
//! Must never: print, read the environment or a configuration file, hand out bytes of a manifest
//! that were not verified, or send a credential to an origin that it was not meant for.
//!
//! Reading order: [`options`] and [`registries_conf`] (what the front door gives), `endpoint`
//! (which hosts serve a name), `http` (one exchange), `auth` (who we are), `session` (an exchange
//! with authentication and retries), then `manifest`, `raw`, `rewriting`, `referrers`, `list`,
//! `remove` and `blob`. `certificates` are those of single registries, judged by `roots` and
//! `own_leaf`; `warnings` tells what registries warn of. [`web`] fetches files that are no registry's
//! over the same connections.
#![forbid(unsafe_code)]

pub mod client;
pub mod error;
pub mod options;
pub mod redact;
pub mod registries_conf;
pub mod retry;
pub mod web;

mod api;
mod auth;
mod blob;
mod certificates;
mod endpoint;
mod http;
mod kept;
mod list;
mod manifest;
mod own_leaf;
mod patience;
mod raw;
mod referrers;
mod remove;
mod rewriting;
mod roots;
mod session;
mod warnings;

pub use auth::{credential as credentials, edit, helper};
pub use blob::body::{BlobSource, StreamSource};
pub use blob::growing::{Following, Growing};
pub use blob::pull::Begun;
pub use blob::push::Pushed;
pub use client::{Client, Greeting};
pub use error::{Asked, Fault, RegistryError};
pub use kept::{KeptUpload, Uploads};
pub use manifest::{Fetched, ResolvedManifest};
pub use options::{Authority, ClientOptions, HostCertificates, ProxyOptions, Timeouts, TrustedRealm};
pub use patience::Clock;
pub use raw::Raw;
pub use redact::Secret;
pub use rewriting::Rewriting;
