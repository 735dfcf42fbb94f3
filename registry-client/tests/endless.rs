//! A registry whose answers do not end: each request is given up soon, and little of what came is kept.
//!
//! One test in a program of its own, whose memory nobody else uses.
#![allow(clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

#[path = "client/support/mod.rs"]
mod support;

use cooper_image::{Descriptor, Digest, MediaType, Platform, limits};
use cooper_registry::{Client, RegistryError};
use std::time::Duration;
use support::script::{BLOB, named};
use support::{Answer, Scripted, Seen, answer, quick, source};

/// What a client asks for, and where the answer has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Ping,
    Token,
    Refusal,
    Failure,
    Manifest,
    Image,
    Configuration,
    Layer,
    Tags,
    Catalog,
    Referrers,
    ReferrersTag,
    Push,
    PushedManifest,
    Deletion,
}

use Asks::{
    Catalog, Configuration, Deletion, Failure, Image, Layer, Manifest, Ping, Push, PushedManifest, Referrers,
    ReferrersTag, Refusal, Tags, Token,
};

/// Of an answer whose body says nothing, its status alone may be believed.
const SAY_NOTHING: [Asks; 4] = [Ping, Push, PushedManifest, Deletion];

/// Bytes of memory by which the whole of it may grow.
const MEMORY: u64 = 64 << 20;

/// The most memory that this process ever had, in bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn endless(status: &str, more: &str) -> Answer {
    Answer::Endless(format!("HTTP/1.1 {status}\r\n{more}\r\n").into_bytes())
}

fn script(asks: Asks, seen: &Seen) -> Answer {
    let is = |part: &str| seen.target.contains(part);
    match asks {
        Ping => endless("200 OK", ""),
        _ if seen.target == "/v2/" => answer("200 OK", "", b""),
        Token if is("/token") => endless("200 OK", "Content-Type: application/json\r\n"),
        Token => {
            let realm = format!("http://{}/token", seen.header("host").unwrap());
            answer("401 Unauthorized", &format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n"), b"")
        }
        Refusal => endless("403 Forbidden", "Content-Type: application/json\r\n"),
        Failure => endless("503 Service Unavailable", ""),
        ReferrersTag if is("/referrers/") => answer("404 Not Found", "", b""),
        Push if seen.method == "HEAD" => answer("404 Not Found", "", b""),
        Push if seen.method == "POST" => endless("202 Accepted", "Location: /up/1\r\n"),
        Push | PushedManifest => endless("201 Created", ""),
        Deletion => endless("202 Accepted", ""),
        _ => endless("200 OK", "Content-Type: application/vnd.oci.image.index.v1+json\r\n"),
    }
}

async fn ask(asks: Asks, client: &Client, server: &Scripted) -> Result<(), RegistryError> {
    let (name, subject) = (named(server), Digest::sha256("subject"));
    let blob = |media_type: MediaType, size: u64| Descriptor::new(media_type, subject.clone(), size);
    let mut sink = |_: &[u8]| Ok(());
    match asks {
        Ping => client.ping(&server.host()).await.map(drop),
        Token | Refusal | Failure | Layer => client.blob(&name, &blob(MediaType::OciLayer, 1 << 20), &mut sink).await,
        Manifest => client.top(&name).await.map(drop),
        Image => client.resolve(&name, &Platform::host()).await.map(drop),
        Configuration => {
            let config = blob(MediaType::OciConfig, limits::CONFIG_BYTES);
            client.small_blob(&name, &config, limits::CONFIG_BYTES).await.map(drop)
        }
        Tags => client.tags(&name).await.map(drop),
        Catalog => client.catalog(&server.host()).await.map(drop),
        Referrers | ReferrersTag => client.referrers(&name, &subject, None).await.map(drop),
        Push => {
            let layer = Descriptor::of(MediaType::OciLayer, BLOB);
            client.push_blob(&name, &layer, source(BLOB), None).await.map(drop)
        }
        PushedManifest => client.push_manifest(&name, b"{}", &MediaType::OciManifest).await.map(drop),
        Deletion => client.delete(&name).await,
    }
}

#[tokio::test]
async fn no_answer_without_end_is_read_for_ever_or_kept() {
    let before = most_memory();
    for asks in [
        Ping,
        Token,
        Refusal,
        Failure,
        Manifest,
        Image,
        Configuration,
        Layer,
        Tags,
        Catalog,
        Referrers,
        ReferrersTag,
        Push,
        PushedManifest,
        Deletion,
    ] {
        let server = Scripted::start(move |seen, _| script(asks, seen));
        let client = Client::new(quick()).unwrap();
        // A bound against work without end: with all tries it takes a part of a second.
        let done = tokio::time::timeout(Duration::from_secs(5), ask(asks, &client, &server)).await;
        let done = done.unwrap_or_else(|_| panic!("{asks:?} does not end"));
        assert!(done.is_err() || SAY_NOTHING.contains(&asks), "{asks:?}: {done:?}");
        assert!(server.requests().len() > usize::from(asks != Ping), "{asks:?}: {:?}", server.requests());
        let told = done.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.len() < 1024, "{asks:?}: {} bytes are told", told.len());
    }
    let grown = most_memory() - before;
    assert!(grown < MEMORY, "{grown} bytes more");
}
