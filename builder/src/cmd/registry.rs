//! `cooper registry serve`.

use super::Place;
use super::mirrored::Mirrored;
use super::reread::{AccessFiles, Watched, text};
use crate::failure::{Exit, Failure};
use crate::flags::login::Host;
use crate::flags::serve::ServeFlags;
use crate::{open, signals, stdout, ui};
use cooper_engine::EngineError;
use cooper_registry::Client;
use cooper_registry_server::{AccessControl, AccessLog, Limits, MirrorOptions, ServerOptions, Tls};
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
    let watched = flags.users.clone().map(|users| AccessFiles { users, rules: flags.rules.clone() });
    let watched = watched.map(Watched::begin).transpose()?;
    let options = options(place, flags, watched.as_ref().map(Watched::access))?;
    warnings(flags).iter().for_each(|warning| ui::say(&format!("warning: {warning}")));
    let runtime = open::runtime()?;
    let shutdown = signals::first(runtime.handle())?;
    if let Some(watched) = watched {
        runtime.spawn(watched.watch(signals::hangups(runtime.handle())?));
    }
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
fn options(place: &Place, flags: &ServeFlags, access: Option<AccessControl>) -> Result<ServerOptions, Failure> {
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
    // Whoever asks a mirror has a way past it, and tries again by itself.
    options.retry.outage = Duration::ZERO;
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

/// What is easily overlooked about an address that others reach.
fn warnings(flags: &ServeFlags) -> Vec<String> {
    let mut all = Vec::new();
    if flags.listen.ip().is_loopback() {
        return all;
    }
    let reaches = format!("whoever reaches {} may", flags.listen);
    match (&flags.users, &flags.mirror_of) {
        (None, Some(host)) => {
            let deletes = if flags.readonly { "" } else { ", and delete what is here" };
            let opens = format!("read what this machine's credentials for {} open", host.name());
            all.push(format!("{reaches} {opens}{deletes}: see --users"));
        }
        (None, None) if !flags.readonly => all.push(format!("{reaches} push and delete: see --users")),
        _ => {}
    }
    if flags.users.is_some() && flags.tls_cert.is_none() {
        all.push("passwords travel unprotected: see --tls-cert, or let a proxy in front speak TLS".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: ServeFlags,
    }

    fn parse(line: &str) -> Result<ServeFlags, clap::Error> {
        Command::try_parse_from(std::iter::once("serve").chain(line.split_whitespace())).map(|command| command.flags)
    }

    #[test]
    fn an_open_address_is_warned_of() {
        for (line, parts) in [
            ("", &[][..]),
            ("--mirror-of docker.io", &[]),
            ("--listen 0.0.0.0:5000", &["may push and delete: see --users"]),
            ("--listen 0.0.0.0:5000 --readonly", &[]),
            ("--listen 0.0.0.0:5000 --users u", &["passwords travel"]),
            ("--listen 0.0.0.0:5000 --users u --mirror-of docker.io", &["passwords travel"]),
            (
                "--listen 0.0.0.0:5000 --mirror-of docker.io",
                &["credentials for docker.io open, and delete what is here: see --users"],
            ),
            ("--listen 0.0.0.0:5000 --mirror-of docker.io --readonly", &["docker.io open: see --users"]),
        ] {
            let all = warnings(&parse(line).unwrap());
            assert_eq!(all.len(), parts.len(), "{line}: {all:?}");
            assert!(all.iter().zip(parts).all(|(warning, part)| warning.contains(part)), "{line}: {all:?}");
        }
    }

    #[test]
    fn what_means_nothing_to_a_mirror_is_refused() {
        for (line, taken) in [
            ("--sparse --max-upload-size 1g", true),
            ("--mirror-of docker.io --max-uploads 3", true),
            ("--mirror-of docker.io --sparse", false),
            ("--mirror-of docker.io --max-upload-size 1g", false),
        ] {
            assert_eq!(parse(line).is_ok(), taken, "{line}");
        }
    }
}
