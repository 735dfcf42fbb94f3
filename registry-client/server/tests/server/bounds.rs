//! What strangers may not do to a registry: keep it busy with nothing. And what a disk may
//! not do to those who pull.
use crate::support::Server;
use cooper_registry_server::ServerOptions;
use cooper_store::Store;
use serde_json::json;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

/// More connections than places, of which no request ever comes.
#[test]
fn idle_connections_do_not_keep_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(Store::open(dir.path()).unwrap());
    (options.limits.connections, options.limits.head) = (20, Duration::from_millis(500));
    let server = Server::with(options);
    let idle: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    assert_eq!(server.get("/v2/").status, 200);
    // Each was hung up on to make room, and none but them.
    for mut stream in idle.into_iter().take(20) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}

/// One bit of what a repository holds is not what it was.
#[test]
fn a_flipped_bit_is_found_and_nobody_takes_it_for_what_was_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let layer = vec![7_u8; 100_000];
    let blob = server.push_blob("app", &layer);
    let config = server.push_blob("app", b"{}");
    let part =
        |media_type: &str, digest: &str, size: usize| json!({"mediaType": media_type, "digest": digest, "size": size});
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": part("application/vnd.oci.image.config.v1+json", &config, 2),
        "layers": [part("application/vnd.oci.image.layer.v1.tar", &blob, layer.len())]});
    let image = server.push_manifest("app", "1", &manifest);
    let problems = || -> Vec<String> {
        let report = Store::open(dir.path()).unwrap().fsck().unwrap();
        report.problems.iter().map(|problem| format!("{problem:?}")).collect()
    };
    assert_eq!(problems(), [""; 0]);
    // A manifest is read whole before the answer begins. A blob is not: its reader compares it with the digest.
    for (digest, place, status) in
        [(&blob, format!("/v2/app/blobs/{blob}"), 200), (&image, format!("/v2/app/manifests/{image}"), 500)]
    {
        let path = dir.path().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let right = std::fs::read(&path).unwrap();
        let mut wrong = right.clone();
        wrong[right.len() / 2] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, wrong).unwrap();
        let found = problems();
        assert!(found.iter().any(|problem| problem.contains(digest.as_str())), "{digest}: {found:?}");
        let answer = server.get(&place);
        assert_eq!(answer.status, status, "{place}: {}", answer.text());
        assert_ne!(answer.body, right, "{place}");
        std::fs::write(&path, right).unwrap();
        assert_eq!(problems(), [""; 0]);
    }
}
