//! Every request of a pull and of a push, with everything that can go wrong with its answer: once, and always.
//!
//! What holds for each: it ends; what it calls a success is one, byte for byte; what passes is survived when it happens
//! once; and a failure says which registry was asked for what. The table is `FAULTS` × `REQUESTS`.
#![allow(clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

mod support;

use cooper_image::{Descriptor, Digest, Document, MediaType, Platform, Reference};
use cooper_registry::{Client, ClientOptions, RegistryError};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::script::{BLOB, named};
use support::{Answer, Scripted, Seen, answer, quick, source};

/// What goes wrong with an answer.
struct Wrong {
    name: &'static str,
    /// The answer in place of the right one.
    answer: fn(right: Vec<u8>) -> Answer,
    /// Is it survived when it happens once?
    passes: bool,
}

const FAULTS: &[Wrong] = &[
    Wrong { name: "no answer", answer: |_| Answer::Bytes(Vec::new()), passes: true },
    Wrong { name: "half a status line", answer: |_| Answer::Bytes(b"HTTP/1.1 20".to_vec()), passes: true },
    Wrong { name: "half a head", answer: |_| Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), passes: true },
    Wrong { name: "no HTTP", answer: |_| Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), passes: true },
    Wrong { name: "all but the last byte", answer: |right| Answer::Bytes(but_last(right)), passes: true },
    Wrong { name: "408", answer: |_| answer("408 Request Timeout", "", b""), passes: true },
    Wrong { name: "429", answer: |_| answer("429 Too Many Requests", "Retry-After: 0\r\n", b""), passes: true },
    Wrong { name: "500", answer: |_| answer("500 Internal Server Error", "", b"{\"errors\":[]}"), passes: true },
    Wrong { name: "502", answer: |_| answer("502 Bad Gateway", "", b"<html>\x1b[31m"), passes: true },
    Wrong { name: "503", answer: |_| answer("503 Service Unavailable", "Retry-After: x\r\n", b""), passes: true },
    Wrong { name: "504", answer: |_| answer("504 Gateway Timeout", "", b""), passes: true },
    Wrong { name: "400", answer: |_| answer("400 Bad Request", "", b""), passes: false },
    Wrong { name: "401", answer: |_| answer("401 Unauthorized", "", b""), passes: false },
    Wrong { name: "403", answer: |_| answer("403 Forbidden", "", DENIED), passes: false },
    Wrong { name: "404", answer: |_| answer("404 Not Found", "", b""), passes: false },
    Wrong { name: "405", answer: |_| answer("405 Method Not Allowed", "", b""), passes: false },
    Wrong { name: "413", answer: |_| answer("413 Content Too Large", "", b""), passes: false },
    Wrong {
        name: "a login page",
        answer: |_| answer("200 OK", "Content-Type: text/html\r\n", b"<html>"),
        passes: false,
    },
    Wrong { name: "nothing", answer: |_| answer("200 OK", "", b""), passes: false },
    Wrong {
        name: "204",
        answer: |_| Answer::Bytes(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec()),
        passes: false,
    },
    Wrong {
        name: "a loop",
        answer: |_| answer("307 Temporary Redirect", "Location: /v2/loop\r\n", b""),
        passes: false,
    },
    Wrong { name: "elsewhere", answer: |_| answer("302 Found", "Location: ftp://h/\r\n", b""), passes: false },
    Wrong { name: "other bytes", answer: |_| answer("200 OK", "", b"jihgfedcba9876543210"), passes: false },
    Wrong { name: "another digest", answer: |right| Answer::Bytes(with_digest(right)), passes: false },
    Wrong { name: "no end", answer: |_| Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), passes: false },
];

const DENIED: &[u8] = br#"{"errors":[{"code":"DENIED","message":"not for \u001b[31myou"}]}"#;

/// The requests of a pull and of a push: a method, and a part of the target.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("pull", "GET", "/manifests/1"),
    ("pull", "GET", "/blobs/sha256"),
    ("push", "HEAD", "/blobs/sha256"),
    ("push", "POST", "/blobs/uploads/"),
    ("push", "PATCH", "/up/"),
    ("push", "PUT", "/up/"),
    ("push", "PUT", "/manifests/1"),
];

