//! `cooper registry`: what a registry of one's own serves, to whom, and how much it bears.

use super::login::Host;
use super::steps::Bytes;
use super::store::Span;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// `cooper registry`.
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Serve a registry to any client, until interrupted
    ///
    /// It holds what is pushed to it, in the directory that --root names; the images that builds and
    /// pulls left there are not served. Everybody who reaches the address may push and delete, unless
    /// --users or --readonly says otherwise: without them, listen on the loopback interface.
    ///
    /// / is a page that shows what there is, /healthz says whether the registry is well, /metrics counts
    /// what it does in Prometheus' form.
    #[command(after_long_help = EXAMPLES)]
    Serve(Box<ServeFlags>),
}

const EXAMPLES: &str = "\
Examples:
  cooper registry serve --root ./registry
      for this machine alone, on 127.0.0.1:5000
  cooper registry serve --root /srv/registry --listen 0.0.0.0:443 \\
      --tls-cert chain.pem --tls-key key.pem --users users --rules rules --access-log -
      for a team: users is a file of `htpasswd -nB NAME`, rules has lines such as
          anonymous  read    public/**
          *          read    team/**
          ci         write   team/**
          admin      all     **
  cooper registry serve --root /srv/mirror --listen 0.0.0.0:5000 --mirror-of docker.io
      so that a team pulls each base once

docs/registry.md explains rules, limits, metrics and the log.";

/// `cooper registry serve`.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// Address and port to listen on; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5000")]
    pub listen: SocketAddr,

    /// Take nothing: pushes and deletions are refused, whoever asks
    #[arg(long)]
    pub readonly: bool,

    /// Take manifests of which something is missing here, as partial copies of images for many platforms
    ///
    /// Ordinarily a manifest is taken only when everything that it names is in its repository.
    #[arg(long, conflicts_with = "mirror_of")]
    pub sparse: bool,

    /// Be a mirror of this registry (host or host:port): fetch what is asked for and not here, once
    ///
    /// Credentials and mirrors for it are those of every command, see `cooper login`; whoever may read
    /// here then reads what they open. When it cannot be reached, what is here is served, with a warning.
    /// A mirror takes no pushes. For docker.io: set `registry-mirrors` in docker's daemon.json, or a
    /// [[registry.mirror]] in registries.conf.
    #[arg(long, value_name = "HOST")]
    pub mirror_of: Option<Host>,

    /// Serve a tag of the mirrored registry for so long before asking whether it leads elsewhere now
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "mirror_of")]
    pub mirror_fresh: Span,

    /// Speak TLS with this certificate: PEM, the server's own first, then those that vouch for it
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Who gets in")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key: PEM, without a password
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Who gets in")]
    pub tls_key: Option<PathBuf>,

    /// Users and their passwords: lines of `htpasswd -nB NAME`; without --rules each may do everything
    ///
    /// Only hashes of bcrypt are accepted. Users and rules are read again when their files change, and on SIGHUP;
    /// a file that is wrong then changes nothing. Passwords travel in every request: use TLS, here or in a proxy
    /// in front.
    #[arg(long, value_name = "FILE", help_heading = "Who gets in")]
    pub users: Option<PathBuf>,

    /// What each user may do where: lines of WHO WHAT REPOSITORIES
    ///
    /// WHO is a user, `*` for every user, `anonymous` for everybody. WHAT is one or more, with commas, of
    /// read, create (push what is not there yet), write (also move tags), delete, all, and metrics, which
    /// names no repositories. In REPOSITORIES `*` is any part of a component, `**` any components. Rules
    /// only give: what no line gives is refused.
    #[arg(long, value_name = "FILE", requires = "users", help_heading = "Who gets in")]
    pub rules: Option<PathBuf>,

    /// Write a line of JSON for each request to the end of this file; `-`: to standard error
    ///
    /// Time, client, user, method, path, status, bytes of bodies, milliseconds and the client's name for
    /// itself; no queries, no other headers.
    #[arg(long, value_name = "FILE", help_heading = "Limits and the log")]
    pub access_log: Option<PathBuf>,

    /// Most connections at once; more wait
    #[arg(long, value_name = "N", default_value = "1024", help_heading = "Limits and the log")]
    pub max_connections: NonZeroUsize,

    /// Most uploads under way at once; more are told to try again later
    #[arg(long, value_name = "N", default_value = "256", help_heading = "Limits and the log")]
    pub max_uploads: NonZeroUsize,

    /// Largest blob that is taken, such as 10g; default 512g
    #[arg(long, value_name = "SIZE", conflicts_with = "mirror_of", help_heading = "Limits and the log")]
    pub max_upload_size: Option<Bytes>,

    /// Hang up on a client that sends, or takes, nothing for so long in the middle of a request
    #[arg(long, value_name = "TIME", default_value = "60s", help_heading = "Limits and the log")]
    pub body_timeout: Span,

    /// Hang up on a client that has not sent the head of a request by then, and on an idle one
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = "Limits and the log")]
    pub idle_timeout: Span,

    /// When told to stop, let requests under way end for so long
    #[arg(long, value_name = "TIME", default_value = "10s", help_heading = "Limits and the log")]
    pub stop_timeout: Span,
}
