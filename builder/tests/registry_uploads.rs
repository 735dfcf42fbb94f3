//! Uploads to `cooper registry serve` that outlive it: it is killed in the middle of one, and the next process goes on.

use cooper_image::Digest;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A registry; killed on drop, and in no other way.
struct Served {
    child: Child,
    host: String,
}

impl Served {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        command.env_clear().env("HOME", dir.join("home")).current_dir(dir);
        command.args(["registry", "serve", "--listen", "127.0.0.1:0", "--root", "store"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut host = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut host).expect("it says its address");
        Self { child, host: host.trim().to_owned() }
    }

    /// Begins a request whose body has `length` bytes.
    fn begin(&self, request: &str, length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.host).expect("it listens");
        let host = &self.host;
        write!(stream, "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
            .expect("it reads");
        stream
    }

    /// Gives the status, the headers and the body.
    fn ask(&self, request: &str, body: &[u8]) -> (u16, BTreeMap<String, String>, Vec<u8>) {
        let mut stream = self.begin(request, body.len());
        let mut answer = Vec::new();
        stream.write_all(body).and_then(|()| stream.read_to_end(&mut answer)).expect("it answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a head has a status");
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        (status, headers.map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect(), answer[end + 4..].to_vec())
    }

    fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What has come of the only upload, on the disk.
fn received(dir: &Path) -> PathBuf {
    let all = std::fs::read_dir(dir.join("store/receiving")).expect("there are uploads");
    let all: Vec<PathBuf> = all.map(|entry| entry.expect("it can be read").path().join("blob")).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

fn waits_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_upload_goes_on_after_the_server_was_killed_in_the_middle_of_it() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let here = dir.path();
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::sha256(&bytes);
    let server = Served::start(here);
    let place = server.ask("POST /v2/team/app/blobs/uploads/", b"").1["location"].clone();
    let (status, headers, _) = server.ask(&format!("PATCH {place}"), &bytes[..1000]);
    assert_eq!((status, headers["range"].as_str()), (202, "0-999"));
    // What was told is there, although it is little, and nothing was said to end.
    server.kill();
    let server = Served::start(here);
    let (status, headers, _) = server.ask(&format!("GET {place}"), b"");
    assert_eq!((status, headers["range"].as_str(), &headers["location"]), (204, "0-999", &place));
    let elsewhere = place.replace("team/app", "team/other");
    assert_eq!(server.ask(&format!("GET {elsewhere}"), b"").0, 404);

    // In the middle of a request.
    let mut half = server.begin(&format!("PATCH {place}"), bytes.len() - 1000);
    half.write_all(&bytes[1000..2_000_000]).expect("it reads");
    let size = || std::fs::metadata(received(here)).expect("it is there").len();
    waits_for("a part of the half is on the disk", || size() > 1_500_000);
    server.kill();
    let server = Served::start(here);
    let there = usize::try_from(size()).expect("it is small");
    let (status, headers, _) = server.ask(&format!("GET {place}"), b"");
    assert_eq!((status, &headers["range"]), (204, &format!("0-{}", there - 1)));
    assert_eq!(server.ask(&format!("PATCH {place}"), &bytes[there..3_000_000]).0, 202);
    let (status, _, body) = server.ask(&format!("PUT {place}?digest={digest}"), &bytes[3_000_000..]);
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    let (status, _, body) = server.ask(&format!("GET /v2/team/app/blobs/{digest}"), b"");
    assert!((status, body == bytes) == (200, true));
    assert_eq!(std::fs::read_dir(here.join("store/receiving")).expect("it is there").count(), 0);
    server.kill();
    let mut fsck = Command::new(env!("CARGO_BIN_EXE_cooper"));
    fsck.env_clear().env("HOME", here.join("home")).current_dir(here).args(["debug", "fsck", "--root", "store"]);
    let checked = fsck.output().expect("the binary runs");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn an_upload_that_was_left_for_long_is_gone_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let server = Served::start(dir.path());
    let place = server.ask("POST /v2/team/app/blobs/uploads/", b"").1["location"].clone();
    server.kill();
    let file = received(dir.path());
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    std::fs::File::open(&file).and_then(|file| file.set_modified(long_ago)).expect("it is ours");
    let server = Served::start(dir.path());
    waits_for("it is gone", || !file.exists());
    assert_eq!(server.ask(&format!("GET {place}"), b"").0, 404);
}