fn but_last(mut right: Vec<u8>) -> Vec<u8> {
    right.pop();
    right
}

fn with_digest(right: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&right).into_owned();
    let header = format!("\r\nDocker-Content-Digest: {}\r\n", Digest::sha256("other"));
    text.replacen("\r\n", &header, 1).into_bytes()
}

fn config() -> &'static [u8] {
    br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#
}

fn layer() -> Descriptor {
    Descriptor::of(MediaType::OciLayerGzip, BLOB)
}

fn manifest() -> Vec<u8> {
    let config = Descriptor::of(MediaType::OciConfig, config());
    let document =
        json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": config, "layers": [layer()]});
    serde_json::to_vec(&document).unwrap()
}

/// What a registry holds.
#[derive(Default)]
struct Held {
    blobs: HashMap<String, Vec<u8>>,
    manifest: Option<Vec<u8>>,
    uploads: Vec<Vec<u8>>,
}

/// A registry that is right but for one answer, and how often it was wrong.
fn registry(
    held: &Arc<Mutex<Held>>,
    fault: &'static Wrong,
    at: (&'static str, &'static str),
    always: bool,
) -> (Scripted, Arc<Mutex<usize>>) {
    let (held, strikes) = (Arc::clone(held), Arc::new(Mutex::new(0)));
    let struck = Arc::clone(&strikes);
    let server = Scripted::start(move |seen, _| {
        let hit = seen.method == at.0 && seen.target.contains(at.1);
        if hit {
            let mut struck = struck.lock().unwrap();
            if always || *struck == 0 {
                *struck += 1;
                // What it does before it answers is done, or not: the client cannot know.
                let Answer::Bytes(right) = right(&mut held.lock().unwrap(), seen) else { unreachable!("it is whole") };
                return (fault.answer)(right);
            }
        }
        right(&mut held.lock().unwrap(), seen)
    });
    (server, strikes)
}

fn right(held: &mut Held, seen: &Seen) -> Answer {
    let path = seen.target.split('?').next().unwrap();
    let last = path.rsplit('/').next().unwrap();
    let upload = path.strip_prefix("/up/").and_then(|n| n.parse::<usize>().ok()).filter(|n| *n < held.uploads.len());
    match (seen.method.as_str(), path) {
        ("GET", "/v2/") => answer("200 OK", "", b""),
        ("GET", p) if p.contains("/manifests/") => match &held.manifest {
            Some(bytes) => answer("200 OK", "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n", bytes),
            None => answer("404 Not Found", "", b""),
        },
        ("PUT", p) if p.contains("/manifests/") => {
            held.manifest = Some(seen.body.clone());
            answer("201 Created", "", b"")
        }
        ("POST", _) => {
            held.uploads.push(Vec::new());
            answer("202 Accepted", &format!("Location: /up/{}\r\n", held.uploads.len() - 1), b"")
        }
        (method, _) if upload.is_some() => {
            let n = upload.unwrap();
            let bytes = &mut held.uploads[n];
            let stand = |has: usize| format!("Location: /up/{n}\r\nRange: 0-{}\r\n", has.max(1) - 1);
            match method {
                "GET" => Answer::Bytes(
                    format!("HTTP/1.1 204 No Content\r\nConnection: close\r\n{}\r\n", stand(bytes.len())).into_bytes(),
                ),
                "PATCH"
                    if seen.header("content-range").unwrap().split('-').next() != Some(&bytes.len().to_string()) =>
                {
                    answer("416 Range Not Satisfiable", &stand(bytes.len()), b"")
                }
                _ => {
                    bytes.extend(&seen.body);
                    if method == "PATCH" {
                        return answer("202 Accepted", &stand(bytes.len()), b"");
                    }
                    let (digest, bytes) = (Digest::sha256(&*bytes).to_string(), bytes.clone());
                    if !seen.target.contains(&digest.replace(':', "%3A")) {
                        return answer("400 Bad Request", "", b"");
                    }
                    held.blobs.insert(digest, bytes);
                    answer("201 Created", "", b"")
                }
            }
        }
        ("GET" | "HEAD", _) => match held.blobs.get(last) {
            Some(bytes) if seen.method == "HEAD" => Answer::Bytes(
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", bytes.len()).into_bytes(),
            ),
            Some(bytes) => answer("200 OK", "", bytes),
            None => Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec()),
        },
        _ => answer("404 Not Found", "", b""),
    }
}

