//! A registry on loopback and a client that sends exactly the bytes that a test wants.
#![allow(clippy::unwrap_used, dead_code)]

pub mod secured;

use cooper_image::Digest;
use cooper_registry_server::{ServerOptions, serve};
use cooper_store::Store;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running registry, stopped on drop.
pub struct Server {
    pub address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Serves the store below `root` on a free port.
    pub fn start(root: &Path) -> Self {
        Self::with(ServerOptions::new(Store::open(root).unwrap()))
    }

    /// Serves so on a free port.
    pub fn with(options: ServerOptions) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(serve(listener, options, stopped)).unwrap();
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Sends one request on a connection of its own and reads the answer.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        send(self.address, method, path, headers, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Pushes a blob and gives its digest.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = Digest::sha256(bytes).to_string();
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.send("POST", &path, &[], bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        digest
    }

    /// Pushes a manifest and gives its digest.
    pub fn push_manifest(&self, repository: &str, reference: &str, document: &serde_json::Value) -> String {
        let media_type = document["mediaType"].as_str().unwrap();
        let (path, bytes) = (format!("/v2/{repository}/manifests/{reference}"), document.to_string());
        let answer = self.send("PUT", &path, &[("Content-Type", media_type)], bytes.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.headers["docker-content-digest"].clone()
    }

    /// Begins an upload and gives its place.
    pub fn begin(&self, repository: &str) -> String {
        let answer = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.headers["location"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The digest of bytes in the other algorithm.
pub fn sha512(bytes: &[u8]) -> String {
    let mut hasher = cooper_image::Hasher::with(cooper_image::digest::Algorithm::Sha512);
    hasher.update(bytes);
    hasher.finish().to_string()
}

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case. What is said several times has a line for each.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    /// The code of the first error.
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// An OCI layout with an index of two images that share a layer, written by hand.
pub fn layout(dir: &Path) -> PathBuf {
    let at = dir.join("layout");
    std::fs::create_dir_all(at.join("blobs/sha256")).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::sha256(bytes);
        std::fs::write(at.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    };
    // One file, two blocks of zeros, and more of them so that the upload takes several pieces.
    let mut tar = file("hello", b"hello\n");
    tar.resize(3 << 20, 0);
    let layer = blob("application/vnd.oci.image.layer.v1.tar", &tar);
    let mut images = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = json!({"architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
        let config = blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [layer]});
        let mut image = blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        image["platform"] = json!({"architecture": architecture, "os": "linux"});
        images.push(image);
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": images});
    let mut top = blob("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
    top["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let mut one = index["manifests"][0].clone();
    one["annotations"] = json!({"org.opencontainers.image.ref.name": "amd64"});
    std::fs::write(at.join("index.json"), json!({"schemaVersion": 2, "manifests": [top, one]}).to_string()).unwrap();
    std::fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    at
}

/// A file in a tar (POSIX ustar), padded to whole blocks.
fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    for (at, text) in [(100, "0000644"), (108, "0000000"), (116, "0000000"), (136, "00000000000")] {
        put(at, text);
    }
    put(124, &format!("{:011o}", content.len()));
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// Sends one request on a connection of its own and reads the answer.
pub fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // A server may refuse before it has read everything.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines.filter_map(|l| l.split_once(": ")) {
        let said = headers.entry(name.to_lowercase()).and_modify(|said| said.push('\n')).or_default();
        said.push_str(value);
    }
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}
