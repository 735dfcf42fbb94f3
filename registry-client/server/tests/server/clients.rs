//! skopeo pushes to the registry, copies within it and pulls from it, also after it was killed.
use crate::support::{Server, layout, send};
use cooper_image::Digest;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

fn skopeo(args: &[&str]) -> String {
    let out = Command::new("skopeo").arg("--insecure-policy").args(args).output().expect("skopeo is installed");
    assert!(out.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn copy(from: &str, to: &str) {
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(&["copy", "-q", "--all", "--preserve-digests", tls[0], tls[1], from, to]);
}

fn blobs(layout: &Path) -> Vec<String> {
    let names = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let mut names: Vec<String> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn skopeo_pushes_copies_and_pulls_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let source = layout(dir.path());
    let server = Server::start(&dir.path().join("store"));
    let at = |name: &str| format!("docker://{}/{name}", server.address);
    copy(&format!("oci:{}:v1", source.display()), &at("team/app:v1"));
    copy(&at("team/app:v1"), &at("mirror/deep/app:v1"));
    let back = dir.path().join("back");
    copy(&at("mirror/deep/app:v1"), &format!("oci:{}:v1", back.display()));
    assert_eq!(blobs(&back), blobs(&source));
    let tags = skopeo(&["list-tags", "--tls-verify=false", &at("team/app")]);
    assert!(tags.contains("\"v1\""), "{tags}");

    let docker = at("team/docker:v2");
    let from = format!("oci:{}:v1", source.display());
    skopeo(&["copy", "-q", "--dest-tls-verify=false", "--format", "v2s2", &from, &docker]);
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &docker]);
    assert!(raw.contains("application/vnd.docker.distribution.manifest.v2+json"), "{raw}");
    skopeo(&["delete", "--tls-verify=false", &docker]);
    assert_eq!(server.get("/v2/team/docker/manifests/v2").status, 404);
    drop(server);

    let server = Server::start(&dir.path().join("store"));
    let again = dir.path().join("again");
    copy(&format!("docker://{}/team/app:v1", server.address), &format!("oci:{}:v1", again.display()));
    assert_eq!(blobs(&again), blobs(&source));
}