/// Small parts, and little patience.
fn options() -> ClientOptions {
    let mut options = ClientOptions { part: 8, ..quick() };
    options.retry.first = Duration::from_millis(1);
    options.timeouts.idle = Duration::from_millis(500);
    options.timeouts.commit = Duration::from_millis(500);
    options
}

async fn pull(name: &Reference) -> Result<(), RegistryError> {
    let client = Client::new(options()).unwrap();
    let found = client.resolve(name, &Platform::host()).await?;
    assert_eq!(found.document.layers, [layer()], "a manifest that is none was taken for one");
    let bytes = client.small_blob(name, &layer(), 1 << 20).await?;
    assert_eq!(bytes, BLOB, "wrong bytes were called a success");
    Ok(())
}

async fn push(name: &Reference) -> Result<(), RegistryError> {
    let client = Client::new(options()).unwrap();
    for (blob, bytes) in [(layer(), BLOB), (Descriptor::of(MediaType::OciConfig, config()), config())] {
        client.push_blob(name, &blob, source(bytes), None).await?;
    }
    let bytes = manifest();
    client.push_manifest(name, &bytes, &MediaType::OciManifest).await.map(drop)
}

#[tokio::test]
async fn every_answer_goes_wrong_in_every_way() {
    for (work, method, target) in REQUESTS {
        for fault in FAULTS {
            for always in [false, true] {
                let what =
                    format!("{work}: {} for {method} {target}, {}", fault.name, if always { "always" } else { "once" });
                let held = Arc::new(Mutex::new(Held::default()));
                if *work == "pull" {
                    let mut held = held.lock().unwrap();
                    held.blobs.insert(layer().digest.to_string(), BLOB.to_vec());
                    held.manifest = Some(manifest());
                }
                let (server, strikes) = registry(&held, fault, (method, target), always);
                let name = named(&server);
                let run = async { if *work == "pull" { pull(&name).await } else { push(&name).await } };
                let done = tokio::time::timeout(Duration::from_secs(20), run).await;
                let done = done.unwrap_or_else(|_| panic!("{what}: it does not end"));
                judge(&what, &server, done.as_ref().map(drop), fault.passes && !always);
                assert!(*strikes.lock().unwrap() > 0, "{what}: it was not struck");
                // That it has a blob of this size, a registry can say of any.
                let believed = *method == "HEAD" && ["other bytes", "no end"].contains(&fault.name);
                if *work == "push" && done.is_ok() && !believed {
                    whole(&what, &held.lock().unwrap());
                }
            }
        }
    }
}

fn judge(what: &str, server: &Scripted, done: Result<(), &RegistryError>, has_to_work: bool) {
    let Err(error) = done else { return };
    let text = error.to_string();
    assert!(!has_to_work, "{what}: {text}");
    assert!(text.contains(&server.host()), "{what}: it does not say who was asked: {text}");
    assert!(text.len() < 2000 && !text.contains('\u{1b}'), "{what}: {text}");
}

/// What a push called a success is at the registry.
fn whole(what: &str, held: &Held) {
    let bytes = held.manifest.as_ref().unwrap_or_else(|| panic!("{what}: there is no manifest"));
    let Ok(Document::Manifest(manifest)) = Document::parse(bytes, None) else { panic!("{what}: it is no manifest") };
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        assert!(held.blobs.contains_key(&blob.digest.to_string()), "{what}: {} is not there", blob.digest);
    }
}
