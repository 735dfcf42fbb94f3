//! All that can go wrong with an answer, and a registry at which it does: for every request of whatever is done there.

use super::clock::Virtual;
use super::script::BLOB;
use super::{Answer, Scripted, Seen, answer, quick};
use cooper_image::{Descriptor, Digest, Document, MediaType};
use cooper_registry::ClientOptions;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong with an answer.
pub struct Wrong {
    pub name: &'static str,
    /// The answer in place of the right one.
    answer: fn(right: Vec<u8>) -> Answer,
    /// Is it survived when it happens once?
    pub passes: bool,
}

pub const FAULTS: &[Wrong] = &[
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

fn but_last(mut right: Vec<u8>) -> Vec<u8> {
    right.pop();
    right
}

fn with_digest(right: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&right).into_owned();
    let header = format!("\r\nDocker-Content-Digest: {}\r\n", Digest::sha256("other"));
    text.replacen("\r\n", &header, 1).into_bytes()
}

pub fn config() -> &'static [u8] {
    br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#
}

pub fn layer() -> Descriptor {
    Descriptor::of(MediaType::OciLayerGzip, BLOB)
}

pub fn manifest() -> Vec<u8> {
    let config = Descriptor::of(MediaType::OciConfig, config());
    let document =
        json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": config, "layers": [layer()]});
    serde_json::to_vec(&document).unwrap()
}

/// What a registry holds.
#[derive(Default)]
pub struct Held {
    pub blobs: HashMap<String, Vec<u8>>,
    pub manifest: Option<Vec<u8>>,
    uploads: Vec<Vec<u8>>,
}

/// What a registry holds that has all of the image.
pub fn full() -> Arc<Mutex<Held>> {
    let config = Descriptor::of(MediaType::OciConfig, config());
    let blobs = [(layer(), BLOB), (config, self::config())];
    let blobs = blobs.map(|(blob, bytes)| (blob.digest.to_string(), bytes.to_vec())).into();
    Arc::new(Mutex::new(Held { blobs, manifest: Some(manifest()), uploads: Vec::new() }))
}

/// One that is right.
pub fn sound(held: &Arc<Mutex<Held>>) -> Scripted {
    let held = Arc::clone(held);
    Scripted::start(move |seen, _| right(&mut held.lock().unwrap(), seen))
}

/// A registry that is right but for one answer, and how often it was wrong.
pub fn registry(
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

/// What a registry answers that is right.
pub fn right(held: &mut Held, seen: &Seen) -> Answer {
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
pub fn options() -> ClientOptions {
    let mut options = ClientOptions { part: 8, clock: Arc::new(Virtual::default()), ..quick() };
    options.retry.first = Duration::from_millis(1);
    options.retry.outage = Duration::from_millis(30);
    options.timeouts.idle = Duration::from_millis(500);
    options.timeouts.commit = Duration::from_millis(500);
    options
}

/// What holds for each way in which something ends; `done` is an error with its causes.
pub fn judge(what: &str, server: &Scripted, done: Result<(), String>, has_to_work: bool) {
    let Err(text) = done else { return };
    assert!(!has_to_work, "{what}: {text}");
    assert!(text.contains(&server.host()), "{what}: it does not say who was asked: {text}");
    assert!(text.len() < 2000 && !text.contains('\u{1b}'), "{what}: {text}");
}

/// What a push called a success is at the registry.
pub fn whole(what: &str, held: &Held) {
    let bytes = held.manifest.as_ref().unwrap_or_else(|| panic!("{what}: there is no manifest"));
    let Ok(Document::Manifest(manifest)) = Document::parse(bytes, None) else { panic!("{what}: it is no manifest") };
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        assert!(held.blobs.contains_key(&blob.digest.to_string()), "{what}: {} is not there", blob.digest);
    }
}
