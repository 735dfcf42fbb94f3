//! Limits, the access log, the metrics, and the end of a server.
use crate::support::Server;
use cooper_registry_server::{AccessLog, ServerOptions};
use cooper_store::Store;
use std::io::{Read as _, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn options(root: &Path) -> ServerOptions {
    ServerOptions::new(Store::open(root).unwrap())
}

/// Bytes that a test can look at.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_request_has_a_line_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let log = Shared::default();
    let mut options = options(dir.path());
    options.access_log = Some(AccessLog::new(log.clone()));
    let server = Server::with(options);
    let digest = server.push_blob("team/app", b"12345");
    let secrets = [("Authorization", "Basic sentinel"), ("X-Token", "sentinel"), ("User-Agent", "test/1 \"quoted\"")];
    let got = server.send("GET", &format!("/v2/team/app/blobs/{digest}?token=sentinel"), &secrets, b"");
    assert_eq!(got.status, 200);
    server.send("HEAD", &format!("/v2/team/app/blobs/{digest}"), &[], b"");
    // Lines are whole once the server has ended.
    drop(server);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("sentinel"), "{text}");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = lines.iter().map(|l| (l["method"].as_str().unwrap(), l["status"].as_u64().unwrap())).collect();
    assert!(seen.starts_with(&[("POST", 201), ("GET", 200), ("HEAD", 200)]), "{text}");
    assert_eq!(
        (lines[0]["received"].as_u64(), lines[1]["sent"].as_u64(), lines[2]["sent"].as_u64()),
        (Some(5), Some(5), Some(0))
    );
    assert_eq!(lines[1]["path"], format!("/v2/team/app/blobs/{digest}"));
    assert_eq!((&lines[1]["user"], &lines[1]["agent"]), (&"anonymous".into(), &"test/1 \"quoted\"".into()));
    assert!(lines[1]["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(lines[1]["time"].as_str().unwrap().ends_with('Z'));
}

/// Breaks off in the middle of the first line, and writes the others.
struct Failing(u32, Shared);

impl Write for Failing {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0 += 1;
        match self.0 {
            1 => self.1.write(&buf[..buf.len() / 2]),
            2 => Err(std::io::ErrorKind::StorageFull.into()),
            _ => self.1.write(buf),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_that_could_not_be_written_goes_on_when_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let log = Shared::default();
    let mut options = options(dir.path());
    options.access_log = Some(AccessLog::new(Failing(0, log.clone())));
    let server = Server::with(options);
    for n in 0..4 {
        server.get(&format!("/v2/a/tags/list?{n}"));
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !server.get("/metrics").text().contains("cooper_registry_log_lines_lost_total 1\n") {
        assert!(std::time::Instant::now() < deadline, "{}", server.get("/metrics").text());
    }
    drop(server);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let whole = text.lines().filter(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()).count();
    // What broke off takes no other line with it.
    assert!(whole >= 3 && text.lines().count() == whole + 1, "{text}");
}

/// Takes nothing as long as the other end lives.
struct Stuck(std::sync::mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.recv();
        Ok(buf.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, stuck) = std::sync::mpsc::channel();
    let mut options = options(dir.path());
    options.access_log = Some(AccessLog::new(Stuck(stuck)));
    let server = Server::with(options);
    server.get("/v2/");
    let (end, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(server);
        end.send(())
    });
    ended.recv_timeout(Duration::from_secs(60)).expect("it ends");
    drop(reader);
}

#[test]
fn metrics_count_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let digest = server.push_blob("a", b"12345");
    server.begin("a");
    for _ in 0..3 {
        assert_eq!(server.get(&format!("/v2/a/blobs/{digest}")).status, 200);
    }
    server.send("FROB\"\\", "/v2/", &[], b"");
    assert_eq!(
        (server.get("/healthz").text().as_str(), server.send("HEAD", "/healthz", &[], b"").status),
        ("ok\n", 200)
    );
    assert_eq!(server.send("POST", "/metrics", &[], b"").status, 405);
    let answer = server.get("/metrics");
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    for line in [
        "cooper_registry_requests_total{endpoint=\"blob\",method=\"GET\",status=\"200\"} 3",
        "cooper_registry_requests_total{endpoint=\"upload\",method=\"POST\",status=\"201\"} 1",
        "cooper_registry_requests_total{endpoint=\"upload\",method=\"POST\",status=\"202\"} 1",
        "cooper_registry_request_seconds_count{endpoint=\"blob\"} 3",
        "cooper_registry_request_seconds_bucket{endpoint=\"blob\",le=\"+Inf\"} 3",
        "cooper_registry_received_bytes_total 5",
        "cooper_registry_uploads 1",
        "cooper_registry_requests_in_flight 1",
        "# TYPE cooper_registry_request_seconds histogram",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    // Every line is a comment or a name, perhaps labels, and a number.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok() && series.starts_with("cooper_registry_"), "{line}");
    }
}

#[test]
fn uploads_and_manifests_have_a_largest_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    (options.limits.blob_bytes, options.limits.manifest_bytes, options.limits.uploads) = (1000, 500, 2);
    let server = Server::with(options);
    for (size, status) in [(1000, 201), (1001, 413)] {
        let bytes = vec![7; size];
        let path = format!("/v2/a/blobs/uploads/?digest={}", cooper_image::Digest::sha256(&bytes));
        let answer = server.send("POST", &path, &[], &bytes);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let place = server.begin("a");
    assert_eq!(server.send("PATCH", &place, &[], &[0; 600]).status, 202);
    assert_eq!(server.send("PATCH", &place, &[], &[0; 600]).code(), "SIZE_INVALID");
    for (size, status) in [(500, 400), (501, 413)] {
        assert_eq!(server.send("PUT", "/v2/a/manifests/x", &[], &vec![b' '; size]).status, status);
    }
    let (_one, _two) = (server.begin("b"), server.begin("b"));
    let answer = server.send("POST", "/v2/b/blobs/uploads/", &[], b"");
    assert_eq!((answer.status, answer.code().as_str()), (429, "TOOMANYREQUESTS"));
    assert_eq!(answer.headers["retry-after"], "10");
}

#[test]
fn who_takes_nothing_of_an_answer_loses_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.limits.silence = Duration::from_secs(2);
    let server = Server::with(options);
    // More than the buffers of both ends hold.
    let digest = server.push_blob("a", &vec![1; 64 << 20]);
    let mut client = TcpStream::connect(server.address).unwrap();
    write!(client, "GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // It is served, and then no connection is left but the one that asks.
    for gauge in ["requests_in_flight 2\n", "connections 1\n"] {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !server.get("/metrics").text().contains(&format!("cooper_registry_{gauge}")) {
            assert!(std::time::Instant::now() < deadline, "never: {gauge}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut got = Vec::new();
    let _ = client.read_to_end(&mut got);
    assert!(got.len() < 64 << 20);
}

/// The time-out is when it is answered, and not when something else begins to wait.
#[test]
fn a_body_that_stops_is_waited_for_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.limits.silence = Duration::from_secs(1);
    let server = Server::with(options);
    let (place, digest) = (server.begin("a"), cooper_image::Digest::sha256("abcdef"));
    for (request, status) in [
        ("PUT /v2/a/manifests/x".to_owned(), 400),
        (format!("PATCH {place}"), 400),
        (format!("POST /v2/a/blobs/uploads/?digest={digest}"), 400),
        ("PUT /v2/nothing/of/that/kind".to_owned(), 404),
    ] {
        let begun = std::time::Instant::now();
        let mut client = TcpStream::connect(server.address).unwrap();
        write!(client, "{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc").unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{request}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{request}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_request_under_way_ends_before_the_server_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let digest = cooper_image::Digest::sha256("abcdef");
    let mut client = TcpStream::connect(server.address).unwrap();
    write!(client, "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        .unwrap();
    // Under way once it is counted.
    while !server.get("/metrics").text().contains("cooper_registry_requests_in_flight 2\n") {
        std::thread::sleep(Duration::from_millis(10));
    }
    let address = server.address;
    let end = std::thread::spawn(move || drop(server));
    // Asked to stop, it takes no one new.
    while TcpStream::connect(address).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    client.write_all(b"def").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    end.join().unwrap();
    assert!(Server::start(dir.path()).get(&format!("/v2/a/blobs/{digest}")).body == b"abcdef");
}

#[test]
fn a_request_that_does_not_end_does_not_keep_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.limits.last_requests = Duration::from_millis(300);
    let server = Server::with(options);
    let mut client = TcpStream::connect(server.address).unwrap();
    write!(client, "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc").unwrap();
    // Ends, though the request never does.
    drop(server);
}
