//! Many clients at once push and pull, in repositories of their own and in one that all share: nobody is refused, and
//! nothing is lost.
use crate::support::{Answer, Server, send};
use cooper_image::Digest;
use serde_json::json;
use std::net::SocketAddr;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CLIENTS: usize = 64;
const ROUNDS: usize = 3;

/// What one client does: a layer of its own, one that all share, an image of both, and everything back.
fn client(address: SocketAddr, number: usize) {
    let expect = |answer: Answer, status: u16| {
        assert_eq!(answer.status, status, "client {number}: {}", answer.text());
        answer
    };
    for round in 0..ROUNDS {
        for repository in [format!("own/c{number}"), "shared/app".to_owned()] {
            let own = format!("{number} {round} ").repeat(10_000).into_bytes();
            let layers: Vec<_> = [own, b"the same for all".repeat(5000)].into_iter().collect();
            let mut parts = Vec::new();
            for bytes in layers.iter().map(Vec::as_slice).chain([&b"{}"[..]]) {
                let digest = Digest::sha256(bytes).to_string();
                let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
                expect(send(address, "POST", &path, &[], bytes), 201);
                parts.push(json!({"mediaType": "application/vnd.example.part", "digest": digest, "size": bytes.len()}));
            }
            let config = parts.pop();
            let image =
                json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": parts}).to_string();
            for tag in [format!("c{number}-{round}"), "latest".to_owned()] {
                let path = format!("/v2/{repository}/manifests/{tag}");
                expect(send(address, "PUT", &path, &[("Content-Type", MANIFEST)], image.as_bytes()), 201);
            }
            let path = format!("/v2/{repository}/manifests/c{number}-{round}");
            assert_eq!(expect(send(address, "GET", &path, &[], b""), 200).body, image.as_bytes());
            for bytes in &layers {
                let path = format!("/v2/{repository}/blobs/{}", Digest::sha256(bytes));
                assert!(expect(send(address, "GET", &path, &[], b""), 200).body == *bytes);
            }
        }
    }
}

#[test]
fn many_clients_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = server.address;
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || client(address, number));
        }
    });
    let tags = server.get("/v2/shared/app/tags/list").json()["tags"].as_array().unwrap().len();
    assert_eq!(tags, CLIENTS * ROUNDS + 1);
    let text = server.get("/metrics").text();
    assert!(!text.contains("status=\"5"), "{text}");
    drop(server);
    assert!(cooper_store::Store::open(dir.path()).unwrap().fsck().unwrap().problems.is_empty());
}
