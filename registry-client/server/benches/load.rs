//! Many clients push to and pull from Cooper's registry, and then to and from docker-registry, for as long each.
//!
//! `cargo bench -p cooper-registry-server --bench load -- COOPER [SECONDS] [CLIENTS]` takes a release build of Cooper
//! and needs Debian's docker-registry. Prints requests and megabytes a second, and the most memory that each registry
//! took. A request that is not answered as it should be ends it, and so does a blob that is not there at the end.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use cooper_image::Digest;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Bytes of the layer that each image has of its own, and of the one that all share.
const OWN: usize = 256 << 10;
const SHARED: usize = 1 << 20;

/// One connection, kept between requests.
struct Connection(BufReader<TcpStream>);

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let stream = self.0.get_mut();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: load\r\nAccept: {MANIFEST}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let line = |connection: &mut BufReader<TcpStream>| {
            let mut line = String::new();
            connection.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line(&mut self.0).split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = line(&mut self.0).split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.0.read_exact(&mut body).unwrap();
        Answer { status, headers, body }
    }
}

/// What one client has done.
#[derive(Default)]
struct Done {
    requests: u64,
    bytes: u64,
    blobs: Vec<(String, Digest)>,
}

/// A client: images of a layer of its own and one that all share, pushed and pulled until the time is over. Each has a
/// repository of its own, since docker-registry refuses some manifests whose blobs several send to one at once.
fn client(address: SocketAddr, number: usize, until: Instant) -> Done {
    let mut connection = Connection::open(address);
    let mut done = Done::default();
    let mut ask = |status: u16, method: &str, path: &str, kind: &str, body: &[u8]| {
        let answer = connection.ask(method, path, kind, body);
        let text = String::from_utf8_lossy(&answer.body).chars().take(200).collect::<String>();
        assert_eq!(answer.status, status, "client {number}: {method} {path}: {text}");
        done.requests += 1;
        done.bytes += (body.len() + answer.body.len()) as u64;
        answer
    };
    let shared = noise(0, SHARED);
    let mut blobs = Vec::new();
    for round in 1.. {
        if Instant::now() > until {
            break;
        }
        let repository = format!("load/{number}");
        let own = noise((number * 1_000_000 + round) as u64, OWN);
        let mut parts = Vec::new();
        for bytes in [&own[..], &shared[..], b"{}"] {
            let digest = Digest::sha256(bytes);
            // The shared parts are there after the first round, as the layers of a base are.
            if round == 1 || bytes == own {
                let begun = ask(202, "POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
                let place = begun.headers["location"].clone();
                let path = place.strip_prefix("http://load").unwrap_or(&place);
                let joint = if path.contains('?') { '&' } else { '?' };
                ask(201, "PUT", &format!("{path}{joint}digest={digest}"), "application/octet-stream", bytes);
            } else {
                ask(200, "HEAD", &format!("/v2/{repository}/blobs/{digest}"), "", b"");
            }
            parts.push(format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{}}}"#,
                bytes.len()
            ));
            blobs.push((repository.clone(), digest));
        }
        let config = parts.pop().unwrap().replace("layer.v1.tar", "config.v1+json");
        let image = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{}]}}"#,
            parts.join(",")
        );
        let path = format!("/v2/{repository}/manifests/c{number}");
        ask(201, "PUT", &path, MANIFEST, image.as_bytes());
        assert_eq!(ask(200, "GET", &path, "", b"").body, image.as_bytes());
        for bytes in [&own, &shared] {
            let path = format!("/v2/{repository}/blobs/{}", Digest::sha256(bytes));
            assert!(ask(200, "GET", &path, "", b"").body == *bytes, "client {number}: {path} holds something else");
        }
    }
    Done { blobs, ..done }
}

/// Bytes that no two seeds share.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

/// A registry as a process, ended on drop.
struct Registry(Child);

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(name: &str, mut command: Command, address: SocketAddr, seconds: u64, clients: usize) -> f64 {
    let registry = Registry(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "{name} does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let start = Instant::now();
    let until = start + Duration::from_secs(seconds);
    let done: Vec<Done> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..clients).map(|number| scope.spawn(move || client(address, number, until))).collect();
        running.into_iter().map(|client| client.join().expect("a client failed")).collect()
    });
    let took = start.elapsed().as_secs_f64();
    let (requests, bytes) = done.iter().fold((0, 0), |(r, b), d| (r + d.requests, b + d.bytes));
    let mut connection = Connection::open(address);
    let blobs: std::collections::BTreeSet<_> = done.into_iter().flat_map(|d| d.blobs).collect();
    for (repository, digest) in &blobs {
        let answer = connection.ask("HEAD", &format!("/v2/{repository}/blobs/{digest}"), "", b"");
        assert_eq!(answer.status, 200, "{digest} is lost");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", registry.0.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
    let rate = requests as f64 / took;
    println!(
        "{name:<16} {rate:>7.0} requests/s  {:>7.0} MB/s  peak {peak}  {} blobs, none lost",
        bytes as f64 / took / 1e6,
        blobs.len()
    );
    rate
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let cooper = PathBuf::from(arguments.next().expect("the path of a release build of cooper"));
    let seconds = arguments.next().map_or(60, |n| n.parse().unwrap());
    let clients = arguments.next().map_or(64, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = free();
    let ours = measure("cooper", serve(&cooper, dir.path(), address), address, seconds, clients);
    let address = free();
    let theirs = measure("docker-registry", peer(dir.path(), address), address, seconds, clients);
    println!("{:.1} times as many requests", ours / theirs);
}

fn serve(cooper: &Path, dir: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(cooper);
    command.arg("--root").arg(dir.join("store")).args(["registry", "serve", "--listen", &address.to_string()]);
    command
}

fn peer(dir: &Path, address: SocketAddr) -> Command {
    let storage = dir.join("peer");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        storage.display()
    );
    let config = dir.join("peer.yml");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config);
    command
}