#[test]
#[ignore = "runs as a child of another test"]
fn child() {
    let root = std::env::var_os("CHILD_ROOT").expect("a parent sets it");
    let server = Server::start(Path::new(&root));
    let mut out = std::io::stdout();
    writeln!(out, "\nserving {}", server.address).and_then(|()| out.flush()).unwrap();
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn what_was_answered_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "clients::child", "--nocapture"])
        .env("CHILD_ROOT", &root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address: SocketAddr = lines.find_map(|l| l.strip_prefix("serving ").map(|a| a.parse().unwrap())).unwrap();

    let config = Digest::sha256("{}");
    let path = format!("/v2/a/blobs/uploads/?digest={config}");
    assert_eq!(send(address, "POST", &path, &[], b"{}").status, 201);
    let manifest = json!({"schemaVersion": 2, "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.to_string(), "size": 2}})
    .to_string();
    let oci = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
    assert_eq!(send(address, "PUT", "/v2/a/manifests/v1", &oci, manifest.as_bytes()).status, 201);
    // An upload that has received something, and one in the middle of a request.
    let place = send(address, "POST", "/v2/a/blobs/uploads/", &[], b"").headers["location"].clone();
    assert_eq!(send(address, "PATCH", &place, &[], &[1; 100_000]).status, 202);
    let mut half = TcpStream::connect(address).unwrap();
    write!(half, "PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let server = Server::start(&root);
    assert_eq!(server.get("/v2/a/manifests/v1").body, manifest.as_bytes());
    assert_eq!(server.get(&format!("/v2/a/blobs/{config}")).body, b"{}");
    assert_eq!(std::fs::read_dir(root.join("ingest")).unwrap().count(), 0);
    // What was told to have come, and perhaps something of the rest.
    let upload = server.get(&place);
    let last: u64 = upload.headers["range"].strip_prefix("0-").unwrap().parse().unwrap();
    assert!(upload.status == 204 && (99_999..=100_003).contains(&last), "{upload:?}");
    assert!(cooper_store::Store::open(&root).unwrap().fsck().unwrap().problems.is_empty());
}

#[test]
fn an_upload_goes_on_after_its_client_went_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let place = server.begin("a");
    let mut half = TcpStream::connect(server.address).unwrap();
    write!(half, "PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc").unwrap();
    half.shutdown(std::net::Shutdown::Write).unwrap();
    // The answer, or the end of the connection, says that the server is done with it.
    let _ = half.read_to_end(&mut Vec::new());
    let status = server.get(&place);
    assert_eq!((status.status, status.headers["range"].as_str()), (204, "0-2"));
    let digest = Digest::sha256("abcdef");
    let path = format!("{place}?digest={digest}");
    assert_eq!(server.send("PUT", &path, &[("Content-Range", "3-5")], b"def").status, 201);
}

/// Begins to send a thousand bytes, and falls silent after so many: the line broke on the client's side, and the server
/// does not know.
fn cut(server: &Server, place: &str, sent: &str) -> TcpStream {
    let mut half = TcpStream::connect(server.address).unwrap();
    let head = format!("PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
    half.write_all(head.as_bytes()).unwrap();
    // It is asked for its bytes when it has the upload.
    let mut told = *b"HTTP/1.1 ... ........\r\n\r\n";
    half.read_exact(&mut told).unwrap();
    assert_eq!(told, *b"HTTP/1.1 100 Continue\r\n\r\n");
    half.write_all(sent.as_bytes()).unwrap();
    half
}

#[test]
fn an_upload_goes_on_while_the_connection_that_was_cut_still_stands() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let digest = Digest::sha256("abcdef");
    for (method, headers, body, status) in
        [("PATCH", [("Content-Range", "3-5")], "def", 202), ("PUT", [("Content-Range", "3-5")], "def", 201)]
    {
        let place = server.begin("a");
        let mut half = cut(&server, &place, "abc");
        let path = if method == "PUT" { format!("{place}?digest={digest}") } else { place.clone() };
        let answer = server.send(method, &path, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{}", answer.text());
        // The one before is told that it is over, and changes nothing any more.
        let mut told = Vec::new();
        half.read_to_end(&mut told).unwrap();
        assert!(told.starts_with(b"HTTP/1.1 409 "), "{}", String::from_utf8_lossy(&told));
        if method == "PATCH" {
            assert_eq!(server.send("PUT", &format!("{place}?digest={digest}"), &[], b"").status, 201);
        }
        assert_eq!(server.get(&format!("/v2/a/blobs/{digest}")).body, b"abcdef");
        assert_eq!(server.send("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 202);
    }
    let place = server.begin("a");
    let _half = cut(&server, &place, "abc");
    assert_eq!(server.send("DELETE", &place, &[], b"").status, 204);
    assert_eq!(server.get(&place).status, 404);
    // What a question is told is all that will ever be there: who goes on behind that need not say where it is.
    let place = server.begin("a");
    let mut half = cut(&server, &place, "abc");
    let status = server.get(&place);
    assert_eq!((status.status, status.headers["range"].as_str()), (204, "0-2"));
    let _ = half.write_all(b"xyz");
    assert_eq!(server.send("PATCH", &place, &[], b"def").status, 202);
    assert_eq!(server.send("PUT", &format!("{place}?digest={digest}"), &[], b"").status, 201);
    // The last of what was sent before may arrive when its client is back already.
    let place = server.begin("a");
    let mut half = cut(&server, &place, "ab");
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        half.write_all(b"c").unwrap();
        half
    });
    let status = server.get(&place);
    assert_eq!((status.status, status.headers.get("range").map(String::as_str)), (204, Some("0-2")));
    let _half = late.join().unwrap();
    // Nobody's bytes are ended by who does not know where their own belong.
    let place = server.begin("a");
    let _half = cut(&server, &place, "abc");
    std::thread::sleep(Duration::from_millis(1200));
    for method in ["PATCH", "PUT"] {
        let answer = server.send(method, &format!("{place}?digest={digest}"), &[], b"");
        assert_eq!(answer.status, 409, "{method}: {}", answer.text());
    }
    assert_eq!(server.get(&place).headers["range"], "0-2");
}

#[test]
fn who_still_sends_keeps_an_upload() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let place = server.begin("a");
    let mut sending = cut(&server, &place, "a");
    let (enough, told) = channel::<()>();
    let slow = std::thread::spawn(move || {
        let mut sent = 1;
        while told.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
            sending.write_all(b"a").unwrap();
            sent += 1;
        }
        (sending, sent)
    });
    let behind = ("Content-Range", "1-1");
    for (method, headers, body) in
        [("PATCH", &[behind][..], "b"), ("PATCH", &[], "b"), ("PUT", &[behind], "b"), ("DELETE", &[], "")]
    {
        let path = format!("{place}?digest={}", Digest::sha256("a"));
        let answer = server.send(method, &path, headers, body.as_bytes());
        assert_eq!((answer.status, server.get(&place).status), (409, 409), "{method}: {}", answer.text());
    }
    enough.send(()).unwrap();
    let (_sending, sent) = slow.join().unwrap();
    assert_eq!(server.get(&place).headers["range"], format!("0-{}", sent - 1));
}
