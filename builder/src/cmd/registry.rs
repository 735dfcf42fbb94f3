//! `cooper registry serve`.

use super::Place;
use super::mirrored::Mirrored;
use crate::failure::{Exit, Failure};
use crate::flags::login::Host;
use crate::flags::serve::ServeFlags;
use crate::{open, signals, stdout, ui};
use cooper_engine::EngineError;
use cooper_registry::Client;
use cooper_registry_server::{Access, AccessLog, Limits, MirrorOptions, Rules, ServerOptions, Tls, Users};
use std::fs::OpenOptions;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long a mirror waits for its upstream to begin to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves the store until a signal arrives, which is the ordinary end of a server. What goes wrong meanwhile is said on
/// standard error: clients are told no more than that something did.
pub fn serve(place: &Place, flags: &ServeFlags) -> Result<Exit, Failure> {
    let options = options(place, flags)?;
    warn(flags);
    let runtime = open::runtime()?;
    let shutdown = signals::first(runtime.handle())?;
    let served = runtime.block_on(async {
        let cannot = |e| Failure::file(format!("listening on {}", flags.listen), Exit::Registry, e);
        let listener = TcpListener::bind(flags.listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let root = ui::escape::line(&options.store.root().display().to_string());
        ui::say(&format!("serving {root} on {scheme}://{address}"));
        // For programs that asked for port 0.
        stdout::line(&address.to_string())?;
        Ok(cooper_registry_server::serve(listener, options, shutdown).await?)
    });
    // Nobody waits for an upstream that does not answer.
    runtime.shutdown_background();
    served.map(|()| Exit::Done)
}

/// Reads every file before the first connection, so that what is wrong is said at once.
fn options(place: &Place, flags: &ServeFlags) -> Result<ServerOptions, Failure> {
    let access = flags.users.as_deref().map(|users| access(users, flags.rules.as_deref())).transpose()?;
    let tls = match (&flags.tls_cert, &flags.tls_key) {
        (Some(cert), Some(key)) => Some(tls(cert, key)?),
        _ => None,
    };
    let access_log = flags.access_log.as_deref().map(log).transpose()?;
    let mut options = ServerOptions::new(open::store(place, &place.root()?)?);
    options.limits = limits(flags)?;
    options.read_only = flags.readonly;
    options.sparse = flags.sparse;
    options.mirror = flags.mirror_of.as_ref().map(|host| mirror(place, flags, host)).transpose()?;
    Ok(ServerOptions { access, tls, access_log, ..options })
}

fn mirror(place: &Place, flags: &ServeFlags, host: &Host) -> Result<MirrorOptions, Failure> {
    let mut options = open::client(place)?;
    // By this it knows its own questions, when registries.conf names it as a mirror for its upstream.
    let agent = format!("mirror/{:016x}", RandomState::new().hash_one(()));
    options.user_agent = format!("{} {agent}", options.user_agent);
    let client = Client::new(options).map_err(EngineError::from)?;
    let upstream = Arc::new(Mirrored::new(client, host.name().to_owned()));
    Ok(MirrorOptions { upstream, fresh: flags.mirror_fresh.0, patience: PATIENCE, agent })
}

fn limits(flags: &ServeFlags) -> Result<Limits, Failure> {
    let standard = Limits::default();
    if flags.idle_timeout.0.is_zero() || flags.body_timeout.0.is_zero() {
        return Err(Failure::usage("a time-out of nothing hangs up on everybody", "give at least 1s"));
    }
    Ok(Limits {
        connections: flags.max_connections.get(),
        uploads: flags.max_uploads.get(),
        blob_bytes: flags.max_upload_size.map_or(standard.blob_bytes, |size| size.0),
        head: flags.idle_timeout.0,
        silence: flags.body_timeout.0,
        last_requests: flags.stop_timeout.0,
        ..standard
    })
}

fn access(users: &Path, rules: Option<&Path>) -> Result<Access, Failure> {
    let wrong = |path: &Path, e| Failure::file(format!("reading {}", path.display()), Exit::Usage, e);
    let parsed = Users::parse(&text(users)?).map_err(|e| wrong(users, e))?;
    let rules = match rules {
        Some(rules) => Rules::parse(&text(rules)?, &parsed).map_err(|e| wrong(rules, e))?,
        None => Rules::default(),
    };
    Ok(Access { users: parsed, rules })
}

fn tls(cert: &Path, key: &Path) -> Result<Tls, Failure> {
    let wrong = |e| Failure::file(format!("using {} with {}", cert.display(), key.display()), Exit::Usage, e);
    Tls::from_pem(text(cert)?.as_bytes(), text(key)?.as_bytes()).map_err(wrong)
}

fn log(path: &Path) -> Result<AccessLog, Failure> {
    if path == Path::new("-") {
        return Ok(AccessLog::new(std::io::stderr()));
    }
    let cannot = |e| Failure::file(format!("opening {}", path.display()), Exit::Usage, e);
    Ok(AccessLog::new(OpenOptions::new().append(true).create(true).open(path).map_err(cannot)?))
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::file(format!("reading {}", path.display()), Exit::Usage, e))
}

/// Says what is easily overlooked about an address that others reach.
fn warn(flags: &ServeFlags) {
    if flags.listen.ip().is_loopback() {
        return;
    }
    if flags.users.is_none() && !flags.readonly && flags.mirror_of.is_none() {
        ui::say(&format!("warning: whoever reaches {} may push and delete: see --users", flags.listen));
    }
    if flags.users.is_some() && flags.tls_cert.is_none() {
        ui::say("warning: passwords travel unprotected: see --tls-cert, or let a proxy in front speak TLS");
    }
}
